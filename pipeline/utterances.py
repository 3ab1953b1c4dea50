"""The index file: one row an utterance, the contract between `index` and every later stage."""

import csv
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pipeline.stage import StageError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A row of data/D/index.csv. Paths count from data/D/raw; an empty one says that the modality is missing."""

    utterance_id: str
    dialogue_id: str
    turn: int
    """Place in the conversation, from 0."""
    speaker: int
    """Number of the speaker inside the dialogue, from 0, by first appearance."""
    split: str
    text: str
    label: str
    audio: str = ""
    video: str = ""
    start: float | None = None
    """Seconds into `video`; None: from its beginning."""
    end: float | None = None
    audio_start: float | None = None
    """Seconds into `audio`; None: from its beginning."""
    audio_end: float | None = None
    region: str = ""
    """Part of the picture that shows the speaker, in pixels: `left,top,width,height`; empty: all of it."""
    audio_hash: str = ""
    """SHA-256 of the file that `audio` names."""
    video_hash: str = ""
    problem: str = ""
    """Why the utterance's media cannot be used, or empty."""


COLUMNS = [field.name for field in fields(Utterance)]
ABOUT = frozenset({"utterance_id", "dialogue_id", "turn", "speaker", "split", "label", "problem", "audio", "video"})
"""What says whose an utterance is, where it stands, what it was judged to be and where its files lie: no medium's
features depend on it, for what is in a file its hash tells."""


def key_of(row: Utterance, without: Collection[str]) -> str:
    """A name for all of `row` but the fields `without`, a hash first."""
    names = [field.name for field in fields(row) if field.name not in without]
    return "|".join(str(getattr(row, name)) for name in sorted(names, key=lambda name: not name.endswith("_hash")))


def write_index(rows: list[Utterance], file: Path) -> None:
    """Write `rows` in their order; the same rows give the same bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: "" if value is None else value for name, value in asdict(row).items()})


def read_index(file: Path) -> list[Utterance]:
    """Read what `write_index` wrote.

    Raises:
        StageError: the file is missing or is not an index.
    """
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames != COLUMNS:
                raise StageError(f"{file}: its columns are not an index's; make it anew with `dvc repro -f index@…`")
            return [_row(values) for values in reader]
    except FileNotFoundError:
        raise StageError(f"{file}: no such file; `dvc repro` makes it") from None


def _row(values: dict[str, str]) -> Utterance:
    typed: dict = dict(values)
    typed["turn"], typed["speaker"] = int(values["turn"]), int(values["speaker"])
    for name in ("start", "end", "audio_start", "audio_end"):
        typed[name] = float(values[name]) if values[name] else None
    return Utterance(**typed)


def dialogues(rows: list[Utterance]) -> list[list[int]]:
    """Positions of each dialogue's utterances in `rows`, dialogues by first appearance, turns in order."""
    positions: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        positions.setdefault(row.dialogue_id, []).append(position)
    return [sorted(turns, key=lambda position: rows[position].turn) for turns in positions.values()]
