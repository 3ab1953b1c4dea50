"""Standardisation for trainings, for the reduction of audio features and for the probe: one, reckoned by hand here."""

import numpy as np

from foundation.standardisation import LIMIT, standardised, statistics


def test_columns_have_mean_zero_and_deviation_one_where_they_vary() -> None:
    train = np.array([[1.0, 7.0, 0.0], [3.0, 7.0, 0.0], [5.0, 7.0, 0.0]], np.float32)
    mean, std = statistics(train)
    assert mean.tolist() == [3.0, 7.0, 0.0]
    # The population's: sqrt((4 + 0 + 4) / 3). Constant columns keep their scale.
    np.testing.assert_allclose(std, [np.sqrt(8 / 3), 1, 1], rtol=1e-6)
    assert (mean.dtype, std.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(standardised(train, mean, std)[:, 0], [-np.sqrt(1.5), 0, np.sqrt(1.5)], rtol=1e-6)
    assert (standardised(train, mean, std)[:, 1:] == 0).all()


def test_a_column_that_only_rounding_moves_is_constant_and_one_that_varies_little_is_not() -> None:
    train = np.array([[1e6, 1e-3], [1e6 + 0.0625, 2e-3]], np.float32)
    assert statistics(train)[1].tolist() == [1.0, np.float32(5e-4)]


def test_what_lies_far_out_is_clipped_to_either_side() -> None:
    mean, std = np.zeros(2, np.float32), np.ones(2, np.float32)
    assert standardised(np.array([[1e9, -1e9], [9.0, -9.0]]), mean, std).tolist() == [[LIMIT, -LIMIT], [9.0, -9.0]]


def test_without_a_row_values_keep_their_scale() -> None:
    mean, std = statistics(np.empty((0, 2), np.float32))
    assert standardised(np.full((4, 2), 3.0), mean, std).tolist() == [[3.0, 3.0]] * 4
