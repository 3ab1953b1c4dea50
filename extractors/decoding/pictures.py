"""Pictures of media files as a player shows them: upright, with square pixels, without the combs of interlaced video,
and at each moment the last picture that came."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from extractors.decoding.files import MOST_PIXELS, MediaError
from extractors.decoding.inspection import media_info
from extractors.decoding.timeline import decoded, require_size

SQUARE = 0.02
"""Pixels whose width and height differ by less than this fraction count as square."""
LONGEST_PIXEL = 8
"""Largest ratio of the sides of a pixel that is believed."""
Timed = tuple[float, VideoFrame, float]
"""Time and frame, and the width of a pixel over its height: the stream may not be asked once the file is closed."""


def pictures(
    path: Path, fps: float, start: float | None = None, end: float | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Yield times and pictures, RGB uint8 [height, width, 3], of `path` between `start` and `end`, in seconds.

    Time is cut into steps of 1/`fps`. Of each step the first picture that comes in it is given. Where none comes (a
    still, a slide, a film with fewer pictures), the screen goes on showing the last one before: it is given, unless it
    was given already.

    Raises:
        MediaError: no picture can be decoded, or there is none between `start` and `end`.
    """
    begin = start or 0.0
    screen = Screen()
    step, given, ended = 0, 0, True  # the next step without a picture
    last: Timed | None = None  # what the screen shows, unless it was given
    for time, frame, stream in decoded(path, "video", begin):
        if end is not None and time >= end:
            ended = False
            break
        pixel = float(stream.sample_aspect_ratio or 1)
        if time < begin + step / fps - 1e-6:
            last = time, frame, pixel
            continue
        comes_in = int((time - begin) * fps + 1e-6)
        if last and comes_in > step:
            given += 1
            yield max(last[0], begin + step / fps), screen.show(*last[1:])
        step, last = comes_in + 1, None
        given += 1
        yield time, screen.show(frame, pixel)
    if last and (end is not None or not given):
        shown_until = np.inf if end is None else end
        if ended:
            shown_until = min(shown_until, media_info(path).seconds)
        if begin + (step + 1) / fps <= shown_until or (not given and begin < shown_until):
            given += 1
            yield max(last[0], begin + step / fps), screen.show(*last[1:])
    if not given:
        until = "its end" if end is None else f"{end:g} s"
        raise NoPictureError(f"has no picture between {begin:g} s and {until}")


def cut(picture: np.ndarray, region: str) -> np.ndarray:
    """The part `region` of `picture`, in memory of its own.

    Args:
        region: `left,top,width,height` in pixels of the picture that is shown; what lies outside of it is left out.

    Raises:
        MediaError: nothing of it lies in the picture.
    """
    left, top, width, height = (int(value) for value in region.split(","))
    part = picture[max(0, top) : max(0, top + height), max(0, left) : max(0, left + width)]
    if not part.size:
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        raise MediaError(f"has nothing in the region {region} (left,top,width,height): its pictures are {size} pixels")
    return np.ascontiguousarray(part)


def deinterlaced(picture: np.ndarray) -> np.ndarray:
    """The picture of the upper field, whose rows are every second one; a row between is the mean of its neighbours.

    FFmpeg's filters for this look at neighbouring frames too; for faces the rows of one field are enough.
    """
    below = np.concatenate([picture[2::2], picture[-2:][: len(picture[1::2]) - len(picture[2::2])]])
    result = picture.copy()
    result[1::2] = ((picture[: 2 * len(below) : 2].astype(np.uint16) + below) // 2).astype(np.uint8)
    return result


class NoPictureError(MediaError):
    """A recording has pictures, but none in the time asked for."""


class Screen:
    """Converts frames to what a player shows, RGB uint8 [height, width, 3]."""

    def __init__(self) -> None:
        self.colours = VideoReformatter()

    def show(self, frame: VideoFrame, pixel: float) -> np.ndarray:
        wide = {}
        require_size(frame.width, frame.height)
        if (
            frame.width * frame.height * pixel <= MOST_PIXELS
            and abs(pixel - 1) > SQUARE
            and 1 / LONGEST_PIXEL <= pixel <= LONGEST_PIXEL
        ):
            wide = {"width": max(1, round(frame.width * pixel)), "height": frame.height}
        # threads=1: by default it would start new threads for every picture
        picture: np.ndarray = self.colours.reformat(frame, format="rgb24", threads=1, **wide).to_ndarray()
        return upright(deinterlaced(picture) if frame.interlaced_frame else picture, frame)


def upright(picture: np.ndarray, frame: VideoFrame) -> np.ndarray:
    """Turn and mirror `picture` as the display matrix of `frame` says, to the nearest right angle."""
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # other side data, of a kind that PyAV does not know
        return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))
    if matrix is None:
        return picture
    # A pixel at (x, y) is shown at (a x + c y, b x + d y).
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(b) > abs(a):
        picture, right, down = picture.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])
