"""Readers of SubStation Alpha (ASS, SSA) and MicroDVD, by pysubs2."""

from pathlib import Path

from pysubs2 import SSAEvent, SSAFile
from pysubs2.exceptions import Pysubs2Error, UnknownFPSError

from foundation.errors import UserError
from pipeline.corpora.times import MOST, shortened
from pipeline.prediction.transcripts.cues import Cue, Part, unescaped

FIELDS = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
"""Fields of a line as pysubs2 reads them, whatever the file's own line `Format:` says."""

WORDS = ("start", "end", "style", "name", "effect", "text")
"""Fields that are read; the others are numbers of the layout."""


def read_substation(file: Path, text: str) -> tuple[list[Cue], list[str]]:
    """Read the cues of ASS or SSA, in the order of the file, with the field Name as the speaker, and notes.

    Raises:
        UserError: there are no events, or a line cannot be understood.
    """
    events = _events(file, text)
    cues = []
    for number, line in events:
        event = _parsed(file, f"line {number}", f"[Events]\n{line}", "ass")[0]
        if event.is_text:
            cues.append(_cue(f"line {number}", event, event.name))
    left_out = len(events) - len(cues)
    return cues, [f"{left_out} comments and drawings were passed over"] if left_out else []


def read_microdvd(file: Path, text: str) -> tuple[list[Cue], list[str]]:
    """Read the cues of MicroDVD, whose times are numbers of pictures.

    Raises:
        UserError: the file does not say how many pictures a second has, or is no MicroDVD.
    """
    events = _parsed(file, "", text, "microdvd")
    if text.strip() and not events:
        raise UserError(f"{file}: has no line of MicroDVD, {{begin}}{{end}}text")
    return [_cue(f"subtitle {number}", event, "") for number, event in enumerate(events, 1)], []


def _events(file: Path, text: str) -> list[tuple[int, str]]:
    """Find the events of a file, with their line numbers, and put their fields in the usual order."""
    order: tuple[str, ...] = FIELDS
    found = []
    inside = False
    for number, line in enumerate(text.split("\n"), 1):
        key, _, value = line.strip().partition(":")
        if key.startswith("["):
            inside = key.lower() == "[events]"
        elif inside and key == "Format":
            names = tuple(name.strip().lower() for name in value.split(","))
            order = tuple({"marked": "layer", "actor": "name"}.get(name, name) for name in names)
            if not {"start", "end", "text"} <= set(order) or order[-1] != "text":
                raise UserError(f"{file}, line {number}: the format of the events needs Start, End and, last, Text")
        elif inside and key in ("Dialogue", "Comment"):
            values = value.strip().split(",", len(order) - 1)
            if len(values) < len(order):
                raise UserError(f"{file}, line {number}: has fewer fields than the format of the events")
            fields = dict(zip(order, values, strict=True))
            found.append(
                (number, f"{key}: " + ",".join(fields.get(name, "") if name in WORDS else "0" for name in FIELDS))
            )
    if text.strip() and not found:
        raise UserError(f"{file}: has no events (lines `Dialogue:` below `[Events]`)")
    return found


def _parsed(file: Path, place: str, text: str, format_: str) -> list[SSAEvent]:
    where = f"{file}, {place}" if place else str(file)
    try:
        return SSAFile.from_string(text, format_).events
    except UnknownFPSError:
        raise UserError(f"{where}: does not say how many pictures a second has. Its first line must be {{1}}{{1}}25 "
                        "(for 25 a second)") from None  # fmt: skip
    except (Pysubs2Error, ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise UserError(f"{where}: cannot be understood ({shortened(str(error))})") from None


def _cue(place: str, event: SSAEvent, name: str) -> Cue:
    start, end = (min(max(0.0, time / 1000), MOST) for time in (event.start, event.end))
    return Cue(place, (Part(name.strip(), unescaped(event.plaintext)),), start, end)
