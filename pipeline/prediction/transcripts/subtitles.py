"""Reader of SubRip and WebVTT.

It is our own, because pysubs2 1.8.1 loses what is needed here: voice tags; times without hours in SubRip; a last line
that is a number. It also takes identifiers and NOTE blocks of WebVTT for text, and a line with two inline times for the
times of a subtitle.
"""

import re
from itertools import pairwise
from pathlib import Path

from foundation.errors import UserError
from pipeline.corpora.times import seconds, shortened
from pipeline.prediction.transcripts.cues import Cue, Part, unescaped

TIMES = re.compile(
    r"\s*(?P<start>-?\d[\d:.,\s]*?)\s*(?P<arrow>-?->|[—–]>|→)\s*(?P<end>-?\d[\d:.,]*)(?P<settings>\s.*)?", re.ASCII
)
LONGEST = 200
"""Largest length of a line of times."""
ALMOST = re.compile(r"\s*-?\d.*-->|.*-->\s*-?\d")
"""A line that is meant as a pair of times, but may not be one."""
NUMBER = re.compile(r"\s*\d{1,9}\s*", re.ASCII)
STYLE = re.compile(r"\{\\[^{}]*\}")
"""Style tags of SubStation Alpha, which occur in some SubRip files."""
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
TAG = re.compile(
    r"</?(?:i|b|u|s|em|strong|c|v|ruby|rt)(?:\.[^<>\s]*)?\s*>|<(?:font|span|p|div)(?:\s[^<>=]*=[^<>]*|\.[^<>]*)?>"
    r"|</(?:font|span|p|div|lang)\s*>|<lang(?:\.[^<>\s]*)?(?:\s[^<>]*)?>|<(?:\d+:)?\d\d:\d\d\.\d{3}>",
    re.IGNORECASE,
)
"""The tags that SubRip and WebVTT have; any other `<` is text. What has no `>` must fail at once: each letter has one
place in the pattern, or a long line would be tried in every division (so too below)."""
VOICE = re.compile(r"<v(?:\.[^\s<>.]*)*\s++(?P<name>[^<>]*)>|(?P<close></v\s*>)", re.IGNORECASE)
INLINE_TIME = re.compile(r"<(?:\d+:)?\d\d:\d\d\.\d{3}>")
WEBEX = re.compile(r'\d+ "(?P<name>[^"]+)" \(\d+\)')
"""The identifier of a WebVTT subtitle of Webex, which has the speaker."""
BLOCKS = ("NOTE", "STYLE", "REGION")
"""First words of WebVTT blocks that are no subtitles."""


def has_times(text: str) -> bool:
    """Check whether `text` has a line with a pair of times."""
    return any(_times(line) for line in text.split("\n"))


def read_subtitles(file: Path, text: str) -> tuple[list[Cue], list[str]]:
    """Read the cues of SubRip or WebVTT, in the order of the file, and notes.

    Raises:
        UserError: a line is meant as a pair of times, and is none; the message names it.
    """
    lines = text.split("\n")
    is_vtt = text.lstrip().startswith("WEBVTT")
    places = [number for number, line in enumerate(lines) if _times(line)]
    for number, line in enumerate(lines):
        if number not in places and ALMOST.match(line):
            raise UserError(f"{file}, line {number + 1}: {shortened(line.strip())!r} is no pair of times; SRT has them "
                            "as 00:00:01,000 --> 00:00:02,500")  # fmt: skip
    if not places:
        if text.strip() and not is_vtt:
            raise UserError(f"{file}: has no subtitle, which begins with a line 00:00:01,000 --> 00:00:02,500")
        return [], []
    found, lost = [], 0
    for number, (place, following) in enumerate(zip(places, [*places[1:], len(lines)], strict=True), 1):
        spoken, passed_over = _body(lines, place, following, is_vtt, number)
        lost += passed_over
        start_, end_, rest = _times(lines[place]) or ("", "", "")
        if not all(":" in setting for setting in rest.split()):
            spoken.insert(0, rest)  # the text stands in the line of times; settings are like align:start
        try:
            start, end = (seconds(time.replace(" ", "")) for time in (start_, end_))
        except ValueError as error:
            raise UserError(
                f"{file}, line {place + 1}: {error}; SRT has times as 00:00:01,000 --> 00:00:02,500"
            ) from None
        parts = voices("\n".join(spoken))
        if is_vtt and place and (webex := WEBEX.fullmatch(lines[place - 1].strip())):
            parts = [part if part.speaker else Part(webex["name"], part.text) for part in parts]
        found.append(Cue(f"subtitle {number}", tuple(parts), start, end))
    notes = [f"{lost} lines stand outside of any subtitle, and were passed over"] if lost else []
    if INLINE_TIME.search(text):
        return _without_rolling(found, notes, certain=True)
    return _without_rolling(found, notes, certain=False)


