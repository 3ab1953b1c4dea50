"""A row of a table: the trainings of one model in one setting, a seed each, and what they say of test.

Its folder has history.csv, predictions.csv and metrics.json as the main pipeline writes them; metrics.json also has the
model's form and `seconds`, the mean time of a training. The time is the one value that another machine will not repeat.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from model.registry import MODELS
from model.training import positions
from paper.features import FOLDER
from paper.plan import Plan, in_words
from paper.search import Job, Point
from paper.trainings import Trainings
from pipeline.evaluate import Seed, metrics, said_of_test, text_encoder_scores, validation_scores, write_predictions
from pipeline.history import write_history
from pipeline.stage import StageError, log
from pipeline.trainings import Trained


def trained(trainings: Trainings, job: Job, name: str, left: Callable[[], Plan]) -> Trained:
    """The training; with a line about it, and about what is `left`, if it was not done before."""
    new = not trainings.found(job.params, job.seed, weights=job.weights)
    done = trainings.train(job.params, job.seed, weights=job.weights)
    if new and done.seconds is not None:
        log.info("%s on %s, seed %d: %d epochs of %.1f s, the best is %d; %s", name, trainings.name, job.seed,
                 len(done.history), done.seconds, done.best_epoch, in_words([left()]))  # fmt: skip
    return done


def write_row(trainings: Trainings, jobs: list[Job], fits: list[Trained], point: Point, folder: Path) -> dict:
    """Look at test, for the first time, with the models of `jobs`; write the row's folder and give its scores.

    Raises:
        StageError: a training failed.
    """
    params = jobs[0].params
    if any(fit.score is None for fit in fits):
        raise StageError(f"{params.model.name} on {trainings.name}: at the chosen point the loss of a seed is not "
                         "finite; lower report.search.learning_rate in paper/params.yaml")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    write_history([row for fit in fits for row in fit.history], folder / "history.csv")
    corpus = trainings.corpus(params)
    seeds = [said_of_test(*trainings.model(job.params, job.seed), job.seed, corpus) for job in jobs]
    tested = [trainings.rows[place] for place in positions(corpus, "test").tolist()]
    train_labels = [row.label for row in trainings.rows if row.split == "train"]
    scores = metrics(seeds, tested, train_labels, trainings.labels)
    times = [fit.seconds * len(fit.history) for fit in fits if fit.seconds is not None]
    scores |= {
        "validation": validation_scores(folder / "history.csv"),
        "learning_rate": point.learning_rate,
        "dropout": point.dropout,
        "parameters": fits[0].parameters,
        "seconds": round(float(np.mean(times)), 1) if times else None,
        "reading": MODELS[params.model.name][0].reading,
    }
    (folder / "metrics.json").write_text(json.dumps(scores, indent=2) + "\n", "utf-8")
    write_predictions(seeds, tested, trainings.labels, folder / "predictions.csv")
    return scores


def write_encoder_row(trainings: Trainings, folder: Path) -> None:
    """Look at test with the fine-tuned text encoder alone, an utterance at a time.

    Writes predictions.csv, and metrics.json with `accuracy`, `weighted_f1` and `validation_weighted_f1`.

    Raises:
        StageError: what the encoder said is missing.
    """
    home = Path("data") / trainings.name if trainings.fine_tuned else FOLDER / trainings.name
    file, order = home / "encoder" / "text_guesses.csv", trainings.labels
    scores = text_encoder_scores(file, trainings.rows, order).get("text_encoder")
    if scores is None:
        raise StageError(f"{file}: is of an encoder that is used as published; `dvc repro` makes it anew")
    with file.open(encoding="utf-8", newline="") as stream:
        said = {line["utterance_id"]: [float(line[name]) for name in order] for line in csv.DictReader(stream)}
    tested = [row for row in trainings.rows if row.split == "test"]
    probabilities = np.array([said[row.utterance_id] for row in tested])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(scores, indent=2) + "\n", "utf-8")
    only = Seed(0, probabilities, np.empty((len(tested), 0)), probabilities.argmax(1)[None])
    write_predictions([only], tested, order, folder / "predictions.csv")
