"""Readers of transcripts: SubRip, WebVTT, a CSV table, IEMOCAP's transcription, or plain lines.

The speaker is given by `Name: text`, by WebVTT's voice tag or by the column `speaker`. docs/predict.md describes the
formats for users.
"""

import html
import io
import math
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import webvtt
from webvtt.errors import MalformedCaptionError, MalformedFileError

from foundation.errors import UserError
from pipeline.corpora import iemocap
from pipeline.corpora.raw_corpus import table

SUFFIXES = (".srt", ".vtt", ".csv", ".txt")
"""File endings of transcripts, in the order of the search next to a recording."""
NAMED = re.compile(r"(?P<speaker>[^\W\d_][^:\n]{0,30}?)\s*:\s+(?P<text>\S.*)", re.DOTALL)
WORDS_OF_NAME = 3
"""Largest number of words in a speaker's name; so `Listen to what I have to say: no.` has no speaker."""
STYLE = re.compile(r"\{\\[^}]*\}")
"""Style tags of SubStation Alpha, which occur in some SubRip files."""
TIMES = re.compile(r"\s*((\d+:)?\d{1,2}:)?\d{1,2}[,.]\d{1,3}\s+-->\s+((\d+:)?\d{1,2}:)?\d{1,2}[,.]\d{1,3}(\s.*)?")
COLUMNS = ("speaker", "start", "end", "file", "audio", "region")
"""Optional columns of a table; `text` is required."""
REGION = re.compile(r"\d+,\d+,\d+,\d+")


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """An utterance of a transcript."""

    place: str
    """Position in the file, for messages, such as `line 7`."""
    text: str
    speaker: str = ""
    """Name of the speaker; empty if the transcript gives none."""
    start: float | None = None
    """Start in the recording, in seconds; None: its beginning."""
    end: float | None = None
    file: str = ""
    """Media file of this utterance, relative to the transcript's folder; empty: the shared recording."""
    audio: str = ""
    """Separate audio file of this utterance, used completely."""
    region: str = ""


@dataclass(slots=True)
class Transcript:
    lines: list[TranscriptLine]
    notes: list[str] = field(default_factory=list)
    """Notes for the reader of the result."""


