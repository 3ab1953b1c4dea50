"""Cues: what a format shows at one time, before it is known who speaks; and the cleaning of their text."""

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.corpora.text_file import CONTROLS


class Part(NamedTuple):
    """Text of a cue, with the speaker if the format itself names one (a voice tag, a field)."""

    speaker: str
    text: str
    """Lines separated by \\n, without markup."""


@dataclass(frozen=True, slots=True)
class Cue:
    """A subtitle, a line, or a block of a meeting's transcript."""

    place: str
    """Position in the file, for messages, such as `subtitle 7`."""
    parts: tuple[Part, ...]
    start: float | None = None
    """Seconds; None if the file has no times."""
    end: float | None = None

    @property
    def lines(self) -> list[str]:
        """All lines that are not blank, without blanks around them."""
        return [line.strip() for part in self.parts for line in part.text.split("\n") if line.strip()]


INVISIBLE = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
"""Marks of writing direction and blanks without width, which stand before names in some scripts."""
REFERENCE = re.compile(r"&(?:[A-Za-z]\w{1,31}|#\d{1,8}|#[xX][0-9a-fA-F]{1,8});")
"""A character reference with its semicolon; without one, `Q&notes` would have one too."""
LONG_REFERENCE = re.compile(r"&#[xX]?[0-9a-fA-F]{9,};")
"""A reference to a number beyond all characters, which may have thousands of digits."""


def unescaped(text: str) -> str:
    """Replace character references such as &amp; and &#228; by their characters."""
    return REFERENCE.sub(lambda found: html.unescape(found[0]), LONG_REFERENCE.sub("\ufffd", text))


def clean(text: str) -> str:
    """Normalise `text` (NFC), with single blanks, without invisible marks and what a text file cannot hold."""
    text = CONTROLS.sub("", INVISIBLE.sub("", text)).encode("utf-8", "replace").decode("utf-8")
    return " ".join(unicodedata.normalize("NFC", text).split())


def ends(starts: Sequence[float | None], given: Sequence[float | None]) -> list[float | None]:
    """Fill in ends that are not given: an utterance lasts until the next one that begins later; the last has none."""
    found = list(given)
    after: float | None = None
    later: float | None = None
    for place in reversed(range(len(starts))):
        start = starts[place]
        if after is not None and start is not None and start < after:
            later = after
        if found[place] is None and start is not None:
            found[place] = later if later is not None and later > start else None
        after = start if start is not None else after
    return found
