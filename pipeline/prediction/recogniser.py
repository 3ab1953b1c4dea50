"""Automatic transcript of a recording by a Whisper model that transformers can load.

The recording is processed in parts of ten minutes, so that memory does not grow with its length. Whisper does not tell
speakers apart.
"""

from pathlib import Path
from typing import Any

from extractors.media import RATE, MediaError, media_info, read_sound
from foundation.device import device
from foundation.errors import UserError
from foundation.log import log
from pipeline.prediction.transcripts import Transcript, TranscriptLine

HEARD = 600.0
"""Length of a part in seconds."""
WINDOW = 30.0
"""Length of Whisper's input window in seconds."""


def recognised(media: Path, name: str) -> Transcript:
    """Transcribe `media`, one utterance per phrase, with the model `name` (a folder, or a name on the hub).

    Raises:
        UserError: the model cannot be loaded, or there is no speech.
    """
    from transformers import pipeline

    try:
        recogniser = pipeline("automatic-speech-recognition", model=name, device=device(), trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"--recogniser {name}: is no speech recogniser that transformers can load ({reason}). Give a "
                        "folder with a Whisper model (on a machine with a network: `hf download openai/whisper-small "
                        "--local-dir FOLDER`), or --transcript FILE") from None  # fmt: skip
    found = media_info(media)
    if found.audio_problem:
        raise UserError(f"{media}: there is nothing to recognise: it {found.audio_problem}; give --transcript FILE")
    lines: list[TranscriptLine] = []
    begin = 0.0
    while begin < found.seconds:
        end = min(begin + HEARD, found.seconds)
        log.info("recognising %s: %.0f to %.0f of %.0f s", media.name, begin, end, found.seconds)
        try:
            sound = read_sound(media, begin, end)
        except MediaError as error:
            raise UserError(f"{media}: {error}") from None
        heard: Any = recogniser({"raw": sound, "sampling_rate": RATE}, chunk_length_s=WINDOW, return_timestamps=True)
        for phrase in heard["chunks"]:
            first, last = phrase["timestamp"]
            first, last = begin + (first or 0.0), end if last is None else begin + last
            if phrase["text"].strip() and last > first:
                lines.append(TranscriptLine(f"phrase {len(lines) + 1}", phrase["text"].strip(), "speaker", first, last))
        begin = end
    if not lines:
        raise UserError(f"{media}: the recogniser heard no speech; give --transcript FILE")
    note = "the words are a speech recogniser's, with its mistakes; it does not tell speakers apart"
    return Transcript(lines, [note])
