"""Reader of plain text: an utterance per line, or what meeting software and recognisers export.

    Ann Smith  0:03            [00:00:03] Ann: Hello.        [Ann Smith] 10:03:12        0:0:3.0 --> 0:0:5.2
    Hello.                     0:03 Ann: Hello.              Hello.                      Ann Smith
                               Ann (0:03): Hello.                                        Hello.

The first is Otter's and Teams', the third Zoom's (with the time of day), the last that of older Teams. Label tracks of
Audacity have a start, an end and a text between tabs.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from pipeline.corpora.times import seconds
from pipeline.prediction.transcripts.cues import Cue, Part, ends
from pipeline.prediction.transcripts.names import Kind, kind_of, name_in
from pipeline.prediction.transcripts.subtitles import has_times, read_subtitles

TIME = r"(?:\d{1,3}:)?\d{1,2}:\d{2}(?:[.,]\d{1,3})?(?:\s?[AaPp]\.?[Mm]\b\.?)?"
HALF = re.compile(r"(?P<clock>[\d:.,]+?)\s?(?P<half>[AaPp])\.?[Mm]\.?")
"""A time of day with twelve hours."""
RANGE = rf"(?P<start>{TIME})(?:\s*(?:-{{1,2}}>|[-–—→])\s*(?P<end>{TIME}))?"
FIRST = re.compile(rf"[\[(<]?\s*{RANGE}\s*[\])>]?\s*(?:[-–—|]\s+|:\s+)?(?P<text>.*)", re.ASCII)
"""A line that begins with a time."""
LAST = re.compile(rf"(?P<name>\[[^\[\]\d][^\[\]]*\]|[^\n:]{{1,60}}?)[\s,|·–—-]+{RANGE}\s*:?", re.ASCII)
"""A name and a time alone."""
BETWEEN = re.compile(rf"(?P<name>[^\n:\[(]{{1,60}}?)\s*:?\s*[\[(]\s*{RANGE}\s*[\])]\s*:?\s*(?P<text>.*)", re.ASCII)
"""A name, a time in brackets, and perhaps the text."""
CHAT = re.compile(r"From (?P<name>.{1,60}?)(?: to .{1,60}?)?\s?:\s?(?P<text>.*)", re.IGNORECASE)
"""What stands behind the time of day in the chat of a Zoom meeting."""
REMARK = re.compile(
    r"transcribed by https?://\S+|.{1,60} (?:started|stopped) transcription"
    r"|(?:transcription|meeting) ended after [\d:]+\W*|this editable transcript was computer generated.*",
    re.IGNORECASE,
)
"""Lines of the program itself."""
LABEL = re.compile(r"(?P<start>\d{1,7}[.,]\d{1,9})\t+(?P<end>\d{1,7}[.,]\d{1,9})(?:\t(?P<text>.*))?", re.ASCII)
"""A line of a label track."""
NUMBER = re.compile(r"(?P<number>\d{1,6})(?:[.):]\s+|\t\s*)(?P<rest>.*)", re.ASCII)
"""A line of a numbered list."""
SHARE = 0.2
"""Smallest share of lines with a time in a transcript that has times."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A line with a time."""

    start: float
    end: float | None
    name: str
    text: str
    time_of_day: bool = False


def read_lines(file: Path, text: str) -> tuple[list[Cue], list[str]]:
    """Read the cues of a text file, and notes.

    Raises:
        UserError: a line is meant as a pair of times, and is none; the message names it.
    """
    if has_times(text):
        cues, notes = read_subtitles(file, text)
        return _with_first_line_as_name(cues), notes
    if labels := _label_track(text):
        return labels, []
    written = text.split("\n")
    bare = _without_numbers(written)
    rows = [" ".join(row.split()) for row in _with_colons(bare)]
    said = [number for number, row in enumerate(rows) if row and not REMARK.fullmatch(row)]
    remarks = sum(bool(row) for row in rows) - len(said)
    notes = [f"{remarks} lines of the program that wrote the transcript were passed over"] if remarks else []
    if bare is not written:
        notes.append("the lines are numbered: the numbers were left out")
    stamped = {number: found for number in said if (found := _stamped(rows[number]))}
    if not _is_timed(stamped, len(said)):
        return [Cue(f"line {number + 1}", (Part("", rows[number]),)) for number in said], notes
    before = sum(number < min(stamped) for number in said)
    if before:
        notes.append(f"{before} lines stand before the first time, and were passed over")
    cues = []
    for place, following in zip(stamped, [*list(stamped)[1:], len(rows)], strict=True):
        line = stamped[place]
        below = [rows[number] for number in said if place < number < following]
        name, texts = line.name, [line.text, *below]
        if not name and below and _is_name(line.text):
            name, texts = name_in(line.text), below
        cues.append(Cue(f"line {place + 1}", (Part(name, "\n".join(texts)),), line.start, line.end))
    if all(line.time_of_day for line in stamped.values()) and cues[0].start:
        first = cues[0].start
        cues = [replace(cue, start=max(0.0, (cue.start or 0.0) - first)) for cue in cues]
        notes.append("the times are those of a clock on the wall: they are counted from the first, as if the recording "
                     f"began there, at {first:g} s of the day")  # fmt: skip
    filled = ends([cue.start for cue in cues], [cue.end for cue in cues])
    if any(cue.end is None for cue in cues):
        notes.append("the transcript has no ends: an utterance lasts until the next one begins")
    return [replace(cue, end=end) for cue, end in zip(cues, filled, strict=True)], notes


