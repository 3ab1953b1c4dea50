"""plain@D of paper/dvc.yaml: what needs no model of conversations, on the same features: logistic regression.

A model that reads whole conversations with three modalities has to be better than a linear classifier of one utterance.
So these stand in every comparison table beside the models and the majority-class baseline:

- `logistic`: multinomial logistic regression on all modalities' features, joined;
- `logistic_text`: the same on the text features alone. Where the encoder is used as published, this is the encoder
  alone;
- `encoder`: the fine-tuned text encoder alone, by its own head, where there is one (the stage text@D, or the main
  pipeline).

The features are those of the models, standardised by train, and zero where a modality is missing. Classes are weighted
as for the models (train.D.class_weights). Only the strength of the regularisation is chosen, on validation, of
STRENGTHS. Nothing of it is random, so there are no seeds.

Writes paper/plain/D/<name>/: predictions.csv and metrics.json.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from foundation.f1 import weighted_f1_of
from foundation.log import log
from foundation.torch_setup import prepare_torch
from model.batching import NO_LABEL, Corpus
from model.training import positions
from paper.rows import encoder_predictions, write_encoder_row, write_single_row
from paper.trainings import Trainings
from pipeline.params import Params
from pipeline.stage import parser, start

FOLDER = Path("paper/plain")
STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the regularisation (scikit-learn's C) that are tried, the strongest first."""
STEPS = 1000
"""Largest number of steps of the solver."""


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
    tested = [trainings.rows[place] for place in positions(corpus, "test").tolist()]
    for name, modalities in sets.items():
        probabilities, strength, score = regression(corpus, modalities, len(trainings.labels),
                                                    balanced=params.train[args.corpus].class_weights)  # fmt: skip
        more = {"modalities": modalities, "strength": strength, "validation_weighted_f1": round(score, 2)}
        write_single_row(trainings, tested, probabilities, modalities, more, folder / name)
        log.info("%s on %s: C = %g is best on validation (weighted F1 %.2f)", name, args.corpus, strength, score)
    file = encoder_predictions(trainings)
    if file.is_file() and len(file.read_text("utf-8").splitlines()) > 1:
        write_encoder_row(trainings, folder / "encoder")


def regression(
    corpus: Corpus, modalities: list[str], classes: int, *, balanced: bool
) -> tuple[np.ndarray, float, float]:
    """Fit logistic regressions on train, and choose one on validation.

    Args:
        balanced: weight the classes by their inverse frequency in train.

    Returns:
        Probabilities of test [utterances, C] in the order of `positions`, the strength that was chosen (the strongest
        regularisation of equal ones), and its weighted F1 on validation.
    """
    from sklearn.linear_model import LogisticRegression

    joined = torch.cat([corpus.features[name] for name in modalities], dim=1).double().numpy()
    at = {split: positions(corpus, split).numpy() for split in ("train", "validation", "test")}
    known = {split: places[corpus.label[places].numpy() != NO_LABEL] for split, places in at.items()}
    label = {split: corpus.label[places].numpy() for split, places in known.items()}
    best: tuple[float, float, np.ndarray] | None = None
    with threadpool_limits(limits=1):  # the last bits of a matrix product depend on the number of threads
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=STEPS, class_weight="balanced" if balanced else None)
            model.fit(joined[known["train"]], label["train"])
            score = weighted_f1_of(label["validation"], model.predict(joined[known["validation"]]))
            if best is None or score > best[1]:
                probabilities = np.zeros((len(at["test"]), classes))
                probabilities[:, model.classes_] = model.predict_proba(joined[at["test"]])
                best = strength, score, probabilities
    assert best is not None
    strength, score, probabilities = best
    return probabilities, strength, score


if __name__ == "__main__":
    start(run, parser(__doc__))
