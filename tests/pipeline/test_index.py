"""The index stage: bad input is met with a recorded problem or a clear refusal."""

import argparse
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extractors.media import MediaInfo
from extractors.utterance import Utterance
from foundation.errors import UserError
from pipeline import index
from pipeline.corpora import media_files
from pipeline.corpora.census import census
from pipeline.corpora.index_file import dialogues, read_index, write_index
from pipeline.corpora.raw_corpus import RawCorpus
from pipeline.params import Params, load_params
from tests.conftest import change_in_secret, write_clip

PROJECT = Path(__file__).parents[2]


def params(raw: Path, modalities: list[str] | None = None, share: float = 0.9) -> Params:
    loaded = load_params(PROJECT / "params.yaml").model_dump()
    loaded["index"]["meld"] |= {"raw": str(raw), "max_problem_share": share} | (
        {"modalities": modalities} if modalities else {}
    )
    return Params.model_validate(loaded)


@pytest.fixture
def indexed(
    tmp_path: Path, meld: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Utterance]]:
    """Runs the stage on the tree at tmp_path/raw, made when it is not there."""
    monkeypatch.chdir(tmp_path)

    def run(**chosen: Any) -> list[Utterance]:
        raw = tmp_path / "raw"
        index.run(argparse.Namespace(corpus="meld"), params(raw if raw.exists() else meld(), **chosen))
        return read_index(tmp_path / "data" / "meld" / "index.csv")

    return run


def test_usable_clips_have_hashes_and_no_problem(indexed: Callable[..., list[Utterance]], clip: Path) -> None:
    rows = indexed()
    assert len(rows) == 9
    digest = hashlib.sha256(clip.read_bytes()).hexdigest()
    assert all(row.problem == "" and row.audio_hash == row.video_hash == digest for row in rows)


def test_a_truncated_a_zero_byte_and_one_sided_clips_are_recorded(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path], clip: Path
) -> None:
    folder = meld() / "train_splits"
    (folder / "dia0_utt0.mp4").write_bytes(clip.read_bytes()[:700])
    (folder / "dia0_utt1.mp4").write_bytes(b"")
    write_clip(folder / "dia0_utt2.mp4", picture=False)
    write_clip(folder.parent / "dev_splits_complete" / "dia0_utt0.mp4", sound=False)
    rows = indexed()
    assert "train_splits/dia0_utt0.mp4: cannot be opened" in rows[0].problem
    assert rows[1].problem == "train_splits/dia0_utt1.mp4: is empty (zero bytes)"
    assert (rows[2].problem, rows[2].video) == ("train_splits/dia0_utt2.mp4: has no video stream", "")
    assert rows[2].audio
    assert (len(rows[2].audio_hash), rows[2].video_hash, rows[0].audio_hash) == (64, "", "")
    assert (rows[3].problem, rows[3].audio) == ("dev_splits_complete/dia0_utt0.mp4: has no audio stream", "")
    assert rows[3].video


def test_too_many_problems_refuse_the_corpus_and_say_what_to_check(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path]
) -> None:
    meld(clips=False)
    with pytest.raises(UserError) as caught:
        indexed(share=0.2)
    for word in ("9 of 9", "index.meld.max_problem_share = 0.2", "index.meld.raw", "index.meld.modalities=[text]"):
        assert word in str(caught.value)
    assert not Path("data/meld/index.csv").exists()


def row(name: str = "u", **values: Any) -> Utterance:
    usual: dict = {"dialogue_id": "d", "turn": 0, "speaker": 0, "split": "train", "text": "", "label": "joy"}
    return Utterance(utterance_id=name, **{**usual, **values})


def test_as_many_problems_as_are_allowed_are_allowed() -> None:
    rows = [row(), row(problem="a.mp4: is empty"), row(problem="b.mp4: no such clip"), row()]
    index.refuse_problems(rows, 0.5, "meld")
    with pytest.raises(UserError) as caught:
        index.refuse_problems(rows, 0.25, "meld")
    assert str(caught.value) == (
        "2 of 4 utterances have media that cannot be used, more than index.meld.max_problem_share = 0.25 (the first: "
        "a.mp4: is empty). Check that index.meld.raw names the whole release, with its folders of clips unpacked; to "
        "use it without them, leave media out: `-S 'index.meld.modalities=[text]'`"
    )


