"""The index file has one row per utterance; it is the contract between `index` and every later stage."""

import csv
import math
import re
from dataclasses import asdict, fields
from pathlib import Path

from extractors.utterance import Utterance, pieces_of
from foundation.csv_file import read_csv
from foundation.errors import UserError
from foundation.files import open_whole

SPLITS = ("train", "validation", "test")


OF_FILES = ("text_file", "text_hash")
"""Columns that only the index of published feature files has."""
OF_PIECES = ("pieces", "pieces_hash")
"""Columns that only the index of a corpus has that joins utterances of pieces."""
OF_BOXES = ("boxes",)
"""Column that only the index of a corpus has of which boxes of the speakers' faces are known."""
OF_SERIES = ("episode",)
"""Column that only the index of a corpus has that says it."""
FURTHER = {"text_file": OF_FILES, "episode": OF_SERIES, "pieces": OF_PIECES, "boxes": OF_BOXES}
"""Columns that stand behind the others if some row has the first of them."""
TIMES = ("start", "end", "audio_start", "audio_end")
REGION = re.compile(r"-?\d{1,6},-?\d{1,6},\d{1,6},\d{1,6}", re.ASCII)
BOX = r"\d{1,6}\.\d{3}:-?\d{1,6},-?\d{1,6},[1-9]\d{0,5},[1-9]\d{0,5}"
BOXES = re.compile(rf"{BOX}(?: \| {BOX})*", re.ASCII)
MOST = 1_000_000
"""More than the turns and speakers of any conversation."""
COLUMNS = [
    field.name for field in fields(Utterance) if field.name not in (*OF_FILES, *OF_SERIES, *OF_PIECES, *OF_BOXES)
]


def write_index(rows: list[Utterance], file: Path) -> None:
    """Write `rows` in the given order; the same rows give the same bytes.

    Raises:
        UserError: a field is longer than `read_index` would read it.
    """
    longest = csv.field_size_limit()
    for row in rows:
        for name, value in ((column.name, getattr(row, column.name)) for column in fields(Utterance)):
            if isinstance(value, str) and len(value) > longest:
                raise UserError(f"{file}: {row.utterance_id[:100]} would have {len(value):,} letters in {name}, and at "
                                f"most {longest:,} can be read again: make its {name.removesuffix('_hash')} shorter"
                                )  # fmt: skip
    with open_whole(file, "surrogateescape") as stream:  # names of files that are no UTF-8 come back
        columns = list(COLUMNS)
        for name, group in FURTHER.items():
            columns += group if any(getattr(row, name) for row in rows) else ()
        writer = csv.DictWriter(stream, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: "" if value is None else value for name, value in asdict(row).items()})


def read_index(file: Path) -> list[Utterance]:
    """Read an index that `write_index` wrote.

    Raises:
        UserError: the file is missing or is not an index.
    """
    if not file.exists():
        raise UserError(f"{file}: no such file; `dvc repro` makes it")
    return read_csv(file, COLUMNS, _row, "make it anew with `dvc repro -f index@D`, D being the name of the corpus")


def _row(values: dict[str, str]) -> Utterance:
    """Make an utterance of a row.

    Raises:
        ValueError: a value is none that `write_index` writes.
    """
    expected = [*COLUMNS, *(column for group in FURTHER.values() if group[0] in values for column in group)]
    if list(values) != expected:
        raise ValueError("its columns are not an index's")
    typed: dict = dict(values)
    if not 0 <= int(values["turn"]) < MOST or not 0 <= int(values["speaker"]) < MOST:
        raise ValueError(f"turn = {values['turn']}, speaker = {values['speaker']}: no conversation has so many")
    if values["split"] not in SPLITS:
        raise ValueError(f"split = {values['split']!r}: must be {', '.join(SPLITS)}")
    if values["region"] and not REGION.fullmatch(values["region"]):
        raise ValueError(f"region = {values['region']!r}: must be left,top,width,height in pixels")
    if values.get("pieces"):
        pieces, contents = pieces_of(values["pieces"]), pieces_of(values["pieces_hash"])
        if [piece[1:] for piece in pieces] != [piece[1:] for piece in contents]:
            raise ValueError("pieces and pieces_hash have not the same pieces")
    if values.get("boxes") and not BOXES.fullmatch(values["boxes"]):
        raise ValueError("boxes must be time:left,top,width,height, in seconds and pixels, with ' | ' between them")
    typed["turn"], typed["speaker"] = int(values["turn"]), int(values["speaker"])
    for name in TIMES:
        typed[name] = float(values[name]) if values[name] else None
        if not math.isfinite(typed[name] or 0.0):
            raise ValueError(f"{name} = {values[name]}: must be a number of seconds")
    return Utterance(**typed)


def dialogues(rows: list[Utterance]) -> list[list[int]]:
    """Positions of each dialogue's utterances in `rows`, dialogues by first appearance, turns in order."""
    positions: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        positions.setdefault(row.dialogue_id, []).append(position)
    return [sorted(turns, key=lambda position: rows[position].turn) for turns in positions.values()]
