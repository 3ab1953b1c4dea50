"""Accuracy and F1, in percent, for the scores on test and for trainings, which choose their epoch by weighted F1."""

import numpy as np
from numpy.typing import ArrayLike


def confusion(label: np.ndarray, predicted: np.ndarray, classes: int, weight: np.ndarray | None = None) -> np.ndarray:
    """Confusion counts [classes, classes], label by prediction; `weight` [utterances] weights each utterance."""
    return np.bincount(label * classes + predicted, weight, classes * classes).reshape(classes, classes)


def class_f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class, percent; 0 for a class that is neither annotated nor predicted."""
    hits = counts.diagonal()
    return 200 * hits / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1e-9)


def weighted_f1(counts: np.ndarray) -> float:
    """Weighted F1: the mean over the classes, weighted by class frequency, percent.

    The steps are those of scikit-learn's `f1_score`, so that their last bits are equal too: a training compares scores.
    """
    hits, annotated = counts.diagonal(), counts.sum(axis=1)
    f1 = 2 * hits / np.maximum(annotated + counts.sum(axis=0), 1e-9)
    return 100 * float((f1 * annotated).sum() / max(annotated.sum(), 1e-9))


def weighted_f1_of(label: ArrayLike, predicted: ArrayLike) -> float:
    """Weighted F1, percent, of annotated and predicted class numbers, int [utterances] each."""
    annotated, said = np.asarray(label), np.asarray(predicted)
    return weighted_f1(confusion(annotated, said, 1 + int(max(annotated.max(), said.max()))))


def accuracy(counts: np.ndarray) -> float:
    """Percentage of correct predictions."""
    return 100 * float(counts.trace() / max(counts.sum(), 1e-9))
