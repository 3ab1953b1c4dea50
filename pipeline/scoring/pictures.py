"""PNG pictures: the t-SNE plot of `evaluate`, and parts shared with the paper's report."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from sklearn.metrics import confusion_matrix
from threadpoolctl import threadpool_limits

from foundation.files import whole
from pipeline.scoring.fonts import drawable

COLOUR, ACCENT = "#0072b2", "#d55e00"
"""Blue and vermilion of Okabe and Ito, which colour-blind readers can tell apart."""
CLASS_COLOURS = ("#999999", "#e69f00", "#56b4e9", "#0072b2", "#009e73", "#cc79a7", "#d55e00")
"""Seven colours of the same palette; with more classes they are repeated with other marker shapes."""
SHAPES = "osD^vPX*"


def save(figure: Figure, file: Path) -> None:
    """Write the figure as PNG (the same figure gives the same bytes) and close it."""
    with whole(file) as half:
        figure.savefig(half, dpi=110, metadata={"Software": None})
    plt.close(figure)


def draw_confusion(label: np.ndarray, predictions: list[np.ndarray], names: tuple[str, ...], file: Path) -> None:
    """Draw the confusion matrix: fraction of each class by prediction (colour), and mean count per seed (number)."""
    counts = sum(confusion_matrix(label, predicted, labels=range(len(names))) for predicted in predictions) / len(
        predictions
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    words = drawable(names)
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(names)):
        for column in range(len(names)):
            axes.text(column, row, f"{counts[row, column]:.0f}", ha="center", va="center",
                      color="white" if shares[row, column] > 0.5 else "black")  # fmt: skip
    axes.set_xticks(range(len(names)), words, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), words)
    axes.set_xlabel("predicted")
    axes.set_ylabel("annotated")
    axes.set_title(f"Utterances of test, mean of {len(predictions)} seeds")
    figure.colorbar(picture, label="share of the annotated class")
    save(figure, file)


def draw_tsne(
    representations: np.ndarray, label: np.ndarray, names: tuple[str, ...], file: Path, model: str = ""
) -> None:
    """Draw the t-SNE of one seed's fused representations [utterances, d], coloured by label (Figure 3)."""
    words = drawable(names)
    figure, axes = plt.subplots(figsize=(7.6, 5.6), layout="constrained")
    if len(label) > 3:
        perplexity = min(30.0, (len(label) - 1) / 3)
        # With several threads the order of summation, and so the picture, would vary. On a busy machine they would also
        # be many times slower than one thread, because they wait for each other.
        with threadpool_limits(1):
            places = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(representations)
        for number in range(len(words)):
            part = places[label == number]
            colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
            shape = SHAPES[number // len(CLASS_COLOURS) % len(SHAPES)]
            axes.scatter(part[:, 0], part[:, 1], s=14, color=colour, marker=shape, label=str(number))
        # The words come last, because matplotlib leaves what begins with an underscore out of a legend.
        legend = figure.legend(loc="outside right upper")  # inside the axes it would cover points
        for text, word in zip(legend.get_texts(), words, strict=True):
            text.set_text(word)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"{model} Fused representations of test (t-SNE, first seed)".lstrip())
    save(figure, file)