def _times(line: str) -> tuple[str, str, str] | None:
    """Split a line of times into start, end, and what stands behind them; None for another line."""
    found = TIMES.fullmatch(line) if len(line) <= LONGEST else None
    if not found or (found["arrow"] != "-->" and not (":" in found["start"] and ":" in found["end"])):
        return None
    return found["start"], found["end"], found["settings"] or ""


def _body(lines: list[str], place: int, following: int, is_vtt: bool, number: int) -> tuple[list[str], int]:
    """The text lines of the subtitle whose times stand in line `place`, and the number of lines that are no text.

    Args:
        following: line of the next subtitle's times, or the number of lines.
        number: number of the subtitle, from 1.
    """
    body = lines[place + 1 : following]
    if is_vtt:
        # A subtitle ends at the first empty line; what stands before the next one is its identifier, or a comment.
        end = body.index("") if "" in body else len(body)
        if end == len(body) and following < len(lines) and body and NUMBER.fullmatch(body[-1]):
            end -= 1  # the empty line before the next identifier was forgotten
        return body[:end], _outside(body[end:], has_identifier=following < len(lines))
    kept = len(body)
    while kept and not body[kept - 1].strip():
        kept -= 1
    if following < len(lines) and kept and NUMBER.fullmatch(body[kept - 1]):
        stands_alone = kept == len(body) > 1 and not body[kept - 2].strip()
        if stands_alone or int(body[kept - 1]) == number + 1:
            kept -= 1  # the number of the next subtitle
    return body[:kept], 0


def _outside(lines: list[str], has_identifier: bool) -> int:
    """Count the lines between two WebVTT subtitles that are neither a comment nor an identifier."""
    blocks = "\n".join(lines).split("\n\n")
    lost = 0
    for number, block in enumerate(blocks):
        rows = [row for row in block.split("\n") if row.strip()]
        if rows and rows[0].startswith(BLOCKS):
            continue
        lost += len(rows) - (has_identifier and number == len(blocks) - 1 and bool(rows))
    return lost


def voices(text: str) -> list[Part]:
    """Split a subtitle by its voice tags, and remove all other tags."""
    found, begin, name = [], 0, ""
    for tag in VOICE.finditer(text):
        found.append(Part(name, _plain(text[begin : tag.start()])))
        begin, name = tag.end(), "" if tag["close"] else _plain(tag["name"])
    found.append(Part(name, _plain(text[begin:])))
    return [part for part in found if part.text.strip()] or [Part("", "")]


def _plain(text: str) -> str:
    return unescaped(TAG.sub("", BREAK.sub("\n", STYLE.sub("", text))))


def _without_rolling(cues: list[Cue], notes: list[str], *, certain: bool) -> tuple[list[Cue], list[str]]:
    """Say each line of rolling captions once; in those of YouTube, each repeats the last lines of the one before.

    Captions roll if there are inline times (`certain`), or if at least half of them begin as the one before ended and
    then go on. Otherwise a repeated line, such as a second "No.", was said twice.
    """
    pairs = [(before.lines, cue.lines) for before, cue in pairwise(cues)]
    repeats = [_overlap(before, lines) for before, lines in pairs]
    goes_on = sum(0 < overlap < len(lines) for overlap, (_, lines) in zip(repeats, pairs, strict=True))
    grows = sum(_grows(before, lines) for before, lines in pairs)
    rolling = certain or (goes_on and 2 * sum(map(bool, repeats)) >= len(pairs))
    if not rolling and (grows < 2 or 2 * grows < len(pairs)):
        return cues, notes
    found: list[Cue] = []
    left_out = 0
    for number, cue in enumerate(cues):
        lines = cue.lines
        if any(part.speaker for part in cue.parts) or not lines:
            found.append(cue)
            continue
        if number and found and _grows(pairs[number - 1][0], lines):
            # The caption grows word by word: the longer text replaces the shorter one.
            last = found.pop()
            kept = [*last.lines[:-1], *lines]
            left_out += 1
            found.append(Cue(last.place, (Part("", "\n".join(kept)),), last.start, cue.end))
            continue
        overlap = repeats[number - 1] if number and rolling else 0
        left_out += overlap
        if lines[overlap:]:
            found.append(Cue(cue.place, (Part("", "\n".join(lines[overlap:])),), cue.start, cue.end))
    if left_out:
        notes = [*notes, f"the captions roll: {left_out} lines that repeat the caption before were left out"]
    return found, notes


def _overlap(before: list[str], lines: list[str]) -> int:
    """Largest number of lines that end `before` and begin `lines`."""
    return next((n for n in range(min(len(before), len(lines)), 0, -1) if before[-n:] == lines[:n]), 0)


def _grows(before: list[str], lines: list[str]) -> bool:
    """Check whether a caption begins with the whole last line of the one before, and its line goes on."""
    return bool(before and lines) and len(before) == 1 and lines[0].startswith(before[-1] + " ")