def read_transcript(file: Path) -> Transcript:
    """Read the utterances of `file` in conversation order, each with a speaker.

    Raises:
        UserError: the file is missing, empty, or has an invalid line.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file; --transcript must name an SRT, WebVTT, CSV or text file")
    readers = {".srt": _subtitles, ".vtt": _subtitles, ".csv": _table, ".txt": _lines}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise UserError(f"{file}: is no transcript that is understood; give one that ends in {', '.join(SUFFIXES)}")
    lines = [line for line in reader(file) if line.text or line.start is not None or line.file]
    if not lines:
        raise UserError(f"{file}: has no utterance; a transcript needs at least one (docs/predict.md has examples)")
    result = Transcript(lines)
    _put_in_order(result)
    _name_speakers(result)
    return result


def _put_in_order(transcript: Transcript) -> None:
    """Sort the lines by start time, unless some line has no start or has a media file of its own."""
    lines = transcript.lines
    if any(line.file or line.start is None for line in lines):
        return
    transcript.lines = sorted(lines, key=lambda line: line.start or 0.0)
    if transcript.lines != lines:
        transcript.notes.append("the transcript was not in order of time: its utterances were sorted by their start")
    latest, overlapping = 0.0, 0
    for line in transcript.lines:
        overlapping += (line.start or 0.0) < latest - 1e-6
        latest = max(latest, line.end or math.inf)
    if overlapping:
        transcript.notes.append(f"{overlapping} utterances begin before another has ended: each is predicted from the "
                                "sound and picture of its own interval, other voices included")  # fmt: skip


def _name_speakers(transcript: Transcript) -> None:
    """Give each line without a speaker the speaker of the line before it."""
    named = [line.speaker for line in transcript.lines if line.speaker]
    if not named:
        transcript.notes.append("the transcript names no speakers: all utterances count as one person's. "
                                "`Name: text` names them")  # fmt: skip
    found, speaker = [], named[0] if named else "speaker"
    for line in transcript.lines:
        speaker = line.speaker or speaker
        found.append(
            TranscriptLine(line.place, line.text, speaker, line.start, line.end, line.file, line.audio, line.region)
        )
    transcript.lines = found


def _subtitles(file: Path) -> list[TranscriptLine]:
    text = _decoded(file)
    for number, line in enumerate(text.split("\n"), 1):
        if "-->" in line and not TIMES.fullmatch(line):
            raise UserError(f"{file}, line {number}: {line.strip()!r} is no pair of times; SRT has them as "
                            "00:00:01,000 --> 00:00:02,500")  # fmt: skip
    if not text.strip():
        return []
    try:
        captions = webvtt.from_buffer(io.StringIO(text), format=file.suffix[1:].lower()).captions
    except (MalformedFileError, MalformedCaptionError) as error:
        raise UserError(f"{file}: cannot be understood as {file.suffix[1:].upper()} ({error})") from None
    found = []
    for number, caption in enumerate(captions, 1):
        place = f"subtitle {number}"
        start, end = _clock(caption.start), _clock(caption.end)
        if end <= start:
            raise UserError(f"{file}, {place}: ends at {caption.end}, not after its start {caption.start}")
        spoken = html.unescape(STYLE.sub("", caption.text))
        speaker, text_ = (caption.voice, spoken) if caption.voice else _named(spoken)
        found.append(TranscriptLine(place, _clean(text_), _clean(speaker), start, end))
    return found


def _clock(time: str) -> float:
    hours, minutes, seconds = time.split(":")
    return round(int(hours) * 3600 + int(minutes) * 60 + float(seconds), 3)


def _named(spoken: str) -> tuple[str, str]:
    match = NAMED.fullmatch(spoken.strip())
    if match and len(match["speaker"].split()) <= WORDS_OF_NAME:
        return match["speaker"], match["text"]
    return "", spoken


def _clean(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _table(file: Path) -> list[TranscriptLine]:
    if not file.read_bytes().strip():
        return []
    found = []
    for number, values in table(file, ("text",)):
        cells = {name: (values.get(name) or "").strip() for name in COLUMNS}
        place = f"line {number}"
        try:
            start, end = (_seconds(name, cells[name]) for name in ("start", "end"))
            if end is not None and end <= (start or 0.0):
                raise ValueError(f"end = {end:g}: must be after start = {start or 0.0:g}")
            if cells["region"] and not REGION.fullmatch(cells["region"]):
                raise ValueError(f"region = {cells['region']!r}: must be left,top,width,height in pixels")
        except ValueError as error:
            raise UserError(f"{file}, {place}: {error}") from None
        found.append(TranscriptLine(place, _clean(values["text"]), _clean(cells["speaker"]), start, end, cells["file"],
                          cells["audio"], cells["region"]))  # fmt: skip
    return found


def _seconds(column: str, written: str) -> float | None:
    """Parse a time in seconds (12.5) or as 1:02:03.5."""
    if not written:
        return None
    try:
        parts = [float(part) for part in written.replace(",", ".").split(":")]
        value = sum(part * 60**power for power, part in enumerate(reversed(parts)))
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0 and len(written.split(":")) <= 3):
        raise ValueError(f"{column} = {written!r}: must be seconds (12.5) or a time (0:00:12.5)")
    return value


def _lines(file: Path) -> list[TranscriptLine]:
    """Read plain lines, one utterance each, or IEMOCAP's transcription, whose video has one actor in each half."""
    rows = _decoded(file).split("\n")
    if any(iemocap.SPOKEN.fullmatch(row.strip()) for row in rows):
        return _iemocap(file, rows)
    found = []
    for number, row in enumerate(rows, 1):
        speaker, text = _named(row)
        found.append(TranscriptLine(f"line {number}", _clean(text), _clean(speaker)))
    return found


def _iemocap(file: Path, rows: list[str]) -> list[TranscriptLine]:
    name = iemocap.DIALOGUE.fullmatch(file.stem)
    found = []
    for number, row in enumerate(rows, 1):
        spoken = iemocap.SPOKEN.fullmatch(row.strip())
        if spoken and float(spoken["end"]) > float(spoken["start"]):
            half = iemocap.LEFT if name and spoken["speaker"] == name["marked"] else iemocap.RIGHT
            sound = Path("../../sentences/wav", file.stem, f"{spoken['id']}.wav")  # its place in the release
            found.append(
                TranscriptLine(
                    f"line {number}",
                    _clean(spoken["text"]),
                    spoken["speaker"],
                    float(spoken["start"]),
                    float(spoken["end"]),
                    audio=str(sound) if (file.parent / sound).is_file() else "",
                    region=half if name else "",
                )
            )
    return found


def _decoded(file: Path) -> str:
    """Read the file as UTF-8, or as cp1252 as older programs write, with line ends converted to \\n."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
