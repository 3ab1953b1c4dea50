"""The pictures of the report, as PNG, in the style of the main pipeline's."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import pyplot as plt

from pipeline.pictures import ACCENT, COLOUR, save

if TYPE_CHECKING:
    from paper.comparison import Comparison


def draw_comparison(found: "Sequence[Comparison]", names: dict[str, str], file: Path) -> None:
    """Weighted F1 a model, a panel a corpus: mean and deviation over the seeds, beside the paper's."""
    models = max(len(one.runs) for one in found)
    figure, panels = plt.subplots(len(found), 1, figsize=(7.2, 1.4 + len(found) * (0.8 + 0.36 * models)),
                                  squeeze=False, layout="constrained")  # fmt: skip
    for one, axes in zip(found, panels[:, 0], strict=True):
        ranked = sorted(one.runs, key=lambda model: one.runs[model]["weighted_f1"])
        for height, model in enumerate(ranked):
            run, colour = one.runs[model], ACCENT if model == "cmath" else COLOUR
            axes.errorbar(run["weighted_f1"], height, xerr=run["weighted_f1_std"], fmt="o", color=colour, capsize=4)
            if model in one.published:
                axes.plot(one.published[model]["weighted_f1"], height, "D", color="grey", markerfacecolor="none")
        constant = one.constant["weighted_f1"]
        axes.axvline(constant, color="grey", linestyle="--")
        axes.annotate(f"constant classifier {constant:.1f}", (constant, 0.02), xycoords=("data", "axes fraction"),
                      xytext=(4, 0), textcoords="offset points", color="dimgrey")  # fmt: skip
        axes.set_yticks(range(len(ranked)), [names[model] for model in ranked])
        axes.set_xlabel("weighted F1 on test, %")
        seeds = next(iter(one.runs.values()))["seeds"]
        hollow = "; hollow: as the paper prints it" if one.published else ""
        axes.set_title(f"{one.corpus}: mean and deviation of {seeds} seeds{hollow}")
        axes.grid(axis="x", alpha=0.3)
    save(figure, file)
