"""Loudness and pitch of sounds that are known, and their picture."""

import re
from pathlib import Path

import numpy as np
import pytest

from extractors.media import RATE
from extractors.utterance import Utterance
from pipeline.prediction.voice import HEIGHT, Voice, drawn, measured, voice_of
from tests.conftest import write_clip

TIME = np.arange(RATE) / RATE


def buzz(hertz: float, loud: float = 0.3) -> np.ndarray:
    """A second of a tone with overtones, as a voice has them."""
    return (loud * sum(np.sin(2 * np.pi * n * hertz * TIME) / n for n in range(1, 8)) / 2).astype(np.float32)


@pytest.mark.parametrize("hertz", [110.0, 220.0])
def test_a_tone_has_its_pitch_and_noise_has_none(hertz: float) -> None:
    voiced = measured(buzz(hertz)).pitch
    assert np.nanmedian(voiced) == pytest.approx(hertz, rel=0.03)
    assert np.isnan(voiced).mean() < 0.2
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert np.isnan(measured(noise).pitch).mean() > 0.9


def test_a_louder_part_is_higher_in_the_picture_and_a_higher_pitch_too() -> None:
    quiet, loud = (measured(buzz(hertz, level)) for hertz, level in ((120, 0.02), (240, 0.6)))
    assert loud.loudness.mean() > 2 * quiet.loudness.mean()
    first, none, second = drawn([quiet, None, loud])
    assert none is None

    def heights(path: str) -> list[float]:
        return [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]

    assert first
    assert second
    # Heights are counted from the top.
    assert np.median(heights(first["loudness"])) > np.median(heights(second["loudness"])) + HEIGHT / 4
    assert np.median(heights(first["pitch"])) > np.median(heights(second["pitch"])) + HEIGHT / 2
    assert re.search(r"pitch 1[12]\d Hz, mostly", first["said"])
    assert all(0 <= y <= HEIGHT for one in (first, second) for y in heights(one["loudness"] + one["pitch"]))


def test_short_silent_and_pitchless_sounds_are_drawn(tmp_path: Path) -> None:
    for sound in (np.zeros(10, np.float32), np.zeros(RATE, np.float32), buzz(200)[:1600]):
        (picture,) = drawn([measured(sound)])
        assert picture
        assert "nan" not in picture["loudness"] + picture["pitch"] + picture["said"]
    still = Voice(np.array([1.0, 2.0]), np.array([np.nan, np.nan]))
    (picture,) = drawn([still])
    assert picture
    assert (picture["pitch"], picture["said"]) == ("", "1.0 times the recording's mean loudness; no pitch")


def test_the_sound_is_that_of_the_utterance_or_there_is_none(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", 3.0)  # its tone rises from 180 Hz by 120 Hz a second
    row = Utterance(utterance_id="u", dialogue_id="d", turn=0, speaker=0, split="test", text="", label="",
                    audio=str(film), audio_start=1.0, audio_end=1.5)  # fmt: skip
    found = voice_of(row)
    assert found
    assert np.nanmedian(found.pitch) == pytest.approx(180 + 2 * 60 * 1.25, rel=0.05)
    (tmp_path / "broken.wav").write_text("no sound")
    for audio in ("", str(tmp_path / "broken.wav")):
        assert voice_of(Utterance(utterance_id="u", dialogue_id="d", turn=0, speaker=0, split="test", text="",
                                  label="", audio=audio)) is None  # fmt: skip
