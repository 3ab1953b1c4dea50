"""An utterance, which is one row of the index and the input of the extractors."""

from collections.abc import Collection
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A row of data/D/index.csv. Paths are relative to data/D/raw; an empty path means a missing modality."""

    utterance_id: str
    dialogue_id: str
    turn: int
    """Turn index in the dialogue, from 0."""
    speaker: int
    """Number of the speaker inside the dialogue, from 0, by first appearance; in IEMOCAP by role."""
    split: str
    text: str
    label: str
    audio: str = ""
    video: str = ""
    start: float | None = None
    """Start in `video`, in seconds; None: its beginning."""
    end: float | None = None
    audio_start: float | None = None
    """Start in `audio`, in seconds; None: its beginning."""
    audio_end: float | None = None
    region: str = ""
    """Part of the picture that shows the speaker, `left,top,width,height` in pixels; empty: the whole picture."""
    audio_hash: str = ""
    """SHA-256 of the file that `audio` names."""
    video_hash: str = ""
    problem: str = ""
    """Reason why the utterance's media cannot be used, or empty."""
    speaker_name: str = ""
    """Name of the speaker as the corpus has it; in IEMOCAP F or M."""
    text_file: str = ""
    """File with a published vector of the text; empty: an encoder makes it of `text`. For such corpora `audio` and
    `video` name files of vectors too."""
    text_hash: str = ""
    """SHA-256 of the file that `text_file` names and of the vector's place in it; so are the other two hashes then."""
    episode: str = ""
    """What the dialogue is a part of: an episode of a series (MELD, EmoryNLP: s03e19), or a session of recordings
    (IEMOCAP: Ses05); empty where the corpus does not say it."""


ABOUT = frozenset({
    "utterance_id", "dialogue_id", "turn", "speaker", "speaker_name", "split", "label", "problem", "audio", "video",
    "text_file", "episode",
})  # fmt: skip
"""Fields that no features depend on: identifiers, position, label, file paths. Files are identified by their hashes."""


def key_of(row: Utterance, without: Collection[str]) -> str:
    """Key made from all fields of `row` except `without`, hashes first."""
    names = [field.name for field in fields(row) if field.name not in without]
    return "|".join(str(getattr(row, name)) for name in sorted(names, key=lambda name: not name.endswith("_hash")))
