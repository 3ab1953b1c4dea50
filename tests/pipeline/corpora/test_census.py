"""Counts of a corpus, by hand."""

from dataclasses import replace
from pathlib import Path

from extractors.utterance import Utterance
from pipeline.corpora.census import as_table, census, clock, write_census
from pipeline.corpora.raw_corpus import RawCorpus


def corpus() -> RawCorpus:
    """Train: dialogues a, of three turns, and b, of one; validation: c of two; test: d of one."""
    said = [("a", "train", "joy"), ("a", "train", "joy"), ("a", "train", "fear"), ("b", "train", "joy"),
            ("c", "validation", "fear"), ("c", "validation", "fear"), ("d", "test", "calm")]  # fmt: skip
    rows = [
        Utterance(utterance_id=str(place), dialogue_id=dialogue, turn=0, speaker=0, split=split, text="", label=label,
                  audio="x" if place in (0, 1, 4) else "", video="x" if place in (0, 6) else "",
                  problem={2: "x.wav: no such file; y.mp4: is empty", 5: "z: no such file", 6: "broken"}.get(place, ""))
        for place, (dialogue, split, label) in enumerate(said)
    ]  # fmt: skip
    return RawCorpus(rows, ["Ann", "Bob", "Ann", "Cid", "Dan", "Dan", "Ann"], ["a note"], ["a difference"])


def test_each_part_is_counted_by_hand() -> None:
    found = census(corpus(), [1.25, 2.0, 0.0, 0.0, 3600.0, 0.0, 0.07], ("joy", "anger", "fear", "calm"))
    splits = found["splits"]
    assert list(splits) == ["train", "validation", "test", "train+validation", "all"]
    assert splits["train"] == {
        "dialogues": 2, "utterances": 4, "turns_a_dialogue": {"mean": 2.0, "min": 1, "max": 3}, "speakers": 3,
        "labels": {"joy": 3, "anger": 0, "fear": 1, "calm": 0}, "with_audio": 2, "with_video": 1,
        "seconds_of_audio": 3.2,
    }  # fmt: skip
    assert splits["train+validation"] == {
        "dialogues": 3, "utterances": 6, "turns_a_dialogue": {"mean": 2.0, "min": 1, "max": 3}, "speakers": 4,
        "labels": {"joy": 3, "anger": 0, "fear": 3, "calm": 0}, "with_audio": 3, "with_video": 1,
        "seconds_of_audio": 3603.2,
    }  # fmt: skip
    assert (splits["all"]["dialogues"], splits["all"]["utterances"], splits["all"]["speakers"]) == (4, 7, 4)
    assert splits["all"]["turns_a_dialogue"]["mean"] == 1.75
    assert list(splits["all"]["labels"]) == ["joy", "anger", "fear", "calm"]
    assert splits["test"]["labels"]["calm"] == 1
    assert splits["validation"]["dialogues"] == 1
    reasons = {"broken": 1, "is empty": 1, "no such file": 2}
    assert found["problems"] == {"utterances": 3, "reasons": reasons}
    assert list(found["problems"]["reasons"]) == sorted(reasons)
    assert (found["notes"], found["differences"]) == (["a note"], ["a difference"])


def test_the_table_has_a_line_a_part_and_a_line_a_label() -> None:
    lines = list(as_table(census(corpus(), [1.25, 2.0, 0.0, 0.0, 3600.0, 0.0, 0.07], ("joy", "anger", "fear"))))
    assert [line.split() for line in lines[1:6]] == [
        ["train", "2", "4", "2.00", "(1", "to", "3)", "3", "0:00:03"],
        ["validation", "1", "2", "2.00", "(2", "to", "2)", "1", "1:00:00"],
        ["test", "1", "1", "1.00", "(1", "to", "1)", "1", "-"],
        ["train+validation", "3", "6", "2.00", "(1", "to", "3)", "4", "1:00:03"],
        ["all", "4", "7", "1.75", "(1", "to", "3)", "4", "1:00:03"],
    ]
    assert [line.split() for line in lines[6:]] == [
        ["train", "validation", "test", "train+validation", "all"],
        ["joy", "3", "0", "0", "3", "3"], ["anger", "0", "0", "0", "0", "0"], ["fear", "1", "2", "0", "3", "3"],
    ]  # fmt: skip


def test_the_columns_stand_below_one_another() -> None:
    lines = list(as_table(census(corpus(), [1.25, 2.0, 0.0, 0.0, 3600.0, 0.0, 0.07], ("joy",))))
    assert [lines[0], lines[4], *lines[6:]] == [
        "                   dialogues  utterances    turns a dialogue  speakers     sound",
        "train+validation           3           6       2.00 (1 to 3)         4   1:00:03",
        "                    train   validation   test   train+validation   all",
        "joy                     3            0      0                  3     3",
    ]
    many = [replace(corpus().rows[0], dialogue_id=str(number)) for number in range(1234)]
    thousands = list(as_table(census(RawCorpus(many, [row.dialogue_id for row in many]), [0.0] * 1234, ("joy",))))
    assert thousands[1].split() == ["train", "1,234", "1,234", "1.00", "(1", "to", "1)", "1,234", "-"]
    assert thousands[-1].split() == ["joy", "1,234", "0", "0", "1,234", "1,234"]


def test_an_empty_part_has_zeros() -> None:
    found = census(RawCorpus(corpus().rows[:1], ["Ann"]), [1.0], ("joy",))
    assert found["splits"]["test"] == {
        "dialogues": 0, "utterances": 0, "turns_a_dialogue": {"mean": 0, "min": 0, "max": 0}, "speakers": 0,
        "labels": {"joy": 0}, "with_audio": 0, "with_video": 0, "seconds_of_audio": 0,
    }  # fmt: skip


def test_the_file_is_indented_json_with_letters_as_they_are(tmp_path: Path) -> None:
    write_census({"notes": ["Zoë"]}, tmp_path / "results/own/corpus.json")
    assert (tmp_path / "results/own/corpus.json").read_bytes() == '{\n  "notes": [\n    "Zoë"\n  ]\n}\n'.encode()


def test_a_clock_has_hours_minutes_and_seconds() -> None:
    assert [clock(seconds) for seconds in (0, 0.4, 59.6, 3723, 36000)] == ["-", "-", "0:01:00", "1:02:03", "10:00:00"]
