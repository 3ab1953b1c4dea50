"""Scores against scikit-learn and by hand, and the comparison of two systems."""

import json
import warnings
from dataclasses import replace
from math import atan, pi, sqrt
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.f1 import accuracy, class_f1, confusion, weighted_f1
from pipeline import compare as comparing
from pipeline.scoring import comparison
from pipeline.scoring.comparison import Predictions, compare, in_words, load
from pipeline.scoring.lengths import length_groups
from pipeline.scoring.scores import calibration_error, reliability, resampled_f1
from tests.pipeline import statements
from tests.pipeline.statements import draws, quantile

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(PAIRS)
def test_scores_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    label, predicted = np.array(pairs).T
    counts = confusion(label, predicted, 4)
    f1 = f1_score(label, predicted, average=None, labels=range(4), zero_division=0)
    np.testing.assert_allclose(class_f1(counts), 100 * f1, atol=1e-9)
    expected = 100 * f1_score(label, predicted, average="weighted", zero_division=0)
    assert weighted_f1(counts) == pytest.approx(expected)
    assert accuracy(counts) == pytest.approx(100 * accuracy_score(label, predicted))


def test_the_constant_classifier_of_meld_has_the_papers_visual_row() -> None:
    label = np.repeat(np.arange(7), [1256, 281, 50, 208, 402, 68, 345])
    counts = confusion(label, np.zeros_like(label), 7)
    assert round(accuracy(counts), 2) == 48.12
    assert round(weighted_f1(counts), 2) == 31.27


