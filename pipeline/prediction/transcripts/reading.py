"""How a transcript is read: by the reader of its format; then come order, ends and speakers.

docs/predict.md describes the formats for users.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from foundation.errors import UserError
from foundation.files import is_file
from pipeline.corpora import iemocap
from pipeline.corpora.csv_table import interval, read_table, spellings
from pipeline.corpora.text_file import read_text
from pipeline.prediction.transcripts.cues import Cue, clean, ends
from pipeline.prediction.transcripts.meetings import read_lines
from pipeline.prediction.transcripts.substation import read_microdvd, read_substation
from pipeline.prediction.transcripts.subtitles import read_subtitles
from pipeline.prediction.transcripts.transcript import SOMEONE_ELSE, Transcript, TranscriptLine
from pipeline.prediction.transcripts.ttml import read_ttml
from pipeline.prediction.transcripts.turns import utterances
from pipeline.prediction.transcripts.whisper import read_whisper

TABLES = (".csv", ".tsv")
CUES: dict[str, Callable[[Path, str], tuple[list[Cue], list[str]]]] = {
    ".srt": read_subtitles,
    ".vtt": read_subtitles,
    ".txt": read_lines,
    ".ass": read_substation,
    ".ssa": read_substation,
    ".ttml": read_ttml,
    ".dfxp": read_ttml,
    ".sub": read_microdvd,
    ".json": read_whisper,
}
"""Readers of the formats that are made of cues."""
SUFFIXES = (".srt", ".vtt", *TABLES, *(suffix for suffix in CUES if suffix not in (".srt", ".vtt")))
"""File endings of transcripts, in the order of the search next to a recording."""
COLUMNS = ("speaker", "start", "end", "file", "audio", "region")
"""Optional columns of a table; `text` is required."""
REGION = re.compile(r"\d{1,5},\d{1,5},0*[1-9]\d{0,4},0*[1-9]\d{0,4}", re.ASCII)
SLOWEST = 0.05
"""Letters per second that people say at least, even with pauses; of Whisper's milliseconds it would be about 0.01."""
ALTERNATING = ("speaker 1", "speaker 2")
"""Names of people of whom it is only known that they are not the one who spoke before."""


def read_transcript(file: Path) -> Transcript:
    """Read the utterances of `file` in conversation order, each with a speaker.

    Raises:
        UserError: the file is missing, empty, no text, or has an invalid line.
    """
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES and is_file(file):
        raise UserError(f"{file}: is no transcript that is understood; give one that ends in {', '.join(SUFFIXES)}")
    if suffix in TABLES:
        lines, notes = _table(file)
    else:
        lines, notes = _spoken(file, CUES.get(suffix, read_lines))
    result = Transcript(lines, notes)
    _put_in_order(result)
    _name_speakers(result)
    result.lines = [
        line for line in result.lines if line.text or (suffix in TABLES and (line.start is not None or line.file))
    ]
    if not result.lines:
        raise UserError(f"{file}: has no utterance; a transcript needs at least one (docs/predict.md has examples)")
    return result


def _spoken(
    file: Path, reader: Callable[[Path, str], tuple[list[Cue], list[str]]]
) -> tuple[list[TranscriptLine], list[str]]:
    """Read a format that is made of cues, or IEMOCAP's transcription."""
    text, notes = read_text(file)
    if reader is read_lines:
        rows = text.split("\n")
        if any(iemocap.SPOKEN.fullmatch(row.strip()) for row in rows):
            return _iemocap(file, rows), notes
    cues, of_format = reader(file, text)
    lines, of_speakers = utterances(cues)
    return lines, [*notes, *of_format, *of_speakers]


