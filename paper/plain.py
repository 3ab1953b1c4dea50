"""plain@D of paper/dvc.yaml: what needs no model of conversations, on the same features: logistic regression.

A model that reads whole conversations with three modalities has to be better than a linear classifier of one utterance.
So these stand in every comparison table beside the models and the majority-class baseline:

- `logistic`: multinomial logistic regression on all modalities' features, joined;
- `logistic_text`: the same on the text features alone. Where the encoder is used as published, this is the encoder
  alone;
- `encoder`: the fine-tuned text encoder alone, by its own head, where there is one (the stage text@D, or the main
  pipeline).

The features are those of the models, standardised by train, and zero where a modality is missing. Classes are weighted
as for the models (train.D.class_weights). Only the strength of the regularisation is chosen, on validation
(pipeline/training/linear.py). Nothing of it is random, so there are no seeds.

Writes paper/plain/D/<name>/: predictions.csv and metrics.json. A row that is not made any more is removed.
"""

import argparse
from pathlib import Path

from foundation.csv_file import read_csv
from foundation.log import log
from foundation.torch_setup import prepare_torch
from model.training import positions
from paper.rows import encoder_predictions, remove_others, write_encoder_row, write_single_row
from paper.trainings import Trainings
from pipeline.params import Params
from pipeline.stage import parser, start
from pipeline.training.linear import regression

FOLDER = Path("paper/plain")


def run(args: argparse.Namespace, params: Params) -> None:
    prepare_torch(threads=1)
    trainings, folder = Trainings(args.corpus, params), FOLDER / args.corpus
    corpus = trainings.corpus(params)
    sets = {"logistic": list(corpus.features)}
    if "text" in corpus.features and len(corpus.features) > 1:  # of a corpus of text both would be the same
        sets["logistic_text"] = ["text"]
    labels = {row.label for row in trainings.rows if row.split == "train"} - {""}
    if len(labels) < 2:
        log.info("plain on %s: train has a single class, and nothing is fitted", args.corpus)
        sets = {}
    folder.mkdir(parents=True, exist_ok=True)
    encoder = is_predicted(encoder_predictions(trainings))
    remove_others(folder, {*sets, *(["encoder"] if encoder else [])})
    tested = [trainings.rows[place] for place in positions(corpus, "test").tolist()]
    for name, modalities in sets.items():
        probabilities, strength, score = regression(corpus, modalities, len(trainings.labels),
                                                    balanced=params.train[args.corpus].class_weights)  # fmt: skip
        more = {"modalities": modalities, "strength": strength, "validation_weighted_f1": round(score, 2)}
        write_single_row(trainings, tested, probabilities, modalities, more, folder / name)
        log.info("%s on %s: C = %g is best on validation (weighted F1 %.2f)", name, args.corpus, strength, score)
    if encoder:
        write_encoder_row(trainings, folder / "encoder")


def is_predicted(file: Path) -> bool:
    """Whether there are predictions of an encoder; that of one that is used as published has none."""
    return file.is_file() and bool(read_csv(file, ["utterance_id"], dict, "`dvc repro` makes it anew"))


if __name__ == "__main__":
    start(run, parser(__doc__))
