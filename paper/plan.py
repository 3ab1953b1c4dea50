"""Number of trainings that the report needs, number of finished ones, and approximate time for the others.

python -m paper.plan
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from foundation.errors import UserError
from paper.features import other_text
from paper.params import NO_CORPUS, Report, load_report
from paper.search import Job, Point, Scores, chosen, given_scores, reported_jobs, search_jobs, walk_of
from paper.studies import STUDIES
from paper.study_jobs import jobs as study_jobs
from paper.trainings import Trainings
from paper.words import duration
from pipeline.params import Params, load_params
from pipeline.training.store import Trained


@dataclass(frozen=True, slots=True)
class Plan:
    """State of the trainings of one model, or of one study, on one corpus."""

    name: str
    done: int
    left: int
    epochs_left: int
    """Largest number of epochs left; a training ends earlier if its validation score stops improving."""
    seconds_an_epoch: float | None
    """Mean seconds per epoch of the finished trainings; None if there are none."""


def plan(trainings: Trainings, params: Params, model: str, report: Report) -> Plan:
    """Plan for the row of `model` in the comparison.

    Which points the search will try depends on scores that are not there yet; their trainings are counted.
    """
    corpus = trainings.name
    walk, tried = walk_of(params, corpus, model, report), finished(trainings, params, model, report)
    point, following = chosen(tried) or walk.start, walk.next_point(tried)
    points = [*tried, following] if following else list(tried)
    jobs = [job for one in points for job in jobs_to_try(params, corpus, model, report, one)]
    known = planned(trainings, model, [*jobs, *reported_jobs(params, corpus, model, report, point)])
    unknown = (walk.most - len(points)) * len(report.search.seeds)
    epochs = search_jobs(params, corpus, model, report, point)[0].params.train[corpus].epochs
    return replace(known, left=known.left + unknown, epochs_left=known.epochs_left + unknown * epochs)


def planned_jobs(trainings: Trainings, params: Params, report: Report) -> list[Job]:
    """The trainings of a report, as far as its searches have come, each once; those whose features are there."""
    jobs = []
    for model in report.models:
        tried, walk = finished(trainings, params, model, report), walk_of(params, trainings.name, model, report)
        points = list(tried) or [walk.start]
        jobs += [job for one in points for job in jobs_to_try(params, trainings.name, model, report, one)]
        jobs += reported_jobs(params, trainings.name, model, report, chosen(tried) or walk.start)
    if "cmath" in report.models:
        point = point_of(trainings, params, "cmath", report)
        for study in STUDIES:
            jobs += [job for part in study_jobs(trainings, params, report, study, point).values() for job in part]
    ready = [job for job in jobs if trainings.has_features(job.params)]
    return list({(trainings.folder(job.params), job.seed): job for job in ready}.values())


def plan_of_study(trainings: Trainings, params: Params, report: Report, study: str) -> Plan:
    point = point_of(trainings, params, "cmath", report)
    settings = study_jobs(trainings, params, report, study, point)
    return planned(trainings, study, [job for part in settings.values() for job in part])


def point_of(trainings: Trainings, params: Params, model: str, report: Report) -> Point:
    """Best point of the search so far; at first where it begins, because the number of trainings is the same."""
    tried = finished(trainings, params, model, report)
    return chosen(tried) or walk_of(params, trainings.name, model, report).start


def finished(trainings: Trainings, params: Params, model: str, report: Report) -> Scores:
    """Points of the search whose trainings are finished or whose scores are given, as far as the search has come."""
    walk, tried = walk_of(params, trainings.name, model, report), Scores()
    given = given_scores(report, trainings.name, model)
    while point := walk.next_point(tried):
        if point in given:
            tried[point] = given[point]
            continue
        found = found_of(trainings, search_jobs(params, trainings.name, model, report, point))
        if None in found:
            break
        tried[point] = mean_score(found)
    return tried


def jobs_to_try(params: Params, corpus: str, model: str, report: Report, point: Point) -> list[Job]:
    """Trainings that the search needs at a point: none if its score is given."""
    return [] if point in given_scores(report, corpus, model) else search_jobs(params, corpus, model, report, point)


def planned(trainings: Trainings, name: str, jobs: list[Job]) -> Plan:
    """Plan for `jobs`; jobs that are the same training count once."""
    ready = [job for job in jobs if trainings.has_features(job.params)]
    single = {(trainings.folder(job.params), job.seed): job for job in ready}
    found = found_of(trainings, list(single.values()))
    left = [job for job, one in zip(single.values(), found, strict=True) if not one]
    left += [job for job in jobs if not trainings.has_features(job.params)]
    seconds = [one.seconds for one in found if one and one.seconds is not None]
    epochs = sum(job.params.train[trainings.name].epochs for job in left)
    mean = float(np.mean(seconds)) if seconds else None
    return Plan(name, sum(one is not None for one in found), len(left), epochs, mean)


def found_of(trainings: Trainings, jobs: list[Job]) -> list[Trained | None]:
    return [trainings.found(job.params, job.seed, weights=job.weights) for job in jobs]


def mean_score(found: Sequence[Trained | None]) -> float | None:
    """Mean validation score of a point's trainings; None if one is missing or failed."""
    scores = [one.score for one in found if one is not None and one.score is not None]
    return float(np.mean(scores)) if len(scores) == len(found) else None


def in_words(plans: list[Plan], processes: int = 1) -> str:
    """Format counts and the largest remaining time; a model without a finished training gets the others' mean time.

    Args:
        processes: number of trainings that run at the same time.
    """
    done, left = sum(plan.done for plan in plans), sum(plan.left for plan in plans)
    known = [plan.seconds_an_epoch for plan in plans if plan.seconds_an_epoch is not None]
    said = f"{done + left} trainings, {done} of them done"
    if not left:
        return said
    if not known:
        return f"{said}; no time estimate until one training has finished"
    usual = float(np.mean(known))
    seconds = sum(plan.epochs_left * (plan.seconds_an_epoch or usual) for plan in plans) / min(processes, left)
    others = "the last one takes" if left == 1 else f"the other {left} take"
    return f"{said}; {others} at most about {duration(seconds)}"


def lines(params: Params, report: Report) -> Iterator[str]:
    if not report.corpora:
        yield NO_CORPUS
    for corpus in report.corpora:
        try:
            trainings = Trainings(corpus, params)
            plans = [plan(trainings, params, model, report) for model in report.models]
            studies = STUDIES if "cmath" in report.models else ()
            plans += [plan_of_study(trainings, params, report, study) for study in studies]
        except UserError as error:
            yield f"{corpus}: nothing is known yet ({error})"
            continue
        for one in plans:
            yield f"{corpus}, {one.name}: {in_words([one])}"
        if report.studies.text and not other_text(corpus).is_file():
            yield f"{corpus}: {_before(trainings)}"
        yield f"{corpus}: {in_words(plans)}"


def _before(trainings: Trainings) -> str:
    """Describe the work before the study `text`, which the counts of trainings do not include."""
    if trainings.fine_tuned:
        return "before the study text, features of the published text encoder are to be made"
    number = sum(row.split == "train" for row in trainings.rows)
    return (f"before the study text, the text encoder is to be fine-tuned on {number} utterances, unless the work "
            "cache has it; the time below leaves that out")  # fmt: skip


def main() -> None:
    try:
        for line in lines(load_params(), load_report()):
            print(line)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    argparse.ArgumentParser("python -m paper.plan", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()  # fmt: skip
    main()