def _table(file: Path) -> tuple[list[TranscriptLine], list[str]]:
    table = read_table(file, ("text",), COLUMNS)
    found, notes = [], table.notes
    in_milliseconds = _in_milliseconds([values for _, values in table.rows])
    if in_milliseconds:
        notes = [*notes, f"{file.name}: start and end are read as milliseconds, as Whisper writes them: as seconds "
                         "they would be far too long for the texts"]  # fmt: skip
    for number, values in table.rows:
        cells = {name: values.get(name, "") for name in COLUMNS}
        if in_milliseconds:
            cells |= {name: f"{cells[name][:-3] or 0}.{cells[name][-3:]:0>3}" for name in ("start", "end")}
        place = f"line {number}"
        try:
            start, end = interval(cells)
            if cells["region"] and not REGION.fullmatch(cells["region"]):
                raise ValueError(
                    f"region = {cells['region']!r}: must be left,top,width,height in pixels, and not empty"
                )
        except ValueError as error:
            raise UserError(f"{file}, {place}: {error}") from None
        found.append(TranscriptLine(place, clean(values["text"]), clean(cells["speaker"]), start, end, cells["file"],
                          cells["audio"], cells["region"]))  # fmt: skip
    return found, notes


def _in_milliseconds(rows: Sequence[dict[str, str]]) -> bool:
    """Whether a table has the columns of Whisper's tsv, and times that cannot be seconds."""
    if not all(set(row) == {"start", "end", "text"} and (row["start"] + row["end"]).isdecimal() for row in rows):
        return False
    try:
        spoken = sum(float(row["end"]) - float(row["start"]) for row in rows)
    except ValueError:  # one of the two is empty
        return False
    return sum(len(row["text"]) for row in rows) < SLOWEST * spoken


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
                    clean(spoken["text"]),
                    spoken["speaker"],
                    float(spoken["start"]),
                    float(spoken["end"]),
                    audio=str(sound) if (file.parent / sound).is_file() else "",
                    region=half if name else "",
                )
            )
    return found


def _put_in_order(transcript: Transcript) -> None:
    """Sort the lines by start time and fill in their ends, unless some line has no start or a media file of its own."""
    lines = transcript.lines
    if not lines or any(line.file or line.start is None for line in lines):
        return
    transcript.lines = sorted(lines, key=lambda line: line.start or 0.0)
    if transcript.lines != lines:
        transcript.notes.append("the transcript was not in order of time: its utterances were sorted by their start")
    filled = ends([line.start for line in transcript.lines], [line.end for line in transcript.lines])
    if any(end != line.end for end, line in zip(filled, transcript.lines, strict=True)):
        transcript.notes.append("where the transcript has no end, an utterance lasts until the next one begins")
    transcript.lines = [replace(line, end=end) for end, line in zip(filled, transcript.lines, strict=True)]
    latest, overlapping = 0.0, 0
    for line in transcript.lines:
        if line.text and not line.problem:
            overlapping += (line.start or 0.0) < latest - 1e-6
            latest = max(latest, line.end or math.inf)
    if overlapping:
        transcript.notes.append(f"{overlapping} utterances begin before another has ended: each is predicted from the "
                                "sound and picture of its own interval, other voices included")  # fmt: skip


def _name_speakers(transcript: Transcript) -> None:
    """Give each line without a speaker the speaker of the line before it, unless it says that someone else speaks."""
    named = [line.speaker for line in transcript.lines if line.speaker and line.speaker != SOMEONE_ELSE]
    changes = sum(line.speaker == SOMEONE_ELSE and bool(line.text) for line in transcript.lines)
    if changes:
        transcript.notes.append(f"{changes} utterances begin with a dash or >>, which says that someone else speaks, "
                                f"and not who: they are given to {' and '.join(ALTERNATING)} in turn")  # fmt: skip
    elif not named:
        transcript.notes.append("the transcript names no speakers: all utterances count as one person's. "
                                "`Name: text` names them")  # fmt: skip
    transcript.notes += [f"speakers whose names differ in case only count as one: {', '.join(written)}"
                         for written in spellings(named).values()]  # fmt: skip
    found, speaker = [], named[0] if named else ALTERNATING[0] if changes else "speaker"
    before = ""
    for line in transcript.lines:
        other = ALTERNATING[before == ALTERNATING[0]]
        before = speaker = other if line.speaker == SOMEONE_ELSE else line.speaker or speaker
        found.append(replace(line, speaker=speaker))
    transcript.lines = found
