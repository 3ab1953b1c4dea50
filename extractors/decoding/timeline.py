"""Decoded frames on the time line that a player shows: seconds since the recording's start.

- A file's own clock may start anywhere (MPEG-TS at 1.4 s, a cut mkv at the time of the cut). Zero is where the first
  stream starts; a stream that starts later has nothing before.
- A file is entered close to the time asked for, at a key frame at or before it. Formats without an index of times have
  to be read up to there; FFmpeg remembers what it has read, so an open file is kept for the next utterance.
- Where the clock runs backwards (files put one behind the other, a recorder that started anew), time goes on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain, takewhile
from pathlib import Path
from time import thread_time
from typing import Any

import av
import av.error
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from extractors.decoding.content import state
from extractors.decoding.files import (
    MOST_PIXELS,
    MediaError,
    chosen,
    clip_seconds,
    no_file,
    open_container,
    over_budget,
    reason,
    undecodable,
    usable,
)
from extractors.decoding.matroska import is_one_recording
from foundation.errors import UserError

PRIMING = 0.1
"""A start less than this before zero (in seconds) is the delay of a codec, which players drop: zero is the start."""
PREROLL = 0.5
"""Seconds of sound that are decoded before an interval: the first frames after a jump are not whole."""
STEPS_BACK = (0.0, 2.0, 6.0, 20.0, 60.0, 300.0)
"""How many seconds before the time asked for a file is entered, until there is a key frame at or before that time."""
BACKWARDS, FORWARDS = 1.0, 3600.0
"""Jumps of the clock, in seconds, that are no overlap and no pause: the clock was set anew, and time goes on."""
PATIENCE = 10
"""Number of errors without a packet between them after which the rest of a file is taken for unreadable."""
KEPT = 4
"""Number of containers that a process keeps open."""
UNTRIMMED = {"mpeg", "mpegts"}
"""Formats that do not say which samples at the beginning are the codec's delay."""
COMPUTED = {"aac", "ac3", "eac3", "mp3"}
"""Formats without times: FFmpeg computes them from the sampling rate at the beginning of the file."""
SET_ANEW = {"flv", "mpeg", "mpegts", "ogg"}
"""Formats whose parts can be put one behind the other, so that their clock may start anew in the middle."""
ENTERED_BY_BYTES = {"aiff", "au", "w64", "wav"}
"""Formats that FFmpeg enters at a place computed from the bytes per second; only for PCM that place is exact."""

Frame = Any
"""A decoded frame: av.AudioFrame or av.VideoFrame."""


class Clock:
    """Converts the times in a file to seconds of the time line."""

    def __init__(self, origin: float, due: float = 0.0) -> None:
        self.origin = origin
        """Time in the file that is zero; it changes where the file's clock is set anew."""
        self.due = due
        """Time at which the next frame is expected."""

    def read(self, time: float | None, lasts: float) -> float:
        """Time of a frame that the file gives `time` (None: no time) and that `lasts` some seconds."""
        if time is None:
            time = self.due
        else:
            if not -BACKWARDS <= time - self.origin - self.due <= FORWARDS:
                self.origin = time - self.due
            time -= self.origin
        self.due = max(self.due, time + lasts)
        return time


def decoded(path: Path, kind: str, start: float = 0.0) -> Iterator[tuple[float, Frame, Any]]:
    """Yield the frames of the file's audio or video (`kind`), each with its time and its stream, from one at or before
    `start` on.

    Damaged packets are passed over, and a file that breaks off gives what came before.

    Raises:
        MediaError: nothing can be decoded.
    """
    target = start - PREROLL if kind == "audio" else start
    if target > 0:
        with _lent(path, kind) as container:
            stream = ready(container, kind)
            packets = _entered(container, stream, target) if _can_be_entered(path, container) else None
            if packets:
                first, begin = next(packets), origin(container)
                clock = Clock(begin, (seconds_of(first) or begin) - begin)
                yield from _frames(chain([first], packets), stream, clock)
                return
    with whole(path) as container:
        stream = ready(container, kind)
        found = _frames(packets_of(container, [stream]), stream, Clock(origin(container)))
        first_frame = next(found, None)
        if first_frame is None:
            raise MediaError(undecodable(stream))
        yield first_frame
        yield from found


