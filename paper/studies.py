"""The studies of CMATH, each a list of settings that differ from the chosen one in one thing: the paper's Table 4,
Table 5, Figures 4 and 6, and the text encoder as published and fine-tuned."""

from itertools import product

from paper.params import Report, changed
from paper.search import Job, Point, at_point
from paper.trainings import Trainings
from pipeline.params import MODALITIES, Params

STUDIES = ("ablations", "modalities", "widths", "gammas", "text")


def settings(study: str, corpus: str, report: Report, present: set[str]) -> dict[str, dict[str, object]]:
    """The settings of a study by name, as changes of the parameters.

    Args:
        present: the modalities that the corpus has; sets with another one are left out, and that of all, the
            comparison's own.
    """
    chosen = report.studies
    if study == "ablations":
        return {name: {"model.ablate": name} for name in chosen.ablations}
    if study == "modalities":
        sets = [[name for name in MODALITIES if name in some] for some in chosen.modalities if set(some) < present]
        return {"+".join(some): {"model.modalities": some} for some in sets}
    if study == "text":
        encoders = {"frozen": False, "fine-tuned": True} if chosen.text and "text" in present else {}
        return {name: {f"text.{corpus}.finetune": tuned} for name, tuned in encoders.items()}
    if study == "widths":
        return {str(width): {"model.dim": width} for width in chosen.widths}
    return {
        f"{first:g}-{second:g}": {f"train.{corpus}.gamma1": first, f"train.{corpus}.gamma2": second}
        for first, second in product(chosen.gammas, chosen.gammas)
    }


def jobs(trainings: Trainings, params: Params, report: Report, study: str, point: Point) -> dict[str, list[Job]]:
    """The trainings of each setting of a study, at CMATH's chosen point."""
    base = at_point(params, trainings.name, "cmath", report, point)
    present = set(trainings.corpus(base).features)
    seeds = report.studies.gamma_seeds if study == "gammas" else report.seeds
    return {
        name: [Job(changed(base, changes), seed, True) for seed in seeds]
        for name, changes in settings(study, trainings.name, report, present).items()
    }
