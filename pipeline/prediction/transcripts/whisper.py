"""Reader of what Whisper and its relatives write as JSON: openai-whisper, WhisperX, whisper.cpp, transformers."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from pipeline.corpora.times import seconds
from pipeline.prediction.transcripts.cues import Cue, Part, ends

LISTS = ("segments", "transcription", "chunks")
"""Names of the list of phrases: Whisper's and WhisperX's, whisper.cpp's, transformers'."""


def read_whisper(file: Path, text: str) -> tuple[list[Cue], list[str]]:
    """Read the phrases as cues, in the order of the file, with `speaker` where there is one, and notes.

    Raises:
        UserError: it is no such JSON, or a phrase has no text or no times.
    """
    if not text.strip():
        return [], []
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: is no JSON ({str(error)[:80]})") from None
    phrases = content
    if isinstance(content, dict):
        phrases = next((content[name] for name in LISTS if isinstance(content.get(name), list)), None)
    if not isinstance(phrases, list) or not all(isinstance(phrase, dict) for phrase in phrases):
        raise UserError(f"{file}: is no JSON of Whisper, which has a list `segments` with start, end and text")
    cues = []
    for number, phrase in enumerate(phrases, 1):
        place = f"segment {number}"
        if not isinstance(phrase.get("text"), str):
            raise UserError(f"{file}, {place}: has no text")
        try:
            start, end = (_time(time) for time in _interval(phrase))
        except ValueError as error:
            raise UserError(f"{file}, {place}: {error}") from None
        if start is None:
            raise UserError(f"{file}, {place}: has no start")
        cues.append(Cue(place, (Part(_speaker(phrase), phrase["text"]),), start, end))
    filled = ends([cue.start for cue in cues], [cue.end for cue in cues])
    return [Cue(cue.place, cue.parts, cue.start, end) for cue, end in zip(cues, filled, strict=True)], []


def _interval(phrase: dict[str, Any]) -> Iterator[object]:
    """Yield start and end as the file writes them."""
    if isinstance(phrase.get("timestamp"), list):  # transformers
        yield from (*phrase["timestamp"], None, None)[:2]
    elif isinstance(phrase.get("timestamps"), dict):  # whisper.cpp
        yield from (phrase["timestamps"].get(name) for name in ("from", "to"))
    else:
        yield from (phrase.get(name) for name in ("start", "end"))


def _time(written: object) -> float | None:
    if written is None:
        return None
    if isinstance(written, bool) or not isinstance(written, int | float | str):
        raise ValueError(f"{str(written)[:60]!r} is no time")
    return seconds(written if isinstance(written, str) else repr(written)[:400])


def _speaker(phrase: dict[str, Any]) -> str:
    """Name of the speaker of a phrase, or else of most of its words."""
    if phrase.get("speaker") is not None:
        return str(phrase["speaker"])
    words = phrase.get("words")
    spoken = [word["speaker"] for word in words if isinstance(word, dict) and word.get("speaker") is not None] \
        if isinstance(words, list) else []  # fmt: skip
    return str(Counter(map(str, spoken)).most_common(1)[0][0]) if spoken else ""