@pytest.mark.parametrize("number", [20, 23])
def test_the_log_shows_twenty_notes_and_problems_and_says_where_the_others_are(
    number: int, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [*(row(f"u{place}", problem=f"{place}.mp4: is empty") for place in range(number)), row("whole")]
    raw_corpus = RawCorpus(rows, ["Ann"] * len(rows), [f"n{place}" for place in range(number)], ["lacks 7 clips"])
    with caplog.at_level("INFO", "cmath"):
        index.report(raw_corpus, census(raw_corpus, [0.0] * len(rows), ("joy",)))
    said = [(one.levelname, one.getMessage()) for one in caplog.records]
    more = number > 20
    begin = said.index(("INFO", "note: n0"))
    assert said[begin:] == [
        *(("INFO", f"note: n{place}") for place in range(20)),
        *[("INFO", "… and 3 more notes: results/…/corpus.json")] * more,
        *(("WARNING", f"cannot be used: u{place}: {place}.mp4: is empty") for place in range(20)),
        *[("WARNING", "… and 3 more: column `problem` of the index")] * more,
        ("INFO", f"{number} of {number + 1} utterances have media that cannot be used"),
        ("INFO", f"     {number}: is empty"),
        ("WARNING", "NOT THE FULL RELEASE: lacks 7 clips"),
    ]
    assert any(message.split()[:1] == ["joy"] for _, message in said[:begin])


def test_a_corpus_without_an_utterance_is_refused_and_its_key_is_named(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path]
) -> None:
    raw = meld(clips=False)
    for file in raw.glob("*.csv"):
        file.write_text(file.read_text().splitlines()[0] + "\n")
    with pytest.raises(
        UserError, match=rf"^{raw}: has no utterance; set index\.meld\.raw to the folder of the raw corpus$"
    ):
        indexed()


def test_words_that_shall_not_be_used_are_no_part_of_the_index(indexed: Callable[..., list[Utterance]]) -> None:
    rows = indexed(modalities=["audio", "visual"])
    assert {row.text for row in rows} == {""}
    assert {row.label for row in rows} == {"joy", "neutral", "anger"}


def test_the_encoders_of_sound_and_pictures_have_notes_that_never_change(
    indexed: Callable[..., list[Utterance]],
) -> None:
    for _ in range(2):
        indexed()
        notes = {file.name: file.read_bytes() for file in Path("data/meld/encoder").iterdir()}
        assert notes == {"audio": b"not fine-tuned\n", "visual": b"not fine-tuned\n"}


def test_annotations_alone_are_a_text_corpus(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path]
) -> None:
    meld(clips=False)
    rows = indexed(modalities=["text"], share=0.0)
    assert all(row.text and not row.problem for row in rows)


