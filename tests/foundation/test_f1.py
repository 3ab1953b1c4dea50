"""Weighted F1 is scikit-learn's, to the last bit: a training compares scores of epochs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from foundation.f1 import weighted_f1_of

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=200)


@given(PAIRS)
def test_the_last_bit_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    label, predicted = np.array(pairs).T
    expected = 100 * float(f1_score(label, predicted, average="weighted", zero_division=0))
    assert weighted_f1_of(label, predicted) == expected
    assert weighted_f1_of(label.tolist(), predicted.tolist()) == expected  # as fine-tuning gives them
