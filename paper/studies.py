"""Studies of CMATH, each a list of settings that differ from the chosen setting in one respect.

They are the paper's Table 4, Table 5, Figures 4 and 6, and the comparison of the published and fine-tuned text encoder.
"""

from itertools import product

from paper.params import Report
from pipeline.params import MODALITIES

STUDIES = ("ablations", "modalities", "widths", "gammas", "text")


def settings(study: str, corpus: str, report: Report, present: set[str]) -> dict[str, dict[str, object]]:
    """Settings of a study by name, as changes of the parameters.

    Args:
        present: modalities of the corpus. Subsets that need a modality the corpus lacks are skipped, and so is the full
            set, which the comparison already trains.
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
