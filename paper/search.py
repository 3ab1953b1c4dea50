"""Search for each model's learning rate, dropout and batch on validation, and the trainings that a table row needs.

Every model, including CMATH, is tried at the same number of points, with the same seeds and epochs. The points are
places on three ladders of values, one for each setting. The search begins where the model's authors were, and goes on
with a neighbour of the best point so far: one rung up or down on one ladder. So it goes on in any direction in which
the score still rises, until the number of points is used up. The ends of the ladders are its only bounds.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from paper.params import Report, changed
from pipeline.params import Params

NATURAL_ENDS = {"dropout": 0.0, "batch": 1}
"""Values below which there is none."""


@dataclass(frozen=True, slots=True)
class Job:
    """A training that the report needs."""

    params: Params
    seed: int
    weights: bool
    """Whether its weights must be saved, and not only its score."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the search."""

    learning_rate: float
    dropout: float
    batch: int


OF_POINT = {"learning_rate": "number", "dropout": "number", "batch": "number"}
"""What `point_in` takes from a row's metrics.json (paper/results_file.py)."""


def point_in(scores: dict[str, Any]) -> Point:
    """The chosen point in the content of a row's metrics.json."""
    return Point(scores["learning_rate"], scores["dropout"], scores["batch"])


Scores = dict[Point, float | None]
"""Validation scores of the points that were tried, in their order; None: the training failed."""


def given_scores(report: Report, corpus: str, model: str) -> Scores:
    """Scores of the points that were tried elsewhere (`report.search.given`)."""
    return {
        Point(one.learning_rate, one.dropout, one.batch): one.score for one in report.search.given_of(corpus, model)
    }


@dataclass(frozen=True, slots=True)
class Walk:
    """The course of the search of one model on one corpus."""

    start: Point
    ladders: dict[str, list[float]]
    """Values that may be tried, ascending, by the names of a point's settings; they include those of `start`."""
    points: int

    def next_point(self, tried: Scores) -> Point | None:
        """The point to try after `tried`: of the best point that has an untried neighbour, the first one.

        None if all points are used up. Of equal scores the earlier point counts as the better one.
        """
        if not tried:
            return self.start

        def worth(point: Point) -> float:  # of those whose training failed, the lower rates are worth more
            score = tried[point]
            return -1.0 - point.learning_rate if score is None else score

        ranked = sorted(tried, key=worth, reverse=True)
        untried = (other for point in ranked for other in self.neighbours(point) if other not in tried)
        return next(untried, None) if len(tried) < self.points else None

    def neighbours(self, point: Point) -> list[Point]:
        """Points that are one rung lower or higher on one ladder."""
        found = []
        for name, ladder in self.ladders.items():
            place = ladder.index(getattr(point, name))
            beside: list[Any] = [*ladder[:place][-1:], *ladder[place + 1 :][:1]]
            found += [replace(point, **{name: value}) for value in beside]
        return found

    def open_sides(self, tried: Scores, best: Point) -> list[str]:
        """Settings in which `best` lies at the edge of what was tried, so that a better value may lie beyond it."""
        sides = []
        for name, ladder in self.ladders.items():
            ends = {ladder[0], ladder[-1]} - {NATURAL_ENDS.get(name)}
            beside = [other for other in self.neighbours(best) if getattr(other, name) != getattr(best, name)]
            if getattr(best, name) in ends or not all(other in tried for other in beside):
                sides.append(name)
        return sides

    @property
    def most(self) -> int:
        """Number of points that will be tried."""
        return min(self.points, prod(map(len, self.ladders.values())))


def walk_of(params: Params, corpus: str, model: str, report: Report) -> Walk:
    """The search of `model`; it begins at its dropout in params.yaml, and at its entry in `report.search.start`."""
    told, common = report.search.start_of(model), params.train[corpus]
    rate, batch = (told or common).learning_rate, (told or common).batch
    start = Point(rate, dropout_of(params, model), batch)
    ladders = {
        name: sorted({*getattr(report.search, name), getattr(start, name)})
        for name in ("learning_rate", "dropout", "batch")
    }
    return Walk(start, ladders, report.search.points)


def dropout_of(params: Params, model: str) -> float:
    """The dropout of `model` in the main parameters."""
    section = params.model if model == "cmath" else params.baselines[model]
    return float(section.model_dump()["dropout"])


def at_point(params: Params, corpus: str, model: str, report: Report, point: Point) -> Params:
    """Main parameters for `model` (without ablation) at a point of the search, with the report's limit of epochs.

    A model with a curriculum has as many epochs more as its curriculum takes to show all of train.
    """
    key = "model.dropout" if model == "cmath" else f"baselines.{model}.dropout"
    changes = {"model.name": model, "model.ablate": "none", key: point.dropout}
    told = report.search.start_of(model)
    train = {
        "learning_rate": point.learning_rate,
        "batch": point.batch,
        "weight_decay": (told or params.train[corpus]).weight_decay,
        "epochs": min(report.epochs, params.train[corpus].epochs) + _before_all_of_train(params, model),
    }
    return changed(params, {**changes, **{f"train.{corpus}.{name}": value for name, value in train.items()}})


def _before_all_of_train(params: Params, model: str) -> int:
    """Number of epochs in which a curriculum shows only a part of the training split."""
    return params.baselines[model].curriculum - 1


def search_jobs(params: Params, corpus: str, model: str, report: Report, point: Point) -> list[Job]:
    """Trainings that give the validation score of a point.

    If the search trains for as many epochs as the reported runs, its trainings at the chosen point are reused as
    reported runs, so their weights are saved.
    """
    whole = at_point(params, corpus, model, report, point)
    epochs, searched = whole.train[corpus].epochs, report.search.epochs + _before_all_of_train(params, model)
    tried = changed(whole, {f"train.{corpus}.epochs": min(epochs, searched)})
    return [Job(tried, seed, searched >= epochs) for seed in report.search.seeds]


def reported_jobs(params: Params, corpus: str, model: str, report: Report, point: Point) -> list[Job]:
    """Trainings at the chosen point whose results are reported."""
    return [Job(at_point(params, corpus, model, report, point), seed, True) for seed in report.seeds]


def chosen(scores: Scores) -> Point | None:
    """Point with the best score (the first one if several are equal); None if all failed."""
    there = {point: score for point, score in scores.items() if score is not None}
    return max(there, key=lambda point: there[point]) if there else None
