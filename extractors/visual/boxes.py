"""The speaker's face where it is known already: boxes with times, as the index has them of an utterance.

This module imports no deep-learning library, because worker processes load it.
"""

from bisect import bisect
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from extractors.utterance import BETWEEN

NEAR = 0.1
"""Largest number of seconds between a picture and the box that is taken for it: half the time between two sampled
pictures at `fps: 5`. Farther from every box, a picture has no speaker's face: who speaks is not seen, or turns away."""

Box = tuple[int, int, int, int]
"""Bounding box: left, top, width, height in pixels."""
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


def box_at(time: float, known: tuple[list[float], list[Box]]) -> Box | None:
    """The box nearest to `time`, in seconds; None if none is near."""
    times, boxes = known
    place = bisect(times, time)
    nearest = min(range(max(0, place - 1), min(len(times), place + 1)), key=lambda one: abs(times[one] - time))
    return boxes[nearest] if abs(times[nearest] - time) <= NEAR else None


def faces_at(
    pictures: Iterable[tuple[float, np.ndarray]], written: str, cut: Callable[[np.ndarray, Box], Cut]
) -> tuple[list[Cut], int]:
    """Cut the speaker's face from each picture that has a box near its time.

    Args:
        pictures: times on the utterance's time line, and pictures.
        written: the column `boxes`.

    Returns:
        The faces, and the number of pictures.
    """
    known, found, seen = boxes_of(written), [], 0
    for time, picture in pictures:
        seen += 1
        if box := box_at(time, known):
            found.append(cut(picture, box))
    return found, seen
