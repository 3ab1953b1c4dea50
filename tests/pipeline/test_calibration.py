"""Temperatures, decisions and thresholds against distributions that are known, and numbers reckoned by hand."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from foundation.f1 import confusion
from pipeline.calibration import Calibration, coverage_of, decided, fitted_on, macro_f1, tempered

EVEN = np.full(3, 1 / 3)


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits)
    return raised / raised.sum(axis=1, keepdims=True)


def drawn(utterances: int, factor: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities whose logits are `factor` times the true ones, and labels drawn by the true ones."""
    draw = np.random.default_rng(seed)
    logits = 1.5 * draw.normal(size=(utterances, 3))
    label = np.array([draw.choice(3, p=share) for share in softmax(logits)])
    return softmax(factor * logits), label


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_the_temperature_is_the_factor_by_which_logits_are_too_sharp(factor: float) -> None:
    raw, label = drawn(20_000, factor)
    found = fitted_on({4: raw}, label, EVEN, "likeliest")
    assert found.of_seeds == {"4": pytest.approx(factor, rel=0.03)}
    assert found.temperature == found.of_seeds["4"]  # an ensemble of one
    answer = found.of_seed(4, raw)
    assert answer.raw is raw
    np.testing.assert_allclose(answer.calibrated, softmax(np.log(raw) / found.of_seeds["4"]), atol=1e-12)


def test_each_seed_and_the_ensemble_have_a_temperature_of_their_own() -> None:
    """Two seeds that are sharp where the other is not: their mean is flatter than either."""
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(20_000, 3))
    label = np.array([draw.choice(3, p=share) for share in softmax(logits)])
    noise = 2 * draw.normal(size=(2, 20_000, 3))
    raw = {0: softmax(logits + noise[0]), 1: softmax(2 * (logits + noise[1]))}
    found = fitted_on(raw, label, EVEN, "likeliest")
    assert found.of_seeds["1"] == pytest.approx(2 * found.of_seeds["0"], rel=0.05)
    assert found.temperature < 0.8 * found.of_seeds["0"]
    together = found.of_all([raw[0], raw[1]])
    np.testing.assert_allclose(together.raw, (raw[0] + raw[1]) / 2)
    np.testing.assert_allclose(together.calibrated, softmax(np.log(together.raw) / found.temperature), atol=1e-12)
    right = (together.label == label).mean()
    assert together.confidence.mean() == pytest.approx(right, abs=0.02)
    assert together.raw_confidence.mean() > right + 0.1


@given(st.integers(5, 2000), st.lists(st.integers(0, 10**9), min_size=3, max_size=3).filter(any))
def test_a_temperature_changes_no_order_of_the_classes(hundredths: int, shares: list[int]) -> None:
    raw = np.array([shares]) / sum(shares)
    found = tempered(raw, hundredths / 100)
    assert found.sum() == pytest.approx(1)
    assert (np.diff(found[0, np.argsort(raw[0])]) >= -1e-12).all()


