"""The index file has one row per utterance; it is the contract between `index` and every later stage."""

import csv
from dataclasses import asdict, fields
from pathlib import Path

from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.files import open_whole

SPLITS = ("train", "validation", "test")


OF_FILES = ("text_file", "text_hash")
"""Columns that only the index of published feature files has."""
COLUMNS = [field.name for field in fields(Utterance) if field.name not in OF_FILES]


def write_index(rows: list[Utterance], file: Path) -> None:
    """Write `rows` in the given order; the same rows give the same bytes."""
    with open_whole(file, "surrogateescape") as stream:  # names of files that are no UTF-8 come back
        columns = [*COLUMNS, *OF_FILES] if any(row.text_file for row in rows) else COLUMNS
        writer = csv.DictWriter(stream, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: "" if value is None else value for name, value in asdict(row).items()})


def read_index(file: Path) -> list[Utterance]:
    """Read an index that `write_index` wrote.

    Raises:
        UserError: the file is missing or is not an index.
    """
    try:
        with file.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames not in (COLUMNS, [*COLUMNS, *OF_FILES]):
                raise UserError(f"{file}: its columns are not an index's; make it anew with `dvc repro -f index@…`")
            return [_row(values) for values in reader]
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; `dvc repro` makes it") from None


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
