"""The speaker's face where it is known already: boxes with times, as the index has them of an utterance.

This module imports no deep-learning library, because worker processes load it.
"""

from bisect import bisect
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from extractors.utterance import BETWEEN
from extractors.visual.tracks import Box

NEAR = 0.1
"""Largest number of seconds between a picture and the box that is taken for it: half the time between two sampled
pictures at `fps: 5`. Farther from every box, a picture has no speaker's face: who speaks is not seen, or turns away."""
ROUNDING = 1e-6
"""Seconds by which the time of a picture at a joint may be too small."""

Cut = TypeVar("Cut")


def boxes_of(written: str) -> tuple[list[float], list[Box]]:
    """Read the column `boxes` of the index: times in seconds, ascending, and the box of each.

    Raises:
        ValueError: it is none that `as_boxes` writes.
    """
    times, boxes = [], []
    for part in written.split(BETWEEN):
        time, _, box = part.partition(":")
        left, top, width, height = (int(value) for value in box.split(","))
        if width <= 0 or height <= 0:
            raise ValueError(f"a box of {width}x{height} pixels")
        times.append(float(time))
        boxes.append((left, top, width, height))
    if times != sorted(times):
        raise ValueError("its boxes are not in the order of their times")
    return times, boxes


def as_boxes(times: Iterable[float], boxes: Iterable[Box]) -> str:
    """Write boxes so that `boxes_of` reads the same, times to the millisecond."""
    return BETWEEN.join(f"{time:.3f}:{','.join(map(str, box))}" for time, box in zip(times, boxes, strict=True))


class KnownFaces:
    """Where the speaker's face is in an utterance, by time.

    Args:
        written: the column `boxes` of the index.
        joints: times, in seconds, at which a piece of the utterance ends and another begins.
    """

    def __init__(self, written: str, joints: Sequence[float] = ()) -> None:
        self.times, self.boxes = boxes_of(written)
        self.joints = joints

    def at(self, time: float) -> Box | None:
        """The box nearest to `time` in the same piece; None if none is near."""
        place, piece = bisect(self.times, time), self._piece(time)
        near = [
            one for one in (place - 1, place) if 0 <= one < len(self.times) and self._piece(self.times[one]) == piece
        ]
        nearest = min(near, key=lambda one: abs(self.times[one] - time), default=None)
        return None if nearest is None or abs(self.times[nearest] - time) > NEAR else self.boxes[nearest]

    def _piece(self, time: float) -> int:
        return bisect(self.joints, time + ROUNDING)


def faces_at(
    pictures: Iterable[tuple[float, np.ndarray]], known: KnownFaces, cut: Callable[[np.ndarray, Box], Cut]
) -> tuple[list[Cut], int]:
    """Cut the speaker's face from each picture that has a box near its time.

    Args:
        pictures: times on the utterance's time line, and pictures.

    Returns:
        The faces, and the number of pictures.
    """
    found, seen = [], 0
    for time, picture in pictures:
        seen += 1
        if box := known.at(time):
            found.append(cut(picture, box))
    return found, seen
