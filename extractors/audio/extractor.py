"""Audio extractor: openSMILE functionals of the sound of an utterance (paper, section 3.2).

This module imports no deep-learning library, because worker processes load it.
"""

import warnings
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from extractors.audio.sound import AFTERWARDS, SoundExtractor, padded
from extractors.media import RATE
from extractors.settings import FUNCTIONALS

if TYPE_CHECKING:
    import opensmile

VERSION = 4
"""Version of this module; raise it with every change here, in sound.py or in decoding/ that changes a feature value."""


class AudioExtractor(SoundExtractor):
    """Extractor of openSMILE functionals [dim] from 16 kHz mono sound; silent and unreadable tracks are missing."""

    packages = ("opensmile", *SoundExtractor.packages)
    not_ours = AFTERWARDS | {"encoder", "layers", "pooling", "options"}

    def code_version(self) -> int:
        return VERSION

    @property
    def dim(self) -> int:
        return FUNCTIONALS[self.settings.set]

    def vector(self, sound: np.ndarray) -> np.ndarray:
        return functionals(sound, self.settings.set, self.settings.min_seconds)


@cache
def _smile(name: str) -> "opensmile.Smile":
    import opensmile  # imported in worker processes only, so that the parent process need not wait for it

    return opensmile.Smile(opensmile.FeatureSet[name], opensmile.FeatureLevel.Functionals)


def functionals(sound: np.ndarray, name: str, min_seconds: float) -> np.ndarray:
    """Compute the functionals, float32 [dim], of `sound`, float32 [samples] at 16 kHz.

    A sound shorter than `min_seconds` is padded with silence. Values that openSMILE cannot determine (for example the
    pitch of unvoiced sound) are 0.
    """
    sound = padded(sound, min_seconds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "segment too short": the NaN are replaced below
        values = _smile(name).process_signal(sound, RATE).to_numpy(np.float32)[0]
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
