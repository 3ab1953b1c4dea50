"""Loudness and pitch of an utterance, and their small picture on the page."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extractors.media import RATE, MediaError, read_sound
from extractors.utterance import Utterance

if TYPE_CHECKING:
    import opensmile

SET, LOUDNESS, PITCH = "eGeMAPSv02", "Loudness_sma3", "F0semitoneFrom27.5Hz_sma3nz"
"""openSMILE's set of descriptors, and its columns: perceived loudness, and the pitch in semitones above 27.5 Hz."""
LONGEST, SHORTEST = 60.0, 0.25
"""Seconds of an utterance that are drawn, from its beginning; a shorter sound is padded with silence."""
STEADY, ENOUGH = 1.25, 3
"""A pitch is believed where at least so many measurements (of 10 ms) follow each other without a larger ratio."""
POINTS, WIDTH, HEIGHT = 100, 100, 40
"""Largest number of points of a picture, and its size in its own units."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Loudness and pitch of an utterance, measured every 10 ms."""

    loudness: np.ndarray
    """Perceived loudness [frames], 0 and more."""
    pitch: np.ndarray
    """Pitch [frames], in Hz; NaN where there is none."""


def voice_of(row: Utterance) -> Voice | None:
    """Measure the sound from which the audio features of `row` are made; None if it has none."""
    if not row.audio:
        return None
    end = (row.audio_start or 0.0) + LONGEST
    try:
        sound = read_sound(Path(row.audio), row.audio_start, min(end, row.audio_end or end))
    except MediaError:
        return None
    return measured(sound) if len(sound) else None


@cache
def _smile() -> "opensmile.Smile":
    import opensmile

    return opensmile.Smile(opensmile.FeatureSet[SET], opensmile.FeatureLevel.LowLevelDescriptors)


def measured(sound: np.ndarray) -> Voice:
    """Measure `sound`, mono float32 [samples] at 16 kHz."""
    sound = np.pad(sound, (0, max(0, round(SHORTEST * RATE) - len(sound))))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a short sound some descriptors, not used here, are NaN
        found = _smile().process_signal(sound, RATE)
    semitones = found[PITCH].to_numpy(float)
    pitch = np.where(semitones > 0, 27.5 * 2 ** (semitones / 12), np.nan)
    return Voice(np.nan_to_num(found[LOUDNESS].to_numpy(float)), _steady(pitch))


def _steady(pitch: np.ndarray) -> np.ndarray:
    """Remove measurements [frames] that jump, by which a tracker shows that it is not sure."""
    kept = pitch.copy()
    begin = 0
    for place in range(1, len(pitch) + 1):
        goes_on = place < len(pitch) and 1 / STEADY < pitch[place] / pitch[place - 1] < STEADY
        if not goes_on:
            if place - begin < ENOUGH:
                kept[begin:place] = np.nan
            begin = place
    return kept


def drawn(voices: Sequence[Voice | None]) -> list[dict[str, str] | None]:
    """Pictures of the utterances of a recording, on the same scales.

    Returns for each voice the SVG paths `loudness` (an area) and `pitch` (lines), and the numbers in words (`said`).
    """
    known = [voice for voice in voices if voice]
    if not known:
        return [None] * len(voices)
    levels = np.concatenate([voice.loudness for voice in known])
    loudest, usual = (float(value) or 1.0 for value in (np.percentile(levels, 99), levels.mean()))
    pitches = np.concatenate([voice.pitch[~np.isnan(voice.pitch)] for voice in known])
    low, high = np.percentile(pitches, [1, 99]) if len(pitches) else (100.0, 200.0)  # without a tracker's few errors
    scale = float(np.log2(low)) - 0.1, float(np.log2(high)) + 0.1  # in octaves
    return [_picture(voice, loudest, usual, scale) if voice else None for voice in voices]


def _picture(voice: Voice, loudest: float, usual: float, scale: tuple[float, float]) -> dict[str, str]:
    """Paths and words of a voice; the recording's largest and mean loudness, and the range of its pitch in log2(Hz)."""
    parts = np.array_split(np.arange(len(voice.loudness)), min(POINTS, len(voice.loudness)))
    across = (np.arange(len(parts)) + 0.5) * WIDTH / len(parts)
    area, lines, begun = [f"M0 {HEIGHT}"], [], False
    for x, part in zip(across, parts, strict=True):
        area.append(f"L{x:.1f} {HEIGHT * (1 - min(voice.loudness[part].max() / loudest, 1)):.1f}")
        voiced = voice.pitch[part][~np.isnan(voice.pitch[part])]
        if len(voiced):
            y = HEIGHT * (1 - np.clip((np.log2(np.median(voiced)) - scale[0]) / (scale[1] - scale[0]), 0, 1))
            lines.append(f"L{x:.1f} {y:.1f}" if begun else f"M{x:.1f} {y:.1f}h.01")  # a single point is a dot
        begun = bool(len(voiced))
    voiced = voice.pitch[~np.isnan(voice.pitch)]
    said = f"{float(voice.loudness.mean()) / usual:.1f} times the recording's mean loudness; "
    if len(voiced):
        low, middle, high = np.percentile(voiced, [10, 50, 90])
        said += f"pitch {middle:.0f} Hz, mostly {low:.0f} to {high:.0f} Hz"
    else:
        said += "no pitch"
    return {"loudness": f"{''.join(area)}L{WIDTH} {HEIGHT}Z", "pitch": "".join(lines), "said": said}
