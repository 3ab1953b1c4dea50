"""Tests between runs, corrected for their number, and what is said of them."""

from pathlib import Path

import numpy as np
import pytest

from paper.significance import beyond_chance, corrected, differences, differences_by_group, holm, in_words
from pipeline.scoring.comparison import compare, load


def write_run(folder: Path, *said: str, labels: str = "bbabbbab") -> Path:
    """A run's folder with predictions of a seed each."""
    folder.mkdir(parents=True)
    lines = ["utterance_id,seed,label,prediction"]
    for seed, predictions in enumerate(said):
        lines += [
            f"u{at},{seed},{label},{predicted}"
            for at, (label, predicted) in enumerate(zip(labels, predictions, strict=True))
        ]
    (folder / "predictions.csv").write_text("\n".join(lines))
    return folder


def test_holms_correction() -> None:
    # The smallest times four, the next times three; then no smaller than the one before, and never above 1.
    assert holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]
    assert holm([0.9, None, 0.7]) == [1.0, None, 1.0]
    assert holm([0.02, None, None]) == [0.02, None, None]
    assert holm([0.02, 0.02]) == [0.04, 0.04]


def test_a_p_value_near_the_limit_is_rounded_only_where_it_is_printed() -> None:
    """Ten times 0.004958 is below 0.05; of the rounded value, 0.0050, it would not be."""
    found = corrected({str(place): {"p_seeds": p, "p_utterances": p} for place, p in
                       enumerate([0.004958, *np.linspace(0.5, 0.9, 9)])})  # fmt: skip
    assert beyond_chance(found["0"])
    assert found["0"]["p_seeds_holm"] == pytest.approx(0.04958)


def test_each_p_value_is_corrected_among_those_of_its_own_test() -> None:
    found = corrected({
        "x": {"p_seeds": 0.01, "p_utterances": 0.2},
        "y": {"p_seeds": None, "p_utterances": 0.01},
        "z": {"p_seeds": 0.04, "p_utterances": 0.03},
    })  # fmt: skip
    assert {name: (one["p_seeds_holm"], one["p_utterances_holm"]) for name, one in found.items()} == {
        "x": (0.02, 0.2), "y": (None, 0.03), "z": (0.04, 0.06)
    }  # fmt: skip
    assert found["x"]["p_seeds"] == 0.01


@pytest.mark.parametrize(
    ("seeds", "utterances", "beyond"),
    [(0.049, 0.049, True), (0.05, 0.01, False), (0.01, 0.05, False), (None, 0.01, False)],
)
def test_both_tests_must_say_so(seeds: float | None, utterances: float, beyond: bool) -> None:
    found = {"p_seeds": 0.0, "p_utterances": 0.0, "p_seeds_holm": seeds, "p_utterances_holm": utterances}
    assert beyond_chance(found) == beyond
    said = in_words({**found, "difference": -1.204, "low": -3.0, "high": 0.5})
    over_seeds = "no t-test over these seeds" if seeds is None else f"p = {seeds:.4f} over seeds"
    assert said == (
        f"-1.20 points (95 % of the resampled differences: -3.00 to 0.50; {over_seeds}, p = {utterances:.4f} over "
        f"utterances), {'' if beyond else 'not '}beyond chance"
    )


def test_differences_are_ours_less_each_other(tmp_path: Path) -> None:
    ours = write_run(tmp_path / "ours", "bbabbbab", "bbabbbaa")
    others = {name: write_run(tmp_path / name, *said) for name, said in
              {"worse": ("bbbbbaaa", "ababbaaa"), "same": ("bbabbbab", "bbabbbaa")}.items()}  # fmt: skip
    found = differences(ours, others)
    assert found["worse"]["difference"] > 0
    assert found["worse"]["a"] == found["same"]["a"] == found["same"]["b"]
    assert found["worse"]["p_utterances_holm"] == pytest.approx(2 * found["worse"]["p_utterances"])
    assert found["same"]["difference"] == 0


def test_a_groups_difference_is_that_of_its_utterances_alone(tmp_path: Path) -> None:
    ours = write_run(tmp_path / "ours", "bbabbbab", "bbabbbaa")
    other = write_run(tmp_path / "other", "abbbbbab", "aaabbbaa")  # wrong in u0 to u2 alone
    groups = {"first": {"u2", "u0", "u1"}, "rest": {"u3", "u4", "u5", "u6", "u7"}}
    found = differences_by_group(ours, other, groups)
    cut = [
        write_run(tmp_path / "cut" / name, *said, labels="bba")
        for name, said in (("a", ("bba", "bba")), ("b", ("abb", "aaa")))
    ]
    expected = compare(*(load(str(folder), None) for folder in cut))
    assert {key: found["first"][key] for key in expected} == expected
    assert found["first"]["utterances"] == 3
    assert (found["rest"]["difference"], found["rest"]["utterances"]) == (0, 5)
