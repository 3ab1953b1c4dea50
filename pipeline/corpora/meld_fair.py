"""MELD-FAIR: where each of MELD's utterances really is, in its own clip and in those beside it; and whose face speaks.

Carneiro, Weber, Wermter: Whose emotion matters? Speaking activity localisation without prior knowledge. Neurocomputing
545, 2023. https://github.com/knowledgetechnologyuhh/MELD-FAIR (GPL-3; no part of this project).

- Times are seconds in the clips of the release with plain names, also where a corrected twin lies beside one. An
  utterance's rows are its pieces, in the order of the file.
- The list numbers utterances anew. `Original Utterance_ID` in its annotations has MELD's own numbers.
- Boxes count the frames of the joined clip. They are squares, 1.25 times as wide as the longer side of the face.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from extractors.utterance import Piece, Utterance, as_text
from extractors.visual.boxes import Box, as_boxes
from foundation.errors import UserError
from foundation.files import is_file
from pipeline.corpora import meld
from pipeline.corpora.raw_corpus import Cut, RawCorpus, table

CUTS = "MELD_video_realignment_timestamps.csv"
BOXES = "MELD_active_speaker_face_bboxes.csv"
ANNOTATIONS = {"train": "realigned_train_sent_emo.csv", "dev": "realigned_dev_sent_emo.csv",
               "test": "realigned_test_sent_emo.csv"}  # fmt: skip
SPLITS = {"train": "train", "dev": "validation", "test": "test"}
IDS = ("Split", "Dialogue ID", "Utterance ID")
OF_CUTS = (*IDS, "Original Dialogue ID", "Original Utterance ID", "Start Time", "End Time")
OF_BOXES = (*IDS, "Frame Number", "X Left", "Y Top", "X Right", "Y Bottom")
OF_ANNOTATIONS = ("Dialogue_ID", "Utterance_ID", "Original Utterance_ID", "Emotion")
FPS, OTHER_FPS = 24000 / 1001, 25.0
"""Frames a second of the joined clips, and of those of OF_OTHER_FPS."""
OF_OTHER_FPS = {"train": {128, 203, 383, 517, 710, 967}, "dev": {88}, "test": {184}}
"""Dialogues with 25 frames a second, by MELD-FAIR's own code."""
ENLARGED = 1.25
"""Side of a box over the longer side of the face that was found."""
LONGEST = 3600.0
"""No time in a clip is larger, in seconds; MELD's longest clip has 305."""
MOST_FRAMES, MOST_PIXELS = 200_000, 20_000


class Listed(NamedTuple):
    """A piece by the list: which clip, and from when to when in seconds."""

    clip: str
    """`dia{D}_utt{U}`, with MELD's own numbers."""
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class CutList:
    """The list's content by utterance id, `{split}_dia{D}_utt{U}` with MELD's own numbers."""

    emotions: dict[str, str]
    """Every utterance of the list's annotations, with its label."""
    pieces: dict[str, list[Listed]]
    boxes: dict[str, str]
    """Boxes of the speaker's face, as the index has them."""
    number_of_boxes: dict[str, int]
    rates: dict[str, float]
    """Frames a second of the joined clip, by utterance id."""


