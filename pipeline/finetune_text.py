"""finetune_text@D: fine-tunes the text encoder on the utterances of train, and writes it to data/D/encoder/text.

If text.D.finetune is false, a note there says that the encoder is used as published. The epoch is chosen on validation.
With text.D.crossfit: K, there are K encoders; each is trained without one of K parts of the train dialogues, and later
extracts the features of that part. An interrupted run can be resumed; finished trainings are kept in the work cache.

The encoder's own predictions of validation and test are written to data/D/encoder/text_predictions.csv without scoring
them; `evaluate` scores them.
"""

import argparse
from pathlib import Path

from foundation.errors import UserError
from foundation.files import whole_folder
from foundation.log import log
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.params import Params
from pipeline.stage import parser, start
from pipeline.training.fine_tuning import finetune, write_card, write_text_predictions


def run(args: argparse.Namespace, params: Params) -> None:
    folder = Path("data") / args.corpus / "encoder" / "text"
    with whole_folder(folder) as half:
        make(args.corpus, params, half)


def make(corpus: str, params: Params, folder: Path) -> None:
    """Write the encoders, or the note that there are none, to `folder`, and their predictions beside it."""
    settings = params.text[corpus]
    if settings.finetune:
        rows = read_index(Path("data") / corpus / "index.csv")
        if any(row.text_file for row in rows):
            raise UserError(f"params.yaml: text.{corpus}.finetune = true: the corpus has its text vectors from a "
                            f"file; `-S 'index.{corpus}.vectors=[audio,visual]'` encodes its sentences"
                            )  # fmt: skip
        order = labels(params.index[corpus].reader, [row.label for row in rows])
        finetune(rows, order, settings, params.recipe(corpus), folder)
    else:
        log.info("text: the encoder is used as published: text.%s.finetune is false", corpus)
        write_card({"fine_tuned": False}, folder)
        write_text_predictions([], [], (), folder)


if __name__ == "__main__":
    start(run, parser(__doc__))
