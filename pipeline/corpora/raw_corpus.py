"""Common parts of the corpus readers: their result type, and the reading of CSV tables."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.files import read_file


@dataclass(slots=True)
class Cut:
    """Where a cut list says that an utterance is, beside where the release has it."""

    own: str
    """Path of its own clip in the release; empty if there is none."""
    where: str
    """`own clip`, `own clip and others`, `other clips` or `none`."""
    pieces: int
    seconds: float
    """Duration by the list."""
    words: int
    """Number of words that are said."""
    frames: int
    """Number of frames of so many seconds."""
    boxes: int
    """Number of frames with a box of the speaker's face."""
    before: float = 0.0
    """Seconds of usable sound in its own clip; the stage `index` finds them."""
    after: float = 0.0
    """Seconds of usable sound by the list."""


@dataclass(slots=True)
class RawCorpus:
    """Content of a raw corpus according to file names and annotations; the stage `index` then inspects the media."""

    rows: list[Utterance]
    """Utterances, one dialogue after another, each in conversation order."""
    speakers: list[str]
    """Name of each row's speaker, unique in the corpus."""
    notes: list[str] = field(default_factory=list)
    """Notes for the log and for corpus.json."""
    differences: list[str] = field(default_factory=list)
    """Differences between this copy and the published full release."""
    stated: dict[str, float] = field(default_factory=dict)
    """Annotated duration in seconds, by utterance id, for corpora with one media file per utterance."""
    published: dict = field(default_factory=dict)
    """What a published feature file is (pipeline/corpora/features.py); empty for corpora of media."""
    cuts: dict[str, Cut] = field(default_factory=dict)
    """By utterance id; empty if clips are used as they were released."""


def table(file: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV file, each with the number of its last line; UTF-8, or cp1252 as older programs write.

    Raises:
        UserError: a required column is missing or a row is malformed; the message names file and line.
    """
    content = read_file(file)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    # Strict, because otherwise an unclosed quote would silently swallow the rows after it.
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = list(reader.fieldnames or [])
        missing = [name for name in required if name not in header]
        if missing:
            raise UserError(f"{file}, line 1: no column {', '.join(missing)}; its columns are: {', '.join(header)}")
        for values in reader:
            if None in values:
                raise UserError(f"{file}, line {reader.line_num}: more fields than the header has columns; a text "
                                "with commas must be in double quotes")  # fmt: skip
            if None in values.values():
                raise UserError(f"{file}, line {reader.line_num}: fewer fields than the header has columns")
            yield reader.line_num, values
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: is not a CSV row ({error})") from None
