"""Search for each model's learning rate and dropout on validation, and the trainings that a table row needs.

Every model, including CMATH, is searched with the same points, seeds and epochs.
"""

from dataclasses import dataclass
from itertools import product

from paper.params import Report, changed
from pipeline.params import Params


@dataclass(frozen=True, slots=True)
class Job:
    """A training that the report needs."""

    params: Params
    seed: int
    weights: bool
    """Whether its weights must be saved, and not only its score."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the search grid."""

    learning_rate: float
    dropout: float


def grid(report: Report) -> list[Point]:
    return [Point(*pair) for pair in product(report.search.learning_rate, report.search.dropout)]


def at_point(params: Params, corpus: str, model: str, report: Report, point: Point) -> Params:
    """Main parameters for `model` (without ablation) at a point of the search, with the report's limit of epochs."""
    key = "model.dropout" if model == "cmath" else f"baselines.{model}.dropout"
    changes = {"model.name": model, "model.ablate": "none", key: point.dropout}
    train = {"learning_rate": point.learning_rate, "epochs": min(report.epochs, params.train[corpus].epochs)}
    return changed(params, {**changes, **{f"train.{corpus}.{name}": value for name, value in train.items()}})


def search_jobs(params: Params, corpus: str, model: str, report: Report, point: Point) -> list[Job]:
    """Trainings that give the validation score of a point.

    If the search trains for as many epochs as the reported runs, its trainings at the chosen point are reused as
    reported runs, so their weights are saved.
    """
    whole = at_point(params, corpus, model, report, point)
    epochs = whole.train[corpus].epochs
    tried = changed(whole, {f"train.{corpus}.epochs": min(epochs, report.search.epochs)})
    return [Job(tried, seed, report.search.epochs >= epochs) for seed in report.search.seeds]


def reported_jobs(params: Params, corpus: str, model: str, report: Report, point: Point) -> list[Job]:
    """Trainings at the chosen point whose results are reported."""
    return [Job(at_point(params, corpus, model, report, point), seed, True) for seed in report.seeds]


def chosen(scores: dict[Point, float | None]) -> Point | None:
    """Point with the best score (the first one if several are equal); None if all failed."""
    there = {point: score for point, score in scores.items() if score is not None}
    return max(there, key=lambda point: there[point]) if there else None
