"""PNG pictures of the report, in the style of the main pipeline."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from paper.model_table import Comparison, marked, plain_name
from paper.names import NAMES
from pipeline.scoring.pictures import ACCENT, CLASS_COLOURS, COLOUR, save


def draw_comparison(one: Comparison, file: Path) -> None:
    """Draw weighted F1 of each model: mean and standard deviation over the seeds, and the paper's value.

    Vertical lines are what needs no model of the dialogue: the majority class, logistic regression, the encoder alone.
    """
    figure, axes = plt.subplots(figsize=(7.2, 2.2 + 0.36 * len(one.runs)), layout="constrained")
    ranked = sorted(one.runs, key=lambda model: one.runs[model]["weighted_f1"])
    for height, model in enumerate(ranked):
        run, colour = one.runs[model], ACCENT if model == "cmath" else COLOUR
        axes.errorbar(run["weighted_f1"], height, xerr=run["weighted_f1_std"], fmt="o", color=colour, capsize=4)
        if model in one.published:
            axes.plot(one.published[model]["weighted_f1"], height, "D", color="grey", markerfacecolor="none")
    if one.published:
        axes.plot([], [], "D", color="grey", markerfacecolor="none", label="as the paper prints it")
    lines = {"majority-class baseline": one.majority["weighted_f1"]}
    lines |= {plain_name(name, run): run["weighted_f1"] for name, run in one.plain.items()}
    for style, (name, score) in zip(("--", "-", ":", "-."), lines.items(), strict=False):
        axes.axvline(score, color="grey", linestyle=style, zorder=0, label=f"{name} {score:.1f}")
    figure.legend(loc="outside lower center", ncols=2)
    axes.set_yticks(range(len(ranked)), [marked(NAMES[model], one.runs[model]) for model in ranked])
    axes.set_xlabel("weighted F1 on test, %")
    seeds = next(iter(one.runs.values()))["seeds"]
    axes.set_title(f"{one.corpus}: mean and standard deviation of {seeds} seeds")
    axes.grid(axis="x", alpha=0.3)
    save(figure, file)


def draw_widths(runs: dict[int, dict], file: Path) -> None:
    """Draw weighted F1 by width, mean and standard deviation over the seeds (Figure 4)."""
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    values, errors = ([run[key] for run in runs.values()] for key in ("weighted_f1", "weighted_f1_std"))
    axes.errorbar(list(runs), values, yerr=errors, fmt="o-", color=ACCENT, capsize=4)
    axes.set_xticks(list(runs))
    axes.set_xlabel("width d")
    axes.set_ylabel("weighted F1 on test, %")
    axes.set_title("CMATH by width: mean and standard deviation over the seeds")
    axes.grid(alpha=0.3)
    save(figure, file)


def draw_lengths(scores: dict[str, dict[str, list[float]]], utterances: dict[str, int], file: Path) -> None:
    """Draw weighted F1 by length of the conversation (Figure 5): one bar per model, with standard deviation."""
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for number, (model, groups) in enumerate(scores.items()):
        places = np.arange(len(groups)) + 0.36 * number
        errors = [np.std(values, ddof=1) if len(values) > 1 else 0 for values in groups.values()]
        axes.bar(places, [np.mean(values) for values in groups.values()], 0.34, yerr=errors, capsize=4,
                 color=(ACCENT, COLOUR)[number], label=NAMES[model])  # fmt: skip
    labels = [f"{group} turns\n({count} utterances)" for group, count in utterances.items()]
    axes.set_xticks(np.arange(len(labels)) + 0.18, labels)
    axes.set_ylim(0, 100)
    axes.set_ylabel("weighted F1 on test, %")
    axes.set_title("Mean and standard deviation over the seeds")
    axes.legend()
    save(figure, file)


def draw_gammas(scores: np.ndarray, deviations: np.ndarray | None, values: list[float], file: Path) -> None:
    """Draw weighted F1 [gamma1, gamma2] as a heat map with numbers and, if given, standard deviations (Figure 6)."""
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    picture = axes.imshow(scores, cmap="cividis", origin="lower")
    middle = (scores.min() + scores.max()) / 2
    for row, column in np.ndindex(scores.shape):
        colour = "black" if scores[row, column] > middle else "white"
        spread = "" if deviations is None else f"\n± {deviations[row, column]:.1f}"
        axes.text(column, row, f"{scores[row, column]:.1f}{spread}", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axes.set_yticks(range(len(values)), [f"{value:g}" for value in values])
    axes.set_xlabel("γ2, weight of high-level distillation")
    axes.set_ylabel("γ1, weight of low-level distillation")
    axes.set_title("CMATH by γ1 and γ2" + ("" if deviations is None else ": mean ± standard deviation over the seeds"))
    figure.colorbar(picture, label="weighted F1 on test, %")
    save(figure, file)


def draw_robustness(scores: dict[tuple[str, str, str, float], list[float]], file: Path) -> None:
    """Draw weighted F1 with missing or noisy modalities, one panel per modality and kind of damage.

    CMATH has error bars with its standard deviation over the seeds.
    """
    models = list(dict.fromkeys(model for model, _, _, _ in scores))
    modalities = list(dict.fromkeys(modality for _, modality, _, _ in scores))
    kinds = list(dict.fromkeys(kind for _, _, kind, _ in scores))
    names = 1 + len(modalities)  # columns of the legend, chosen to fit the width of the panels
    height = 0.6 + 0.2 * -(-len(models) // names) + 2.8 * len(kinds)
    figure, panels = plt.subplots(len(kinds), len(modalities), squeeze=False, sharey=True, layout="constrained",
                                  figsize=(1.2 + 3 * len(modalities), height))  # fmt: skip
    for row, kind in enumerate(kinds):
        for column, modality in enumerate(modalities):
            axes = panels[row, column]
            for number, model in enumerate(sorted(models, key="cmath".__eq__)):
                points = sorted(
                    (key[3], values) for key, values in scores.items() if key[:3] == (model, modality, kind)
                )
                levels = [100 * level if kind == "missing" else level for level, _ in points]
                means = [float(np.mean(values)) for _, values in points]
                if model == "cmath":
                    errors = [float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for _, values in points]
                    axes.errorbar(levels, means, yerr=errors, fmt="o-", color=ACCENT, capsize=3, label=NAMES[model])
                else:
                    colour = CLASS_COLOURS[number % (len(CLASS_COLOURS) - 1)]
                    axes.plot(levels, means, color=colour, linestyle=("-", "--")[number // 6 % 2], label=NAMES[model])
            axes.set_title(f"{modality} {'missing' if kind == 'missing' else 'noisy'}")
            axes.set_xlabel(
                "test clips without it, %" if kind == "missing" else "noise, standard deviations of its features"
            )
            axes.grid(alpha=0.3)
        panels[row, 0].set_ylabel("weighted F1 on test, %")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=names, frameon=False)
    save(figure, file)


def draw_calibration(curves: dict[str, dict[str, list[tuple[float, float, int]]]], file: Path) -> None:
    """Draw accuracy by confidence, before and after calibration; a perfectly calibrated model lies on the diagonal.

    Args:
        curves: by model, and by `before` and `after`: confidence, accuracy and number of answers of each bin.
    """
    figure, panels = plt.subplots(1, 2, figsize=(9.2, 4.8), sharey=True, layout="constrained")
    for axes, when in zip(panels, ("before", "after"), strict=True):
        axes.plot([0, 100], [0, 100], color="grey", linestyle="--", label="as sure as right")
        for number, (model, points) in enumerate(curves.items()):
            confidence, right, counts = zip(*points[when], strict=True)
            colour = (ACCENT, COLOUR)[number]
            axes.plot(confidence, right, color=colour, label=NAMES[model], alpha=0.6)
            axes.scatter(confidence, right, s=[10 + 290 * count / sum(counts) for count in counts], color=colour)
        axes.set_title(f"{when} calibration")
        axes.set_xlabel("confidence, %")
        axes.set_aspect("equal")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("right answers, %")
    panels[0].legend(loc="upper left")
    figure.suptitle("All seeds as one model; a dot's area is its share of the answers")
    save(figure, file)
