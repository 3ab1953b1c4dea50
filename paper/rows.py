"""A row of a table: the trainings of one model in one setting, one per seed, and their results on test.

Its folder has history.csv, predictions.csv and metrics.json as the main pipeline writes them. metrics.json also has the
scores of the `ensemble`, its `calibration`, the kind of `text` features (paper/features.py), the chosen learning rate,
dropout and batch, the weight decay, the number of parameters, `seen` where labels were seen in making the features
(pipeline/scoring/marks.py), and `seconds`, the mean time of a training, which is the only value that differs between
machines.
"""

import json
import shutil
from pathlib import Path

import numpy as np

from extractors.utterance import Utterance
from foundation.csv_file import read_csv
from foundation.errors import UserError
from foundation.files import write_whole
from foundation.log import log
from model.registry import MODELS
from model.training import positions
from paper.features import FOLDER, kind_of_text
from paper.search import Job, dropout_of
from paper.trainings import Trainings
from pipeline.calibration import Answer
from pipeline.scoring.marks import marks
from pipeline.scoring.metrics import (
    Seed,
    ensemble_scores,
    labelled_answer,
    metrics,
    said_of_test,
    text_encoder_scores,
    validation_scores,
)
from pipeline.scoring.tables import write_predictions, write_reliability
from pipeline.training.history import write_history
from pipeline.training.store import Trained


def write_row(
    trainings: Trainings, jobs: list[Job], fits: list[Trained], folder: Path, edge: list[str] | None = None
) -> dict:
    """Evaluate the models of `jobs` on test (for the first time), write the row's folder and return its scores.

    Args:
        edge: settings in which the point that the search chose lies at the edge of what was tried.

    Raises:
        UserError: a training failed.
    """
    params = jobs[0].params
    if any(fit.score is None for fit in fits):
        raise UserError(f"{params.model.name} on {trainings.name}: at the chosen point the loss of a seed is not "
                        "finite; lower report.search.learning_rate in paper/params.yaml")  # fmt: skip
    train, model = params.train[trainings.name], params.model.name
    folder.mkdir(parents=True, exist_ok=True)
    write_history([row for fit in fits for row in fit.history], folder / "history.csv")
    corpus = trainings.corpus(params)
    models = {job.seed: trainings.model(job.params, job.seed) for job in jobs}
    calibration = trainings.calibration(params, {seed: network for seed, (network, _) in models.items()})
    seeds = [said_of_test(*models[seed], seed, corpus, calibration) for seed in models]
    tested = [trainings.rows[place] for place in positions(corpus, "test").tolist()]
    train_labels = [row.label for row in trainings.rows if row.split == "train"]
    scores = metrics(seeds, tested, train_labels, trainings.labels)
    ensemble = calibration.of_all([seed.answer.raw for seed in seeds])
    scores["ensemble"] = ensemble_scores(ensemble, tested, trainings.labels, calibration)
    scores["calibration"] = calibration.model_dump(include={"temperature", "of_seeds", "decision", "tau"})
    times = [fit.seconds * len(fit.history) for fit in fits if fit.seconds is not None]
    scores |= {
        "validation": validation_scores(folder / "history.csv"),
        "text": kind_of_text(trainings.name, params),
        "learning_rate": train.learning_rate,
        "dropout": dropout_of(params, model),
        "batch": train.batch,
        "weight_decay": train.weight_decay,
        "edge": edge or [],
        "parameters": fits[0].parameters,
        "seconds": round(float(np.mean(times)), 1) if times else None,
        "reimplementation": MODELS[model][0].reimplementation,
    }
    if seen := marks(trainings.name, params.model.modalities):
        scores["seen"] = seen
        for mark in seen:
            log.warning("%s on %s: NOT A FAIR SCORE: %s", model, trainings.name, mark)
    write_whole(folder / "metrics.json", json.dumps(scores, indent=2) + "\n")
    write_predictions(seeds, tested, trainings.labels, folder / "predictions.csv")
    write_reliability(*labelled_answer(ensemble, tested, trainings.labels), folder / "reliability.csv")
    return scores


def remove_others(folder: Path, rows: set[str]) -> None:
    """Remove the rows in `folder` but `rows`: they were made with earlier settings, and nothing must count them."""
    for other in folder.iterdir():
        if other.is_dir() and other.name not in rows:
            shutil.rmtree(other)
            log.info("%s: removed, since it is not made any more", other)


def encoder_predictions(trainings: Trainings) -> Path:
    """File of the fine-tuned text encoder's own predictions, of the main pipeline or of the stage text@D."""
    home = Path("data") / trainings.name if trainings.fine_tuned else FOLDER / trainings.name
    return home / "encoder" / "text_predictions.csv"


def write_encoder_row(trainings: Trainings, folder: Path) -> None:
    """Evaluate the fine-tuned text encoder alone, without context, on test.

    Writes predictions.csv, and metrics.json with `validation_weighted_f1` and the scores on test.

    Raises:
        UserError: the file of the encoder's predictions is missing.
    """
    file, order = encoder_predictions(trainings), trainings.labels
    scores = text_encoder_scores(file, trainings.rows, order).get("text_encoder")
    if scores is None:
        raise UserError(f"{file}: is of an encoder that is used as published; `dvc repro` makes it anew")
    said = dict(read_csv(file, ["utterance_id", *order], lambda line: (line["utterance_id"], [float(line[name]) for
                         name in order]), "`dvc repro` makes it anew"))  # fmt: skip
    tested = [row for row in trainings.rows if row.split == "test"]
    if lacking := [row.utterance_id for row in tested if row.utterance_id not in said]:
        raise UserError(f"{file}: has no row for {lacking[0]}, which the index has; `dvc repro` makes it anew")
    probabilities = np.array([said[row.utterance_id] for row in tested])
    write_single_row(trainings, tested, probabilities, ["text"], scores, folder)


def write_single_row(
    trainings: Trainings,
    tested: list[Utterance],
    probabilities: np.ndarray,
    modalities: list[str],
    more: dict[str, object],
    folder: Path,
) -> None:
    """Write the row of what was trained once and has no seeds: predictions.csv and metrics.json.

    Args:
        tested: utterances of test, in the order of `probabilities` [utterances, C], which are neither calibrated nor
            adjusted.
        modalities: what it is made of, for the mark of labels that were seen.
        more: further entries of metrics.json.
    """
    answer = Answer(probabilities, probabilities, probabilities.argmax(1))
    only = Seed(0, answer, np.empty((len(tested), 0)), answer.label[None])
    train = [row.label for row in trainings.rows if row.split == "train"]
    found = metrics([only], tested, train, trainings.labels)
    names = ("accuracy", "weighted_f1", "macro_f1", "f1", "calibration_error", "majority", "utterances")
    scores = {name: found[name] for name in names} | more
    if seen := marks(trainings.name, modalities):
        scores["seen"] = seen
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "metrics.json", json.dumps(scores, indent=2) + "\n")
    write_predictions([only], tested, trainings.labels, folder / "predictions.csv")
