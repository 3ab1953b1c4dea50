"""Decoding of sound and pictures from media files; no other module decodes media.

A file that cannot be read raises `MediaError` with a readable reason; a truncated file gives what can be decoded.
Decoding is streamed, so memory does not grow with the length of a video.
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

from foundation.errors import UserError

RATE = 16_000
"""Sampling rate of all sound, in Hz."""


class MediaError(Exception):
    """A media file cannot be used; the message is the reason, without the file's name."""


class ContentError(UserError):
    """A file differs from the index; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """Which streams of a file can be decoded; the problem of a usable stream is empty."""

    audio_problem: str
    video_problem: str
    seconds: float
    """Duration that the container states, in seconds, or 0."""


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
    """Yield decoded frames of the first stream of `kind`, from the key frame before `start`; skip damaged packets."""
    streams = container.streams.get({kind: 0}) if getattr(container.streams, kind) else []
    if not streams:
        raise MediaError(f"has no {kind} stream")
    stream = streams[0]
    stream.codec_context.thread_count = 1  # worker processes already use all cores
    if start > 0 and stream.time_base:
        container.seek(int(start / stream.time_base), stream=stream, backward=True)
    packets = container.demux(stream)
    count = 0
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:  # the file is truncated: use what came before
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


def media_info(path: Path) -> MediaInfo:
    """Decode the first frame of each stream of `path`, because a header may announce streams that cannot be decoded."""
    problems = {"audio": "", "video": ""}
    seconds = 0.0
    for kind in problems:
        try:
            with _open(path) as container:
                seconds = (container.duration or 0) / av.time_base
                next(_frames(container, kind, start=0))
        except MediaError as error:
            problems[kind] = str(error)
    return MediaInfo(problems["audio"], problems["video"], seconds)


def read_sound(path: Path, start: float | None = None, end: float | None = None) -> np.ndarray:
    """Read the sound between `start` and `end` (seconds; None: start or end of the file).

    Returns mono float32 [samples] at 16 kHz.

    Raises:
        MediaError: there is no sound that can be decoded.
    """
    begin = start or 0.0
    pieces: list[np.ndarray] = []
    with _open(path) as container:
        # Resample to 16 bits, as `ffmpeg -ac 1` does for a wav file. For a float result FFmpeg would sum the channels
        # with full weight, and a clip with six channels would be three times as loud as the same mono sound.
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
    elif start is None and whole and time_base:  # codecs pad the last frame: cut to the container's duration
        length = round(float(whole * time_base) * RATE)
    return np.ascontiguousarray(sound[offset : offset + length], np.float32)


def frames(
    path: Path, fps: float, start: float | None = None, end: float | None = None, region: str = ""
) -> Iterator[np.ndarray]:
    """Yield pictures of `path`, `fps` per second, as RGB uint8 [height, width, 3].

    Args:
        region: part of each picture to return, `left,top,width,height` in pixels; empty: the whole picture.

    Raises:
        MediaError: no picture can be decoded, or there is none between `start` and `end`.
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
            ).to_ndarray()  # threads=1: by default it would start new threads for every picture
            if box:
                left, top, width, height = box
                picture = np.ascontiguousarray(picture[top : top + height, left : left + width])
            given = int((time - begin) * fps + 1e-6) + 1
            yield picture
    if not given:
        until = "its end" if end is None else f"{end:g} s"
        raise MediaError(f"has no picture between {begin:g} s and {until}")


def state(path: Path) -> tuple[int, int, int]:
    """State of a file that reveals a change without reading it: size, modification time, status-change time.

    The status-change time is set by the file system, so a program cannot set it back.
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
