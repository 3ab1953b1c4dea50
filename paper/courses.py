"""Courses: which trainings a model's search or a study needs, one step after the other.

A course is a generator. It yields the jobs that it needs next, is sent their trainings in the same order, and returns
its result. So many courses can run at once (paper/pool.py), and each still decides as if it ran alone.
"""

from collections.abc import Generator
from dataclasses import dataclass

from foundation.errors import UserError
from foundation.log import log
from paper.params import Report
from paper.plan import mean_score
from paper.search import Job, Point, Scores, chosen, given_scores, reported_jobs, search_jobs, walk_of
from paper.trainings import Trainings
from pipeline.params import Params
from pipeline.training.store import Trained

Jobs = list[Job]
Fits = list[Trained]


@dataclass(frozen=True, slots=True)
class Searched:
    """A finished search, and the trainings at the chosen point whose results are reported."""

    scores: Scores
    best: Point
    sides: list[str]
    """Settings in which the chosen point lies at the edge of what was tried."""
    jobs: Jobs
    fits: Fits


def search(trainings: Trainings, params: Params, model: str, report: Report) -> Generator[Jobs, Fits, Searched]:
    """Course of a model: the points of its search, each as its walk chooses it, and then the reported trainings.

    Raises:
        UserError: at no point of the search is the loss finite.
    """
    corpus = trainings.name
    walk, scores, given = walk_of(params, corpus, model, report), Scores(), given_scores(report, corpus, model)
    while point := walk.next_point(scores):
        if point in given:
            scores[point] = given[point]
        else:
            scores[point] = mean_score((yield search_jobs(params, corpus, model, report, point)))
        log.info("%s on %s: learning rate %g, dropout %g, batch %d: validation weighted F1 %s%s", model, corpus,
                 point.learning_rate, point.dropout, point.batch, _shown(scores[point]),
                 " (report.search.given)" if point in given else "")  # fmt: skip
    best = chosen(scores)
    if best is None:
        raise UserError(f"paper/params.yaml: report.search: at none of the {len(scores)} points that were tried is the "
                        f"loss of {model} finite; lower report.search.start or add lower values of learning_rate"
                        )  # fmt: skip
    sides = walk.open_sides(scores, best)
    if sides:
        log.info("%s on %s: the chosen point lies at the edge of what was tried (%s): with more report.search.points, "
                 "for all models, or longer lists there, the search goes on", model, corpus, ", ".join(sides)
                 )  # fmt: skip
    jobs = reported_jobs(params, corpus, model, report, best)
    return Searched(scores, best, sides, jobs, (yield jobs))


def only(jobs: Jobs) -> Generator[Jobs, Fits, Fits]:
    """Course of `jobs` that do not depend on one another; returns their trainings."""
    return (yield jobs)


def _shown(score: float | None) -> str:
    return "none: its loss is not finite" if score is None else f"{score:.2f}"
