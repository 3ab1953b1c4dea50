"""The pictures of one film, without their times, as most tests of decoding look at them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from extractors.decoding.pictures import cut, pictures


def frames(
    path: Path, fps: float, start: float | None = None, end: float | None = None, region: str = ""
) -> Iterator[np.ndarray]:
    """Yield the pictures of `path`, or their part `region`, as `pictures` gives them."""
    for _, picture in pictures(path, fps, start, end):
        yield cut(picture, region) if region else picture
