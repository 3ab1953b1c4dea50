"""The result of reading a transcript: utterances in conversation order, and notes."""

from dataclasses import dataclass, field

SOMEONE_ELSE = "\0"
"""Speaker of a line that a dash or `>>` marks as another person's, without a name."""


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
    problem: str = ""
    """Reason why the interval cannot be used, so that the utterance is predicted from its text alone; or empty."""


@dataclass(slots=True)
class Transcript:
    lines: list[TranscriptLine]
    notes: list[str] = field(default_factory=list)
    """Notes for the reader of the result."""
