"""Reading of the CSV files that the project itself has written: they travel, are edited by hand, and break."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from foundation.errors import UserError
from foundation.files import read_file

Row = TypeVar("Row")
MOST_BYTES = 2**30


def read_csv(file: Path, columns: Sequence[str], row: Callable[[dict[str, str]], Row], remedy: str) -> list[Row]:
    """Read `file`, UTF-8, and make something of each row; see `parsed`.

    Raises:
        UserError: there is no such file, or it is broken.
    """
    text = read_file(file, MOST_BYTES, remedy).decode("utf-8", "surrogateescape")
    return parsed(text, str(file), columns, row, remedy)


def parsed(
    text: str, name: str, columns: Sequence[str], row: Callable[[dict[str, str]], Row], remedy: str
) -> list[Row]:
    """Make something of each row of a CSV file.

    Args:
        name: of the file, for messages.
        columns: those that there must be, in any place.
        row: gets the values of a row by column; a ValueError or KeyError that it raises names the line.
        remedy: what to do with a broken file.

    Raises:
        UserError: a column is missing, or a row cannot be understood.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    found = []
    try:
        header = list(reader.fieldnames or [])
        if lacking := [column for column in columns if column not in header]:
            raise UserError(f"{name}: has no column {lacking[0]}; {remedy}")
        if len(set(header)) < len(header):
            raise UserError(f"{name}: has a column twice; {remedy}")
        for values in reader:
            if None in values or None in values.values():
                raise ValueError("has more or fewer fields than the header has columns")
            found.append(row(values))
    except (csv.Error, ValueError, KeyError) as error:
        raise UserError(f"{name}, line {reader.line_num}: {_said(error)}; {remedy}") from None
    return found


def _said(error: Exception) -> str:
    if isinstance(error, csv.Error):
        return f"is not a CSV row ({error})"
    said = " ".join(str(error).split())[:200]
    return f"{said}: there is none" if isinstance(error, KeyError) else said
