"""Which of several faces in a clip speaks: the one whose mouth moves and opens when the sound is loud.

Two signals are read from the mouth of each face, 25 times a second: how much it changes from one picture to the next,
and how dark its darkest part is, which tells how far it is open. Each is correlated with the loudness of the film's own
sound, for a few delays between the two, and the largest correlation counts. The face with the largest sum of both is
the speaker's. Correlation of mouth and sound finds speakers without any training (Hershey and Movellan, "Audio vision:
using audio-visual synchrony to locate sounds", NIPS 1999). docs/faces.md says how often it is right, and where it
cannot be.

This module imports no deep-learning library, because worker processes load it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from extractors.media import RATE, MediaError, OverBudgetError, joined_pictures, joined_sound
from extractors.result import Clip
from extractors.visual.tracks import Box, tracks

LIPS_VERSION = 1
"""Version of this choice; raise it with every change that chooses other faces."""
FPS = 25.0
"""Pictures per second in which mouths are read: syllables come 2 to 8 times a second."""
EDGE = 64
"""Height and width in pixels to which a face is brought before its mouth is read."""
MOUTH = slice(40, 64), slice(16, 48)
"""Rows and columns of the mouth in a face of that size."""
DARKEST = 0.1
"""Fraction of the mouth's pixels that are its darkest part."""
SMOOTH = 0.12
"""Seconds over which mouth and sound are averaged."""
DELAYS = (-0.04, 0.0, 0.04, 0.08, 0.12, 0.16)
"""Seconds by which the sound may come after the mouth, which moves before there is a voice."""
SHORTEST = 1.0
"""Seconds for which a face must be followed: of two short signals any two are alike for some delay."""
QUIET = 1e-3
"""Loudness (root mean square, full scale 1) that a sound must reach to be one: -60 dB, as for audio features."""


