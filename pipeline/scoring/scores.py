"""Calibration of predictions, in percent, and a bootstrap for the uncertainty of weighted F1 (foundation/f1.py)."""

import numpy as np

from foundation.f1 import confusion, weighted_f1

RESAMPLES = 2000
"""Number of bootstrap resamples; the error of the 95 % bounds is then about a tenth of the interval."""
BINS = 15
"""Number of bins of the calibration error; the usual value."""
DRAWN_BINS = 10
"""Number of bins of a reliability diagram; fewer, because each must have enough utterances to be seen."""


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error, percent: mean difference of confidence and accuracy over bins of confidence.

    Args:
        confidence: probability of the predicted class [utterances].
        right: whether that class is the label, bool [utterances].
    """
    bins = _bins(confidence, BINS)
    gaps = [abs(confidence[bins == part].sum() - right[bins == part].sum()) for part in range(BINS)]
    return 100 * float(sum(gaps) / len(right))


def reliability(confidence: np.ndarray, right: np.ndarray) -> list[tuple[float, float, int]]:
    """Mean confidence and accuracy, both in percent, and number of utterances of each bin of a picture that has any."""
    bins = _bins(confidence, DRAWN_BINS)
    return [
        (100 * float(confidence[bins == part].mean()), 100 * float(right[bins == part].mean()), int(sum(bins == part)))
        for part in np.unique(bins)
    ]


def _bins(confidence: np.ndarray, number: int) -> np.ndarray:
    """Bin of each confidence among `number` of equal width, int [utterances]."""
    return np.minimum((confidence * number).astype(int), number - 1)


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