def _stamped(row: str) -> Stamped | None:
    """Read a line with a time, or None."""
    for pattern in (FIRST, LAST, BETWEEN):
        found = pattern.fullmatch(row)
        if not found:
            continue
        groups = found.groupdict()
        name = name_in(groups.get("name") or "")
        if "name" in groups and not (name and kind_of(name) not in (Kind.LOWER, Kind.WORD)) and "," not in name:
            continue
        half = HALF.fullmatch(found["start"]) is not None
        if half and pattern is not FIRST:
            continue  # the date of the meeting: January 1, 2024, 10:00AM
        try:
            start, end = _time(found["start"]), _time(found["end"]) if found["end"] else None
        except ValueError:
            continue
        chat = CHAT.fullmatch(found["text"]) if pattern is FIRST else None
        if chat and name_in(chat["name"]):
            return Stamped(start, end, name_in(chat["name"]), chat["text"], True)
        time_of_day = half or (pattern is LAST and row.startswith("[") and found["start"].count(":") == 2)
        return Stamped(start, end, name, (groups.get("text") or "").strip(), time_of_day)
    return None


def _time(written: str) -> float:
    """Convert a time to seconds; one with AM or PM has hours."""
    found = HALF.fullmatch(written)
    if not found:
        return seconds(written)
    clock = found["clock"] + (":00" if found["clock"].count(":") == 1 else "")
    return seconds(clock) % (12 * 3600) + (12 * 3600 if found["half"] in "Pp" else 0)


def _label_track(text: str) -> list[Cue]:
    """Read the labels of Audacity; the result is empty if some line is none. A label without length has no end."""
    rows = [
        (number, row)
        for number, row in enumerate(text.split("\n"), 1)
        if row.strip() and not row.startswith("\\\t")  # frequencies of the label before
    ]
    labels = [LABEL.fullmatch(row) for _, row in rows]
    found = []
    for (number, _), label in zip(rows, labels, strict=True):
        if not label:
            return []
        start, end = seconds(label["start"]), seconds(label["end"])
        text = label["text"] or ""
        found.append(Cue(f"line {number}", (Part("", text),), start, end if end != start else None))
    return found


def _without_numbers(rows: list[str]) -> list[str]:
    """Take the numbers off lines that are numbered, or each line would have a speaker of its own: `2. Bob`."""
    numbered = [NUMBER.fullmatch(row.strip()) if row.strip() else None for row in rows]
    counted = [int(found["number"]) for found in numbered if found]
    if len(counted) < 2 or len(counted) < sum(bool(row.strip()) for row in rows):
        return rows
    if any(after != before + 1 for before, after in pairwise(counted)):
        return rows
    return [found["rest"] if found else "" for found in numbered]


def _with_colons(rows: list[str]) -> list[str]:
    """Put a colon between name and text where all lines have a tab there, and the names recur."""
    parts = [row.strip().partition("\t") for row in rows if row.strip()]
    names = {name_in(name) for name, _, text in parts if text.strip()}
    if len(parts) < 2 or not all(text.strip() and name_in(name) and name[-1:] != ":" for name, _, text in parts):
        return rows
    if 2 * len(names) > len(parts) + 1:
        return rows
    return [": ".join(row.strip().split("\t", 1)) for row in rows]


def _is_timed(stamped: dict[int, Stamped], lines: int) -> bool:
    """Check that the times are the transcript's: of several lines, or of most, and in order; "10:30 is fine" is not."""
    if not stamped:
        return False
    starts = [line.start for line in stamped.values()]
    in_order = sum(after >= before for before, after in pairwise(starts))
    if 3 * in_order < 2 * (len(starts) - 1):
        return False
    named = sum(bool(line.name) for line in stamped.values())
    return 2 * len(stamped) >= lines or (len(stamped) > 1 and (named > 1 or len(stamped) >= SHARE * lines))


def _is_name(text: str) -> bool:
    name = name_in(text)
    return bool(name) and (kind_of(name) in (Kind.UPPER, Kind.TITLE, Kind.NUMBERED) or "," in name) and text[-1:] != "."


def _with_first_line_as_name(cues: Sequence[Cue]) -> list[Cue]:
    """Take the first line of each cue for the speaker, if all have one that looks like a name, and text below it."""
    texts = [part.text.strip().split("\n") for cue in cues for part in cue.parts]
    if not texts or not all(len(lines) > 1 and _is_name(lines[0]) for lines in texts):
        return list(cues)
    return [
        replace(cue, parts=tuple(Part(name_in(name), text) for part in cue.parts
                                 for name, _, text in [part.text.strip().partition("\n")]))
        for cue in cues
    ]  # fmt: skip
