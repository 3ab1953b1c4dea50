"""MELD as MELD-FAIR cuts it, from its files to the index, features and counts; and what is said of a wrong list."""

import argparse
import csv
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from extractors import clips
from extractors.features import Features, write_features
from extractors.result import clip_of
from extractors.utterance import Utterance
from extractors.visual import faces
from foundation.errors import UserError
from foundation.workers import TaskLost
from pipeline import cuts as command
from pipeline import export, extract, index
from pipeline.corpora import meld as reader
from pipeline.corpora import meld_fair
from pipeline.corpora.index_file import read_index
from pipeline.params import Params, load_params
from tests.conftest import in_this_process, write_clip, write_meld_csv

PROJECT = Path(__file__).parents[3]
SHARED = PROJECT.parent / "shared" / "data"
FILES = {"train": "train_sent_emo.csv", "dev": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}
FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
CUTS = "MELD_video_realignment_timestamps.csv"
BOXES = "MELD_active_speaker_face_bboxes.csv"
EMOTIONS = ("joy", "neutral", "anger")
Cut = tuple[str, int, int, int, int, float, float]
"""Split, dialogue and renumbered utterance, dialogue and utterance of the clip, start, end."""


def write_csv(file: Path, header: str, rows: Iterable[Sequence[object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([header.split(","), *rows])


def write_fair(
    folder: Path,
    cuts: Iterable[Cut],
    numbers: dict[str, Sequence[tuple[int, int, int, str]]] | None = None,
    boxes: Iterable[Sequence[object]] = (),
) -> Path:
    """MELD-FAIR's folder.

    Args:
        numbers: by split, of each utterance: dialogue, renumbered and original utterance, emotion; by default those of
            the fixture `meld`, with their own numbers.
    """
    usual = [(0, turn, turn, emotion) for turn, emotion in enumerate(EMOTIONS)]
    for split in FILES:
        header = "Sr No.,Dialogue_ID,Utterance_ID,Original Utterance_ID,Emotion"
        write_csv(folder / f"realigned_{split}_sent_emo.csv", header,
                  [(1, *one) for one in (numbers or {}).get(split, usual)])  # fmt: skip
    header = "Split,Dialogue ID,Utterance ID,Original Dialogue ID,Original Utterance ID,Start Time,End Time"
    write_csv(folder / CUTS, header, cuts)
    if boxes := list(boxes):
        write_csv(folder / BOXES, "Split,Dialogue ID,Utterance ID,Frame Number,X Left,Y Top,X Right,Y Bottom", boxes)
    return folder


def own(but: Iterable[tuple[str, int]] = ()) -> list[Cut]:
    """A cut of half a second of each clip of the fixture `meld`, except those of `but`."""
    return [(split, 0, turn, 0, turn, 0.05, 0.55) for split in FILES for turn in range(3) if (split, turn) not in but]


def params(raw: Path, fair: Path, cuts: str = "fair") -> Params:
    loaded = load_params(PROJECT / "params.yaml").model_dump()
    loaded["index"]["meld"] |= {"raw": str(raw), "max_problem_share": 0.9, "cuts": cuts, "fair": str(fair)}
    loaded["audio"]["meld"] |= {"set": "eGeMAPSv02", "reduce": "none"}
    return Params.model_validate(loaded)


@pytest.fixture
def indexed(
    tmp_path: Path, meld: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[Utterance]]:
    """Runs the stage on the tree at tmp_path/raw, made when it is not there, and the list at tmp_path/fair."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(clips, "spread", in_this_process)

    def run(cuts: str = "fair") -> list[Utterance]:
        raw = tmp_path / "raw"
        stage = argparse.Namespace(corpus="meld")
        index.run(stage, params(raw if raw.exists() else meld(), tmp_path / "fair", cuts))
        return read_index(tmp_path / "data/meld/index.csv")

    return run


def hear(folder: Path, cuts: str = "fair") -> None:
    """Extract the sound of the corpus that `indexed` has read."""
    arguments = argparse.Namespace(corpus="meld", modality="audio", shard=extract.WHOLE, engine=None)
    extract.run(arguments, params(folder / "raw", folder / "fair", cuts))


def counted(folder: Path, split: str = "train") -> dict:
    return json.loads((folder / "results/meld/corpus.json").read_text())["cuts"][split]


# ---- where an utterance is ----


def test_an_utterance_is_its_pieces_in_the_order_of_the_list_and_all_else_stays(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    cuts = own({("train", 0), ("train", 1)})
    cuts += [("train", 0, 0, 0, 2, 0.3, 0.5), ("train", 0, 1, 0, 0, 0.1, 0.45), ("train", 0, 0, 0, 0, 0.0, 0.25)]
    write_fair(tmp_path / "fair", cuts)
    released = indexed("released")
    first, second, third, *others = indexed()
    assert first.pieces == "train_splits/dia0_utt2.mp4@0.3-0.5 | train_splits/dia0_utt0.mp4@0.0-0.25"
    assert first.audio == first.video == "train_splits/dia0_utt2.mp4"
    digest = released[0].audio_hash
    assert first.pieces_hash == f"{digest}@0.3-0.5 | {digest}@0.0-0.25"
    assert (first.audio_hash, first.video_hash, first.start, first.audio_end) == ("", "", None, None)
    assert (second.audio, second.video) == ("train_splits/dia0_utt0.mp4",) * 2
    assert (second.start, second.end, second.audio_start, second.audio_end) == (0.1, 0.45, 0.1, 0.45)
    assert (second.pieces, second.audio_hash) == ("", digest)
    assert third.audio.endswith("dia0_utt2.mp4")

    def labelled(rows: Iterable[Utterance]) -> list[Utterance]:
        """The rows without what a cut list may change."""
        media = dict.fromkeys(("audio", "video", "audio_hash", "video_hash", "pieces", "pieces_hash", "boxes"), "")
        times = dict.fromkeys(("start", "end", "audio_start", "audio_end"))
        return [replace(row, **media, **times) for row in rows]  # type: ignore[arg-type]

    assert labelled([first, second, third, *others]) == labelled(released)
    found = counted(tmp_path)
    assert found["where"] == {"own clip": 1, "own clip and others": 1, "other clips": 1, "none": 0}
    assert (found["utterances"], found["of_several_pieces"]) == (3, 1)
    assert found["under_0.3_s"] == {"utterances": 0, "of three words or more": 0}


def test_the_released_index_has_no_column_for_pieces_and_its_counts_no_cuts(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    indexed("released")
    header = (tmp_path / "data/meld/index.csv").read_text().splitlines()[0]
    assert "pieces" not in header
    assert "boxes" not in header
    assert "cuts" not in json.loads((tmp_path / "results/meld/corpus.json").read_text())


def test_ids_are_joined_by_the_original_numbers(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path], tmp_path: Path
) -> None:
    raw = meld()
    turns = [{"Dialogue_ID": 0, "Utterance_ID": turn, "Emotion": emotion} for turn, emotion in zip((1, 4, 7), EMOTIONS)]  # noqa: B905
    write_meld_csv(raw / FILES["train"], turns)
    for old, new in ((2, 7), (1, 4), (0, 1)):
        (raw / "train_splits" / f"dia0_utt{old}.mp4").rename(raw / "train_splits" / f"dia0_utt{new}.mp4")
    numbers = {"train": [(0, 0, 1, "joy"), (0, 1, 4, "neutral"), (0, 2, 7, "anger")]}
    cuts = [*own({("train", 0), ("train", 1), ("train", 2)}), ("train", 0, 1, 0, 4, 0.1, 0.3)]
    cuts += [("train", 0, 0, 0, 7, 0.2, 0.4)]
    write_fair(tmp_path / "fair", cuts, numbers)  # type: ignore[arg-type]
    rows = [row for row in indexed() if row.split == "train"]
    assert [(row.utterance_id, row.audio[-8:], row.start) for row in rows] == [
        ("train_dia0_utt1", "utt7.mp4", 0.2), ("train_dia0_utt4", "utt4.mp4", 0.1), ("train_dia0_utt7", "", None)
    ]  # fmt: skip
    assert rows[2].problem == "dia0_utt7: has no piece in the cut list"


def test_pieces_are_of_the_clip_with_the_plain_name_and_not_of_its_corrected_twin(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path], tmp_path: Path
) -> None:
    folder = meld() / FOLDERS["test"]
    write_clip(folder / "final_videos_testdia0_utt1.mp4", seconds=1.4)
    write_fair(tmp_path / "fair", own())
    assert indexed("released")[7].audio.endswith("/final_videos_testdia0_utt1.mp4")
    assert indexed()[7].audio.endswith("/dia0_utt1.mp4")
    found = counted(tmp_path, "test")
    assert found["shorter"]["utterances"] == 1
    assert found["shorter"]["seconds"] == pytest.approx(0.9, abs=0.1)


@pytest.mark.slow
def test_each_of_the_five_bad_clips_is_repaired(
    indexed: Callable[..., list[Utterance]], tmp_path: Path, clip: Path
) -> None:
    raw = tmp_path / "raw"
    of = {"train": [(125, 2), (125, 3), (125, 4), (309, 0)], "dev": [(110, 6), (110, 7)], "test": [(38, 4), (220, 0)]}
    for split, ids in of.items():
        write_meld_csv(raw / FILES[split], [{"Dialogue_ID": d, "Utterance_ID": u, "Emotion": "joy",
                                            "StartTime": "00:00:01,000", "EndTime": "00:00:01,500"}
                                           for d, u in ids])  # fmt: skip
        for dialogue, utterance in ids:
            write_clip(raw / FOLDERS[split] / f"dia{dialogue}_utt{utterance}.mp4", 0.6)
    (raw / "train_splits/dia125_utt3.mp4").write_bytes(clip.read_bytes()[:700])  # no moov
    (raw / "dev_splits_complete/dia110_utt7.mp4").unlink()
    long = write_clip(tmp_path / "long.mp4", seconds=24)
    for name in ("test/dia38_utt4", "test/dia220_utt0", "train/dia309_utt0"):
        split, _, file = name.partition("/")
        (raw / FOLDERS[split] / f"{file}.mp4").write_bytes(long.read_bytes())
    cuts: list[Cut] = [
        ("train", 125, 0, 125, 2, 0.0, 0.2), ("train", 125, 1, 125, 2, 0.3, 0.6), ("train", 125, 1, 125, 4, 0.0, 0.35),
        ("train", 125, 2, 125, 4, 0.35, 0.6), ("train", 309, 0, 309, 0, 0.0, 2.5), ("dev", 110, 0, 110, 6, 0.0, 0.25),
        ("dev", 110, 1, 110, 6, 0.25, 0.6), ("test", 38, 0, 38, 4, 1.5, 3.5), ("test", 220, 0, 220, 0, 22.5, 23.5),
    ]  # fmt: skip
    numbers = {split: [(d, number, u, "joy") for d in dict.fromkeys(d for d, _ in ids)
                       for number, u in enumerate(u for other, u in ids if other == d)]
               for split, ids in of.items()}  # fmt: skip
    write_fair(tmp_path / "fair", cuts, numbers)
    before = {row.utterance_id: row for row in indexed("released")}
    notes = json.loads((tmp_path / "results/meld/corpus.json").read_text())["notes"]
    assert "moov" in before["train_dia125_utt3"].problem
    assert before["validation_dia110_utt7"].problem == "dia110_utt7.mp4: no such clip"
    assert sum("probably cut wrong" in note for note in notes) == 3
    after = {row.utterance_id: row for row in indexed()}
    corpus = json.loads((tmp_path / "results/meld/corpus.json").read_text())
    assert not any(row.problem for row in after.values())
    assert not any("probably cut wrong" in note for note in corpus["notes"])
    assert after["train_dia125_utt3"].pieces == (
        "train_splits/dia125_utt2.mp4@0.3-0.6 | train_splits/dia125_utt4.mp4@0.0-0.35"
    )
    assert after["validation_dia110_utt7"].audio == "dev_splits_complete/dia110_utt6.mp4"
    seconds = {"train_dia309_utt0": 2.5, "test_dia38_utt4": 2.0, "test_dia220_utt0": 1.0}
    assert {name: after[name].end - after[name].start for name in seconds} == seconds  # type: ignore[operator]
    assert corpus["splits"]["train"]["seconds_of_audio"] == pytest.approx(0.2 + 0.3 + 0.35 + 0.25 + 2.5, abs=0.1)
    assert corpus["cuts"]["train"]["sound"]["only by the list"] == 1
    assert corpus["cuts"]["validation"]["sound"]["only by the list"] == 1
    assert corpus["cuts"]["test"]["shorter"]["utterances"] == 2
    assert corpus["cuts"]["test"]["shorter"]["seconds"] == pytest.approx(45, abs=0.3)


def test_a_clip_that_cannot_be_used_takes_its_part_from_every_utterance_that_has_a_piece_of_it(
    indexed: Callable[..., list[Utterance]], meld: Callable[..., Path], tmp_path: Path
) -> None:
    folder = meld() / "train_splits"
    write_clip(folder / "dia0_utt1.mp4", picture=False)
    (folder / "dia0_utt2.mp4").unlink()
    cuts = [*own({("train", 0), ("train", 1), ("train", 2)})]
    cuts += [("train", 0, 0, 0, 0, 0.0, 0.3), ("train", 0, 0, 0, 1, 0.0, 0.3)]  # half of it has no picture
    cuts += [("train", 0, 1, 0, 1, 0.0, 0.3), ("train", 0, 1, 0, 2, 0.0, 0.3)]  # half of it is not there
    cuts += [("train", 0, 2, 0, 0, 0.7, 0.9)]  # begins when the clip has ended
    write_fair(tmp_path / "fair", cuts)
    first, second, third, *others = indexed()
    assert first.problem == "train_splits/dia0_utt1.mp4: has no video stream"
    assert (first.audio, first.video) == ("train_splits/dia0_utt0.mp4", "")
    assert first.pieces_hash.count(" | ") == 1
    assert second.problem == "dia0_utt2.mp4: no such clip"
    assert third.problem == "train_splits/dia0_utt0.mp4: ends before the piece that is cut from it begins"
    for row in (second, third):
        assert (row.audio, row.video, row.pieces, row.audio_hash, row.pieces_hash) == ("",) * 5
    assert all(row.audio and row.video and not row.problem for row in others)
    found = counted(tmp_path)["sound"]
    assert (found["only released"], found["none"]) == (1, 1)  # the third had sound; the second's clip is missing


def test_a_piece_that_ends_after_its_clip_is_used_as_far_as_it_goes_and_counted(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    cuts = [*own({("train", 0), ("train", 1)}), ("train", 0, 0, 0, 0, 0.2, 2.6), ("train", 0, 1, 0, 0, 0.3, 0.65)]
    write_fair(tmp_path / "fair", cuts)
    rows = indexed()
    assert not any(row.problem for row in rows)
    notes = json.loads((tmp_path / "results/meld/corpus.json").read_text())["notes"]
    assert notes == ["1 utterances have a piece that ends after its file does, by up to 2.0 s (train_dia0_utt0): what "
                     "there is of it is used"]  # fmt: skip


# ---- what is made of it ----


@pytest.mark.slow
def test_a_changed_list_extracts_what_changed_and_nothing_else(
    indexed: Callable[..., list[Utterance]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared = own({("train", 0), ("train", 1)})
    pieces: list[Cut] = [
        ("train", 0, 0, 0, 0, 0.0, 0.3),
        ("train", 0, 0, 0, 2, 0.1, 0.4),
        ("train", 0, 1, 0, 1, 0.0, 0.5),
    ]
    caplog.set_level(logging.INFO)

    def to_extract(cuts: list[Cut]) -> int:
        write_fair(tmp_path / "fair", [*shared, *cuts])
        indexed()
        caplog.clear()
        hear(tmp_path)
        [said] = [message for message in caplog.messages if " to extract, " in message]
        return int(said.split()[1])

    assert to_extract(pieces) == 3  # all clips of the fixture are one; so are their cuts
    assert to_extract([pieces[0], ("train", 0, 0, 0, 2, 0.1, 0.45), pieces[2]]) == 1  # another time
    assert to_extract([pieces[1], pieces[0], pieces[2]]) == 1  # another order
    assert to_extract([pieces[0], ("train", 0, 0, 0, 1, 0.1, 0.4), pieces[2]]) == 0  # another name of the same content
    write_clip(tmp_path / "raw/train_splits/dia0_utt2.mp4", loud=0.2)
    assert to_extract(pieces) == 2  # other content: the piece of it, and the clip's own utterance


def test_an_export_has_the_same_labels_order_and_sentences(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    write_fair(
        tmp_path / "fair", [*own({("train", 0)}), ("train", 0, 0, 0, 1, 0.0, 0.3), ("train", 0, 0, 0, 2, 0.0, 0.3)]
    )
    found = {}
    for cuts in ("released", "fair"):
        rows = indexed(cuts)
        for modality in ("text", "visual"):
            write_features(Features(np.zeros((len(rows), 3)), np.zeros(len(rows), bool), {}),
                           tmp_path / f"data/meld/features/{modality}.safetensors")  # fmt: skip
        hear(tmp_path, cuts)
        corpus = export.corpus_of("meld", rows, reader.LABELS, "mmgcn")
        found[cuts] = (corpus.kind, corpus.splits, corpus.ids, corpus.speakers, corpus.labels, corpus.sentences)
        vectors = corpus.vectors["audio"]
        found[f"sound of {cuts}"] = {key: np.stack(part) for key, part in vectors.items()}
    assert found["released"] == found["fair"]
    assert found["fair"][0] == "meld"
    assert all(np.isfinite(values).all() and values.any() for values in found["sound of fair"].values())
    assert not np.array_equal(found["sound of fair"][0], found["sound of released"][0])


# ---- boxes ----


def write_levels(file: Path, levels: Sequence[int], rate: int = 25) -> Path:
    """A film of even grey pictures, 128x96, with the left half of each 100 levels darker; and sound."""
    write_clip(file, seconds=len(levels) / rate, picture=False)
    sound = file.read_bytes()
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv444p"
        for level in levels:
            picture = np.full((96, 128, 3), level, np.uint8)
            picture[:, :64] -= 100
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    assert sound
    return file


@pytest.fixture
def two_pieces(tmp_path: Path, meld: Callable[..., Path]) -> Path:
    """A film whose picture n has the level 110 + 2 n, and one with 200 + n; utterance 0 of train is a part of each."""
    raw = meld()
    write_levels(raw / "train_splits/dia0_utt0.mp4", [110 + 2 * number for number in range(40)])
    write_levels(raw / "train_splits/dia0_utt1.mp4", [200 + number for number in range(50)])
    return raw


def levels_of(row: Utterance, raw: Path, how: dict) -> list[int]:
    """Mean grey level of each crop of the row, with the detector of `how`."""
    faces.prepare({"detector": "haar", "min_face": 40, "first_look": 0, "margin": 0.0, "detect_every": 1} | how)
    found = faces.faces_of_clip(clip_of("k", row, "video", raw, boxes=True))
    assert not isinstance(found, TaskLost)
    return [round(float(crop.mean())) for crop in found.crops]


def test_a_box_of_the_joined_clip_is_found_in_the_piece_and_at_the_time_that_it_has(
    indexed: Callable[..., list[Utterance]], two_pieces: Path, tmp_path: Path
) -> None:
    """Utterance 0 is 0.4 to 1.0 s of one film and 0.2 to 1.2 s of another: 1.6 s, so 38 frames of the joined clip."""
    cuts = [*own({("train", 0), ("train", 1)}), ("train", 0, 0, 0, 0, 0.4, 1.0), ("train", 0, 0, 0, 1, 0.2, 1.2)]
    # A face of 24 pixels in a box of 30. In the first piece (14 frames) it is at the left, which is darker, then right.
    left, right = (10, 20, 40, 50), (80, 20, 110, 50)
    boxes = [("train", 0, 0, frame, *(left if frame / (24000 / 1001) < 0.6 else right)) for frame in range(38)]
    write_fair(tmp_path / "fair", cuts, boxes=[one for one in boxes if not 19 < one[3] < 29])
    row = indexed()[0]
    assert row.boxes.startswith("0.000:13,23,24,24 | 0.042:13,23,24,24 | ")
    assert row.boxes.count(" | ") + 1 == 38 - 9
    # At 5 pictures a second: 0, 0.2 and 0.4 s are pictures 10, 15 and 20 of the first film; 0.6 to 1.4 s are pictures
    # 5, 10, 15, 20 and 25 of the second. Of these the one at 1.0 s (frame 24) has no box within a tenth of a second.
    expected = [110 + 2 * number - 100 for number in (10, 15, 20)] + [200 + number for number in (5, 10, 20, 25)]
    assert levels_of(row, two_pieces, {"fps": 5.0}) == pytest.approx(expected, abs=2)
    # With other sampling each box still belongs to its moment.
    assert levels_of(row, two_pieces, {"fps": 2.5})[:2] == pytest.approx([110 + 20 - 100, 110 + 40 - 100], abs=2)
    assert levels_of(row, two_pieces, {"fps": 2.5})[2] == pytest.approx(200 + 10, abs=2)
    found = counted(tmp_path)["boxes"]
    assert found == {"utterances": 1, "utterances without": 1, "frames": 29, "frames without": 38 - 29}


def test_an_utterance_without_boxes_has_its_largest_and_steadiest_face(
    indexed: Callable[..., list[Utterance]], two_pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = [*own({("train", 0), ("train", 1)}), ("train", 0, 0, 0, 0, 0.4, 1.0), ("train", 0, 1, 0, 1, 0.2, 1.2)]
    write_fair(tmp_path / "fair", cuts, boxes=[("train", 0, 0, 0, 10, 20, 40, 50)])
    first, second, *_ = indexed()
    assert (first.boxes, second.boxes) == ("0.000:13,23,24,24", "")
    monkeypatch.setattr(faces, "detector", lambda *_: lambda _: [(80, 20, 20, 20)])
    assert levels_of(first, two_pieces, {"fps": 5.0}) == pytest.approx([110 + 20 - 100], abs=2)  # one box, one picture
    assert levels_of(second, two_pieces, {"fps": 5.0}) == pytest.approx([205, 210, 215, 220, 225], abs=2)


def test_eight_dialogues_have_25_frames_a_second(tmp_path: Path) -> None:
    numbers = {split: [(dialogue, 0, 0, "joy") for dialogue in (88, 128, 184, 300)] for split in FILES}
    boxes = [(split, dialogue, 0, 50, 0, 0, 30, 30) for split in FILES for dialogue in (88, 128, 184, 300)]
    found = meld_fair.read_cut_list(write_fair(tmp_path, [], numbers, boxes))
    assert {name: value.split(":")[0] for name, value in found.boxes.items() if value.startswith("2.000")} == {
        "train_dia128_utt0": "2.000", "validation_dia88_utt0": "2.000", "test_dia184_utt0": "2.000"
    }  # fmt: skip
    assert found.boxes["train_dia300_utt0"].startswith("2.085:")


# ---- a wrong list ----


def read(raw: Path, fair: Path) -> None:
    corpus = reader.read(raw, ["audio", "visual"])
    meld_fair.recut(corpus, raw, fair, ["audio", "visual"])


def test_a_missing_file_is_named_and_the_folder_csvs_is_looked_into(meld: Callable[..., Path], tmp_path: Path) -> None:
    raw, fair = meld(), write_fair(tmp_path / "fair/csvs", own())
    read(raw, fair.parent)
    for name in (CUTS, "realigned_dev_sent_emo.csv"):
        (fair / name).rename(tmp_path / "away")
        with pytest.raises(UserError, match=rf"fair: neither it nor its folder csvs has {name}; index\.D\.fair"):
            read(raw, fair.parent)
        (tmp_path / "away").rename(fair / name)


@pytest.mark.parametrize(("line", "said"), [
    ("train,0,1,0,1,0.4,0.3", r"line 11: a piece from 0.4 s to 0.3 s: must end after its start"),
    ("train,0,1,0,1,-1,0.3", r"line 11: a piece from -1 s to 0.3 s"),
    ("train,0,1,0,1,0,soon", r"line 11: End Time must be a number of seconds, not 'soon'"),
    ("train,0,1,0,1,nan,1", r"line 11: Start Time must be a number of seconds, not 'nan'"),
    ("train,0,x,0,1,0,1", r"line 11: Utterance ID must be a whole number, not 'x'"),
    ("train,0,9,0,1,0,1", r"line 11: train, dialogue 0, utterance 9: the files realigned_train.* have no such "),
    ("validation,0,1,0,1,0,1", r"line 11: validation, dialogue 0, utterance 1: .* have no such utterance"),
    ("train,0,1,0,1,0", r"line 11: fewer fields than the header has columns"),
])  # fmt: skip
def test_a_row_that_cannot_be_understood_is_named_by_its_line(
    line: str, said: str, meld: Callable[..., Path], tmp_path: Path
) -> None:
    fair = write_fair(tmp_path / "fair", own())
    with (fair / CUTS).open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(UserError, match=rf"{CUTS}, {said}"):
        read(meld(), fair)


def test_a_column_that_is_not_there_is_named_with_those_that_are(meld: Callable[..., Path], tmp_path: Path) -> None:
    fair = write_fair(tmp_path / "fair", own())
    (fair / CUTS).write_text((fair / CUTS).read_text().replace("Start Time", "Begin"))
    with pytest.raises(UserError, match=rf"{CUTS}, line 1: no column Start Time; its columns are: Split, .*Begin"):
        read(meld(), fair)


@pytest.mark.parametrize("box", ["0,0,0,30", "30,0,0,30", "0,30,30,0", "0,0,99999,30"])
def test_a_box_that_cannot_be_is_named_by_its_line(box: str, meld: Callable[..., Path], tmp_path: Path) -> None:
    fair = write_fair(tmp_path / "fair", own(), boxes=[("train", 0, 0, 0, *box.split(","))])
    with pytest.raises(UserError, match=rf"{BOXES}, line 2: frame 0 with a box from "):
        read(meld(), fair)


def test_the_list_of_another_corpus_is_refused(meld: Callable[..., Path], tmp_path: Path) -> None:
    raw = meld()
    numbers = {"test": [(0, 0, 0, "joy"), (0, 1, 1, "fear"), (0, 2, 2, "anger")]}
    with pytest.raises(UserError, match=r"call test_dia0_utt1 'fear', and those of the corpus 'neutral': the cut list "
                       r"is of another corpus"):  # fmt: skip
        read(raw, write_fair(tmp_path / "fair", own(), numbers))
    numbers = {"dev": [(0, 0, 0, "joy"), (0, 1, 1, "neutral")]}
    cuts = own({("dev", 2)})
    with pytest.raises(UserError, match=r"has no utterance dia0_utt2 in its annotations of validation, but the corpus "
                       r"has it: the cut list is of another corpus"):  # fmt: skip
        read(raw, write_fair(tmp_path / "fair", cuts, numbers))
    numbers = {"train": [(0, 0, 0, "joy"), (0, 1, 1, "neutral"), (0, 1, 2, "anger")]}
    with pytest.raises(UserError, match=r"realigned_train_sent_emo\.csv, line 4: a second row for dialogue 0"):
        read(raw, write_fair(tmp_path / "fair", own({("train", 2)}), numbers))


# ---- the command ----


def test_the_command_compares_both_and_writes_nothing(
    meld: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts = [*own({("train", 0), ("train", 1)}), ("train", 0, 0, 0, 0, 0.0, 0.6), ("train", 0, 0, 0, 1, 0.0, 0.6)]
    raw, fair = meld(), write_fair(tmp_path / "fair", cuts)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "cache")}
    monkeypatch.setattr("sys.argv", ["cuts", str(raw), str(fair)])
    command.main()
    table = {line[:38].strip(): line[38:].split() for line in capsys.readouterr().out.splitlines()}
    assert table[""] == ["train", "validation", "test", "all"]
    assert table["utterances"] == ["3", "3", "3", "9"]
    assert table["where: own clip and others"] == ["1", "0", "0", "1"]
    assert table["where: none"] == ["1", "0", "0", "1"]
    assert table["sound: as released"] == ["1", "3", "3", "7"]
    assert table["sound: only released"] == ["1", "0", "0", "1"]
    assert table["longer: seconds"] == ["0.6", "0.0", "0.0", "0.6"]
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "cache")} == before
    monkeypatch.setattr("sys.argv", ["cuts", str(raw), str(fair), "--json"])
    command.main()
    assert json.loads(capsys.readouterr().out)["all"]["of_several_pieces"] == 1
    monkeypatch.setattr("sys.argv", ["cuts", str(tmp_path / "nowhere"), str(fair)])
    with pytest.raises(SystemExit, match=r"error: .*nowhere: there is no such folder"):
        command.main()


@pytest.mark.skipif(not (SHARED / "meld_fair").exists(), reason="needs ../shared")
def test_the_whole_list_has_the_counts_that_were_counted_by_hand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["cuts", str(SHARED / "meld_csv"), str(SHARED / "meld_fair"), "--json"])
    command.main()
    found = json.loads(capsys.readouterr().out)["all"]
    assert found == {
        "utterances": 13_708,
        "where": {"own clip": 9_801, "own clip and others": 2_887, "other clips": 937, "none": 83},
        "of_several_pieces": 3_770,
        "under_0.3_s": {"utterances": 189, "of three words or more": 9},
    }
