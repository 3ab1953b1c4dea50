"""How many trainings the report asks for, how many of them are done, and about how long the others will take.

python -m paper.plan
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from paper.params import Report, load_report
from paper.search import Point, chosen, grid, reported_jobs, search_jobs
from paper.trainings import Trained, Trainings
from pipeline.params import Params, ParamsError, load_params
from pipeline.stage import StageError


@dataclass(frozen=True, slots=True)
class Plan:
    """The trainings of one model on one corpus."""

    model: str
    done: int
    left: int
    epochs_left: int
    """At most: a training ends when its validation score has not risen for long."""
    seconds_an_epoch: float | None
    """Mean of those done; None if there are none."""


def plan(trainings: Trainings, params: Params, model: str, report: Report) -> Plan:
    """What is done and left of `model`'s row of the comparison."""
    corpus, known, left = trainings.name, [], []
    scores: dict[Point, float | None] = {}
    for tried in grid(report):
        jobs = search_jobs(params, corpus, model, report, tried)
        found = [trainings.found(job.params, job.seed, weights=job.weights) for job in jobs]
        known += [one for one in found if one]
        left += [job for job, one in zip(jobs, found, strict=True) if not one]
        scores[tried] = mean_score(found)
    point = chosen(scores)
    if point and not left:
        jobs = reported_jobs(params, corpus, model, report, point)
        found = [trainings.found(job.params, job.seed, weights=True) for job in jobs]
        known += [one for one in found if one]
        left += [job for job, one in zip(jobs, found, strict=True) if not one]
    elif left:  # which point it will be is not known yet; how many there will be, is
        left += reported_jobs(params, corpus, model, report, grid(report)[0])
    seconds = [one.seconds for one in known if one.seconds is not None]
    epochs = sum(job.params.train[corpus].epochs for job in left)
    return Plan(model, len(known), len(left), epochs, float(np.mean(seconds)) if seconds else None)


def mean_score(found: list[Trained | None]) -> float | None:
    """Mean validation score of a point's trainings; None if one is lacking or failed."""
    scores = [one.score for one in found if one is not None and one.score is not None]
    return float(np.mean(scores)) if len(scores) == len(found) else None


def in_words(plans: list[Plan]) -> str:
    """Counts, and the time at most: a model that nothing is known of counts as the mean of the others."""
    done, left = sum(plan.done for plan in plans), sum(plan.left for plan in plans)
    known = [plan.seconds_an_epoch for plan in plans if plan.seconds_an_epoch is not None]
    said = f"{done + left} trainings, {done} of them done"
    if not left:
        return said
    if not known:
        return f"{said}; how long the others take is told after the first"
    usual = float(np.mean(known))
    seconds = sum(plan.epochs_left * (plan.seconds_an_epoch or usual) for plan in plans)
    others = "the last one takes" if left == 1 else f"the other {left} take"
    return f"{said}; {others} at most about {duration(seconds)}"


def duration(seconds: float) -> str:
    """`seconds` in the unit that a person would use."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def lines(params: Params, report: Report) -> Iterator[str]:
    for corpus in report.corpora:
        try:
            trainings = Trainings(corpus)
            plans = [plan(trainings, params, model, report) for model in report.models]
        except StageError as error:
            yield f"{corpus}: nothing is known yet ({error})"
            continue
        for one in plans:
            yield f"{corpus}, {one.model}: {in_words([one])}"
        yield f"{corpus}: {in_words(plans)}"


def main() -> None:
    try:
        for line in lines(load_params(), load_report()):
            print(line)
    except (ParamsError, StageError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
