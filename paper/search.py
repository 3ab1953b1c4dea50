"""The search for each model's learning rate and dropout, judged on validation: the same points, seeds and epochs for
every model, CMATH included. And from it the jobs, a training each, that a model's row of a table asks for."""

from dataclasses import dataclass
from itertools import product

from paper.params import Report, changed
from pipeline.params import Params


@dataclass(frozen=True, slots=True)
class Job:
    """A training that is to be done, or found."""

    params: Params
    seed: int
    weights: bool
    """Whether its model is asked for, and not only its score."""


@dataclass(frozen=True, slots=True)
class Point:
    """A pair of the search's grid."""

    learning_rate: float
    dropout: float


def grid(report: Report) -> list[Point]:
    return [Point(*pair) for pair in product(report.search.learning_rate, report.search.dropout)]


def at_point(params: Params, corpus: str, model: str, report: Report, point: Point) -> Params:
    """The main parameters with `model`, whole, at a point of the search, and the report's limit of epochs."""
    key = "model.dropout" if model == "cmath" else f"baselines.{model}.dropout"
    changes = {"model.name": model, "model.ablate": "none", key: point.dropout}
    train = {"learning_rate": point.learning_rate, "epochs": min(report.epochs, params.train[corpus].epochs)}
    return changed(params, {**changes, **{f"train.{corpus}.{name}": value for name, value in train.items()}})


def search_jobs(params: Params, corpus: str, model: str, report: Report, point: Point) -> list[Job]:
    """The trainings by which a point is judged.

    Those that go on for as long as the reported ones are of the reported ones, if the point is chosen: they keep their
    models.
    """
    whole = at_point(params, corpus, model, report, point)
    epochs = whole.train[corpus].epochs
    tried = changed(whole, {f"train.{corpus}.epochs": min(epochs, report.search.epochs)})
    return [Job(tried, seed, report.search.epochs >= epochs) for seed in report.search.seeds]


def reported_jobs(params: Params, corpus: str, model: str, report: Report, point: Point) -> list[Job]:
    """The trainings at the chosen point."""
    return [Job(at_point(params, corpus, model, report, point), seed, True) for seed in report.seeds]


def chosen(scores: dict[Point, float | None]) -> Point | None:
    """The point with the best score, the first of equal ones; None if all failed."""
    there = {point: score for point, score in scores.items() if score is not None}
    return max(there, key=lambda point: there[point]) if there else None
