"""Colour pictures of a clip for encoders of today: the speaker's face in each sampled frame, or the whole frames.

Pictures are JPEG from the worker process on, in the work cache too: a face of 150 pixels takes 12 kB, a fortieth of
what it takes in memory, and differs from its original by 43 dB. Chroma is not subsampled.

This module imports no deep-learning library, because worker processes load it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise

import cv2
import numpy as np

from extractors.media import MediaError, OverBudgetError, joined_pictures, require_parts
from extractors.result import Clip
from extractors.visual.faces import detector, faces_of_speaker, square, watched
from extractors.visual.tracks import Box
from foundation.workers import TaskLost

LARGEST_FACE = 224
"""Largest height and width of a face, in pixels; smaller ones are not enlarged."""
LARGEST_FRAME = 256
"""Largest shorter side of a frame, in pixels."""
QUALITY = 95
"""Quality of the JPEG pictures."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Colour pictures of a clip."""

    jpegs: list[bytes]
    """JPEG files, in the clip's order."""
    frames: int
    """Number of sampled frames."""
    problem: str = ""
    """Reason why the clip could not be read, or empty."""
    chosen_by: str = ""
    """What chose among several faces, where it was asked for: see `Lips`."""

    def to_bytes(self) -> bytes:
        """Encode as a header line, which has the pictures' lengths, and the pictures one after the other."""
        chosen_by = [self.chosen_by] if self.chosen_by else []
        header = json.dumps([self.frames, self.problem, list(map(len, self.jpegs)), *chosen_by]).encode()
        return header + b"\n" + b"".join(self.jpegs)

    @staticmethod
    def from_bytes(value: bytes) -> "Pictures":
        header, _, content = value.partition(b"\n")
        frames, problem, lengths, *chosen_by = json.loads(header)
        ends = pairwise([0, *accumulate(lengths)])
        return Pictures([content[begin:end] for begin, end in ends], frames, problem, *chosen_by)


def jpeg(picture: np.ndarray) -> bytes:
    """Encode an RGB picture, uint8 [height, width, 3]."""
    how = [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), how)[1].tobytes()


def picture_of(content: bytes) -> np.ndarray:
    """Decode a JPEG file to an RGB picture, uint8 [height, width, 3]."""
    return cv2.cvtColor(np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)


def thumbnail(content: bytes, edge: int) -> np.ndarray:
    """Decode a JPEG file to an RGB picture of a page, uint8 [edge, edge, 3]."""
    return cv2.resize(picture_of(content), (edge, edge), interpolation=cv2.INTER_AREA)


def face(picture: np.ndarray, box: Box, margin: float) -> bytes:
    """Cut the `square` around `box`, at most 224 pixels wide, as JPEG."""
    cut = square(picture, box, margin)
    if len(cut) > LARGEST_FACE:
        cut = cv2.resize(cut, (LARGEST_FACE, LARGEST_FACE), interpolation=cv2.INTER_AREA)
    return jpeg(cut)


def frame(picture: np.ndarray) -> bytes:
    """Reduce a picture so that its shorter side has at most 256 pixels, as JPEG."""
    height, width = picture.shape[:2]
    scale = LARGEST_FRAME / min(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return jpeg(picture)


_worker: dict = {}


def prepare(how: dict) -> None:
    """Prepare this process for `pictures_of_clip`; `how` has the fields of VisualSettings that affect the pictures."""
    cv2.setNumThreads(1)  # worker processes already use all cores
    _worker.clear()
    _worker.update(how)
    if how["crop"] == "face":
        _worker["detect"] = detector(how["detector"], how["min_face"], how["first_look"])


def pictures_of_clip(clip: Clip) -> Pictures | TaskLost:
    """Find the faces of a clip, or take its frames, with the settings given to `prepare`."""
    require_parts(clip.parts)
    try:
        if _worker["crop"] == "face":
            return _faces(clip)
        return _frames(joined_pictures(clip.parts, _worker["fps"], clip.region))
    except OverBudgetError as error:
        return TaskLost(str(error))
    except MediaError as error:
        return Pictures([], 0, str(error))
    except Exception as error:  # whatever is in one clip, the others go on
        return TaskLost.by(error)


def _faces(clip: Clip) -> Pictures:
    pictures, lips = watched(clip, _worker)
    cut = partial(face, margin=_worker["margin"])
    jpegs, inspected = faces_of_speaker(clip, pictures, _worker["detect"], _worker["detect_every"], cut, lips)
    return Pictures(jpegs, inspected, chosen_by=lips.chosen_by if lips else "")


def _frames(pictures: Iterator[tuple[float, np.ndarray]]) -> Pictures:
    found = [frame(picture) for _, picture in pictures]
    return Pictures(found, len(found))
