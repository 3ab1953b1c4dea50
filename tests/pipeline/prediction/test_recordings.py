"""Recordings against their transcripts: what is missing is marked, what makes no sense is refused in words."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from extractors.media import MediaInfo
from foundation.errors import UserError
from pipeline.predict import arguments
from pipeline.prediction import recordings, run
from pipeline.prediction.recordings import MEDIA, Recording, read_recording
from pipeline.prediction.run import recordings_in
from pipeline.prediction.transcripts import read_transcript
from tests.conftest import write_clip

PROJECT = Path(__file__).parents[3]
TABLE = "start,end,text,speaker\n0,0.5,Hi.,Ann\n0.5,1,Yes?,Bob\n"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Recording]:
    def make(media: Path | None, table: str = TABLE) -> Recording:
        (tmp_path / "talk.csv").write_text(table)
        return read_recording("talk", media, read_transcript(tmp_path / "talk.csv"), tmp_path)

    return make


def test_an_utterance_is_an_interval_of_the_recording(read: Callable[..., Recording], tmp_path: Path) -> None:
    film = write_clip(tmp_path / "talk.mp4", 1.0)
    found = read(film)
    assert [(row.start, row.end, row.audio_start, row.audio_end) for row in found.rows] == [(0, 0.5) * 2, (0.5, 1) * 2]
    assert {row.audio for row in found.rows} == {row.video for row in found.rows} == {str(film.resolve())}
    assert [(row.speaker, row.speaker_name) for row in found.rows] == [(0, "Ann"), (1, "Bob")]
    assert not any(row.problem for row in found.rows)
    assert found.notes == []
    assert found.seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("kind", "what", "modality"), [("sound", "sound", "audio"), ("picture", "picture", "video")])
def test_a_film_without_sound_or_picture_is_marked(
    read: Callable[..., Recording], tmp_path: Path, kind: str, what: str, modality: str
) -> None:
    found = read(write_clip(tmp_path / "talk.mp4", 1.0, **{kind: False}))
    assert [getattr(row, modality) for row in found.rows] == ["", ""]
    assert found.rows[0].problem == f"talk.mp4: has no {modality} stream"
    assert f"no {what} can be used: all utterances are predicted without it" in found.notes


def test_times_past_the_end_are_marked(read: Callable[..., Recording], tmp_path: Path) -> None:
    film = write_clip(tmp_path / "talk.mp4", 1.0)
    found = read(film, "start,end,text\n0.2,9,Hi.\n5,6,Yes?\n")
    assert [bool(row.video) for row in found.rows] == [True, False]
    assert found.rows[1].problem.startswith("talk.mp4: begins at 5 s, and the recording ends at 1.")
    assert any("1 utterances end after the recording does" in note for note in found.notes)


def test_what_is_no_recording_is_refused(read: Callable[..., Recording], tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("This is no film.")
    with pytest.raises(UserError, match=r"broken\.mp4: is no recording that can be read: it cannot be opened"):
        read(tmp_path / "broken.mp4")
    with pytest.raises(UserError, match=r"none\.mp4: no such file"):
        read(tmp_path / "none.mp4")


def test_of_a_shared_recording_each_utterance_says_where_it_is(read: Callable[..., Recording], tmp_path: Path) -> None:
    film = write_clip(tmp_path / "talk.mp4", 1.0)
    with pytest.raises(UserError, match="line 2 has no start"):
        read(film, "text\nHi.\nYes?\n")
    (only,) = read(film, "text\nHi.\n").rows
    assert (only.start, only.end, only.video) == (None, None, str(film.resolve()))


def test_files_of_utterances_count_from_the_table_and_absent_ones_are_marked(
    read: Callable[..., Recording], tmp_path: Path
) -> None:
    write_clip(tmp_path / "clips/one.mp4", 0.6)
    found = read(None, "file,text\nclips/one.mp4,Hi.\nclips/two.mp4,Yes?\n,Hm.\n")
    assert [bool(row.video) for row in found.rows] == [True, False, False]
    assert [row.problem for row in found.rows] == ["", "two.mp4: no such file", ""]
    assert [file.name for file in found.files] == ["one.mp4"]


def test_an_utterance_of_hours_is_cut(
    read: Callable[..., Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "LONGEST", 0.4)
    found = read(write_clip(tmp_path / "talk.mp4", 1.0), "start,end,text\n0.1,0.9,Hi.\n")
    assert found.rows[0].end == pytest.approx(0.5)
    assert "only its beginning is looked at" in found.notes[-1]


def test_an_interval_that_cannot_be_used_leaves_the_words(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "talk.mp4", 1.0)
    file = tmp_path / "talk.srt"
    for first in ("00:00:00,500", "00:00:00,000"):
        file.write_text(f"1\n00:00:00,000 --> {first}\nAnn: Hi.\n\n2\n00:00:00,600 --> 00:00:00,500\nBob: Yes?\n")
        found = read_recording("talk", film, read_transcript(file), tmp_path)
        assert (found.rows[1].text, found.rows[1].video, found.rows[1].audio) == ("Yes?", "", "")
        assert found.rows[1].problem == "subtitle 2: ends at 0.5 s, not after its start 0.6 s"
        assert bool(found.rows[0].video) == (first == "00:00:00,500")
    assert found.seconds == pytest.approx(1.0, abs=0.1)


def test_a_name_that_no_file_can_have_is_marked(read: Callable[..., Recording]) -> None:
    (row,) = read(None, f"file,text\n{'a' * 300}.mp4,Hi.\n").rows
    assert (row.video, row.problem) == ("", f"{'a' * 300}.mp4: no such file")


def test_a_link_that_leads_to_itself_is_no_recording(read: Callable[..., Recording], tmp_path: Path) -> None:
    loop = tmp_path / "loop.mp4"
    loop.symlink_to("loop.mp4")
    with pytest.raises(UserError, match=r"loop\.mp4: cannot be opened \(Too many levels of symbolic links\)"):
        read(loop, "text\nHi.\n")
    (row,) = read(None, f"file,text\n{loop},Hi.\n").rows
    assert (row.video, row.problem) == ("", "loop.mp4: no such file")


def test_speakers_that_differ_in_case_only_are_one(read: Callable[..., Recording]) -> None:
    assert [row.speaker for row in read(None, "speaker,text\nBob,a\nAnn,b\nbob,c\n").rows] == [0, 1, 0]


def test_an_utterance_without_an_end_in_a_film_of_hours_is_cut(
    read: Callable[..., Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recordings, "LONGEST", 0.4)
    table = "text,speaker\nHi.,Ann\n"
    (row,) = read(write_clip(tmp_path / "talk.mp4", 1.0), table).rows
    assert (row.start, row.end, row.audio_end) == (None, 0.4, 0.4)
    found = read(write_clip(tmp_path / "talk.mp4", 0.3), table)
    assert (found.rows[0].end, found.notes) == (None, [])


def test_a_choice_of_sound_track_is_noted(
    read: Callable[..., Recording], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_clip(tmp_path / "talk.mp4", 1.0)
    info = MediaInfo("", "", 1.0, "has 2 sound tracks")
    monkeypatch.setattr(recordings, "inspected", lambda files: [("hash", info) for _ in files])
    assert read(film).notes == ["talk.mp4: has 2 sound tracks"]


def test_a_folder_is_searched_for_recordings_and_what_else_is_there_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one.opus", "two.MTS", "one.srt", "notes.docx", "lonely.srt", ".hidden", "._one.mp4", "two.csv"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    (tmp_path / "clips.mp4").mkdir()
    assert [file.name for file in recordings_in(tmp_path)] == ["one.opus", "two.MTS"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "neither a recording nor the transcript of one: clips.mp4, lonely.srt, more, notes.docx." in said


@pytest.mark.parametrize("page", ["README.md", "docs/predict.md"])
def test_the_endings_of_recordings_are_those_of_the_docs(page: str) -> None:
    text = (PROJECT / page).read_text("utf-8")
    (line,) = [part for part in text.split("\n\n") if part.startswith("`.mp4`")]
    assert tuple(re.findall(r"`(\.\w+)`", line)) == MEDIA


def test_one_recording_that_raises_anything_does_not_stop_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        write_clip(tmp_path / f"{name}.mp4", 0.5)
        (tmp_path / f"{name}.txt").write_text("Ann: Hello.\n")
    make = run.read_recording

    def fails(name: str, *rest: Any) -> Recording:
        if name == "a":
            raise KeyError("nobody foresaw it")
        return make(name, *rest)

    monkeypatch.setattr(run, "read_recording", fails)
    broken, fine = run.read_all(arguments().parse_args([str(tmp_path), "--model", "none"]))
    assert isinstance(broken, UserError)
    assert "a.mp4: cannot be used (KeyError: 'nobody foresaw it')" in str(broken)
    assert isinstance(fine, Recording)
