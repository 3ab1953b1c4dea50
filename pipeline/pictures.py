"""The pictures of `evaluate`, as PNG: the same input gives the same bytes with the same libraries."""

import csv
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from sklearn.metrics import confusion_matrix
from threadpoolctl import threadpool_limits

COLOUR, ACCENT = "#0072b2", "#d55e00"
"""Blue and vermilion of Okabe and Ito, which colour-blind readers tell apart."""
CLASS_COLOURS = ("#999999", "#e69f00", "#56b4e9", "#0072b2", "#009e73", "#cc79a7", "#d55e00")
"""Seven of the same palette, which come again in other shapes where a corpus has more classes."""
SHAPES = "osD^vPX*"


def save(figure: Figure, file: Path) -> None:
    """Write the PNG, the same bytes for the same picture, and close it."""
    figure.savefig(file, dpi=110, metadata={"Software": None})
    plt.close(figure)


def draw_confusion(label: np.ndarray, guesses: list[np.ndarray], names: tuple[str, ...], file: Path) -> None:
    """Share of each class' utterances by prediction, all seeds together, with the counts of one seed on average."""
    counts = sum(confusion_matrix(label, guess, labels=range(len(names))) for guess in guesses) / len(guesses)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center",
                      color="white" if shares[row, column] > 0.5 else "black")  # fmt: skip
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("annotated")
    axes.set_title(f"Utterances of test, mean of {len(guesses)} seeds")
    figure.colorbar(picture, label="share of the annotated class")
    save(figure, file)


def draw_curves(history: Path, file: Path) -> None:
    """Training loss and validation score by epoch, a line a seed, the chosen epoch marked."""
    seeds: dict[str, list[dict[str, str]]] = defaultdict(list)
    with history.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            seeds[row["seed"]].append(row)
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 5.6), sharex=True, layout="constrained")
    for rows in seeds.values():
        epochs = [int(row["epoch"]) for row in rows]
        score = [float(row["validation_weighted_f1"]) for row in rows]
        above.plot(epochs, [float(row["loss"]) for row in rows], color=COLOUR, alpha=0.6)
        below.plot(epochs, score, color=COLOUR, alpha=0.6)
        below.plot(epochs[int(np.argmax(score))], max(score), "o", color=ACCENT)
    above.set_ylabel("training loss")
    below.set_ylabel("validation weighted F1, %")
    below.set_xlabel("epoch")
    above.set_title(f"{len(seeds)} seeds; the dot is the epoch that is kept")
    save(figure, file)


def draw_scores(scores: dict, names: tuple[str, ...], file: Path) -> None:
    """F1 a class with its deviation over the seeds, weighted F1 and the constant classifier as lines."""
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    values, errors = [scores["f1"][name] for name in names], [scores["f1_std"][name] for name in names]
    axes.bar(names, values, yerr=errors, color=COLOUR, capsize=4)
    axes.axhline(scores["weighted_f1"], color=ACCENT, label=f"weighted F1 {scores['weighted_f1']:.2f}")
    constant = scores["constant"]["weighted_f1"]
    axes.axhline(constant, color="grey", linestyle="--", label=f"constant classifier {constant:.2f}")
    axes.set_ylim(0, 100)
    axes.set_ylabel("F1 on test, %")
    axes.legend()
    save(figure, file)


def draw_map(
    representations: np.ndarray, label: np.ndarray, names: tuple[str, ...], file: Path, model: str = ""
) -> None:
    """t-SNE of one seed's fused representations [utterances, d], coloured by annotation (Figure 3)."""
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    if len(label) > 3:
        perplexity = min(30.0, (len(label) - 1) / 3)
        # Several threads would sum in the order in which they end: another picture now and then. On a busy machine they
        # also wait for each other, many times longer than one thread takes.
        with threadpool_limits(1):
            places = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(representations)
        for number, name in enumerate(names):
            part = places[label == number]
            colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
            shape = SHAPES[number // len(CLASS_COLOURS) % len(SHAPES)]
            axes.scatter(part[:, 0], part[:, 1], s=14, color=colour, marker=shape, label=name)
        axes.legend()
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"{model} Fused representations of test (t-SNE, first seed)".lstrip())
    save(figure, file)
