"""Trainings of a study: all its settings, at the point that CMATH's search chose."""

from paper.params import Report, changed
from paper.search import Job, Point, at_point
from paper.studies import settings
from paper.trainings import Trainings
from pipeline.params import Params


def jobs(trainings: Trainings, params: Params, report: Report, study: str, point: Point) -> dict[str, list[Job]]:
    """Trainings of each setting of a study, at the point that CMATH's search chose."""
    base = at_point(params, trainings.name, "cmath", report, point)
    present = set(trainings.corpus(base).features)
    seeds = report.studies.gamma_seeds if study == "gammas" else report.seeds
    return {
        name: [Job(changed(base, changes), seed, True) for seed in seeds]
        for name, changes in settings(study, trainings.name, report, present).items()
    }
