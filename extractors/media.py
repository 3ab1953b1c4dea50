"""Sound and pictures out of media files: the one place that decodes.

A file that cannot be read raises `MediaError` with a reason in words; a file that breaks off in the middle gives what
it has. Everything streams: memory does not grow with a picture stream's length.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

RATE = 16_000
"""Hz: sampling rate of all sound."""


class MediaError(Exception):
    """A medium cannot be used; the message is the reason, without the file's name."""


class ContentError(Exception):
    """A file is not what the index says; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a file can be used for; a problem is empty where the stream can be decoded."""

    audio_problem: str
    video_problem: str
    seconds: float
    """Duration that the container states, or 0."""


@contextmanager
def _open(path: Path) -> Iterator[InputContainer]:
    if not path.exists():
        raise MediaError("no such file")
    if path.stat().st_size == 0:
        raise MediaError("is empty (zero bytes)")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(f"cannot be opened ({_reason(error)})") from None
    with container:
        yield container


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    log = getattr(error, "log", None)
    return f"{text}: {log[2].strip()}" if log else text


def _frames(container: InputContainer, kind: str, start: float) -> Iterator:
    """Decoded frames of the first stream of `kind`, from the key frame before `start`, without damaged packets."""
    streams = container.streams.get({kind: 0}) if getattr(container.streams, kind) else []
    if not streams:
        raise MediaError(f"has no {kind} stream")
    stream = streams[0]
    stream.codec_context.thread_count = 1  # the processes are the parallelism
    if start > 0 and stream.time_base:
        container.seek(int(start / stream.time_base), stream=stream, backward=True)
    packets = container.demux(stream)
    count = 0
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:  # the file breaks off: what came before counts
            break
        if packet is None:
            break
        try:
            decoded = packet.decode()
        except av.error.FFmpegError:
            continue
        for frame in decoded:
            count += 1
            yield frame
    if not count:
        raise MediaError(f"has no {kind} that can be decoded")


def probe(path: Path) -> Probe:
    """Open `path` once and decode a first piece of each stream: what a header promises is not always there."""
    problems = {"audio": "", "video": ""}
    seconds = 0.0
    for kind in problems:
        try:
            with _open(path) as container:
                seconds = (container.duration or 0) / av.time_base
                next(_frames(container, kind, start=0))
        except MediaError as error:
            problems[kind] = str(error)
    return Probe(problems["audio"], problems["video"], seconds)


def read_sound(path: Path, start: float | None = None, end: float | None = None) -> np.ndarray:
    """Sound between `start` and `end` (seconds; None: the file's ends) as mono float32 [samples] at 16 kHz.

    Raises:
        MediaError: there is no sound that can be decoded.
    """
    begin = start or 0.0
    pieces: list[np.ndarray] = []
    with _open(path) as container:
        # To 16 bits, as `ffmpeg -ac 1` makes a wav file: where the result is float, FFmpeg adds channels up at full
        # weight, and a clip of six channels would be three times as loud as the same sound in one.
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        first: float | None = None
        for frame in _frames(container, "audio", begin):
            time = begin if frame.time is None else frame.time
            if end is not None and time >= end:
                break
            first = time if first is None else first
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
        pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
        whole = container.streams.audio[0].duration
        time_base = container.streams.audio[0].time_base
    sound = np.concatenate(pieces).astype(np.float32) / 32_768 if pieces else np.zeros(0, np.float32)
    offset = max(0, round((begin - (first or 0.0)) * RATE)) if start is not None else 0
    length = len(sound)
    if end is not None:
        length = round((end - begin) * RATE)
    elif start is None and whole and time_base:  # codecs pad their last frame: keep what the container says
        length = round(float(whole * time_base) * RATE)
    return np.ascontiguousarray(sound[offset : offset + length], np.float32)


def frames(
    path: Path, fps: float, start: float | None = None, end: float | None = None, region: str = ""
) -> Iterator[np.ndarray]:
    """Pictures of `path`, `fps` a second, as RGB uint8 [height, width, 3], one at a time.

    Args:
        region: `left,top,width,height` in pixels, the part of each picture to give; empty: all of it.

    Raises:
        MediaError: there is no picture that can be decoded, or none between `start` and `end`.
    """
    begin = start or 0.0
    box = [int(value) for value in region.split(",")] if region else None
    given = 0
    colours = VideoReformatter()
    with _open(path) as container:
        for number, frame in enumerate(_frames(container, "video", begin)):
            time = frame.time if frame.time is not None else number / 25
            if end is not None and time >= end:
                break
            if time < begin + given / fps - 1e-6:
                continue
            picture: np.ndarray = colours.reformat(
                frame, format="rgb24", threads=1
            ).to_ndarray()  # else threads anew a picture
            if box:
                left, top, width, height = box
                picture = np.ascontiguousarray(picture[top : top + height, left : left + width])
            given = int((time - begin) * fps + 1e-6) + 1
            yield picture
    if not given:
        until = "its end" if end is None else f"{end:g} s"
        raise MediaError(f"has no picture between {begin:g} s and {until}")


def state(path: Path) -> tuple[int, int, int]:
    """What tells a file that was changed without a look into it: its size and both its times of change.

    The second one is the file system's own, which no program sets back.
    """
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=4)
def _content(path: Path, seen: tuple[int, int, int]) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_content(path: Path, digest: str) -> None:
    """Raise ContentError unless the file's SHA-256 is `digest`: features must belong to the index that names them."""
    try:
        found = _content(path, state(path))
    except OSError as error:
        raise ContentError(f"{path}: cannot be read ({error.strerror}); it could when the index was made") from None
    if found != digest:
        raise ContentError(
            f"{path}: was changed since the index was made; `dvc repro -f index@D` makes the index of the corpus D "
            "anew (or list D under `watch` in params.yaml, and `dvc repro` does so by itself)"
        )
