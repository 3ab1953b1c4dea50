"""Audio extractor: openSMILE functionals of the sound of an utterance (paper, section 3.2).

This module imports no deep-learning library, because worker processes load it.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extractors.audio import reduction
from extractors.cache import Cache
from extractors.media import RATE, MediaError, OverBudgetError, read_sound, require_content
from extractors.result import Clip, Result
from extractors.settings import FUNCTIONALS, AudioSettings
from extractors.utterance import ABOUT, Utterance, key_of
from foundation.spread import spread
from foundation.workers import TaskLost

if TYPE_CHECKING:
    import opensmile

VERSION = 4
"""Version of this module; raise it with every change here or in decoding/ that changes a feature value."""
NOT_IN_KEY = ABOUT | {"text", "start", "end", "region", "video_hash", "text_hash"}
"""Fields of an utterance that its audio features do not depend on; all other fields, new ones too, are in the key."""
SILENCE = 1e-3
"""Smallest loudness (root mean square of a frame, full scale 1) that some frame must reach: -60 dB, far below the noise
of any recording, and above the click that a codec may leave in digital silence."""
FRAME, HOP, BLOCK = 2048, 512, 1024
"""Samples per frame, samples between frame starts, and frames per block (half a minute)."""


class AudioExtractor:
    """Extractor of openSMILE functionals [dim] from 16 kHz mono sound; silent and unreadable tracks are missing."""

    def __init__(self, settings: AudioSettings, raw: Path) -> None:
        self.settings, self.raw = settings, raw
        self.dim = FUNCTIONALS[settings.set]
        self.how = settings.model_dump(exclude=set(reduction.SETTINGS))
        """Settings passed to the workers. They get no others, so no setting can be missing from the identity."""
        self.identity: dict[str, object] = {
            **self.how,
            "modality": "audio",
            "version": VERSION,
            "opensmile": version("opensmile"),
            "av": version("av"),
            "librosa": version("librosa"),
        }

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        return True  # each utterance is extracted independently

    def groups(self, rows: Mapping[str, Utterance]) -> list[list[str]]:
        return [[key] for key in rows]

    def keys(self, rows: Sequence[Utterance]) -> list[str | None]:
        return [key_of(row, NOT_IN_KEY) if row.audio else None for row in rows]

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        clips = [self._clip(key, row) for key, row in rows.items() if key not in known]
        with ThreadPoolExecutor(1) as loading:
            if self.settings.reduce != "none" and any(rows[clip.key].split == "train" for clip in clips):
                loading.submit(reduction.load_library)  # the reduction will have to be fitted again
            for clip, result in spread(_functionals_of_clip, clips, _prepare, self.how):
                yield {clip.key: Result(None, result.reason, lasting=False) if isinstance(result, TaskLost) else result}

    def _clip(self, key: str, row: Utterance) -> Clip:
        return Clip(key, self.raw / row.audio, row.audio_hash, row.audio_start, row.audio_end)


_worker: dict = {}
"""Settings of this worker process; openSMILE's handles cannot be shared between processes."""


def _prepare(how: dict) -> None:
    _worker.update(how)


def _functionals_of_clip(clip: Clip) -> Result | TaskLost:
    require_content(clip.path, clip.content)
    try:
        sound = read_sound(clip.path, clip.start, clip.end)
        if not len(sound) or is_silent(sound):
            return Result(None, "silent")
        return Result(functionals(sound, _worker["set"], _worker["min_seconds"]), used=len(sound))
    except OverBudgetError as error:
        return TaskLost(str(error))
    except MediaError as error:
        return Result(None, str(error))
    except Exception as error:  # whatever is in one clip, the others go on
        return TaskLost.by(error)


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

    padded = np.pad(sound, FRAME // 2)
    steps = range(0, len(sound) // HOP + 1, BLOCK)
    blocks = (padded[step * HOP : (step + BLOCK - 1) * HOP + FRAME] for step in steps)
    return all(rms(y=block, frame_length=FRAME, hop_length=HOP, center=False).max() < SILENCE for block in blocks)


@cache
def _smile(name: str) -> "opensmile.Smile":
    import opensmile  # imported in worker processes only, so that the parent process need not wait for it

    return opensmile.Smile(opensmile.FeatureSet[name], opensmile.FeatureLevel.Functionals)


def functionals(sound: np.ndarray, name: str, min_seconds: float) -> np.ndarray:
    """Compute the functionals, float32 [dim], of `sound`, float32 [samples] at 16 kHz.

    A sound shorter than `min_seconds` is padded with silence. Values that openSMILE cannot determine (for example the
    pitch of unvoiced sound) are 0.
    """
    lacking = round(min_seconds * RATE) - len(sound)
    if lacking > 0:
        sound = np.pad(sound, (0, lacking))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "segment too short": the NaN are replaced below
        values = _smile(name).process_signal(sound, RATE).to_numpy(np.float32)[0]
    return np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
