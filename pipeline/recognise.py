"""A transcript of a recording that has none, by a Whisper model that transformers can load.

The recording is heard ten minutes at a time, so that memory does not grow with its length. Who speaks, Whisper does
not say.
"""

from pathlib import Path
from typing import Any

from extractors.device import device
from extractors.media import RATE, MediaError, probe, read_sound
from pipeline.stage import StageError, log
from pipeline.transcripts import Line, Transcript

HEARD = 600.0
"""Seconds heard at a time."""
WINDOW = 30.0
"""Seconds of Whisper's own window."""


def recognised(media: Path, name: str) -> Transcript:
    """What is said in `media`, a phrase an utterance, by the model in the folder `name` or of that name on the hub.

    Raises:
        StageError: the model cannot be loaded, or there is nothing to hear.
    """
    from transformers import pipeline

    try:
        recogniser = pipeline("automatic-speech-recognition", model=name, device=device())
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise StageError(f"--recogniser {name}: is no speech recogniser that transformers can load ({reason}). Give a "
                         "folder with a Whisper model (on a machine with a network: `hf download openai/whisper-small "
                         "--local-dir FOLDER`), or --transcript FILE") from None  # fmt: skip
    found = probe(media)
    if found.audio_problem:
        raise StageError(f"{media}: there is nothing to recognise: it {found.audio_problem}; give --transcript FILE")
    lines: list[Line] = []
    begin = 0.0
    while begin < found.seconds:
        end = min(begin + HEARD, found.seconds)
        log.info("recognising %s: %.0f to %.0f of %.0f s", media.name, begin, end, found.seconds)
        try:
            sound = read_sound(media, begin, end)
        except MediaError as error:
            raise StageError(f"{media}: {error}") from None
        heard: Any = recogniser({"raw": sound, "sampling_rate": RATE}, chunk_length_s=WINDOW, return_timestamps=True)
        for phrase in heard["chunks"]:
            first, last = phrase["timestamp"]
            first, last = begin + (first or 0.0), end if last is None else begin + last
            if phrase["text"].strip() and last > first:
                lines.append(Line(f"phrase {len(lines) + 1}", phrase["text"].strip(), "speaker", first, last))
        begin = end
    if not lines:
        raise StageError(f"{media}: the recogniser heard no speech; give --transcript FILE")
    note = "the words are a speech recogniser's, with its mistakes; it does not tell speakers apart"
    return Transcript(lines, [note])