def recut(corpus: RawCorpus, raw: Path, folder: Path, modalities: Sequence[str]) -> None:
    """Give the utterances of MELD the sound and the pictures that the list in `folder` names; nothing else is changed.

    An utterance without a piece has neither, and `problem` says why; so has one of whose pieces a clip is missing, for
    half of a sentence would pass for the whole. Short utterances stay: nine in ten of those under 0.3 s have one word
    or two.

    Raises:
        UserError: the list cannot be read, or is of another corpus: it lacks an utterance, or has another label.
    """
    if not set(modalities) & {"audio", "visual"}:
        return
    found = read_cut_list(folder)
    clips = {split: meld.clips(raw, split, corrected=False) for split in meld.FILES}
    for place, row in enumerate(corpus.rows):
        name = row.utterance_id
        if name not in found.emotions:
            raise UserError(f"{folder}: has no utterance {name.partition('_')[2]} in its annotations of {row.split}, "
                            "but the corpus has it: the cut list is of another corpus")  # fmt: skip
        if found.emotions[name] != row.label:
            raise UserError(f"{folder}: its annotations call {name} {found.emotions[name]!r}, and those of the corpus "
                            f"{row.label!r}: the cut list is of another corpus, or one of the two was changed"
                            )  # fmt: skip
        pieces = found.pieces.get(name, [])
        corpus.cuts[name] = _cut(row, pieces, found)
        corpus.rows[place] = _recut(row, pieces, clips[row.split], raw, modalities, found.boxes.get(name, ""))


def _cut(row: Utterance, pieces: Sequence[Listed], found: CutList) -> Cut:
    name = row.utterance_id
    own = [piece.clip == name.partition("_")[2] for piece in pieces]
    where = "own clip" if all(own) else "own clip and others" if any(own) else "other clips"
    seconds = sum(piece.end - piece.start for piece in pieces)
    return Cut(
        own=row.audio or row.video,
        where=where if pieces else "none",
        pieces=len(pieces),
        seconds=seconds,
        words=len(row.text.split()),
        frames=round(seconds * found.rates[name]),
        boxes=found.number_of_boxes.get(name, 0),
    )


def _recut(
    row: Utterance,
    listed: Sequence[Listed],
    clips: Mapping[str, Path],
    raw: Path,
    modalities: Sequence[str],
    boxes: str,
) -> Utterance:
    bare = replace(row, audio="", video="", problem="")
    key = row.utterance_id.partition("_")[2]
    if not listed:
        return replace(bare, problem=f"{key}: has no piece in the cut list")
    if lacking := [piece.clip for piece in listed if piece.clip not in clips]:
        return replace(bare, problem="; ".join(f"{clip}.mp4: no such clip" for clip in dict.fromkeys(lacking)))
    pieces = [Piece(clips[clip].relative_to(raw).as_posix(), start, end) for clip, start, end in listed]
    file, start, end = pieces[0]
    bare = replace(bare, audio=file if "audio" in modalities else "", video=file if "visual" in modalities else "",
                   boxes=boxes if "visual" in modalities else "")  # fmt: skip
    if len(pieces) > 1:
        return replace(bare, pieces=as_text(pieces))
    return replace(bare, start=start, end=end, audio_start=start, audio_end=end)


def read_cut_list(folder: Path) -> CutList:
    """Read MELD-FAIR's files in `folder`, or in `csvs` below it, as its repository has them.

    Raises:
        UserError: one is missing, or has a row that cannot be understood; the message names file and line.
    """
    numbers: dict[tuple[str, int, int], str] = {}
    emotions: dict[str, str] = {}
    for split, name in ANNOTATIONS.items():
        file = _file(folder, name)
        for line, values in table(file, OF_ANNOTATIONS):
            dialogue, utterance, original = (
                _whole(file, line, values, column)
                for column in ("Dialogue_ID", "Utterance_ID", "Original Utterance_ID")
            )
            key = f"{SPLITS[split]}_dia{dialogue}_utt{original}"
            if (split, dialogue, utterance) in numbers or key in emotions:
                raise UserError(f"{file}, line {line}: a second row for dialogue {dialogue}, utterance {original}")
            numbers[split, dialogue, utterance] = key
            emotions[key] = values["Emotion"].strip().lower()
    rates = {
        key: OTHER_FPS if dialogue in OF_OTHER_FPS[split] else FPS for (split, dialogue, _), key in numbers.items()
    }
    pieces = _read_pieces(_file(folder, CUTS), numbers)
    boxes, counted = _read_boxes(folder, numbers, rates)
    return CutList(emotions, pieces, boxes, counted, rates)


