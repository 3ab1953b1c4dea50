"""Calibration of predictions, in percent, and a bootstrap for the uncertainty of weighted F1 (foundation/f1.py)."""

import numpy as np

from foundation.f1 import confusion, weighted_f1

RESAMPLES = 2000
"""Number of bootstrap resamples; the error of the 95 % bounds is then about a tenth of the interval."""
BINS = 15
"""Number of bins of the calibration error; the usual value."""


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
