"""Pictures as PNG: the map that `evaluate` writes, and what the paper's report shares with it."""

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


def draw_map(
    representations: np.ndarray, label: np.ndarray, names: tuple[str, ...], file: Path, model: str = ""
) -> None:
    """t-SNE of one seed's fused representations [utterances, d], coloured by annotation (Figure 3)."""
    figure, axes = plt.subplots(figsize=(7.6, 5.6), layout="constrained")
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
        figure.legend(loc="outside right upper")  # beside the map: inside, it would cover utterances
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"{model} Fused representations of test (t-SNE, first seed)".lstrip())
    save(figure, file)
