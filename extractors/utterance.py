"""An utterance, which is one row of the index and the input of the extractors; and the pieces of its media."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

BETWEEN = " | "
"""What stands between two pieces."""
PIECE = re.compile(r"(?P<file>.+?)(?:@(?P<start>[0-9:.,]*)-(?P<end>[0-9:.,]*))?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A row of data/D/index.csv. Paths are relative to data/D/raw; an empty path means a missing modality."""

    utterance_id: str
    dialogue_id: str
    turn: int
    """Turn index in the dialogue, from 0."""
    speaker: int
    """Number of the speaker inside the dialogue, from 0, by first appearance; in IEMOCAP by role."""
    split: str
    text: str
    label: str
    audio: str = ""
    video: str = ""
    start: float | None = None
    """Start in `video`, in seconds; None: its beginning."""
    end: float | None = None
    audio_start: float | None = None
    """Start in `audio`, in seconds; None: its beginning."""
    audio_end: float | None = None
    region: str = ""
    """Part of the picture that shows the speaker, `left,top,width,height` in pixels; empty: the whole picture."""
    audio_hash: str = ""
    """SHA-256 of the file that `audio` names."""
    video_hash: str = ""
    problem: str = ""
    """Reason why the utterance's media cannot be used, or empty."""
    speaker_name: str = ""
    """Name of the speaker as the corpus has it; in IEMOCAP F or M."""
    text_file: str = ""
    """File with a published vector of the text; empty: an encoder makes it of `text`. For such corpora `audio` and
    `video` name files of vectors too."""
    text_hash: str = ""
    """SHA-256 of the file that `text_file` names and of the vector's place in it; so are the other two hashes then."""
    pieces: str = ""
    """Pieces of files that are joined to the utterance's sound and pictures, `file@start-end | file@start-end`, in
    seconds; empty: it is in one piece. `audio` and `video` then name the first one's file, or nothing where the
    modality is missing; they have no times and no hashes of their own."""
    pieces_hash: str = ""
    """`pieces` with the SHA-256 of each file in place of its name."""
    boxes: str = ""
    """Where the speaker's face is, `time:left,top,width,height | …`, in seconds since the utterance's start, and in
    pixels; empty: not known. Only `visual.D.speaker: boxes` reads it."""
    episode: str = ""
    """What the dialogue is a part of: an episode of a series (MELD, EmoryNLP: s03e19), or a session of recordings
    (IEMOCAP: Ses05); empty where the corpus does not say it."""


ABOUT = frozenset({
    "utterance_id", "dialogue_id", "turn", "speaker", "speaker_name", "split", "label", "problem", "audio", "video",
    "text_file", "pieces", "episode",
})  # fmt: skip
"""Fields that no features depend on: identifiers, position, label, file paths. Files are identified by their hashes."""


MAY_BE_EMPTY = ("pieces_hash", "boxes")
"""Fields that are no part of a key while they are empty: so keys stay what they were before there were such fields."""


class Piece(NamedTuple):
    """A part of a media file, in seconds."""

    file: str
    """Path in the raw folder; or its content's SHA-256."""
    start: float | None = None
    """None: the file's beginning."""
    end: float | None = None
    """None: the file's end."""


class Part(NamedTuple):
    """A piece that can be opened, with the SHA-256 that its file must have."""

    path: Path
    content: str
    start: float | None = None
    end: float | None = None


def pieces_of(written: str, time: Callable[[str], float] = float) -> list[Piece]:
    """Read `file@start-end | file@start-end`; times, and what is before them, may be left out.

    Args:
        time: converts a time to seconds.

    Raises:
        ValueError: a piece has no file, a time is none, or an end is not after its start.
    """
    found = []
    for part in written.split("|"):
        match = PIECE.fullmatch(part.strip())
        if not match:
            raise ValueError("has a piece without a file")
        start, end = (time(match[name]) if match[name] else None for name in ("start", "end"))
        if end is not None and end <= (start or 0.0):
            raise ValueError(f"has a piece that ends at {end:g} s, not after its start at {start or 0.0:g} s")
        found.append(Piece(match["file"], start, end))
    return found


def as_text(pieces: Sequence[Piece]) -> str:
    """Write pieces so that `pieces_of` reads the same; no exponents, because they have a minus."""
    times = [["" if time is None else format(Decimal(repr(time)), "f") for time in piece[1:]] for piece in pieces]
    return BETWEEN.join(f"{piece.file}@{start}-{end}" for piece, (start, end) in zip(pieces, times, strict=True))


def key_of(row: Utterance, without: Collection[str]) -> str:
    """Key made from all fields of `row` except `without`, hashes first."""
    names = [field.name for field in fields(row) if field.name not in without]
    names = [name for name in names if name not in MAY_BE_EMPTY or getattr(row, name)]
    return "|".join(str(getattr(row, name)) for name in sorted(names, key=lambda name: not name.endswith("_hash")))


def parts_of(row: Utterance, kind: str, raw: Path) -> list[Part]:
    """The pieces of the row's sound (`audio`) or pictures (`video`), of files in the folder `raw`; mostly one."""
    if row.pieces:
        contents = [piece.file for piece in pieces_of(row.pieces_hash)]
        return [Part(raw / piece.file, content, piece.start, piece.end)
                for piece, content in zip(pieces_of(row.pieces), contents, strict=True)]  # fmt: skip
    if kind == "audio":
        return [Part(raw / row.audio, row.audio_hash, row.audio_start, row.audio_end)]
    return [Part(raw / row.video, row.video_hash, row.start, row.end)]