def test_rows_of_the_confusion_are_annotated_and_columns_predicted() -> None:
    label, predicted = np.array([0, 0, 0, 2, 2]), np.array([1, 1, 0, 2, 0])
    assert confusion(label, predicted, 4).tolist() == [[1, 2, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    weight = np.array([1, 2, 0, 3, 0])
    assert confusion(label, predicted, 4, weight).tolist() == [[0, 3, 0, 0], [0, 0, 0, 0], [0, 0, 3, 0], [0, 0, 0, 0]]


def calibration(*said: tuple[float, bool]) -> float:
    """Of utterances, by confidence and whether they were right."""
    return calibration_error(*map(np.array, zip(*said, strict=True)))


def test_calibration_is_the_gap_between_confidence_and_accuracy() -> None:
    assert calibration(*[(0.8, True)] * 8, *[(0.8, False)] * 2) == pytest.approx(0)
    assert calibration(*[(0.8, True)] * 5, *[(0.8, False)] * 5) == pytest.approx(30)
    # Too sure here and too unsure there do not cancel, and each bin counts by its utterances.
    assert calibration((0.8, True), (0.8, True), (0.8, True), (0.6, False)) == pytest.approx(100 * (3 * 0.2 + 0.6) / 4)
    assert calibration((1.0, False), (1.0, True)) == pytest.approx(50)


def test_calibration_has_fifteen_bins_of_equal_width() -> None:
    # 12/15 = 0.8 and 13/15 = 0.8667: the first two are in one bin, where their gaps cancel, the others in two.
    assert calibration((0.81, True), (0.85, False)) == pytest.approx(100 * abs(0.81 + 0.85 - 1) / 2)
    assert calibration((0.86, True), (0.87, False)) == pytest.approx(100 * (0.14 + 0.87) / 2)


def test_reliability_has_a_point_for_each_bin_that_has_any() -> None:
    # Ten bins: 0.71 and 0.79 lie in one, 0.61 in another, and 1 in the last.
    found = reliability(np.array([0.71, 0.61, 0.79, 1.0]), np.array([True, False, False, True]))
    assert [tuple(map(float, point)) for point in found] == [
        (pytest.approx(61), 0, 1), (pytest.approx(75), 50, 2), (100, 100, 1)
    ]  # fmt: skip


def test_resampling_surrounds_the_score_and_is_the_same_every_time() -> None:
    draw = np.random.default_rng(0)
    label = draw.integers(3, size=200)
    predicted = np.where(draw.random(200) < 0.7, label, draw.integers(3, size=200))
    drawn = resampled_f1(label, [predicted], 3)
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert low < weighted_f1(confusion(label, predicted, 3)) < high
    assert 5 < high - low < 20
    np.testing.assert_array_equal(drawn, resampled_f1(label, [predicted], 3))


def test_conversations_fall_into_the_papers_buckets() -> None:
    def dialogue(turns: int) -> list[Utterance]:
        row = Utterance(utterance_id="", dialogue_id=str(turns), turn=0, speaker=0, split="test", text="", label="")
        return [row] * turns

    for turns, bucket in ((9, "C1: 1-9"), (10, "C2: 10-20"), (20, "C2: 10-20"), (21, "C3: 21 and more")):
        assert set(length_groups(dialogue(turns), "meld")) == {bucket}
    assert set(length_groups(dialogue(70), "iemocap")) == {"C3: 70 and more"}


def predictions(folder: Path, right: float, seeds: int = 3, label_of: str = "joy") -> Path:
    """A result folder whose predictions are right with chance `right`."""
    folder.mkdir()
    lines = ["utterance_id,seed,label,prediction"]
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        for number in range(300):
            label = ("neutral", label_of)[number % 2]
            predicted = label if draw.random() < right else "anger"
            lines.append(f"u{number},{seed},{label},{predicted}")
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
    assert list(in_words(found))[2] == f"Over 3 and 3 seeds: p = {found['p_seeds']:.4f} (paired t-test)."
    same = compare(good, good)
    assert same["difference"] == 0
    assert same["low"] == same["high"] == 0
    assert same["p_seeds"] is None  # the pairs do not differ, and a t-test divides by their deviation
    assert compare(bad, good)["difference"] == -found["difference"]


LABELS = "bbabb"
OURS, THEIRS = ("bbabb", "bbacb"), ("bbaba", "bbccb")
"""Predictions of two seeds. Theirs are wrong where ours are, and once more."""


def run_of(*said: str, seeds: tuple[int, ...] = (), labels: str = LABELS) -> Predictions:
    numbers = seeds or range(len(said))
    names = [f"u{place}" for place in range(len(labels))]
    return Predictions(names, list(labels), dict(zip(numbers, map(list, said), strict=True)))


def scores_of(*said: str) -> list[float]:
    return [statements.weighted_f1(list(zip(LABELS, one, strict=True))) for one in said]


def test_the_difference_is_of_the_means_over_the_seeds() -> None:
    found = compare(run_of(*OURS), run_of(*THEIRS))
    # Class b has four of five utterances: F1 100, 85.71; 85.71, 85.71. Class a has one: 100, 100; 66.67, 0.
    assert scores_of(*OURS) == pytest.approx([100, 88.571], abs=0.001)
    assert scores_of(*THEIRS) == pytest.approx([81.905, 68.571], abs=0.001)
    assert (found["a"], found["b"], found["difference"]) == (94.29, 75.24, 19.05)
    assert (found["seeds_a"], found["seeds_b"], found["utterances"]) == (2, 2, 5)


def test_over_the_seeds_it_is_a_two_sided_t_test_of_their_pairs() -> None:
    d = [one - other for one, other in zip(scores_of(*OURS), scores_of(*THEIRS), strict=True)]
    t = mean(d) / (stdev(d) / sqrt(2))
    found = compare(run_of(*OURS), run_of(*THEIRS))
    assert found["paired_seeds"]
    assert found["p_seeds"] == pytest.approx(1 - 2 / pi * atan(t))  # of one degree of freedom
    three, four = (*OURS, "bbaaa"), (*THEIRS, "baaab")
    d = [one - other for one, other in zip(scores_of(*three), scores_of(*four), strict=True)]
    t = abs(mean(d)) / (stdev(d) / sqrt(3))
    for one, other in ((three, four), (four, three)):
        assert compare(run_of(*one), run_of(*other))["p_seeds"] == pytest.approx(1 - t / sqrt(t * t + 2), abs=0.0001)


def test_runs_of_unlike_seeds_are_not_paired() -> None:
    ours, theirs = scores_of(*OURS), scores_of(*THEIRS)
    t = (mean(ours) - mean(theirs)) / sqrt((stdev(ours) ** 2 + stdev(theirs) ** 2) / 2)
    for seeds in ((0, 7), (1, 0)):  # the second are the same ones, but one is not the other's partner
        found = compare(run_of(*OURS), run_of(*THEIRS, seeds=seeds))
        assert not found["paired_seeds"]
        assert found["p_seeds"] == pytest.approx(1 - t / sqrt(t * t + 2), abs=0.0001)
    found = compare(run_of(*OURS), run_of(*THEIRS, "bbabb"))  # two seeds and three: no pairs can be made of them
    assert (found["seeds_a"], found["seeds_b"], found["paired_seeds"]) == (2, 3, False)
    assert found["p_seeds"] is not None


def test_the_same_labels_of_other_utterances_are_not_compared() -> None:
    other = replace(run_of(*OURS), utterances=["u1", "u0", "u2", "u3", "u4"])
    with pytest.raises(UserError, match="different utterances or labels"):
        compare(run_of(*OURS), other)


@pytest.mark.parametrize(
    ("difference", "low", "high", "said", "sure"),
    [
        (1.5, 0.2, 3.0, "A is 1.50 points better.", "leaves out"),
        (-1.5, -3.0, -0.2, "A is 1.50 points worse.", "leaves out"),
        (-1.5, -3.0, 0.2, "A is 1.50 points worse.", "includes"),
        (0.0, 0.0, 0.0, "They are the same.", "includes"),
    ],
)
def test_a_difference_is_said_as_a_person_would(
    difference: float, low: float, high: float, said: str, sure: str
) -> None:
    found = {"a": 60.0, "b": 58.5, "difference": difference, "low": low, "high": high, "seeds_a": 2, "seeds_b": 3,
             "paired_seeds": False, "p_seeds": 0.04, "p_utterances": 0.03, "utterances": 7}  # fmt: skip
    assert list(in_words(found)) == [
        "A 60.00, B 58.50 weighted F1 on 7 utterances of test.",
        said,
        "Over 2 and 3 seeds: p = 0.0400 (unpaired t-test).",
        f"Over the utterances: 95 % of the resampled differences lie between {low:.2f} and {high:.2f}, which {sure} "
        "zero; p = 0.0300 (paired bootstrap).",
    ]


def test_over_the_utterances_both_runs_and_all_seeds_get_the_same_draw() -> None:
    def f1(draw: tuple[int, ...], *said: str) -> float:
        return mean(statements.weighted_f1([(LABELS[at], one[at]) for at in draw]) for one in said)

    outcomes = [(round(f1(draw, *OURS) - f1(draw, *THEIRS), 9), probability) for draw, probability in draws(5)]
    ends = quantile(outcomes, 0.025), quantile(outcomes, 0.975)
    assert ends == (0, pytest.approx(41.667, abs=0.001))
    assert quantile(outcomes, 0.95) < 41
    found, reverse = compare(run_of(*OURS), run_of(*THEIRS)), compare(run_of(*THEIRS), run_of(*OURS))
    assert (found["low"], found["high"]) == pytest.approx(ends, abs=0.01)
    assert (reverse["low"], reverse["high"]) == pytest.approx((-ends[1], 0), abs=0.01)
    # Ours are never worse, and the same where the draw has none of the utterances that tell them apart. But these are
    # two, and two coins fall alike in half of all cases.
    same = sum(probability for difference, probability in outcomes if difference <= 0)
    assert same == pytest.approx(0.4**5 * 7.59375)
    assert found["p_utterances"] == reverse["p_utterances"] == 0.5


def test_the_interval_holds_95_percent_of_the_resampled_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    # A's scores in 2001 draws are 0, 0.10123, … 202.46, B's are 0: a fortieth of the differences is below number 50,
    # which is 5.0615, and a fortieth above number 1950, which is 197.3985.
    scores = iter([np.arange(2001) * 0.10123, np.zeros(2001)])
    monkeypatch.setattr(comparison, "resampled_f1", lambda *_: next(scores))
    found = compare(run_of("bbabb"), run_of("bbabb"))
    assert (found["low"], found["high"]) == (5.06, 197.4)


@pytest.mark.parametrize("sign", [1, -1])
def test_p_is_twice_the_share_of_draws_on_the_other_side(monkeypatch: pytest.MonkeyPatch, sign: int) -> None:
    draws_of_a = sign * (np.arange(2000) - 29.5)  # 30 of 2000 on the other side of zero
    scores = iter([draws_of_a, np.zeros(2000)])
    monkeypatch.setattr(comparison, "resampled_f1", lambda *_: next(scores))
    found = compare(run_of("b" * 20, labels="ab" * 10), run_of("a" * 20, labels="ab" * 10))
    assert found["p_utterances"] == 0.03


@pytest.mark.parametrize(("differing", "least"), [(0, 1.0), (1, 1.0), (3, 0.25), (6, 0.03125), (20, 0.0005)])
def test_a_handful_of_utterances_is_no_certainty(differing: int, least: float) -> None:
    labels = "ab" * 10
    other = "".join("ba"["ab".index(label)] if place < differing else label for place, label in enumerate(labels))
    both = [run_of(labels, labels, labels=labels), run_of(other, other, labels=labels)]
    assert compare(*both)["p_utterances"] >= least
    if differing == 20:
        assert compare(*both)["p_utterances"] == least


def test_differences_that_are_all_the_same_are_no_t_test() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alike = compare(run_of("bbabb", "bbabb"), run_of("bbacb", "bbacb"))
        assert alike["difference"] > 0
        assert alike["p_seeds"] is None
        apart = compare(run_of("bbabb", "bbabb", seeds=(5, 6)), run_of("bbacb", "bbacb"))
        assert (apart["paired_seeds"], apart["p_seeds"]) == (False, None)
        assert list(in_words(alike))[2] == (
            "No t-test over the seeds: it needs two or more seeds a side, and differences that are not all the same."
        )
    assert compare(run_of("bbabb", "bbacb", seeds=(5, 6)), run_of("bbacb", "bbacb"))["p_seeds"] is not None


def test_the_smallest_and_the_largest_p_value_of_the_bootstrap() -> None:
    many = "bbabb" * 4
    clear = compare(run_of(many, labels=many), run_of("aabaa" * 4, labels=many))
    assert clear["p_utterances"] == 0.0005  # one of 2000, and never none
    assert compare(run_of("bbabb"), run_of("bbabb"))["p_utterances"] == 1.0


def test_a_class_that_is_only_predicted_counts_as_one() -> None:
    found = compare(run_of("zbabb"), run_of("bbabb"))
    # Class b: recall 3 of 4, precision 1.
    assert (found["a"], found["b"]) == (pytest.approx((4 * 600 / 7 + 100) / 5, abs=0.006), 100.0)


def test_predictions_are_read_seed_by_seed(tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text(
        "utterance_id,seed,label,prediction,x\nu1,5,joy,fear,0.1\nu0,5,fear,joy,0.2\nu1,2,joy,joy,0.3\nu0,2,fear,sad,0\n"
    )
    found = load(str(tmp_path), None)
    assert found == Predictions(["u1", "u0"], ["joy", "fear"], {5: ["fear", "joy"], 2: ["joy", "sad"]})


def test_one_seed_or_other_utterances_are_met_in_words(tmp_path: Path) -> None:
    one = load(str(predictions(tmp_path / "one", 0.9, seeds=1)), None)
    assert compare(one, one)["p_seeds"] is None
    assert list(in_words(compare(one, one)))[2] == (
        "No t-test over the seeds: it needs two or more seeds a side, and differences that are not all the same."
    )
    other = load(str(predictions(tmp_path / "other", 0.9, label_of="fear")), None)
    said = r"^A and B are predictions of different utterances or labels: there is nothing to compare$"
    with pytest.raises(UserError, match=said):
        compare(one, other)


def test_a_single_seed_is_compared_with_several_without_a_t_test() -> None:
    assert compare(run_of("bbabb"), run_of(*THEIRS))["p_seeds"] is None


def test_predictions_of_an_experiment_are_those_that_dvc_has_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import dvc.api
    from dvc.exceptions import DvcException

    kept = {("results/meld/predictions.csv", "lumpy-yeti"): "utterance_id,seed,label,prediction\nu0,4,joy,fear\n"}

    def read(path: str, rev: str) -> str:
        if rev == "broken":
            raise OSError("disk on fire")
        if (path, rev) not in kept:
            raise DvcException("no such revision")
        return kept[path, rev]

    monkeypatch.setattr(dvc.api, "read", read)
    assert load("lumpy-yeti", "meld") == Predictions(["u0"], ["joy"], {4: ["fear"]})
    for name, corpus, why in (("yeti", "meld", "no such revision"), ("broken", "demo", "disk on fire")):
        with pytest.raises(
            UserError,
            match=rf"^{name}: neither a folder with predictions\.csv nor an experiment or commit that has "
            rf"results/{corpus}/predictions\.csv \({why}\)$",
        ):
            load(name, corpus)


def test_a_place_without_predictions_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: has no predictions\.csv; to name an experiment, .* --corpus$"):
        load(str(tmp_path / "nothing"), None)
    for content in ("", "utterance_id,seed,label,prediction\n", "utterance_id,seed,label,said\nu0,1,joy,joy\n"):
        (tmp_path / "predictions.csv").write_text(content)
        with pytest.raises(UserError, match=rf"^{tmp_path}: its predictions\.csv.* is not one that `evaluate` writes$"):
            load(str(tmp_path), "meld")


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


def test_a_side_whose_features_have_seen_labels_is_marked_and_context_is_not_compared(tmp_path: Path) -> None:
    lines = ["utterance_id,seed,label,prediction,A,B", "u0,0,A,A,1,0", "u1,0,,B,0,1", "u2,0,B,A,1,0"]
    for name, scores in (("fair", {}), ("other", {"seen": ["the text encoder x has seen labels of the corpus: so"]})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "predictions.csv").write_text("\n".join(lines))
        (tmp_path / name / "scores.json").write_text(json.dumps(scores))
    fair, other = load(str(tmp_path / "fair"), None), load(str(tmp_path / "other"), None)
    assert fair.utterances == ["u0", "u2"]
    found = compare(fair, other)
    assert found["utterances"] == 2
    assert list(in_words(found))[-1] == ("B is not a fair score: the text encoder x has seen labels of the corpus: so.")
    assert "fair score" not in "\n".join(in_words(compare(fair, fair)))