@contextmanager
def whole(path: Path) -> Iterator[InputContainer]:
    """Open `path` and close it afterwards."""
    with open_container(path) as container, media_errors():
        yield container


_kept: dict[tuple[Path, tuple[int, int, int], str], InputContainer] = {}


@contextmanager
def _lent(path: Path, kind: str) -> Iterator[InputContainer]:
    """Open `path`, or take the container that was kept for it; keep it afterwards, unless it had an error.

    Sound and pictures (`kind`) have containers of their own: where the packets of one were read, FFmpeg enters some
    formats (ASF) for the other one at the beginning.
    """
    if lacking := no_file(path):
        raise MediaError(lacking)
    key = path, state(path), kind
    container = _kept.pop(key, None) or open_container(path)
    try:
        with media_errors():
            yield container
    except MediaError:
        container.close()
        raise
    finally:
        if container.input_was_opened:
            _kept[key] = container
            for old in list(_kept)[:-KEPT]:
                _kept.pop(old).close()


@contextmanager
def media_errors() -> Iterator[None]:
    """Make a MediaError of whatever FFmpeg or PyAV raise, so that one file never stops the others."""
    try:
        yield
    except (MediaError, MemoryError, UserError):
        raise
    except Exception as error:
        raise MediaError(f"cannot be decoded ({reason(error)})") from error


def origin(container: InputContainer) -> float:
    """Time in the file, in seconds, at which its recording starts.

    MPEG streams cannot say how much of a sound's beginning is the delay of its codec: a sound that starts just before
    the pictures starts with them.
    """
    start = (container.start_time or 0) / av.time_base
    if container.format.name in UNTRIMMED and (films := usable(container, "video")):
        first = float((films[0].start_time or 0) * (films[0].time_base or 0))
        return first if 0 < first - start < PRIMING else start
    return 0.0 if -PRIMING < start < 0 else start


def ready(container: InputContainer, kind: str) -> Stream:
    stream: Any = chosen(container, kind)
    if not stream.codec_context.is_open:
        stream.codec_context.thread_count = 1  # worker processes already use all cores
        if kind == "video":
            require_size(stream.codec_context.width, stream.codec_context.height)
            stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # a packet may change the size
    return stream


def require_size(width: int, height: int) -> None:
    """Raise MediaError for a picture that is too large to be decoded."""
    if width * height > MOST_PIXELS:
        raise MediaError(f"has pictures of {width}x{height} pixels, more than the {MOST_PIXELS:,} that are decoded")


def may_be_set_anew(path: Path, container: InputContainer) -> bool:
    """Whether the clock of the file may start anew in the middle; only reading all of it tells."""
    name = container.format.name
    return name in SET_ANEW or (name.startswith("matroska") and not is_one_recording(path))


def _can_be_entered(path: Path, container: InputContainer) -> bool:
    return not may_be_set_anew(path, container) or extent(path).steady


def _is_counted(container: InputContainer, stream: Stream) -> bool:
    """Whether times behind a jump are guesses of FFmpeg, so that packets are counted from the beginning.

    FLAC in Ogg has a time at the end of a page alone.
    """
    format_, codec = container.format.name, stream.codec_context.name
    return (format_ == "ogg" and codec == "flac") or (format_ in ENTERED_BY_BYTES and not codec.startswith("pcm_"))


def _entered(container: InputContainer, stream: Stream, target: float) -> Iterator[Packet] | None:
    """Packets from the key frame at or before `target` on (for sound: from the packet at `target`), if it can be found.

    Some formats are entered at any packet, and some far too early or behind `target`, so the packets are looked at.
    """
    if not stream.time_base:
        return None
    begin = origin(container)
    counted = _is_counted(container, stream)
    for back in [target] if counted else takewhile(lambda back: back < target, STEPS_BACK):
        try:
            container.seek(int((begin + target - back) / stream.time_base), stream=stream)
        except av.error.FFmpegError:
            return None
        packets = packets_of(container, [stream])
        before: Packet | None = None
        for packet in packets:
            time = seconds_of(packet)
            if time is None:
                continue
            if time - begin > target + 1e-6:
                if before:
                    return chain([before, packet], packets)
                break
            if stream.type == "audio":
                before = packet
                if time - begin + (packet.duration or 0) * packet.time_base >= target:
                    return chain([packet], packets)
            elif packet.is_keyframe:
                return chain([packet], packets)
        else:
            if before:
                return iter([before])
    return None


