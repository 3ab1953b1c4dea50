"""Base of extractors of sound: 16 kHz, one channel, silence found, short sounds padded.

This module imports no deep-learning library, because worker processes load it.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import numpy as np

from extractors.audio import reduction
from extractors.clips import ClipExtractor
from extractors.media import RATE, joined_sound
from extractors.result import Clip, Result, clip_of
from extractors.settings import AudioSettings
from extractors.utterance import ABOUT, Utterance

NOT_IN_KEY = ABOUT | {"text", "start", "end", "region", "video_hash", "text_hash", "boxes"}
"""Fields of an utterance that its audio features do not depend on; all other fields, new ones too, are in the key."""
AFTERWARDS = frozenset({*reduction.SETTINGS, "allow_seen"})
"""Settings that no extractor uses: the reduction is fitted on its vectors, and the other allows an encoder."""
SILENCE = 1e-3
"""Smallest loudness (root mean square of a frame, full scale 1) that some frame must reach: -60 dB, far below the noise
of any recording, and above the click that a codec may leave in digital silence."""
FRAME, HOP, BLOCK = 2048, 512, 1024
"""Samples per frame, samples between frame starts, and frames per block (half a minute)."""


class SoundExtractor(ClipExtractor):
    """Extractor of one vector per sound; silent and unreadable tracks are missing."""

    modality = "audio"
    settings_class = AudioSettings
    not_in_key = NOT_IN_KEY
    not_ours = AFTERWARDS | {"set", "layers", "pooling"}
    packages: ClassVar[tuple[str, ...]] = ("av", "librosa")
    settings: AudioSettings

    @abstractmethod
    def vector(self, sound: np.ndarray) -> np.ndarray:
        """Make the vector, float32 [dim], of `sound`, float32 [samples] at 16 kHz, full scale 1.

        It is not silent, and lasts for `min_seconds` at least: shorter sounds are padded with silence.
        """

    @property
    def dim(self) -> int:
        """Width of a vector; only asked for if no utterance has sound."""
        return len(self.vector(np.zeros(RATE, np.float32)))

    def has_medium(self, row: Utterance) -> bool:
        return bool(row.audio)

    def clip(self, key: str, row: Utterance) -> Clip:
        return clip_of(key, row, "audio", self.raw)

    def read(self, clip: Clip) -> tuple[np.ndarray, int] | Result:
        sound = joined_sound(clip.parts)
        if not len(sound) or is_silent(sound):
            return Result(None, "silent")
        return padded(sound, self.settings.min_seconds), len(sound)

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        with ThreadPoolExecutor(1) as loading:
            if self.settings.reduce != "none" and any(row.split == "train" for key, row in rows.items()
                                                      if key not in known):  # fmt: skip
                loading.submit(reduction.load_library)  # the reduction will have to be fitted again
            yield from super().extract(rows, known)


def padded(sound: np.ndarray, seconds: float) -> np.ndarray:
    """`sound`, float32 [samples], with silence at its end if it is shorter than `seconds`."""
    lacking = round(seconds * RATE) - len(sound)
    return np.pad(sound, (0, lacking)) if lacking > 0 else sound


def is_silent(sound: np.ndarray) -> bool:
    """Whether no frame of `sound`, float32 [samples], reaches SILENCE.

    Frames are processed in blocks, so that a long sound needs little memory.
    """
    # Non-overlapping frames decide nearly every case; this avoids loading librosa, which takes more than a second.
    parts = np.pad(sound, (0, -len(sound) % FRAME)).reshape(-1, FRAME)
    loudest = float(np.square(parts).mean(axis=1).max())
    if loudest >= SILENCE**2:
        return False
    if 2 * loudest < SILENCE**2:  # any other frame overlaps only two of these
        return True
    from librosa.feature import rms

    whole = np.pad(sound, FRAME // 2)
    steps = range(0, len(sound) // HOP + 1, BLOCK)
    blocks = (whole[step * HOP : (step + BLOCK - 1) * HOP + FRAME] for step in steps)
    return all(rms(y=block, frame_length=FRAME, hop_length=HOP, center=False).max() < SILENCE for block in blocks)
