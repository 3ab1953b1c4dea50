"""Sound of media files as speech features need it: 16 kHz, one channel, every sample at its time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.filter import Graph

from extractors.decoding.files import MediaError
from extractors.decoding.timeline import decoded

RATE = 16_000
"""Sampling rate of all sound, in Hz."""
SLOWEST = 1000
"""Lowest sampling rate that is read, in Hz. Telephones have 8000; less than this is a damaged header, and a second of
it would be unlimited memory."""
JITTER = 0.05
"""Seconds by which the times in a file may differ from the number of its samples, because many formats round times.
What differs more is a gap, which is silence, or an overlap, of which the first is used."""
SETTLED = 0.2
"""Seconds before an interval from which on sound is used. What is decoded before that lets the codec settle, and may
lack samples: a new decoder drops its delay from the first packet that it is given, even in the middle of a file."""
NAMED = 8
"""Number of channels up to which FFmpeg always knows which is left, right and so on."""
LONGEST = 3600.0
"""Seconds of sound that are read at once, for all of it is in memory: of an hour 350 MB."""
NO_NUMBERS = "silent: every sample of its sound is NaN or infinite, and no number"
PADDING = 0.15
"""Largest number of seconds that a codec adds at the end of a file to fill its last packet."""


def read_sound(path: Path, start: float | None = None, end: float | None = None) -> np.ndarray:
    """Read the sound between `start` and `end`, in seconds since the recording's start (None: its start or its end).

    Gaps are silence, and so is the time before a sound that begins later than its recording.

    Returns mono float32 [samples] at 16 kHz, shorter than the interval where the sound ends before it does.

    Raises:
        MediaError: there is no sound that can be decoded.
    """
    begin, whole = start or 0.0, start is None and end is None
    pieces: list[np.ndarray] = []
    length = 0
    stated = 0.0
    for place, piece, seconds in _placed(path, begin, end):
        if place + len(piece) > LONGEST * RATE:
            raise MediaError(f"has more than {LONGEST / 3600:g} hour of sound for one utterance: give it start and end")
        if not pieces:
            stated = max(0, place) / RATE + seconds
        if place > length:
            pieces.append(np.zeros(place - length, np.int16))
            length = place
        pieces.append(piece[length - place :])
        length = max(length, place + len(piece))
    sound = np.concatenate(pieces).astype(np.float32) if pieces else np.zeros(0, np.float32)
    sound /= 32_768
    if end is not None:
        length = round((end - begin) * RATE)
    elif whole and stated < length / RATE <= stated + PADDING:  # codecs fill their last packet
        length = round(stated * RATE)
    return np.ascontiguousarray(sound[:length], np.float32)


def _placed(path: Path, begin: float, end: float | None) -> Iterator[tuple[int, np.ndarray, float]]:
    """Yield pieces of sound, int16 at 16 kHz, each with its place in samples after `begin`, and the duration in seconds
    that the file states for its sound."""
    mixer: Mixer | None = None
    is_sound = None  # whether some sample is a number
    place, due, stated, goes_on = 0, 0.0, 0.0, False
    for time, frame, stream in decoded(path, "audio", begin):
        if goes_on := end is not None and time >= end:
            break
        if time + frame.samples / frame.sample_rate < begin - SETTLED:
            continue
        if mixer is None or abs(time - due) > JITTER or not mixer.takes(frame):
            for piece in mixer.rest() if mixer else ():
                yield place, piece, stated
                place += len(piece)
            stated = stated or float((stream.duration or 0) * (stream.time_base or 0))
            mixer, place, due = Mixer(frame), round((time - begin) * RATE), time
        due += frame.samples / frame.sample_rate
        frame, numbers = of_numbers(frame)
        is_sound = is_sound or numbers
        for piece in mixer(frame):
            yield place, piece, stated
            place += len(piece)
    for piece in mixer.rest() if mixer else ():
        yield place, piece, stated
        place += len(piece)
    if is_sound is False:
        raise MediaError(NO_NUMBERS)
    if end is not None and goes_on:  # so that a gap at the end of the interval is silence
        yield round((end - begin) * RATE), np.zeros(0, np.int16), stated


def of_numbers(frame: AudioFrame) -> tuple[AudioFrame, bool]:
    """A frame in which silence stands for what is no number, and whether it had a number at all.

    FFmpeg would make the loudest sample there is of NaN.
    """
    if frame.format.name not in ("flt", "fltp", "dbl", "dblp"):
        return frame, True
    values = frame.to_ndarray()
    finite = np.isfinite(values)
    if finite.all():
        return frame, True
    mended = AudioFrame.from_ndarray(np.where(finite, values, 0), frame.format.name, frame.layout.name)
    mended.sample_rate, mended.pts, mended.time_base = frame.sample_rate, frame.pts, frame.time_base
    return mended, bool(finite.any())


class Mixer:
    """Converts frames of one form to 16 kHz and one channel.

    Args:
        frame: the first frame, of the form that all will have.

    Raises:
        MediaError: the form cannot be converted.
    """

    def __init__(self, frame: AudioFrame) -> None:
        if frame.sample_rate < SLOWEST:
            raise MediaError(f"has a sampling rate of {frame.sample_rate} Hz: a damaged header")
        self.form = _form(frame)
        self.resampler = _resampler()
        self.average: Graph | None = None
        if frame.layout.nb_channels > NAMED:
            try:
                _resampler().resample(frame)
            except av.error.ArgumentError:  # FFmpeg does not know where these channels are
                self.average = _average(frame)

    def takes(self, frame: AudioFrame) -> bool:
        return _form(frame) == self.form

    def __call__(self, frame: AudioFrame) -> Iterator[np.ndarray]:
        """Yield what is ready of the sound up to `frame`, int16 [samples]."""
        mixed: Any = frame
        if self.average:
            self.average.push(frame)
            mixed = self.average.pull()
        return (piece.to_ndarray()[0] for piece in self.resampler.resample(mixed))

    def rest(self) -> Iterator[np.ndarray]:
        """Yield what is left after the last frame."""
        return (piece.to_ndarray()[0] for piece in self.resampler.resample(None) if piece)


def _form(frame: AudioFrame) -> tuple[int, str, str]:
    return frame.sample_rate, frame.format.name, frame.layout.name


def _resampler() -> av.AudioResampler:
    # Resample to 16 bits, as `ffmpeg -ac 1` does for a wav file. For a float result FFmpeg would sum the channels with
    # full weight, and a clip with six channels would be three times as loud as the same mono sound.
    return av.AudioResampler(format="s16", layout="mono", rate=RATE)


def _average(frame: AudioFrame) -> Graph:
    """A filter that takes the mean of all channels."""
    number = frame.layout.nb_channels
    graph = Graph()
    source = graph.add("abuffer", sample_rate=str(frame.sample_rate), sample_fmt=frame.format.name,
                       channel_layout=frame.layout.name, time_base=str(frame.time_base))  # fmt: skip
    mean = graph.add("pan", "mono|c0=" + "+".join(f"{1 / number}*c{channel}" for channel in range(number)))
    graph.link_nodes(source, mean, graph.add("abuffersink")).configure()
    return graph
