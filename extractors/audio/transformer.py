"""Audio extractor: vectors of a pretrained transformers encoder of speech (wav2vec 2.0, HuBERT, WavLM, Whisper, …).

Worker processes decode, and import no deep-learning library; this process encodes as sounds arrive. On CUDA it takes
fixed groups of utterances, in batches by length; on a CPU each sound has a pass of its own on one core, so that its
vector depends neither on its company nor on the number of cores.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extractors import hub
from extractors.audio.sound import AFTERWARDS, SoundExtractor
from extractors.clips import content_of_clip, prepare_worker
from extractors.hub import EncoderSetting
from extractors.result import ExtractorError, Result
from extractors.settings import AudioSettings
from extractors.utterance import Utterance
from foundation.device import device, device_type
from foundation.spread import spread
from foundation.workers import TaskLost, number_of_workers

if TYPE_CHECKING:
    from extractors.audio.speech_encoder import SpeechEncoder

VERSION = 1
"""Version of this module; raise it with every change here, in speech_encoder.py, in sound.py or in decoding/ that
changes a feature value."""
SETTING = EncoderSetting("audio", "encoder", "opensmile")
GROUP = 64
"""Utterances that are encoded together on CUDA."""
AHEAD = 2
"""Groups per thread that wait to be encoded; more would only fill the memory."""


class TransformerExtractor(SoundExtractor):
    """Extractor of one vector per sound, float32 [width], or twice as wide with `mean_std`."""

    packages = (*SoundExtractor.packages, "torch", "transformers")
    not_ours = AFTERWARDS | {"encoder", "set", "options"}

    def __init__(self, settings: AudioSettings, raw: Path, fetch: bool = True) -> None:
        """Find the encoder; nothing is loaded.

        Args:
            fetch: whether it is downloaded if it is not here. Without it, the identity lacks its checksum.

        Raises:
            ExtractorError: there is no such encoder.
        """
        super().__init__(settings, raw)
        self.folder: Path | None = None
        if settings.encoder != AudioSettings().encoder:  # in a worker process, which has no encoder
            try:
                self.folder = hub.folder_of(settings.encoder, SETTING, fetch)
            except ExtractorError:
                if fetch:
                    raise

    @cached_property
    def identity(self) -> dict[str, object]:
        known = {**super().identity, "device": device_type()}
        if self.folder:
            known["encoder"] = hub.checksum(self.folder)
        if device_type() == "cuda":
            from extractors.pretrained import precision_of

            known["precision"] = precision_of(device())
        return known

    def code_version(self) -> int:
        return VERSION

    @cached_property
    def encoder(self) -> "SpeechEncoder":
        """The network; loaded only if there is something to encode."""
        from extractors.audio.speech_encoder import SpeechEncoder

        assert self.folder
        return SpeechEncoder(self.folder, self.settings, device())

    @property
    def dim(self) -> int:
        return self.encoder.dim

    def vector(self, sound: np.ndarray) -> np.ndarray:
        return self.encoder.vectors_of([sound])[0]

    def groups(self, rows: Mapping[str, Utterance]) -> list[list[str]]:
        keys, size = list(rows), GROUP if device_type() == "cuda" else 1
        return [keys[begin : begin + size] for begin in range(0, len(keys), size)]

    def extracted(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        # Groups are formed from all rows, known or not: so a resumed run has the grouping of an uninterrupted one.
        groups = [[key for key in group if key not in known] for group in self.groups(rows)]
        group_of = {key: number for number, group in enumerate(groups) for key in group}
        if not group_of:
            return
        waiting = [len(group) for group in groups]
        contents: dict[int, dict[str, Any]] = {}
        clips = [self.clip(key, rows[key]) for key in group_of]
        threads = 1 if device_type() == "cuda" else number_of_workers()
        self.encoder  # noqa: B018 (loaded now: several threads must not load it at once)
        with ThreadPoolExecutor(threads, initializer=_one_core if device_type() == "cpu" else None) as pool:
            encoding: deque[Future[dict[str, Result]]] = deque()
            for clip, content in spread(content_of_clip, clips, prepare_worker, type(self), self.how):
                number = group_of[clip.key]
                contents.setdefault(number, {})[clip.key] = content
                waiting[number] -= 1
                if not waiting[number]:
                    encoding.append(pool.submit(self._encoded, contents.pop(number), groups[number]))
                while encoding and (encoding[0].done() or len(encoding) > AHEAD * threads):
                    yield encoding.popleft().result()
            while encoding:
                yield encoding.popleft().result()

    def _encoded(self, contents: dict[str, Any], order: list[str]) -> dict[str, Result]:
        """Results of a group, in `order`; what cannot be encoded together is tried alone, and fails alone."""
        found = {key: content for key in order if not isinstance(content := contents[key], tuple)}
        sounds = {key: contents[key] for key in order if key not in found}
        try:
            found |= self._together(sounds)
        except Exception:
            for key, sound in sounds.items():
                try:
                    found |= self._together({key: sound})
                except Exception as error:
                    found[key] = TaskLost.by(error)
        return {key: Result(None, one.reason, lasting=False) if isinstance(one, TaskLost) else one
                for key, one in ((key, found[key]) for key in order)}  # fmt: skip

    def _together(self, sounds: dict[str, tuple[np.ndarray, int]]) -> dict[str, Result]:
        if not sounds:
            return {}
        vectors = self.encoder.vectors_of([sound for sound, _ in sounds.values()])
        return {key: Result(self.checked(vector), used=used)
                for (key, (_, used)), vector in zip(sounds.items(), vectors, strict=True)}  # fmt: skip


def _one_core() -> None:
    import torch

    torch.set_num_threads(1)
