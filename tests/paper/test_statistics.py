"""The report's tables of what a corpus has: Table 1 and the labels of each split."""

import pytest

from extractors.utterance import Utterance
from paper.sections import label_counts, statistics
from paper.words import markdown_table
from tests.paper.small import PROJECT

LABELS = ("joy", "anger", "fear")


def rows(**of_split: str) -> list[Utterance]:
    """One dialogue of each split, with a turn for each letter: j, a, f, or a dot for a turn without a label."""
    names = {"j": "joy", "a": "anger", "f": "fear", ".": ""}
    return [
        Utterance(utterance_id=f"{split}{turn}", dialogue_id=split, turn=turn, speaker=0, split=split, text="so",
                  label=names[letter])
        for split, letters in of_split.items()
        for turn, letter in enumerate(letters)
    ]  # fmt: skip


def test_labels_are_counted_by_split_with_their_share() -> None:
    section = label_counts(rows(train="aajf" * 300, validation="ajj", test="aaaf"), LABELS)
    assert section.head == ["label", "train", "validation", "test"]
    assert section.rows == [
        ["joy", "300 (25.0 %)", "2 (66.7 %)", "0 (0.0 %)"],
        ["anger", "600 (50.0 %)", "1 (33.3 %)", "3 (75.0 %)"],
        ["fear", "300 (25.0 %)", "0 (0.0 %)", "1 (25.0 %)"],
        ["all", "1,200", "3", "4"],
    ]
    assert section.seen == [
        "The majority-class baseline always answers anger, the most frequent label of train: it has 50.0 % of train, "
        "33.3 % of validation and 75.0 % of test.",
        "There is no fear in validation, no joy in test.",
    ]


def test_turns_without_a_label_are_no_label_and_no_utterance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    turns = rows(train="j.a..f", validation="jf.a", test=".jaf")
    section = label_counts(turns, LABELS)
    assert section.rows[-2:] == [["all", "3", "3", "3"], ["no label, context only", "3", "1", "1"]]
    assert section.rows[0] == ["joy", "1 (33.3 %)", "1 (33.3 %)", "1 (33.3 %)"]
    assert len(section.seen) == 1
    assert statistics("elsewhere", turns).rows == [["here", "2", "1", "6", "3", "3.00", "3.00", "3"]]


def test_a_split_without_labels_has_no_share() -> None:
    section = label_counts(rows(train="jjf", validation="..", test="j"), LABELS)
    assert [row[2] for row in section.rows] == ["0 (0.0 %)"] * 3 + ["0", "2"]


def test_a_bar_in_a_label_does_not_end_its_cell() -> None:
    assert markdown_table(["a|b", "c"], [["1", "x | y"]]) == [r"| a\|b | c |", "| --- | --- |", r"| 1 | x \| y |"]