@dataclass(slots=True)
class Lips:
    """The sampled pictures of a clip and, once their faces are found, which of these may be the speaker's."""

    clip: Clip
    fps: float
    times: list[float] = field(default_factory=list)
    """Times of the pictures that were given, in seconds of the utterance."""
    chosen_by: str = ""
    """`lips`, or why they do not tell: `one face`, `no sound`, `silent` or `too short`."""

    def pictures(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield times and pictures as `extractors.media.joined_pictures` gives them, and remember the times.

        Raises:
            MediaError: as `joined_pictures`.
        """
        for time, picture in joined_pictures(self.clip.parts, self.fps, self.clip.region):
            self.times.append(time)
            yield time, picture

    def speaking(self, boxes: list[list[Box]], places: list[int]) -> list[list[int]]:
        """Positions of those boxes of each picture that may be the speaker's: one, or all where lips do not tell.

        Args:
            boxes: the boxes of each picture that has some.
            places: which of the sampled pictures these are.

        Raises:
            MediaError: the pictures between them cannot be decoded.
        """
        everyone = [list(range(len(found))) for found in boxes]
        if max(map(len, boxes), default=0) < 2:
            self.chosen_by = "one face"
            return everyone
        try:
            sound = joined_sound(self.clip.parts)
        except OverBudgetError:
            raise
        except MediaError:
            self.chosen_by = "no sound"
            return everyone
        loudness = Loudness(sound)
        if loudness.is_silent:
            self.chosen_by = "silent"
            return everyone
        times = [self.times[place] for place in places]
        numbers = tracks(boxes, times)
        scores = {number: mouth.synchrony(loudness) for number, mouth in self._mouths(boxes, times, numbers).items()}
        if len(scores) < 2:
            self.chosen_by = "too short"
            return everyone
        self.chosen_by = "lips"
        return [
            [of_picture.index(max(scored, key=scores.__getitem__))]
            if (scored := [number for number in of_picture if number in scores])
            else alike
            for of_picture, alike in zip(numbers, everyone, strict=True)
        ]

    def _mouths(self, boxes: list[list[Box]], times: list[float], numbers: list[list[int]]) -> dict[int, "Mouth"]:
        """Mouths of the faces, by number, that share a picture with another one and are followed for long enough."""
        seen: dict[int, list[tuple[float, Box]]] = {}
        for found, time, of_picture in zip(boxes, times, numbers, strict=True):
            for box, number in zip(found, of_picture, strict=True):
                seen.setdefault(number, []).append((time, box))
        beside = sorted({number for of_picture in numbers if len(of_picture) > 1 for number in of_picture})
        mouths = {number: Mouth(*map(np.array, zip(*seen[number], strict=True))) for number in beside}
        mouths = {number: mouth for number, mouth in mouths.items() if mouth.until - mouth.since >= SHORTEST}
        if mouths:
            until = max(mouth.until for mouth in mouths.values())
            for time, picture in joined_pictures(self.clip.parts, FPS, self.clip.region):
                if time > until:
                    break
                for mouth in mouths.values():
                    mouth.see(picture, time)
        return mouths


class Loudness:
    """Loudness of a sound at any time: the root mean square around it.

    Args:
        sound: float32 [samples] at 16 kHz, that of an utterance from its begin on.
    """

    def __init__(self, sound: np.ndarray) -> None:
        self.seconds = len(sound) / RATE
        self.energy = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])

    @property
    def is_silent(self) -> bool:
        steps = np.arange(0.0, self.seconds, SMOOTH)
        return not len(steps) or bool(self.at(steps).max() < QUIET)

    def at(self, times: np.ndarray) -> np.ndarray:
        """Loudness around each of `times`, in seconds of the utterance."""
        middle = times * RATE
        edges = np.clip(np.round([middle - SMOOTH * RATE / 2, middle + SMOOTH * RATE / 2]).astype(int), 0,
                        len(self.energy) - 1)  # fmt: skip
        mean = (self.energy[edges[1]] - self.energy[edges[0]]) / np.maximum(edges[1] - edges[0], 1)
        return np.sqrt(np.maximum(mean, 0))


class Mouth:
    """The mouth of a face that is followed, and what was read of it.

    Args:
        times: when the face was found, in seconds of the utterance, ascending.
        boxes: its boxes then, [times, 4].
    """

    def __init__(self, times: np.ndarray, boxes: np.ndarray) -> None:
        self.found, self.boxes = times, boxes.astype(float)
        self.since, self.until = float(times[0]), float(times[-1])
        self.last: np.ndarray | None = None
        self.times: list[float] = []
        self.motion: list[float] = []
        self.opening: list[float] = []

    def see(self, picture: np.ndarray, time: float) -> None:
        """Read the mouth in an RGB picture, uint8 [height, width, 3], if the face is there at `time`."""
        if not self.since <= time <= self.until:
            return
        face = _face(picture, [np.interp(time, self.found, side) for side in self.boxes.T])
        now = ((face - face.mean()) / (face.std() + 1e-3))[MOUTH]  # whatever the light
        darkest = np.sort(now, axis=None)[: round(now.size * DARKEST)]
        if self.last is not None:
            self.times.append(time)
            self.motion.append(float(np.abs(now - self.last).mean()))
            self.opening.append(-float(darkest.mean()))
        self.last = now

    def synchrony(self, loudness: Loudness) -> float:
        """How far motion and opening agree with `loudness`: the sum of both correlations.

        It grows with the square root of the seconds, because chance correlations fall with it.
        """
        times = np.array(self.times)
        if len(times) < 2:
            return 0.0
        smooth = max(1, round(SMOOTH * (len(times) - 1) / (times[-1] - times[0])))
        signals = [_averaged(np.array(signal), smooth) for signal in (self.motion, self.opening)]
        heard = [loudness.at(times + delay) for delay in DELAYS]
        return float(sum(max(correlation(one, other) for other in heard) for one in signals) * len(times) ** 0.5)


def _face(picture: np.ndarray, box: list[float]) -> np.ndarray:
    """The square around `box`, left, top, width and height, as float32 [64, 64] of grey levels."""
    left, top, width, height = box
    side = max(width, height)
    finer = max(1, round(side / EDGE))  # so that pixels of a large face are averaged and not left out
    step = side / (EDGE * finer)
    first = (left + (width - side) / 2 + (step - 1) / 2, top + (height - side) / 2 + (step - 1) / 2)
    where = np.array([[step, 0, first[0]], [0, step, first[1]]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    face = cv2.warpAffine(picture, where, (EDGE * finer, EDGE * finer), flags=how, borderMode=cv2.BORDER_REPLICATE)
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (EDGE, EDGE), interpolation=cv2.INTER_AREA).astype(np.float32)


def _averaged(signal: np.ndarray, number: int) -> np.ndarray:
    """Mean of `number` values around each value of `signal`, whose ends are repeated."""
    wide = np.pad(signal, (number // 2, (number - 1) // 2), mode="edge")
    return np.convolve(wide, np.full(number, 1 / number), "valid")


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation; 0 if a signal does not change."""
    one, other = one - one.mean(), other - other.mean()
    sizes = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / sizes if sizes > 1e-9 else 0.0


def identity(how: dict) -> dict[str, object]:
    """What the identity of faces has of this choice, if `how`, settings of the search, asks for it."""
    return {"lips": LIPS_VERSION} if how.get("speaker") == "lips" else {}
