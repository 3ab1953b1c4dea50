"""MELD's reader against every irregularity of the release, each a test."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpora import meld as reader
from pipeline.stage import StageError
from tests.conftest import write_meld_csv

ALL = ["text", "audio", "visual"]


def rewrite(raw: Path, rows: list[dict[str, object]], encoding: str = "utf-8") -> None:
    write_meld_csv(raw / "train_sent_emo.csv", rows, encoding)


def test_rows_come_in_conversation_order_with_splits_and_clips(meld: Callable[..., Path]) -> None:
    rows, notes = reader.read(meld(), ALL)
    assert [row.utterance_id for row in rows[:3]] == ["train_dia0_utt0", "train_dia0_utt1", "train_dia0_utt2"]
    assert [row.split for row in rows] == ["train"] * 3 + ["validation"] * 3 + ["test"] * 3
    assert [row.label for row in rows[:3]] == ["joy", "neutral", "anger"]
    assert rows[3].audio == rows[3].video == "dev_splits_complete/dia0_utt0.mp4"
    assert notes == []


def test_speakers_are_numbered_inside_each_dialogue_by_first_appearance(meld: Callable[..., Path]) -> None:
    raw = meld()
    names = {0: ["Rachel", "Joey", "Rachel", "Ross"], 1: ["Ross", "Ross"]}
    rewrite(
        raw, [{"Dialogue_ID": d, "Utterance_ID": u, "Speaker": name} for d in names for u, name in enumerate(names[d])]
    )
    rows, _ = reader.read(raw, ["text"])
    assert [row.speaker for row in rows if row.split == "train"] == [0, 1, 0, 2, 0, 0]


def test_gaps_in_utterance_ids_order_turns_and_leave_no_holes(meld: Callable[..., Path]) -> None:
    raw = meld()
    rewrite(raw, [{"Dialogue_ID": 7, "Utterance_ID": u, "Utterance": str(u)} for u in (9, 2, 5)])
    rows = [row for row in reader.read(raw, ["text"])[0] if row.split == "train"]
    assert [(row.turn, row.text) for row in rows] == [(0, "2"), (1, "5"), (2, "9")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_both_encodings_give_the_same_text(meld: Callable[..., Path], encoding: str) -> None:
    raw = meld()
    rewrite(raw, [{"Dialogue_ID": 0, "Utterance_ID": 0, "Utterance": "It’s – well – a café…"}], encoding)
    assert reader.read(raw, ["text"])[0][0].text == "It’s – well – a café…"


@pytest.mark.parametrize(("written", "seconds"), [("00:16:16,059", 976.059), ("0:36:59,425", 2219.425), ("soon", None)])
def test_both_forms_of_time_are_read(written: str, seconds: float | None) -> None:
    assert reader.seconds(written) == (pytest.approx(seconds) if seconds else None)


@given(st.integers(0, 9), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_time_is_what_was_written(hours: int, minutes: int, whole: int, thousandths: int) -> None:
    written = f"{hours:02}:{minutes:02}:{whole:02},{thousandths:03}"
    assert reader.seconds(written) == pytest.approx(hours * 3600 + minutes * 60 + whole + thousandths / 1000)


def test_a_corrected_twin_is_preferred(meld: Callable[..., Path]) -> None:
    raw = meld()
    twin = raw / "output_repeated_splits_test" / "final_videos_testdia0_utt1.mp4"
    twin.write_bytes(b"corrected")
    rows, notes = reader.read(raw, ALL)
    assert rows[7].video.endswith("final_videos_testdia0_utt1.mp4")
    assert notes == []  # its twin is not said to lack a row


def test_a_clip_without_a_row_is_noted_and_a_row_without_a_clip_is_a_problem(meld: Callable[..., Path]) -> None:
    raw = meld()
    (raw / "train_splits" / "dia0_utt1.mp4").rename(raw / "train_splits" / "dia5_utt5.mp4")
    rows, notes = reader.read(raw, ALL)
    assert rows[1].problem == "dia0_utt1.mp4: no such clip"
    assert (rows[1].audio, rows[1].video) == ("", "")
    assert notes == ["train_splits/dia5_utt5.mp4: a clip without a row in train_sent_emo.csv"]


def test_appledouble_files_are_skipped(meld: Callable[..., Path]) -> None:
    raw = meld()
    (raw / "train_splits" / "._dia0_utt0.mp4").write_bytes(b"\0\5\26\7")
    rows, notes = reader.read(raw, ALL)
    assert rows[0].video == "train_splits/dia0_utt0.mp4"
    assert notes == []


def test_the_release_may_keep_its_folder_a_split(meld: Callable[..., Path], tmp_path: Path) -> None:
    flat = meld()
    nested = tmp_path / "MELD.Raw"
    for split, (annotations, folder) in {"train": reader.FILES["train"], "dev": reader.FILES["validation"],
                                         "test": reader.FILES["test"]}.items():  # fmt: skip
        (nested / split).mkdir(parents=True)
        (flat / annotations).rename(nested / split / annotations)
        (flat / folder).rename(nested / split / folder)
    rows, _ = reader.read(nested, ALL)
    assert rows[0].video == "train/train_splits/dia0_utt0.mp4"


def test_media_that_are_left_out_are_no_problem(meld: Callable[..., Path]) -> None:
    rows, _ = reader.read(meld(clips=False), ["text"])
    assert all(row.audio == row.video == row.problem == "" for row in rows)
    rows, _ = reader.read(meld(), ["text", "audio"])
    assert rows[0].audio
    assert not rows[0].video


def test_an_empty_utterance_and_a_dialogue_of_one_turn_are_rows(meld: Callable[..., Path]) -> None:
    raw = meld()
    rewrite(raw, [{"Dialogue_ID": 3, "Utterance_ID": 0, "Utterance": "  "}])
    rows, _ = reader.read(raw, ["text"])
    assert (rows[0].turn, rows[0].text, rows[0].dialogue_id) == (0, "", "train_dia3")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"Dialogue_ID": "x", "Utterance_ID": 0}], "line 2: Dialogue_ID and Utterance_ID must be whole numbers"),
        ([{"Dialogue_ID": 0, "Utterance_ID": 0}] * 2, "line 3: a second row for dialogue 0, utterance 0"),
        ([{"Dialogue_ID": 0, "Utterance_ID": 0, "Emotion": "glee"}], "line 2: emotion 'glee' is none of neutral"),
    ],
)
def test_a_row_that_cannot_be_understood_is_named(meld: Callable[..., Path], rows: list[dict], said: str) -> None:
    raw = meld()
    rewrite(raw, rows)
    with pytest.raises(StageError) as caught:
        reader.read(raw, ["text"])
    assert f"train_sent_emo.csv, {said}" in str(caught.value)


def test_a_missing_column_or_file_is_named(meld: Callable[..., Path], tmp_path: Path) -> None:
    raw = meld()
    (raw / "dev_sent_emo.csv").write_text("Utterance,Speaker\nHi,Ann\n")
    with pytest.raises(StageError, match=r"dev_sent_emo\.csv, line 1: no column Emotion"):
        reader.read(raw, ["text"])
    with pytest.raises(StageError, match=r"has train_sent_emo\.csv"):
        reader.read(tmp_path / "empty", ["text"])
