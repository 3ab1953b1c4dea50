"""The turns around an utterance that a text encoder reads with it.

An encoder that reads the turns before an utterance knows more of its emotion: EmoBERTa (Kim and Vossen, 2021) and SPCL
(Song et al., EMNLP 2022) put them into the same input. `layout.py` makes tokens of them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from string import ascii_uppercase

from extractors.settings import ContextSettings
from extractors.utterance import Utterance


@dataclass(frozen=True, slots=True)
class Window:
    """An utterance, and the turns of its dialogue that are read with it."""

    text: str
    speaker: str = ""
    """What stands before the text; empty if the utterance is read alone, or without names."""
    past: tuple[str, ...] = ()
    """Turns before it, the oldest first, each with its speaker."""
    future: tuple[str, ...] = ()
    """Turns after it, the nearest first."""

    @property
    def digest(self) -> str:
        """SHA-256 over all that is read."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()


def windows_of(rows: Sequence[Utterance], settings: ContextSettings) -> list[Window]:
    """Make the window of each of `rows`, which must hold whole dialogues; turns without words are passed over.

    Nothing crosses a dialogue, nor the border between two splits.
    """
    found = [Window(row.text) for row in rows]
    if not settings.reads_around:
        return found
    dialogues: dict[tuple[str, str], list[int]] = {}
    for place, row in enumerate(rows):
        if row.text.strip():
            dialogues.setdefault((row.dialogue_id, row.split), []).append(place)
    for places in dialogues.values():
        places.sort(key=lambda place: rows[place].turn)
        names = _names([rows[place] for place in places], settings.names)
        lines = [_line(name, rows[place].text) for name, place in zip(names, places, strict=True)]
        for at, place in enumerate(places):
            past = tuple(lines[max(0, at - settings.past) : at])
            found[place] = Window(rows[place].text, names[at], past, tuple(lines[at + 1 : at + 1 + settings.future]))
    return found


def _names(rows: list[Utterance], how: str) -> list[str]:
    """What stands before each turn of a dialogue: with `index`, letters in the order in which the speakers appear."""
    match how:
        case "written":
            return [f"{row.speaker_name}:" if row.speaker_name else "" for row in rows]
        case "index":
            order = {speaker: place for place, speaker in enumerate(dict.fromkeys(row.speaker for row in rows))}
            return [f"{_letter(order[row.speaker])}:" for row in rows]
    return [""] * len(rows)


def _letter(place: int) -> str:
    rounds, letter = divmod(place, len(ascii_uppercase))
    return f"{ascii_uppercase[letter]}{rounds or ''}"


def _line(name: str, text: str) -> str:
    return f"{name} {text}".strip()