def test_a_second_index_opens_no_clip_and_has_the_same_bytes(
    indexed: Callable[..., list[Utterance]], monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed()
    before = Path("data/meld/index.csv").read_bytes()

    def refuse(file: Path) -> bytes:
        raise AssertionError(f"{file} was looked at again")

    monkeypatch.setattr(media_files, "_inspect", refuse)
    indexed()
    assert Path("data/meld/index.csv").read_bytes() == before


def test_a_second_index_sees_a_change_of_the_same_length(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    before = indexed()
    file = tmp_path / "raw" / "train_splits" / "dia0_utt1.mp4"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    after = indexed()
    assert after[1].video_hash == after[1].audio_hash != before[1].video_hash
    content[-1] ^= 3
    change_in_secret(file, bytes(content))
    assert indexed()[1].audio_hash not in (before[1].audio_hash, after[1].audio_hash)


def test_clips_that_were_looked_at_before_a_kill_are_not_opened_again(
    indexed: Callable[..., list[Utterance]], monkeypatch: pytest.MonkeyPatch
) -> None:
    look, opened = media_files._inspect, []

    def noting(file: Path) -> bytes:
        opened.append(file)
        if len(opened) == 6:
            raise KeyboardInterrupt
        return look(file)

    monkeypatch.setattr(media_files, "KEPT_TOGETHER", 2)
    monkeypatch.setattr(media_files.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(media_files, "_inspect", noting)
    with pytest.raises(KeyboardInterrupt):
        indexed()
    opened.clear()
    opened += [Path()] * 10
    assert len(indexed()) == 9
    assert len(opened) == 10 + 9 - 4  # two times two had been kept


def corpus_json() -> dict:
    found: dict = json.loads(Path("results/meld/corpus.json").read_text())
    return found


def test_corpus_json_counts_what_there_is(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = meld() / "train_splits"
    (folder / "dia0_utt0.mp4").write_bytes(b"")
    (folder / "dia0_utt1.mp4").unlink()
    caplog.set_level("INFO")
    indexed()
    counts = corpus_json()
    assert list(counts["splits"]) == ["train", "validation", "test", "train+validation", "all"]
    train = counts["splits"]["train"]
    assert (train["dialogues"], train["utterances"], train["speakers"]) == (1, 3, 2)
    assert train["turns_a_dialogue"] == {"mean": 3, "min": 3, "max": 3}
    assert [label for label, count in train["labels"].items() if count] == ["neutral", "joy", "anger"]
    assert (train["with_audio"], train["with_video"]) == (1, 1)
    assert train["seconds_of_audio"] == pytest.approx(0.6, abs=0.1)
    assert counts["splits"]["all"]["seconds_of_audio"] == pytest.approx(7 * 0.6, abs=0.3)
    assert counts["problems"] == {"utterances": 2, "reasons": {"is empty (zero bytes)": 1, "no such clip": 1}}
    assert counts["differences"] == []
    table = caplog.text
    assert "turns a dialogue" in table
    assert "3.00 (3 to 3)" in table
    assert "surprise" in table


def test_corpus_json_has_the_same_bytes_every_time(indexed: Callable[..., list[Utterance]]) -> None:
    indexed()
    before = Path("results/meld/corpus.json").read_bytes()
    indexed()
    assert Path("results/meld/corpus.json").read_bytes() == before


@pytest.mark.slow
def test_a_wrong_cut_minutes_long_is_noted_and_used(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path]
) -> None:
    write_clip(meld() / "train_splits" / "dia0_utt0.mp4", seconds=22)
    row = indexed()[0]
    assert row.audio
    assert row.problem == ""
    (note,) = corpus_json()["notes"]
    assert note.startswith("train_splits/dia0_utt0.mp4: lasts 22 s, the utterance 1.4 s by its annotation")


def test_an_utterance_lasts_as_long_as_its_interval_or_what_is_left_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(name: str, **media: Any) -> Utterance:
        return Utterance(utterance_id=name, dialogue_id="d", turn=0, speaker=0, split="train", text="", label="joy",
                         **media)  # fmt: skip

    both = {"audio": "a", "video": "v", "start": 1.0, "end": 4.0}
    rows = [
        row("own sound", **both),
        row("cut sound", **both, audio_start=2.0, audio_end=2.5),
        row("to the end", audio="a", audio_start=10.0),
        row("of the film", video="v", start=6.0),
        row("none"),
        row("too late", audio="a", audio_start=40.0),
    ]
    lasting = {"a": 30.0, "v": 50.0}
    monkeypatch.setattr(
        media_files, "inspected", lambda files: [("hash", MediaInfo("", "", lasting[file.name])) for file in files]
    )
    # 30, 0.5, 20, 44, 0 and 0 seconds: a clip is cut wrong where it lasts more than 20 s longer than was stated.
    stated = {"own sound": 10.0, "cut sound": 0.1, "to the end": 0.5, "of the film": 23.9, "none": 1.0}
    raw_corpus = RawCorpus(rows, [], stated=stated)
    assert media_files.inspect_media(raw_corpus, tmp_path) == [30.0, 0.5, 20.0, 0.0, 0.0, 0.0]
    assert [note.partition(";")[0] for note in raw_corpus.notes] == [
        "v: lasts 44 s, the utterance 23.9 s by its annotation"
    ]  # fmt: skip


def test_a_clip_of_a_few_hundred_milliseconds_is_no_problem(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path]
) -> None:
    write_clip(meld() / "train_splits" / "dia0_utt0.mp4", seconds=0.2)
    assert indexed()[0].problem == ""


def test_a_changed_clip_changes_its_hash_alone(indexed: Callable[..., list[Utterance]], tmp_path: Path) -> None:
    before = indexed()
    write_clip(tmp_path / "raw" / "train_splits" / "dia0_utt1.mp4", seconds=0.9)
    after = indexed()
    changed = [new.utterance_id for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["train_dia0_utt1"]


def test_an_empty_split_is_refused(indexed: Callable[..., list[Utterance]], meld: Callable[..., Path]) -> None:
    raw = meld()
    header = (raw / "dev_sent_emo.csv").read_text().splitlines()[0]
    (raw / "dev_sent_emo.csv").write_text(header + "\n")
    with pytest.raises(UserError, match=rf"^{raw}: the split validation is empty; without it nothing can be fitted"):
        indexed()


def test_clips_of_one_name_in_two_folders_are_two_clips(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [meld() / name for name in ("train_splits", "dev_splits_complete")]
    for number, folder in enumerate(folders):
        with (folder / "dia0_utt0.mp4").open("ab") as stream:
            stream.write(b"\0\0\0\x09free" + bytes([number]))
    monkeypatch.setattr(media_files, "state", lambda _: (1, 2, 3))  # as an archive may unpack them
    rows = indexed()
    assert rows[0].video_hash != rows[3].video_hash


def test_rows_survive_the_file(tmp_path: Path) -> None:
    row = Utterance(utterance_id="a", dialogue_id="d", turn=3, speaker=1, split="test", text='He said "no", then …\n',
                    label="joy", start=1.25, end=None, region="6,122,348,238", problem="x")  # fmt: skip
    write_index([row], tmp_path / "index.csv")
    assert read_index(tmp_path / "index.csv") == [row]


def test_pieces_and_boxes_survive_the_file_and_stand_behind_the_other_columns(tmp_path: Path) -> None:
    usual = Utterance(utterance_id="a", dialogue_id="d", turn=3, speaker=1, split="test", text="", label="joy",
                      audio="x.mp4", audio_hash="c" * 64)  # fmt: skip
    joined = replace(usual, audio_hash="", pieces="x.mp4@0.00001-2.5 | y, z.mp4@-", pieces_hash="ab@0.00001-2.5 | cd@-")
    boxed = replace(usual, boxes="0.000:-3,4,50,60 | 0.042:1,2,3,4")
    file = tmp_path / "index.csv"
    plain = None
    for rows, further in (([usual], ""), ([usual, joined], ",pieces,pieces_hash"), ([boxed, usual], ",boxes"),
                          ([replace(joined, boxes=boxed.boxes)], ",pieces,pieces_hash,boxes")):  # fmt: skip
        write_index(rows, file)
        assert read_index(file) == rows
        header = file.read_text().splitlines()[0]
        plain = plain or header
        assert header == plain + further


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    pieces = " | ".join(["a.mp4@0-1"] * 2000)
    joined = row("long", audio="a.mp4", pieces=pieces, pieces_hash=pieces.replace("a.mp4", "c" * 64))
    with pytest.raises(UserError, match=r"index\.csv: long would have 141,997 letters in pieces_hash, and at most "
                       r"131,072 can be read again: make its pieces shorter$"):  # fmt: skip
        write_index([row(), joined], tmp_path / "index.csv")
    assert not (tmp_path / "index.csv").exists()
    longest = row(text="x" * 131_072)
    write_index([longest], tmp_path / "index.csv")
    assert read_index(tmp_path / "index.csv") == [longest]


@pytest.mark.parametrize(("changes", "said"), [
    ({"pieces_hash": "ab@0-2 | cd@1-2"}, "pieces and pieces_hash have not the same pieces"),
    ({"pieces_hash": ""}, "has a piece without a file"),
    ({"pieces": "x@2-1 | y@0-1"}, "has a piece that ends at 1 s"),
    ({"boxes": "0.000:1,2,3"}, "boxes must be time:left,top,width,height"),
    ({"boxes": "0.000:1,2,0,4"}, "boxes must be time:left,top,width,height"),
    ({"boxes": "soon:1,2,3,4"}, "boxes must be time:left,top,width,height"),
])  # fmt: skip
def test_broken_pieces_and_boxes_are_named_by_their_line(changes: dict, said: str, tmp_path: Path) -> None:
    row = Utterance(utterance_id="a", dialogue_id="d", turn=0, speaker=0, split="test", text="", label="joy",
                    audio="x", pieces="x@0-1 | y@1-2", pieces_hash="b@0-1 | c@1-2", boxes="0.000:1,2,3,4")  # fmt: skip
    write_index([replace(row, **changes)], tmp_path / "index.csv")
    with pytest.raises(UserError, match=rf"index\.csv, line 2: {said}.*; make it anew with"):
        read_index(tmp_path / "index.csv")


@pytest.mark.parametrize("text_file", ["", "a.npy"])
def test_an_index_has_a_column_of_episodes_only_where_the_corpus_tells_them(tmp_path: Path, text_file: str) -> None:
    one = Utterance(utterance_id="a", dialogue_id="d", turn=0, speaker=0, split="train", text="x", label="joy",
                    text_file=text_file, text_hash=text_file and "1")  # fmt: skip
    other = replace(one, utterance_id="b", episode="s01e02")
    for rows in ([one], [one, other]):
        write_index(rows, tmp_path / "index.csv")
        head = (tmp_path / "index.csv").read_text().splitlines()[0].split(",")
        assert ("episode" in head) == (len(rows) == 2)
        assert ("text_file" in head) == bool(text_file)
        assert read_index(tmp_path / "index.csv") == rows


def test_a_picture_without_sound_is_looked_at_too() -> None:
    row = Utterance(utterance_id="u", dialogue_id="d", turn=0, speaker=0, split="train", text="", label="joy",
                    video="v.mp4")  # fmt: skip
    found = media_files.without_unusable_media(row, {"v.mp4": ("hash", MediaInfo("no sound", "", 1.0))})
    assert (found.video, found.video_hash, found.problem) == ("v.mp4", "hash", "")
    broken = media_files.without_unusable_media(row, {"v.mp4": ("hash", MediaInfo("no sound", "is broken", 1.0))})
    assert (broken.video, broken.video_hash, broken.problem) == ("", "", "v.mp4: is broken")
    known = {"v.mp4": ("hash", MediaInfo("is broken", "is broken", 1.0))}
    both = media_files.without_unusable_media(replace(row, audio="v.mp4", problem="no time"), known)
    assert both.problem == "no time; v.mp4: is broken"  # once of sound and picture


def test_seconds_are_of_the_sounds_own_interval() -> None:
    row = Utterance(utterance_id="a", dialogue_id="d", turn=0, speaker=0, split="test", text="", label="",
                    audio="a.wav", video="v.mp4", start=1.0, end=9.0, audio_start=2.0, audio_end=5.0)  # fmt: skip
    known = {name: ("", MediaInfo("", "", 20.0)) for name in ("a.wav", "v.mp4")}
    assert media_files.seconds_of(row, known, row.audio) == 3
    assert media_files.seconds_of(row, known, row.video) == 8
    assert media_files.seconds_of(replace(row, audio_end=None), known, row.audio) == 18
    assert media_files.seconds_of(replace(row, audio_start=30.0, audio_end=None), known, row.audio) == 0


def test_whatever_a_file_raises_is_its_problem_and_the_others_go_on(
    indexed: Callable[..., list[Utterance]], monkeypatch: pytest.MonkeyPatch
) -> None:
    look = media_files.media_info

    def fails(file: Path) -> MediaInfo:
        if file.name == "dia0_utt1.mp4" and file.parent.name == "train_splits":
            raise RuntimeError("something that nobody foresaw")
        return look(file)

    monkeypatch.setattr(media_files, "media_info", fails)
    rows = indexed()
    assert rows[1].problem == "train_splits/dia0_utt1.mp4: cannot be read (RuntimeError)"
    assert (rows[1].audio, rows[1].video, rows[1].audio_hash) == ("", "", "")
    assert all(row.audio and not row.problem for row in rows if row is not rows[1])


def test_files_with_several_sound_tracks_share_a_note() -> None:
    known = {name: ("", MediaInfo("", "", 1.0, note)) for name, note in (("a", "has 2"), ("b", ""), ("c", "has 2"))}
    assert media_files.notes(known) == ["a and 1 more files: has 2"]
    assert media_files.notes({"a": known["a"]}) == ["a: has 2"]


def test_dialogues_are_told_apart_and_turns_ordered() -> None:
    def row(dialogue: str, turn: int) -> Utterance:
        return Utterance(utterance_id="", dialogue_id=dialogue, turn=turn, speaker=0, split="train", text="", label="")

    assert dialogues([row("b", 1), row("a", 0), row("b", 0)]) == [[2, 0], [1]]


def test_a_missing_or_foreign_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_index(tmp_path / "index.csv")
    (tmp_path / "index.csv").write_text("a,b\n")
    with pytest.raises(UserError, match=r"index\.csv: has no column utterance_id; make it anew with"):
        read_index(tmp_path / "index.csv")
