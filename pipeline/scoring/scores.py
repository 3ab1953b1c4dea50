"""Scores of predictions, all in percent, and a bootstrap for their uncertainty."""

import numpy as np

RESAMPLES = 2000
"""Number of bootstrap resamples; the error of the 95 % bounds is then about a tenth of the interval."""
BINS = 15
"""Number of bins of the calibration error; the usual value."""


def confusion(label: np.ndarray, predicted: np.ndarray, classes: int, weight: np.ndarray | None = None) -> np.ndarray:
    """Confusion counts [classes, classes], label by prediction; `weight` [utterances] weights each utterance."""
    return np.bincount(label * classes + predicted, weight, classes * classes).reshape(classes, classes)


def class_f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class, percent; 0 for a class that is neither annotated nor predicted."""
    hits = counts.diagonal()
    return 200 * hits / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1e-9)


def weighted_f1(counts: np.ndarray) -> float:
    """Weighted F1: the mean over the classes, weighted by class frequency, percent."""
    return float(class_f1(counts) @ counts.sum(axis=1) / max(counts.sum(), 1e-9))


def accuracy(counts: np.ndarray) -> float:
    """Percentage of correct predictions."""
    return 100 * float(counts.trace() / max(counts.sum(), 1e-9))


def calibration_error(label: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error, percent: mean difference of confidence and accuracy over bins of confidence."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == label
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == part].sum() - right[bins == part].sum()) for part in range(BINS)]
    return 100 * float(sum(gaps) / len(label))


def resampled_f1(label: np.ndarray, predictions: list[np.ndarray], classes: int) -> np.ndarray:
    """Weighted F1, mean over `predictions` (one per seed), of RESAMPLES bootstrap samples of the utterances.

    The samples depend only on the number of utterances, so the results of two systems on the same utterances are
    paired.
    """
    draw = np.random.default_rng(0)
    results = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        weight = np.bincount(draw.integers(len(label), size=len(label)), minlength=len(label))
        results[number] = np.mean(
            [weighted_f1(confusion(label, predicted, classes, weight)) for predicted in predictions]
        )
    return results
