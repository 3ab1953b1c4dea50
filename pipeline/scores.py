"""Scores of predictions, all in percent, and how sure they are."""

import numpy as np

RESAMPLES = 2000
"""Of a bootstrap: its 95 % bounds are then sure to about a tenth of their distance."""
BINS = 15
"""Of the calibration error, as is usual."""


def confusion(label: np.ndarray, guess: np.ndarray, classes: int, weight: np.ndarray | None = None) -> np.ndarray:
    """Counts [classes, classes], annotated by predicted; `weight` [utterances] counts an utterance several times."""
    return np.bincount(label * classes + guess, weight, classes * classes).reshape(classes, classes)


def class_f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class, percent; 0 for one that is neither annotated nor predicted."""
    hits = counts.diagonal()
    return 200 * hits / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1e-9)


def weighted_f1(counts: np.ndarray) -> float:
    """F1 averaged over the classes by their frequency, percent."""
    return float(class_f1(counts) @ counts.sum(axis=1) / max(counts.sum(), 1e-9))


def accuracy(counts: np.ndarray) -> float:
    """Share of right predictions, percent."""
    return 100 * float(counts.trace() / max(counts.sum(), 1e-9))


def calibration_error(label: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error, percent: how far confidence and accuracy lie apart, by bins of confidence."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == label
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == part].sum() - right[bins == part].sum()) for part in range(BINS)]
    return 100 * float(sum(gaps) / len(label))


def resampled_f1(label: np.ndarray, guesses: list[np.ndarray], classes: int) -> np.ndarray:
    """Weighted F1, mean over `guesses` (a seed each), of RESAMPLES draws of the utterances with replacement.

    The draws depend on the number of utterances alone: two systems' results on the same utterances are paired.
    """
    draw = np.random.default_rng(0)
    results = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        weight = np.bincount(draw.integers(len(label), size=len(label)), minlength=len(label))
        results[number] = np.mean([weighted_f1(confusion(label, guess, classes, weight)) for guess in guesses])
    return results