@pytest.mark.parametrize(
    ("said", "label", "why"),
    [
        ([], [], "no utterance of validation has a label"),
        ([0, 1, 2], [1, 1, 1], "validation has a single class"),
        ([0, 1, 2], [0, 1, 2], "no prediction on validation is wrong"),
    ],
)
def test_where_no_temperature_can_be_found_it_is_one_and_the_log_says_why(
    said: list[int], label: list[int], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    raw = np.full((len(said), 3), 0.2)
    raw[np.arange(len(said)), said] = 0.6
    with caplog.at_level(logging.WARNING):
        found = fitted_on({0: raw}, np.array(label, int), EVEN, "balanced")
    assert (found.temperature, found.of_seeds) == (1.0, {"0": 1.0})
    assert f"the temperature of seed 0 is 1: {why}" in caplog.text
    assert f"the temperature of the ensemble of the seeds is 1: {why}" in caplog.text
    assert bool(found.coverage) == bool(said)


CONFIDENCE = np.array([0.95, 0.5, 0.9, 0.85, 0.8, 0.7, 0.65, 0.6, 0.55, 0.4])
WRONG = np.array([0, 1, 0, 1, 0, 0, 1, 0, 0, 1], bool)
"""By confidence: right 0.95 and 0.9, wrong 0.85, right 0.8 and 0.7, wrong 0.65, right 0.6 and 0.55, wrong 0.5, 0.4."""


def with_coverage(confidence: np.ndarray, wrong: np.ndarray) -> Calibration:
    return Calibration(temperature=1.0, of_seeds={"0": 1.0}, decision="likeliest", tau=0.0, priors=[0.5, 0.5],
                       coverage=coverage_of(confidence, wrong))  # fmt: skip


def test_risks_are_those_reckoned_by_hand() -> None:
    found = [(row.threshold, row.coverage, row.risk) for row in coverage_of(CONFIDENCE, WRONG)]
    assert found == [
        (0.95, 0.1, 0.0), (0.9, 0.2, 0.0), (0.85, 0.3, 0.333333), (0.8, 0.4, 0.25), (0.7, 0.5, 0.2),
        (0.65, 0.6, 0.333333), (0.6, 0.7, 0.285714), (0.55, 0.8, 0.25), (0.5, 0.9, 0.333333), (0.0, 1.0, 0.4),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("risk", "threshold"), [(0.0, 0.9), (0.1, 0.9), (0.2, 0.7), (0.25, 0.55), (0.3, 0.55), (0.39, 0.5), (0.4, 0.0)]
)
def test_the_smallest_threshold_of_a_risk_is_taken(risk: float, threshold: float) -> None:
    """0.25 holds at 0.8 and again at 0.55, but not between."""
    row = with_coverage(CONFIDENCE, WRONG).at_risk(risk)
    assert row is not None
    assert row.threshold == threshold


def test_a_risk_below_all_has_no_threshold() -> None:
    assert with_coverage(CONFIDENCE[WRONG], WRONG[WRONG]).at_risk(0.99) is None
    assert with_coverage(np.empty(0), np.empty(0, bool)).at_risk(1.0) is None


def test_equal_confidences_are_kept_together_and_of_many_there_are_twenty_rows() -> None:
    found = coverage_of(np.array([0.9, 0.7, 0.7, 0.7]), np.array([False, True, False, False]))
    assert [(row.threshold, row.coverage, row.risk) for row in found] == [(0.9, 0.25, 0.0), (0.0, 1.0, 0.25)]
    draw = np.random.default_rng(0)
    many = coverage_of(draw.random(2000), draw.random(2000) < 0.3)
    assert [row.coverage for row in many] == pytest.approx([step / 20 for step in range(1, 21)])


def test_the_adjustment_is_the_one_reckoned_by_hand() -> None:
    shares, priors = np.array([[0.6, 0.3, 0.1], [0.9, 0.08, 0.02]]), np.array([0.7, 0.2, 0.1])
    # 0.6 / 0.7, 0.3 / 0.2 and 0.1 / 0.1 are 0.86, 1.5 and 1; 0.9 / 0.7, 0.08 / 0.2 and 0.02 / 0.1 are 1.29, 0.4, 0.2.
    assert decided(shares, 1.0, priors).tolist() == [1, 0]
    # By the root of the priors: 0.72, 0.67 and 0.32.
    assert decided(shares, 0.5, priors).tolist() == [0, 0]
    assert decided(shares, 0.0, priors).tolist() == [0, 0]
    # A class that train does not have is not raised above all others.
    assert decided(shares, 1.0, np.array([0.7, 0.3, 0.0])).tolist() == [1, 0]


def rare(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Exact probabilities of three classes, of which the last is one utterance of 25, and labels."""
    draw = np.random.default_rng(seed)
    priors = np.array([0.6, 0.36, 0.04])
    label = draw.choice(3, 4000, p=priors)
    seen = 1.3 * np.eye(3)[label] + draw.normal(size=(4000, 3))
    return softmax(1.3 * seen + np.log(priors)), label  # by Bayes' rule


def test_balanced_finds_a_rare_class_more_often_and_leaves_probabilities_as_they_are() -> None:
    raw, label = rare(0)
    priors = np.bincount(label) / len(label)
    usual, balanced = (fitted_on({0: raw}, label, priors, decision) for decision in ("likeliest", "balanced"))
    assert (usual.tau, usual.temperature) == (0.0, balanced.temperature)
    assert balanced.tau > 0
    assert balanced.priors == pytest.approx(priors, abs=1e-6)
    other, truth = rare(1)
    before, after = usual.of_all([other]), balanced.of_all([other])
    np.testing.assert_array_equal(before.calibrated, after.calibrated)
    recalls = [recall_score(truth, said.label, average=None)[2] for said in (before, after)]
    macro = [f1_score(truth, said.label, average="macro") for said in (before, after)]
    assert recalls[1] > recalls[0] + 0.1
    assert macro[1] > macro[0] + 0.02
    # The confidence is that of the class that is said, and not of the likeliest.
    moved = before.label != after.label
    assert (after.confidence[moved] < before.confidence[moved]).all()
    assert after.confidence[moved] == pytest.approx(after.calibrated[moved, after.label[moved]])
    # It is the best of the strengths that are tried.
    of_all = [macro_f1(confusion(label, decided(balanced.of_all([raw]).calibrated, step / 10, priors), 3))
              for step in range(16)]  # fmt: skip
    assert balanced.tau == int(np.argmax(of_all)) / 10


def test_balanced_is_no_adjustment_where_none_is_better() -> None:
    raw = np.array([[0.8, 0.2], [0.7, 0.3], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    found = fitted_on({0: raw}, np.array([0, 0, 1, 1, 1]), np.array([0.05, 0.95]), "balanced")
    assert (found.decision, found.tau) == ("balanced", 0.0)


def test_macro_f1_is_that_of_scikit_learn_which_leaves_out_a_class_that_never_occurs() -> None:
    label, said = np.array([0, 0, 1, 3, 3, 0]), np.array([0, 1, 1, 3, 0, 0])
    counts = confusion(label, said, 6)
    assert macro_f1(counts) == pytest.approx(100 * f1_score(label, said, average="macro"))
    assert macro_f1(np.zeros((3, 3))) == 0.0
