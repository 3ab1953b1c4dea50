"""text@D of paper/dvc.yaml: extracts the text features that the main pipeline does not make.

If the main pipeline uses the text encoder as published, these are the features of the encoder fine-tuned on train; if
it fine-tunes, those of the published encoder. This stage uses the main pipeline's code and work cache: an encoder that
was already trained is reused, and an interrupted run can be resumed. If report.studies.text is false, it does nothing.

Writes paper/features/D/: text.safetensors and text.report.json; for a fine-tuned encoder also encoder/text/encoder.json
(its history) and encoder/text_predictions.csv (its own predictions for validation and test). The weights stay in the
work cache.
"""

import argparse
import shutil
from pathlib import Path

from extractors.extraction import as_features, by_key, extract
from extractors.features import write_features
from extractors.report import write_report
from extractors.settings import TextSettings
from extractors.utterance import Utterance
from foundation.log import log
from paper.features import FOLDER, other_text
from paper.params import changed, load_report
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.params import Params
from pipeline.stage import parser, raw_folder, start
from pipeline.training.fine_tuning import finetune


def run(args: argparse.Namespace, params: Params) -> None:
    name, folder = args.corpus, FOLDER / args.corpus
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not load_report().studies.text:
        log.info("text: report.studies.text in paper/params.yaml is false: no other text features are made")
        return
    rows = read_index(Path("data") / name / "index.csv")
    if not any(row.text for row in rows):
        log.info("text: no utterance of %s has a text, so no features are made", name)
        return
    other = changed(params, {f"text.{name}.finetune": not params.text[name].finetune})
    settings, encoder = other.text[name], folder / "encoder" / "text"
    if settings.finetune:
        finetune(
            rows, labels(params.index[name].reader, [row.label for row in rows]), settings, other.recipe(name), encoder
        )
    write_text(rows, settings, encoder, raw_folder(name, params), other_text(name))
    for copy in encoder.glob("[0-9]*"):  # the work cache has these weights too
        shutil.rmtree(copy)


def write_text(rows: list[Utterance], settings: TextSettings, encoder: Path, raw: Path, file: Path) -> None:
    """Extract the text features of all `rows` to `file`; `encoder` is the folder of a fine-tuned encoder."""
    from extractors.text.extractor import TextExtractor

    extractor = TextExtractor(settings, raw, encoder)
    keys = extractor.keys(rows)
    results, known = extract(extractor, by_key(keys, rows), "text")
    write_features(as_features(extractor, keys, results), file)
    write_report(results, rows, keys, file, known)


if __name__ == "__main__":
    start(run, parser(__doc__))
