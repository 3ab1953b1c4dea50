"""Boxes of faces, and the faces that they follow through a clip.

This module imports no deep-learning library, because worker processes load it.
"""

Box = tuple[int, int, int, int]
"""Bounding box: left, top, width, height in pixels."""
SAME = 0.5
"""Smallest overlap (intersection over union) of two boxes in different pictures to count as the same face."""
GAP = 1.0
"""Seconds after which a face that was not found again is another one."""


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def tracks(boxes: list[list[Box]], times: list[float]) -> list[list[int]]:
    """Number of the face that each box follows, in the form of `boxes`: faces are counted from 0 as they appear.

    A box continues the face with whose last box it overlaps most, if that is enough and not longer ago than GAP.

    Args:
        boxes: the boxes of each picture.
        times: the pictures' times, in seconds.
    """
    last: list[tuple[Box, float]] = []
    numbers: list[list[int]] = []
    for found, time in zip(boxes, times, strict=True):
        pairs = sorted(
            (
                (overlap(before, box), number, place)
                for number, (before, seen) in enumerate(last)
                if time - seen <= GAP
                for place, box in enumerate(found)
            ),
            key=lambda pair: (-pair[0], *pair[1:]),
        )
        of_box: dict[int, int] = {}
        for shared, number, place in pairs:
            if shared >= SAME and place not in of_box and number not in of_box.values():
                of_box[place] = number
        for place, box in enumerate(found):
            number = of_box.setdefault(place, len(last))
            last[number : number + 1] = [(box, time)]
        numbers.append([of_box[place] for place in range(len(found))])
    return numbers
