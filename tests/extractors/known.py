"""Recordings of known content: second k shows grey level 20 + 20k and sounds a tone of 300 + 100k Hz.

So a shift in time can be read off the values, without the decoder's own times.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT = 96, 64
QUICK = {"libx264": {"preset": "ultrafast", "bf": "2"}, "libvpx": {"deadline": "realtime", "cpu-used": "8"}}


def write_known(
    file: Path,
    seconds: float = 8,
    *,
    video: str = "libx264",
    audio: str = "aac",
    rate: int = 16_000,
    layout: str = "mono",
    fps: int = 10,
    key_frames: float = 4,
    times: Sequence[float] | None = None,
    starts: float = 0,
    sound_starts: float = 0,
    picture_starts: float = 0,
    gap: tuple[float, float] = (0, 0),
    container: str | None = None,
    options: dict[str, str] | None = None,
    prepare: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """Write a recording.

    Args:
        video, audio: names of encoders; empty: no such stream.
        key_frames: seconds between key frames.
        times: times of the pictures, instead of `fps` per second.
        starts: time in the file at which both streams start; `sound_starts` and `picture_starts` are added to it.
        gap: seconds from which no sound is written.
        prepare: what is done to the video stream before the first picture.
    """
    with av.open(str(file), "w", format=container, container_options=options or {}) as output:
        streams: list[Iterator[tuple[float, Any, Any]]] = []
        opened = []
        if video:
            stream: Any = output.add_stream(video, rate=fps, options=QUICK.get(video, {}))
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.gop_size = round(key_frames * fps)
            stream.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, fps)
            prepare(stream)
            opened.append(stream)
            moments = times or [number / fps for number in range(round(seconds * fps))]
            streams.append(_pictures(stream, moments, starts + picture_starts))
        if audio:
            stream = output.add_stream(audio, rate=rate)
            stream.layout = layout
            if audio == "libmp3lame":
                stream.format = "fltp"
            if audio == "wmav2":
                stream.bit_rate = 128_000
            stream.codec_context.open(strict=False)
            opened.append(stream)
            streams.append(_sound(stream, seconds, starts + sound_starts, gap))
        waiting = [next(one, None) for one in streams]
        while any(waiting):
            place = min((place for place, one in enumerate(waiting) if one), key=lambda place: waiting[place][0])
            _, stream, frame = waiting[place]
            output.mux(stream.encode(frame))
            waiting[place] = next(streams[place], None)
        for stream in opened:
            output.mux(stream.encode(None))
    return file


def _pictures(stream: Any, moments: Sequence[float], starts: float) -> Iterator[tuple[float, Any, Any]]:
    unit = stream.codec_context.time_base
    for moment in moments:
        grey = np.full((HEIGHT, WIDTH, 3), 20 + 20 * (int(moment + 1e-9) % 12), np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
        frame.pts, frame.time_base = round((moment + starts) / unit), unit
        yield moment, stream, frame


def _sound(stream: Any, seconds: float, starts: float, gap: tuple[float, float]) -> Iterator[tuple[float, Any, Any]]:
    context = stream.codec_context
    rate, samples, form = context.sample_rate, context.frame_size or 1024, context.format.name
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.4 * np.sin(2 * np.pi * (300 + 100 * np.floor(time)) * time)
    for begin in range(0, len(wave), samples):
        if gap[0] <= begin / rate < gap[1]:
            continue
        part = np.repeat(wave[None, begin : begin + samples], context.channels, axis=0)
        part = part if form.endswith("p") else part.T.reshape(1, -1)
        part = (32_767 * part).astype(np.int16) if "16" in form else part.astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format=form, layout=context.layout.name)
        frame.rate, frame.pts, frame.time_base = rate, begin + round(starts * rate), Fraction(1, rate)
        yield begin / rate, stream, frame


def tone(sound: np.ndarray) -> float:
    """Frequency of the loudest tone of `sound` at 16 kHz, in Hz, or 0 if it is silent."""
    if len(sound) < 400 or np.abs(sound).max() < 0.01:
        return 0.0
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 16))
    return float(spectrum.argmax() * 16_000 / (1 << 16))


def second_heard(sound: np.ndarray) -> int:
    """The second whose tone `sound` has, or -1 if it is silent."""
    return round((tone(sound) - 300) / 100) if tone(sound) else -1


def second_seen(picture: np.ndarray) -> int:
    """The second whose grey level `picture` has."""
    return round((float(picture.mean()) - 20) / 20)
