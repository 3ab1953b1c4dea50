"""Scores against scikit-learn and by hand, and the comparison of two systems."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from pipeline import compare as comparing
from pipeline.compare import compare, in_words, load
from pipeline.evaluate import length_groups
from pipeline.scores import accuracy, calibration_error, class_f1, confusion, resampled_f1, weighted_f1
from pipeline.stage import StageError
from pipeline.utterances import Utterance

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(PAIRS)
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    label, guess = np.array(pairs).T
    counts = confusion(label, guess, 4)
    f1 = f1_score(label, guess, average=None, labels=range(4), zero_division=0)
    np.testing.assert_allclose(class_f1(counts), 100 * f1, atol=1e-9)
    expected = 100 * f1_score(label, guess, average="weighted", zero_division=0)
    assert weighted_f1(counts) == pytest.approx(expected)
    assert accuracy(counts) == pytest.approx(100 * accuracy_score(label, guess))


def test_the_constant_classifier_of_meld_has_the_papers_visual_row() -> None:
    label = np.repeat(np.arange(7), [1256, 281, 50, 208, 402, 68, 345])
    counts = confusion(label, np.zeros_like(label), 7)
    assert round(accuracy(counts), 2) == 48.12
    assert round(weighted_f1(counts), 2) == 31.27


def test_calibration_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.tile([0.8, 0.2], (10, 1))
    assert calibration_error(np.array([0] * 8 + [1] * 2), probabilities) == pytest.approx(0)
    assert calibration_error(np.array([0] * 5 + [1] * 5), probabilities) == pytest.approx(30)


def test_resampling_surrounds_the_score_and_is_the_same_every_time() -> None:
    draw = np.random.default_rng(0)
    label = draw.integers(3, size=200)
    guess = np.where(draw.random(200) < 0.7, label, draw.integers(3, size=200))
    drawn = resampled_f1(label, [guess], 3)
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert low < weighted_f1(confusion(label, guess, 3)) < high
    assert 5 < high - low < 20
    np.testing.assert_array_equal(drawn, resampled_f1(label, [guess], 3))


def test_conversations_fall_into_the_papers_buckets() -> None:
    def dialogue(turns: int) -> list[Utterance]:
        row = Utterance(utterance_id="", dialogue_id=str(turns), turn=0, speaker=0, split="test", text="", label="")
        return [row] * turns

    for turns, bucket in ((9, "C1: 1-9"), (10, "C2: 10-20"), (20, "C2: 10-20"), (21, "C3: 21 and more")):
        assert set(length_groups(dialogue(turns), (9, 20))) == {bucket}
    assert set(length_groups(dialogue(70), (39, 69))) == {"C3: 70 and more"}


def predictions(folder: Path, right: float, seeds: int = 3, label_of: str = "joy") -> Path:
    """A result folder whose predictions are right with chance `right`."""
    folder.mkdir()
    lines = ["utterance_id,seed,label,prediction"]
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        for number in range(300):
            label = ("neutral", label_of)[number % 2]
            guess = label if draw.random() < right else "anger"
            lines.append(f"u{number},{seed},{label},{guess}")
    (folder / "predictions.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_clear_difference_is_beyond_chance_and_none_is_not(tmp_path: Path) -> None:
    good, bad = (load(str(predictions(tmp_path / name, right)), None) for name, right in (("a", 0.9), ("b", 0.6)))
    found = compare(good, bad)
    assert found["difference"] > 15
    assert found["p_seeds"] < 0.05
    assert found["low"] > 0
    assert "A is" in "\n".join(in_words(found))
    assert "leaves out zero" in "\n".join(in_words(found))
    same = compare(good, good)
    assert same["difference"] == 0
    assert same["low"] == same["high"] == 0
    assert compare(bad, good)["difference"] == -found["difference"]


def test_one_seed_or_other_utterances_are_met_in_words(tmp_path: Path) -> None:
    one = load(str(predictions(tmp_path / "one", 0.9, seeds=1)), None)
    assert compare(one, one)["p_seeds"] is None
    other = load(str(predictions(tmp_path / "other", 0.9, label_of="fear")), None)
    with pytest.raises(StageError, match="different utterances or labels"):
        compare(one, other)
    with pytest.raises(StageError, match="has no predictions"):
        load(str(tmp_path / "nothing"), None)


def test_the_command_prints_words_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = predictions(tmp_path / "a", 0.9), predictions(tmp_path / "b", 0.8)
    monkeypatch.setattr("sys.argv", ["compare", str(a), str(b), "--json"])
    comparing.main()
    assert json.loads(capsys.readouterr().out)["utterances"] == 300
    monkeypatch.setattr("sys.argv", ["compare", str(a), str(b)])
    comparing.main()
    assert "weighted F1 on 300 utterances" in capsys.readouterr().out
