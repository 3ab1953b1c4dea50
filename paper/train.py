"""train@D-M of paper/dvc.yaml: one model on one corpus, from the search to its row in the comparison.

Learning rate, dropout and batch are searched on validation; then one model per seed is trained at the chosen point;
only then is test used. Every training is kept in the work cache, so nothing is trained twice, and a run can be resumed.

Writes paper/runs/D/M/: search.csv (all points in their order; the chosen one is marked, with the settings in which it
lies at the edge of what was tried; so are those whose score is of report.search.given), history.csv, predictions.csv,
metrics.json.
"""

import argparse
import csv
from functools import partial
from pathlib import Path

from foundation.files import open_whole
from foundation.log import log
from foundation.torch_setup import prepare_torch
from model.registry import MODELS
from paper.courses import Searched, search
from paper.params import Report, load_report
from paper.plan import in_words, plan
from paper.pool import run_course
from paper.rows import write_row
from paper.search import given_scores
from paper.trainings import Trainings
from pipeline.params import Params
from pipeline.stage import parser, start


def run(args: argparse.Namespace, params: Params) -> None:
    report, model = load_report(), args.model
    prepare_torch(threads=1)
    trainings = Trainings(args.corpus, params)
    left = partial(plan, trainings, params, model, report)
    log.info("%s on %s: %s", model, args.corpus, in_words([left()]))
    say_what_is_left(trainings, params, report)
    folder = Path("paper") / "runs" / args.corpus / model
    folder.mkdir(parents=True, exist_ok=True)

    course = search(trainings, params, model, report)
    done: Searched = run_course(trainings, model, course, left)
    write_search(args.corpus, model, done, report, folder / "search.csv")
    found = write_row(trainings, done.jobs, done.fits, folder, done.sides)
    log.info("%s on %s, %d seeds: accuracy %.2f ± %.2f, weighted F1 %.2f ± %.2f "
             "(majority-class baseline: %.2f and %.2f)",
             model, args.corpus, len(done.fits), found["accuracy"], found["accuracy_std"], found["weighted_f1"],
             found["weighted_f1_std"], found["majority"]["accuracy"], found["majority"]["weighted_f1"])  # fmt: skip
    say_what_is_left(trainings, params, report)


def say_what_is_left(trainings: Trainings, params: Params, report: Report) -> None:
    plans = [plan(trainings, params, name, report) for name in report.models]
    log.info("all models on %s: %s", trainings.name, in_words(plans))


def write_search(corpus: str, model: str, done: Searched, report: Report, file: Path) -> None:
    """Write one row per point, in the order in which they were tried; a point without a score has failed."""
    columns = ["corpus", "model", "learning_rate", "dropout", "batch", "seeds", "validation_weighted_f1", "chosen",
               "edge", "given"]  # fmt: skip
    given = given_scores(report, corpus, model)
    with open_whole(file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for point, score in done.scores.items():
            best = point == done.best
            writer.writerow([corpus, model, point.learning_rate, point.dropout, point.batch, len(report.search.seeds),
                             "" if score is None else f"{score:.4f}", "yes" if best else "",
                             " ".join(done.sides) if best else "", "yes" if point in given else ""])  # fmt: skip


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("model", choices=MODELS)
    start(run, arguments)
