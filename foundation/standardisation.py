"""Standardisation of features with statistics of the training split only."""

import numpy as np

LIMIT = 10.0
"""Values are clipped to this many standard deviations: audio features of unusual clips lie millions from the mean."""


def statistics(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, float32 [F], of `train` [N, F], the training utterances that have the modality.

    A constant column gets standard deviation 1, so that it becomes zero. Without a row, values keep their scale.
    """
    if not len(train):
        return np.zeros(train.shape[1], np.float32), np.ones(train.shape[1], np.float32)
    mean, std = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    std[std <= 1e-6 * np.maximum(np.abs(mean), 1e-6)] = 1.0
    return mean.astype(np.float32), std.astype(np.float32)


def standardised(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Standardise `values` [N, F] and clip them to +-LIMIT."""
    return np.clip((values - mean) / std, -LIMIT, LIMIT)
