"""The work of `python -m pipeline.predict --live`: utterances as they come, each answered before the next one is read.

Standard input has a JSON object in each line, and standard output gets one for each:

    {"speaker": "Ann", "text": "What a day!"}
    {"speaker": "Bob", "text": "No.", "file": "talk.mp4", "start": 3.5, "end": 4.2}
    {"new": true}                                                       the next line begins another conversation

docs/predict.md has the fields. Everything else goes to standard error.
"""

import argparse
import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from foundation.errors import UserError
from foundation.log import log
from pipeline.corpora.times import seconds, shortened
from pipeline.prediction.extractors import follows
from pipeline.prediction.predictor import Following, Predictor
from pipeline.prediction.recordings import read_recording
from pipeline.prediction.results import as_entry, trained_on, warning
from pipeline.prediction.run import unforeseen
from pipeline.prediction.transcripts import Transcript, TranscriptLine
from pipeline.synthetic.demo import write_clip
from pipeline.synthetic.script import script

NAME = "live"
"""Beginning of the utterances' names."""
FIELDS = ("text", "speaker", "file", "audio", "start", "end", "region", "new")
LONGEST_LINE = 2**20
"""Bytes of a line; a longer one is refused, and passed over without being held in memory."""


class Live:
    """A session: conversations that are told line by line."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._begin()

    def _begin(self) -> None:
        self._following, self._speaker = Following(self._predictor), ""

    def answer(self, line: bytes) -> dict[str, Any]:
        """Answer one line.

        Raises:
            UserError: it is no utterance, or cannot be predicted; the conversation is as it was before.
        """
        began = time.monotonic()
        content = _object(line)
        if content == {"new": True}:
            self._begin()
            return content
        told = _told(content, self._speaker)
        recording = read_recording(NAME, None, Transcript([told]), Path.cwd())
        prediction, notes = self._following.next(recording.rows[0], told)
        self._speaker = told.speaker
        bundle = self._predictor.bundle
        entry = as_entry(prediction, bundle.labels, self._predictor.modalities)
        return {**entry, "trained_on": trained_on(bundle), "notes": [*recording.notes, *notes],
                "seconds": round(time.monotonic() - began, 3)}  # fmt: skip


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise UserError(f"is longer than {LONGEST_LINE} bytes: send each utterance in a line of its own")
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise UserError(
            f'is no JSON ({reason}): send an object such as {{"speaker": "Ann", "text": "Hello."}}'
        ) from None
    if not isinstance(content, dict):
        raise UserError(f'is no JSON object, but {shortened(repr(content))}: send one such as {{"text": "Hello."}}')
    return content


def _told(content: dict[str, Any], speaker: str) -> TranscriptLine:
    """The utterance of a line; who speaks, if it does not say so, is the `speaker` of the line before."""
    for name in content:
        if name not in FIELDS:
            raise UserError(f"{shortened(repr(name))}: there is no such field; there are {', '.join(FIELDS)}")
    if "new" in content:
        raise UserError('new: stands alone, in a line {"new": true} before the first utterance of a conversation')
    words = {name: _text(content, name) for name in ("text", "speaker", "file", "audio", "region")}
    times = {name: _time(content, name) for name in ("start", "end")}
    if not (words["text"].strip() or words["file"] or words["audio"]):
        raise UserError('text: is missing or empty, and so is file: say what was spoken ({"new": true} begins a new '
                        "conversation)")  # fmt: skip
    if times["end"] is not None and times["end"] <= (times["start"] or 0.0):
        raise UserError(f"end = {times['end']:g}: must come after start = {times['start'] or 0.0:g}")
    said = content.get("speaker") is not None
    return TranscriptLine(place="the line", text=words["text"], speaker=words["speaker"] if said else speaker,
                          start=times["start"], end=times["end"], file=words["file"], audio=words["audio"],
                          region=words["region"])  # fmt: skip


def _text(content: dict[str, Any], name: str) -> str:
    value = content.get(name)
    if value is not None and not isinstance(value, str):
        raise UserError(f"{name} = {shortened(repr(value))}: must be a text in quotation marks")
    found = value or ""
    if "\0" in found or any("\ud800" <= letter <= "\udfff" for letter in found):
        raise UserError(f"{name}: has characters that are none (NUL, or half of a pair)")
    return found


def _time(content: dict[str, Any], name: str) -> float | None:
    value = content.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return seconds(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise ValueError
        return seconds(f"{value:f}")
    except (ValueError, OverflowError):
        raise UserError(f"{name} = {shortened(repr(value))}: must be a time in seconds, such as 3.5") from None


def lines_of(stream: IO[bytes]) -> Iterator[bytes]:
    """Lines as they come, without their ends; of one that is too long, a beginning that is too long."""
    while line := stream.readline(LONGEST_LINE + 1):
        while not line.endswith(b"\n") and (rest := stream.readline(LONGEST_LINE + 1)):
            line = line[: LONGEST_LINE + 1] if not rest.endswith(b"\n") else line[: LONGEST_LINE + 1] + b"\n"
        yield line.removesuffix(b"\n")


def answered(live: Live, lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the answer to each line; of one that is bad, the reason and its number, counted from 1."""
    for number, line in enumerate(lines, 1):
        try:
            yield live.answer(line)
        except Exception as error:  # one line must not end the session
            reason = str(error) if isinstance(error, UserError) else str(unforeseen(Path(f"line {number}"), error))
            yield {"error": reason, "line": number}


