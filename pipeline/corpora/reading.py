"""What the readers of raw corpora share: what they give, and how they read a table."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.stage import StageError
from pipeline.utterances import Utterance


@dataclass(slots=True)
class Reading:
    """A raw corpus by its names and annotations alone; whether its media can be used, the index finds out."""

    rows: list[Utterance]
    """Dialogues one after another, each in conversation order."""
    speakers: list[str]
    """Who speaks, a name a row that is unique in the corpus."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the log should know."""
    differences: list[str] = field(default_factory=list)
    """Files in which a full release is not what is known of it."""
    stated: dict[str, float] = field(default_factory=dict)
    """Seconds that the annotations give an utterance whose media are files of its own."""


def table(file: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with the number of the line on which each ends; UTF-8, or cp1252 as older programs save it.

    Raises:
        StageError: the file has no such columns or a row that is not one, named by file and line.
    """
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    # Strict: a quote that is never closed would otherwise swallow the rows after it in silence.
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = list(reader.fieldnames or [])
        missing = [name for name in required if name not in header]
        if missing:
            raise StageError(f"{file}, line 1: no column {', '.join(missing)}; its columns are: {', '.join(header)}")
        for values in reader:
            if None in values:
                raise StageError(f"{file}, line {reader.line_num}: more fields than the header has columns; a text "
                                 "with commas must be in double quotes")  # fmt: skip
            if None in values.values():
                raise StageError(f"{file}, line {reader.line_num}: fewer fields than the header has columns")
            yield reader.line_num, values
    except csv.Error as error:
        raise StageError(f"{file}, line {reader.line_num}: is not a CSV row ({error})") from None