def _file(folder: Path, name: str) -> Path:
    file = next((path for path in (folder / name, folder / "csvs" / name) if is_file(path)), None)
    if not file:
        raise UserError(f"{folder}: neither it nor its folder csvs has {name}; index.D.fair in params.yaml must name "
                        "the folder of MELD-FAIR: docs/meld_fair.md")  # fmt: skip
    return file


def _read_pieces(file: Path, numbers: Mapping[tuple[str, int, int], str]) -> dict[str, list[Listed]]:
    found: dict[str, list[Listed]] = {}
    for line, values in table(file, OF_CUTS):
        key = _key(file, line, values, numbers)
        dialogue, utterance = (
            _whole(file, line, values, column) for column in ("Original Dialogue ID", "Original Utterance ID")
        )
        start, end = (_number(file, line, values, column) for column in ("Start Time", "End Time"))
        if not 0 <= start < end <= LONGEST:
            raise UserError(f"{file}, line {line}: a piece from {start:g} s to {end:g} s: must end after its start, "
                            f"from 0 to {LONGEST:g} s")  # fmt: skip
        found.setdefault(key, []).append(Listed(f"dia{dialogue}_utt{utterance}", start, end))
    return found


def _read_boxes(
    folder: Path, numbers: Mapping[tuple[str, int, int], str], rates: Mapping[str, float]
) -> tuple[dict[str, str], dict[str, int]]:
    """Boxes of each utterance as text, and their number; none if MELD-FAIR's file of them is not there."""
    try:
        file = _file(folder, BOXES)
    except UserError:
        return {}, {}
    found: dict[str, dict[int, Box]] = {}
    for line, values in table(file, OF_BOXES):
        frame, *sides = (_whole(file, line, values, column) for column in OF_BOXES[len(IDS) :])
        left, top, right, bottom = sides
        if not 0 <= frame <= MOST_FRAMES or not left < right or not top < bottom or max(map(abs, sides)) > MOST_PIXELS:
            raise UserError(f"{file}, line {line}: frame {frame} with a box from {left},{top} to {right},{bottom}: "
                            "there can be none such")  # fmt: skip
        found.setdefault(_key(file, line, values, numbers), {})[frame] = face_in(left, top, right, bottom)
    written = {
        key: as_boxes([frame / rates[key] for frame in sorted(boxes)], [boxes[frame] for frame in sorted(boxes)])
        for key, boxes in found.items()
    }
    return written, {key: len(boxes) for key, boxes in found.items()}


def face_in(left: int, top: int, right: int, bottom: int) -> Box:
    """The face in the middle of a box of MELD-FAIR, without what was added around it."""
    width, height = (max(1, round(side / ENLARGED)) for side in (right - left, bottom - top))
    return left + (right - left - width) // 2, top + (bottom - top - height) // 2, width, height


def _key(file: Path, line: int, values: Mapping[str, str], numbers: Mapping[tuple[str, int, int], str]) -> str:
    """Utterance id with MELD's own numbers."""
    split = values["Split"].strip()
    place = split, _whole(file, line, values, IDS[1]), _whole(file, line, values, IDS[2])
    if place not in numbers:
        raise UserError(f"{file}, line {line}: {split}, dialogue {place[1]}, utterance {place[2]}: the files "
                        f"{', '.join(ANNOTATIONS.values())} have no such utterance")  # fmt: skip
    return numbers[place]


def _whole(file: Path, line: int, values: Mapping[str, str], column: str) -> int:
    try:
        return int(values[column])
    except ValueError:
        raise UserError(f"{file}, line {line}: {column} must be a whole number, not {values[column]!r}") from None


def _number(file: Path, line: int, values: Mapping[str, str], column: str) -> float:
    try:
        if math.isfinite(number := float(values[column])):
            return number
    except ValueError:
        pass
    raise UserError(f"{file}, line {line}: {column} must be a number of seconds, not {values[column]!r}")