def run(args: argparse.Namespace) -> None:
    for name in ("recording", "transcript", "out", "also", "recogniser"):
        if getattr(args, name):
            raise UserError(f"--live reads utterances from standard input, and writes to standard output: leave "
                            f"{'VIDEO' if name == 'recording' else '--' + name} out")  # fmt: skip
    out = sys.stdout
    try:
        with redirect_stdout(sys.stderr):  # whatever a library prints is no answer
            predictor = Predictor(args.model, args.seed, args.text_encoder, args.audio_encoder,
                                  args.visual_encoder, args.risk)  # fmt: skip
            with _quiet():
                _warm(predictor)
            _say_what_to_know(predictor)
            with _quiet():
                for answer in answered(Live(predictor), lines_of(sys.stdin.buffer)):
                    print(json.dumps(answer), file=out, flush=True)  # ASCII, whatever the locale
    except BrokenPipeError:  # nobody reads the answers any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # or Python would complain when it closes it


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what extractors say of their work, which would be said at each line; with `CMATH_LOG` set, it is."""
    before = log.level
    if not os.environ.get("CMATH_LOG"):
        log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def _warm(predictor: Predictor) -> None:
    """Load all encoders, and predict a drawn clip, so that no utterance waits for a library; nothing of it is kept."""
    predictor.load()
    before = os.environ.get("CMATH_CACHE")
    with TemporaryDirectory() as folder:
        os.environ["CMATH_CACHE"] = folder  # or the clip would be known the next time, and no library would be loaded
        try:
            clip = Path(folder) / "drawn.mp4"
            write_clip(clip, script("test")[0])
            Live(predictor).answer(json.dumps({"text": "Hello.", "file": str(clip)}).encode())
        finally:
            if before is None:
                del os.environ["CMATH_CACHE"]
            else:
                os.environ["CMATH_CACHE"] = before


def _say_what_to_know(predictor: Predictor) -> None:
    bundle = predictor.bundle
    if told := warning(bundle):
        log.warning(told)
    if predictor.risk is not None:
        log.warning(predictor.on_risk(predictor.risk))
    if not follows(bundle):
        log.warning("The model was trained on whole conversations (model.context: whole): each utterance is predicted "
                    "from the conversation so far, which takes longer the longer it is")  # fmt: skip
    if future := bundle.origins.get("text", {}).get("context", {}).get("future", 0):
        log.warning("The model's text encoder reads up to %d later turns with each utterance, and here they are not "
                    "there yet", future)  # fmt: skip
    log.info('ready: a JSON object a line, such as {"speaker": "Ann", "text": "Hello."}')
