"""train@D-M of paper/dvc.yaml: one model on one corpus, from the search to its row in the comparison.

Learning rate, dropout and batch are searched on validation; then one model per seed is trained at the chosen point;
only then is test used. Every training is kept in the work cache, so nothing is trained twice, and a run can be resumed.

Writes paper/runs/D/M/: search.csv (all points in their order; the chosen one is marked, with the settings in which it
lies at the edge of what was tried), history.csv, predictions.csv, metrics.json.
"""

import argparse
import csv
from functools import partial
from pathlib import Path

from foundation.errors import UserError
from foundation.log import log
from foundation.torch_setup import prepare_torch
from model.registry import MODELS
from paper.params import Report, load_report
from paper.plan import in_words, mean_score, plan
from paper.rows import trained, write_row
from paper.search import Point, Scores, chosen, reported_jobs, search_jobs, walk_of
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

    walk, scores = walk_of(params, args.corpus, model, report), Scores()
    while point := walk.next_point(scores):
        jobs = search_jobs(params, args.corpus, model, report, point)
        scores[point] = mean_score([trained(trainings, job, model, left) for job in jobs])
        log.info("%s on %s: learning rate %g, dropout %g, batch %d: validation weighted F1 %s", model, args.corpus,
                 point.learning_rate, point.dropout, point.batch, _shown(scores[point]))  # fmt: skip
    best = chosen(scores)
    if best is None:
        raise UserError(f"paper/params.yaml: report.search: at none of the {len(scores)} points that were tried is the "
                        f"loss of {model} finite; lower report.search.start or add lower values of learning_rate"
                        )  # fmt: skip
    sides = walk.open_sides(scores, best)
    if sides:
        log.info("%s on %s: the chosen point lies at the edge of what was tried (%s): with more report.search.points, "
                 "for all models, or longer lists there, the search goes on", model, args.corpus, ", ".join(sides)
                 )  # fmt: skip
    write_search(args.corpus, model, scores, best, sides, report, folder / "search.csv")
    jobs = reported_jobs(params, args.corpus, model, report, best)
    fits = [trained(trainings, job, model, left) for job in jobs]
    found = write_row(trainings, jobs, fits, folder, sides)
    log.info("%s on %s, %d seeds: accuracy %.2f ± %.2f, weighted F1 %.2f ± %.2f "
             "(majority-class baseline: %.2f and %.2f)",
             model, args.corpus, len(fits), found["accuracy"], found["accuracy_std"], found["weighted_f1"],
             found["weighted_f1_std"], found["majority"]["accuracy"], found["majority"]["weighted_f1"])  # fmt: skip
    say_what_is_left(trainings, params, report)


def say_what_is_left(trainings: Trainings, params: Params, report: Report) -> None:
    plans = [plan(trainings, params, name, report) for name in report.models]
    log.info("all models on %s: %s", trainings.name, in_words(plans))


def write_search(
    corpus: str, model: str, scores: Scores, best: Point, sides: list[str], report: Report, file: Path
) -> None:
    """Write one row per point, in the order in which they were tried; a point without a score has failed.

    Args:
        sides: settings in which the point `best` lies at the edge of what was tried.
    """
    columns = ["corpus", "model", "learning_rate", "dropout", "batch", "seeds", "validation_weighted_f1", "chosen",
               "edge"]  # fmt: skip
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        for point, score in scores.items():
            writer.writerow([corpus, model, point.learning_rate, point.dropout, point.batch, len(report.search.seeds),
                             "" if score is None else f"{score:.4f}", "yes" if point == best else "",
                             " ".join(sides) if point == best else ""])  # fmt: skip


def _shown(score: float | None) -> str:
    return "none: its loss is not finite" if score is None else f"{score:.2f}"


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("model", choices=MODELS)
    start(run, arguments)
