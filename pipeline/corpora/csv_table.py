"""Tables that users write themselves: columns in any case; commas, semicolons or tabs between them; any encoding.

The reader of your own corpus and the transcripts of a prediction share it.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from foundation.errors import UserError
from pipeline.corpora.text_file import read_text
from pipeline.corpora.times import seconds, shortened

DELIMITERS = ",;\t|"


class Table(NamedTuple):
    rows: list[tuple[int, dict[str, str]]]
    """Line number (of its last line) and values of each row: those of the known columns, without blanks around."""
    notes: list[str]


def read_table(file: Path, required: Sequence[str], optional: Sequence[str]) -> Table:
    """Read a table whose first row names the columns; an empty file is a table without rows.

    Raises:
        UserError: a required column is missing or a row is malformed; the message names file and line.
    """
    text, notes = read_text(file)
    known = (*required, *optional)
    text, skipped = _without_declaration(text)
    rows: list[tuple[int, dict[str, str]]] = []
    reader = csv.reader([])
    empty = 0
    try:
        # Strict, because otherwise an unclosed quote would silently swallow the rows after it.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text, known), strict=True)
        written = next((row for row in reader if any(cell.strip() for cell in row)), [])
        if not written:
            return Table([], notes)
        columns = _columns(file, reader.line_num + skipped, written, required, known)
        unknown = [name.strip() for name, column in zip(written, columns, strict=True) if column not in known]
        notes += [f"{file.name}: the column {name!r} is none that is read" for name in unknown if name]
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                empty += bool(cells)
                continue
            place = f"{file}, line {reader.line_num + skipped}"
            if len(cells) > len(columns):
                raise UserError(f"{place}: more fields than the header has columns; a text with commas must be in "
                                "double quotes")  # fmt: skip
            if len(cells) < len(columns):
                raise UserError(f"{place}: fewer fields than the header has columns")
            values = {column: cell.strip() for column, cell in zip(columns, cells, strict=True) if column in known}
            rows.append((reader.line_num + skipped, values))
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num + skipped}: is not a CSV row ({error})") from None
    if empty:
        notes.append(f"{file.name}: {empty} empty rows were passed over")
    return Table(rows, notes)


def interval(values: dict[str, str]) -> tuple[float | None, float | None]:
    """Read the columns `start` and `end` of a row, in seconds; None where there is none.

    Raises:
        ValueError: one is no time, or the end is not after the start; the message names the column.
    """
    start, end = (_time(name, values.get(name, "")) for name in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"end = {end:g}: must be after start = {start or 0.0:g}")
    return start, end


def _time(column: str, written: str) -> float | None:
    if not written:
        return None
    try:
        return seconds(written)
    except ValueError:
        raise ValueError(f"{column} = {shortened(written)!r}: must be seconds (12.5) or a time (0:00:12.5)") from None


def _without_declaration(text: str) -> tuple[str, int]:
    """Remove the line `sep=;` by which some spreadsheets begin; the second value counts the lines removed."""
    first, _, rest = text.partition("\n")
    return (rest, 1) if first.strip().strip('"').lower().startswith("sep=") else (text, 0)


def _delimiter(text: str, known: Sequence[str]) -> str:
    """Choose the delimiter by which the header has the most known columns, and then the most columns."""
    header = next((line for line in text.split("\n") if line.strip()), "")

    def columns(delimiter: str) -> tuple[int, int]:
        names = next(csv.reader([header], delimiter=delimiter), [])
        return sum(name.strip().casefold() in known for name in names), len(names)

    return max(DELIMITERS, key=columns)


def _columns(file: Path, line: int, written: list[str], required: Sequence[str], known: Sequence[str]) -> list[str]:
    """Name the columns as the reader knows them, in the order of the file."""
    columns = [name.strip().casefold() for name in written]
    missing = [name for name in required if name not in columns]
    if missing:
        names = shortened(", ".join(" ".join(name.split()) for name in written), 300)
        raise UserError(f"{file}, line {line}: no column {', '.join(missing)}; its columns are: {names}")
    twice = [name for name, count in Counter(columns).items() if count > 1 and name in known]
    if twice:
        raise UserError(f"{file}, line {line}: has the column {twice[0]} twice (upper and lower case are the same)")
    return columns


def spellings(names: Sequence[str]) -> dict[str, list[str]]:
    """Find names that differ in case only: their spellings, the most frequent first, by the folded name."""
    counted = Counter(names)
    found: dict[str, list[str]] = {}
    for name, _ in counted.most_common():
        found.setdefault(name.casefold(), []).append(name)
    return {folded: written for folded, written in found.items() if len(written) > 1}