def packets_of(container: InputContainer, streams: list[Stream]) -> Iterator[Packet]:
    """Packets of `streams` from here on; what cannot be read is passed over.

    Raises:
        OverBudgetError: this thread, in which the packets are decoded and the pictures searched, took too long.
    """
    errors, until = 0, thread_time() + clip_seconds()
    while streams and errors < PATIENCE:
        try:
            for packet in container.demux(*streams):
                if thread_time() > until:
                    raise over_budget()
                if packet.size:  # not the empty packets with which PyAV ends
                    errors = 0
                    yield packet
            return
        except (MediaError, MemoryError):
            raise
        except av.error.ExitError:
            raise over_budget() from None
        except Exception:  # of FFmpeg, or of PyAV, which raises an IndexError where a stream turns up in the middle
            errors += 1


def seconds_of(packet: Packet) -> float | None:
    """Time of a packet in the file, in seconds."""
    time = packet.dts if packet.pts is None else packet.pts
    return None if time is None else float(time * packet.time_base)


def decode(stream: Any, packet: Packet | None) -> list[Frame]:
    """Decode a packet of `stream`, or with None what the decoder still holds; a damaged packet has no frames."""
    if packet is None:
        packet = Packet()  # an empty one, because only a packet gives frames a unit of time
        packet.time_base = stream.time_base
    try:
        return stream.codec_context.decode(packet)
    except MemoryError:
        raise
    except Exception:  # whatever is in one packet, the others may be whole
        return []


def _frames(packets: Iterator[Packet], stream: Any, clock: Clock) -> Iterator[tuple[float, Frame, Any]]:
    first_rate = None
    for packet in chain(packets, [None]):
        for frame in decode(stream, packet):
            time, lasts = frame.time, 0.0
            if isinstance(frame, AudioFrame):
                lasts = frame.samples / frame.sample_rate
                first_rate = first_rate or frame.sample_rate
                if frame.sample_rate != first_rate and stream.container.format.name in COMPUTED:
                    time = None
            elif time is None:
                lasts = float(1 / (stream.guessed_rate or 25))
            yield clock.read(time, lasts), frame, stream


class Extent:
    """What the packets of a recording say about its time line, as far as they were seen."""

    def __init__(self, container: InputContainer) -> None:
        self.streams = [stream for kind in ("audio", "video") for stream in usable(container, kind)]
        self.origin = origin(container)
        self.clocks: dict[int, Clock] = {}
        self.seconds = 0.0
        """Time at which the last packet ends."""
        self.steady = True
        """Whether no clock was set anew; only then the file can be entered in the middle."""

    def see(self, packet: Packet) -> None:
        shown, lasts = seconds_of(packet), float((packet.duration or 0) * packet.time_base)
        # The clock reads the times of decoding, because packets are in their order, and they may begin before zero.
        coded = shown if packet.dts is None else float(packet.dts * packet.time_base)
        begins = 0.0 if coded is None else coded - self.origin
        clock = self.clocks.setdefault(packet.stream_index, Clock(self.origin, begins))
        before = clock.origin
        time = clock.read(coded, lasts if coded is None or packet.stream.type == "audio" else 0.0)
        self.steady &= clock.origin == before
        if not packet.is_discard:
            self.seconds = max(self.seconds, lasts + (time if shown is None else shown - clock.origin))


def extent(path: Path) -> Extent:
    """Read all packets of `path`, without decoding them; the result is kept.

    Raises:
        MediaError: it cannot be opened.
    """
    return _extent(path, state(path))


@lru_cache(maxsize=16)
def _extent(path: Path, seen: tuple[int, int, int]) -> Extent:
    with whole(path) as container:
        result = Extent(container)
        for packet in packets_of(container, result.streams):
            result.see(packet)
    return result
