"""Inspection of a media file: which of its streams can be decoded, and how long it lasts."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.stream import Stream

from extractors.decoding.content import state
from extractors.decoding.files import MediaError, OverBudgetError, chosen, no_file, undecodable, usable
from extractors.decoding.sound import Mixer
from extractors.decoding.timeline import (
    Extent,
    decode,
    extent,
    may_be_set_anew,
    media_errors,
    origin,
    packets_of,
    ready,
    seconds_of,
    whole,
)

SMALL = 4 * 2**20
"""Files of at most so many bytes are read to their end, which takes milliseconds."""
TAIL = 2.0
"""Seconds before the stated end from which on the packets of a larger file are read."""
ROUNDING = 0.3
"""Seconds by which the stated duration may differ from the end of the last packet: about a packet or a picture."""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """Which streams of a file can be decoded; the problem of a usable stream is empty."""

    audio_problem: str
    video_problem: str
    seconds: float
    """Duration in seconds, or 0."""
    note: str = ""
    """Note for the user on a usable file, or empty."""


def media_info(path: Path) -> MediaInfo:
    """Decode the first frame of each stream of `path`, because a header may announce streams that cannot be decoded,
    and find how long it lasts. The result is kept.

    Raises:
        OverBudgetError: that takes too long.
    """
    if lacking := no_file(path):
        return MediaInfo(lacking, lacking, 0.0)
    return _media_info(path, state(path))


@lru_cache(maxsize=64)
def _media_info(path: Path, seen: tuple[int, int, int]) -> MediaInfo:
    try:
        with whole(path) as container:
            return _inspected(path, container)
    except OverBudgetError:
        raise
    except MediaError as error:
        return MediaInfo(str(error), str(error), 0.0)


def _inspected(path: Path, container: InputContainer) -> MediaInfo:
    problems = {"audio": "", "video": ""}
    undecoded: dict[int, Stream] = {}
    for kind in problems:
        try:
            stream = ready(container, kind)
        except MediaError as error:
            problems[kind] = str(error)
        else:
            undecoded[stream.index] = stream
    stated, size = (container.duration or 0) / av.time_base, path.stat().st_size
    exact = stated > 0 and _is_indexed(container, size)
    to_the_end = not exact and (stated <= TAIL or size <= SMALL or may_be_set_anew(path, container))
    seen = Extent(container)
    for packet in packets_of(container, seen.streams):
        seen.see(packet)
        if (missing := undecoded.get(packet.stream_index)) and (frames := decode(missing, packet)):
            del undecoded[missing.index]
            problems[missing.type] = _problem(frames[0])
        if not (to_the_end or undecoded):
            break
    for stream in undecoded.values():
        frames = decode(stream, None)
        problems[stream.type] = _problem(frames[0]) if frames else undecodable(stream)
    note = _note(container)
    if exact:
        seconds = stated
    elif to_the_end or undecoded:
        seconds = _agreed(stated, seen.seconds, container)
    else:
        seconds = _agreed(stated, _end_of_tail(container, stated) or extent(path).seconds, container)
    return MediaInfo(problems["audio"], problems["video"], seconds, note)


def _problem(frame: av.AudioFrame | av.VideoFrame) -> str:
    """Reason why a decoded frame cannot be used, or an empty string."""
    try:
        with media_errors():
            if isinstance(frame, av.AudioFrame):
                Mixer(frame)
    except MediaError as error:
        return str(error)
    return ""


def _is_indexed(container: InputContainer, size: int) -> bool:
    """Whether a file of `size` bytes has an index of all its packets, as an mp4 has, and holds them all."""
    if not container.format.name.startswith("mov"):
        return False
    ends = [entries[-1].pos + entries[-1].size for stream in container.streams if (entries := stream.index_entries)]
    return bool(ends) and max(ends) <= size


def _end_of_tail(container: InputContainer, stated: float) -> float:
    """Time at which the last packet ends, from the packets after `stated` - TAIL; 0 if there is none."""
    try:
        container.seek(int((origin(container) + stated - TAIL) * av.time_base))
    except av.error.FFmpegError:
        return 0.0
    ends = 0.0
    for packet in packets_of(container, [*usable(container, "audio"), *usable(container, "video")]):
        time = seconds_of(packet)
        if time is not None and not packet.is_discard:
            ends = max(ends, time - origin(container) + float((packet.duration or 0) * packet.time_base))
    return ends


def _agreed(stated: float, ends: float, container: InputContainer) -> float:
    """Duration that the header states, if the last packets agree, else where they end.

    A header may be wrong (a guess from the bit rate, a recorder that was interrupted, a clock that does not start at
    zero) or state nothing (recordings made by a browser). Only the last picture of a film without sound may stay for
    longer than its packet says.
    """
    agrees = abs(ends - stated) <= ROUNDING or (ends < stated and not usable(container, "audio"))
    return stated if agrees else ends


def _note(container: InputContainer) -> str:
    """Note on which of several sound tracks is used."""
    tracks = usable(container, "audio")
    if len(tracks) < 2:
        return ""
    place = tracks.index(chosen(container, "audio")) + 1
    return f"has {len(tracks)} sound tracks; number {place} is used, with which players begin"
