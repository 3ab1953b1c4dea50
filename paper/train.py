"""train@D-M of paper/dvc.yaml: one model on one corpus, from the search to its row of the comparison.

Learning rate and dropout are searched on validation, then a model a seed is trained at the chosen point, and only then
is test looked at. Every training is kept in the work cache, so that nothing is trained twice and a killed run goes on.

Writes paper/runs/D/M/: search.csv (every point tried, and which was chosen), history.csv, predictions.csv and
metrics.json as those of the main pipeline, with the model's form and its training time in seconds. The time is the one
output that another machine will not repeat to the byte.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from model.registry import MODELS
from model.training import positions, prepare_torch
from paper.params import Report, load_report
from paper.plan import in_words, mean_score, plan
from paper.search import Job, Point, chosen, grid, reported_jobs, search_jobs
from paper.trainings import Trained, Trainings
from pipeline.evaluate import metrics, predict_seed, validation_scores, write_predictions
from pipeline.params import Params
from pipeline.stage import StageError, log, parser, start
from pipeline.train import write_history


def run(args: argparse.Namespace, params: Params) -> None:
    report = load_report()
    prepare_torch()
    trainings = Trainings(args.corpus)
    say_what_is_left(trainings, params, report, args.model)
    folder = Path("paper") / "runs" / args.corpus / args.model
    folder.mkdir(parents=True, exist_ok=True)

    scores = {}
    for point in grid(report):
        jobs = search_jobs(params, args.corpus, args.model, report, point)
        scores[point] = mean_score([trained(trainings, job, params, report) for job in jobs])
        log.info("%s on %s: learning rate %g, dropout %g: validation weighted F1 %s", args.model, args.corpus,
                 point.learning_rate, point.dropout, _shown(scores[point]))  # fmt: skip
    best = chosen(scores)
    if best is None:
        raise StageError(f"paper/params.yaml: report.search.learning_rate = {report.search.learning_rate}: with none "
                         f"of them is the loss of {args.model} finite; try lower ones")  # fmt: skip
    write_search(args.corpus, args.model, scores, best, report, folder / "search.csv")
    jobs = reported_jobs(params, args.corpus, args.model, report, best)
    fits = [trained(trainings, job, params, report) for job in jobs]
    if any(fit.score is None for fit in fits):
        raise StageError(f"{args.model} on {args.corpus}: at the chosen point the loss of a seed is not finite; lower "
                         "report.search.learning_rate in paper/params.yaml")  # fmt: skip

    write_history([row for fit in fits for row in fit.history], folder / "history.csv")
    found = score_on_test(trainings, jobs, fits, best, folder)
    log.info("%s on %s, %d seeds: accuracy %.2f ± %.2f, weighted F1 %.2f ± %.2f (constant classifier: %.2f and %.2f)",
             args.model, args.corpus, len(fits), found["accuracy"], found["accuracy_std"], found["weighted_f1"],
             found["weighted_f1_std"], found["constant"]["accuracy"], found["constant"]["weighted_f1"])  # fmt: skip
    say_what_is_left(trainings, params, report)


def say_what_is_left(trainings: Trainings, params: Params, report: Report, model: str = "") -> None:
    if model:
        log.info("%s on %s: %s", model, trainings.name, in_words([plan(trainings, params, model, report)]))
    plans = [plan(trainings, params, name, report) for name in report.models]
    log.info("all models on %s: %s", trainings.name, in_words(plans))


def trained(trainings: Trainings, job: Job, params: Params, report: Report) -> Trained:
    """The training; with a line about it, and about how long the others take, if it was not done before."""
    new = not trainings.found(job.params, job.seed, weights=job.weights)
    done = trainings.train(job.params, job.seed, weights=job.weights)
    if new and done.seconds is not None:
        model = job.params.model.name
        log.info("%s on %s, seed %d: %d epochs of %.1f s, the best is %d; %s", model, trainings.name, job.seed,
                 len(done.history), done.seconds, done.best_epoch,
                 in_words([plan(trainings, params, model, report)]))  # fmt: skip
    return done


def score_on_test(trainings: Trainings, jobs: list[Job], fits: list[Trained], point: Point, folder: Path) -> dict:
    """Scores of the trained models on test, written to metrics.json, and their predictions to predictions.csv."""
    params = jobs[0].params
    corpus = trainings.corpus(params)
    seeds = [predict_seed(trainings.folder(job.params), job.seed, corpus) for job in jobs]
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


def write_search(
    corpus: str, model: str, scores: dict[Point, float | None], best: Point, report: Report, file: Path
) -> None:
    """A row a point, in the order of the grid; a point without a score failed."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["corpus", "model", "learning_rate", "dropout", "seeds", "validation_weighted_f1", "chosen"])
        for point, score in scores.items():
            writer.writerow([corpus, model, point.learning_rate, point.dropout, len(report.search.seeds),
                             "" if score is None else f"{score:.4f}", "yes" if point == best else ""])  # fmt: skip


def _shown(score: float | None) -> str:
    return "none: its loss is not finite" if score is None else f"{score:.2f}"


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("model", choices=MODELS)
    start(run, arguments)
