"""Sound and pictures of an utterance whose parts lie in several files: one after the other, on one time line."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np

from extractors.decoding.content import require_content
from extractors.decoding.files import MediaError
from extractors.decoding.inspection import media_info
from extractors.decoding.pictures import NoPictureError, cut, pictures
from extractors.decoding.sound import LONGEST, RATE, read_sound
from extractors.utterance import Part


def require_parts(parts: Sequence[Part]) -> None:
    """Raise ContentError unless each file has the content that the index names."""
    for part in parts:
        require_content(part.path, part.content)


def joints_of(parts: Sequence[Part]) -> list[float]:
    """Times on the joined time line, in seconds, at which a part ends and another begins."""
    return list(accumulate(_lasts(part) for part in parts[:-1]))


def _lasts(part: Part) -> float:
    return (media_info(part.path).seconds if part.end is None else part.end) - (part.start or 0.0)


def joined_sound(parts: Sequence[Part]) -> np.ndarray:
    """Read the sound of each part and join them to the sample: mono float32 [samples] at 16 kHz.

    Nothing is put between two parts, and a part whose file ends before it does is as long as its sound.

    Raises:
        MediaError: some part has no sound that can be decoded, or they are too long together.
    """
    if len(parts) == 1:
        return read_sound(parts[0].path, parts[0].start, parts[0].end)
    sounds: list[np.ndarray] = []
    for part in parts:
        sounds.append(read_sound(part.path, part.start, part.end))
        if sum(map(len, sounds)) > LONGEST * RATE:
            raise MediaError(f"is part of more than {LONGEST / 3600:g} hour of sound for one utterance")
    return np.concatenate(sounds)


def joined_pictures(parts: Sequence[Part], fps: float, region: str = "") -> Iterator[tuple[float, np.ndarray]]:
    """Yield times on the joined time line, in seconds, and pictures, RGB uint8 [height, width, 3], `fps` per second.

    The steps of 1/`fps` go on over the joints: what is left of a step when a part ends is passed over in the next one.

    Args:
        region: part of each picture, as in `cut`; empty: the whole picture.

    Raises:
        MediaError: a file cannot be decoded, or no part has a picture.
    """
    given = 0
    empty: MediaError | None = None
    for part, offset in zip(parts, [0.0, *joints_of(parts)], strict=True):
        begin = part.start or 0.0
        # To the microsecond, so that a part that ends where a step does loses no picture to rounding.
        over = -round(offset * fps, 6) % 1 / fps
        try:
            for time, picture in pictures(part.path, fps, begin + over if over else part.start, part.end):
                given += 1
                yield offset + time - begin, cut(picture, region) if region else picture
        except NoPictureError as error:
            empty = empty or error
    if not given:
        raise empty or MediaError("has no picture")
