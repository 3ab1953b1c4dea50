"""How often the speaker's face is chosen, on films of two faces side by side of which one is heard.

    python -m bench.speaker FOLDER

FOLDER holds clips in which one person is seen and heard, called PERSON_….mp4 (or .mpg, .flv, …): what comes before the
first underscore says who it is. Each ordered pair of persons makes films, with one clip of each, where the first is
heard:

- `both talk`: the other talks too, in another clip, and is not heard;
- `one talks`: the other is as in the quiet beginning or end of a clip, played to and fro.

The first face is as large as the other one, or 0.6 times as large, or the other one is. A seed decides who is on the
left, and which of a person's clips are taken. The films are encoded (H.264, AAC) and go the way of a corpus' clips.

Every second person is in the first half, in the order of their names. Where something is chosen by these figures,
choose on the first half and believe the second. Intervals are of a bootstrap over persons, because pairs with a person
in common are not independent.
"""

import argparse
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from time import perf_counter

import av
import cv2
import numpy as np

from extractors.media import RATE, MediaError, pictures, read_sound
from extractors.result import Clip
from extractors.settings import VisualSettings
from extractors.visual.faces import chosen_places, detector, followed, watched
from extractors.visual.lips import Loudness

FPS = 25
FACE = 110
"""Width in pixels of the larger face in a film."""
SMALLER = 0.6
LONGEST = 4.0
"""Seconds of a clip that are used."""
QUIET, PAUSE = 0.056, 0.24
"""Loudness as a share of the clip's largest (-25 dB) below which nobody talks, and for how many seconds."""
SIZES = {"equal": (1.0, 1.0), "speaker smaller": (SMALLER, 1.0), "speaker larger": (1.0, SMALLER)}
RULES = ("largest", "lips")
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Talk:
    """A clip of one person, whose face is FACE pixels wide."""

    person: str
    pictures: list[np.ndarray]
    """RGB uint8 [height, width, 3], FPS a second."""
    sound: np.ndarray
    """float32 [samples] at 16 kHz."""

    def quiet(self) -> list[np.ndarray]:
        """The longest run of pictures in which nobody talks; none if it is shorter than PAUSE."""
        loudness = Loudness(self.sound).at((np.arange(len(self.pictures)) + 0.5) / FPS)
        runs: list[list[np.ndarray]] = [[]]
        for picture, loud in zip(self.pictures, loudness, strict=True):
            if loud < QUIET * loudness.max():
                runs[-1].append(picture)
            elif runs[-1]:
                runs.append([])
        longest = max(runs, key=len)
        return longest if len(longest) >= PAUSE * FPS else []


def talks_in(folder: Path) -> list[Talk]:
    """The clips of `folder` in which a face and a sound are found."""
    detect = detector("mtcnn", 40, 240)
    found = []
    for file in sorted(folder.iterdir()):
        try:
            shown = [picture for _, picture in pictures(file, FPS, 0.0, LONGEST)]
            sound = read_sound(file, 0.0, LONGEST)
        except MediaError as error:
            print(f"{file.name}: {error}")
            continue
        boxes = detect(shown[len(shown) // 2])
        if len(boxes) != 1:
            print(f"{file.name}: {len(boxes)} faces in its middle")
            continue
        scale = FACE / boxes[0][2]
        person = file.stem.partition("_")[0]
        found.append(Talk(person, [resized(picture, scale) for picture in shown], sound[: len(shown) * RATE // FPS]))
    return found


def resized(picture: np.ndarray, scale: float) -> np.ndarray:
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how)


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two pictures side by side, the lower one filled up with grey; height and width are even."""
    height = max(len(left), len(right)) + 1 & ~1
    grey = (90, 90, 90)
    return np.hstack([
        cv2.copyMakeBorder(one, 0, height - len(one), 0, one.shape[1] % 2, cv2.BORDER_CONSTANT, value=grey)
        for one in (left, right)
    ])  # fmt: skip


def write(file: Path, shown: list[np.ndarray], sound: np.ndarray) -> None:
    with av.open(str(file), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        video.height, video.width = shown[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=RATE)
        audio.layout = "mono"
        for picture in shown:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        for begin in range(0, len(sound), 1024):
            frame = av.AudioFrame.from_ndarray(sound[None, begin : begin + 1024].copy(), format="fltp", layout="mono")
            frame.rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


@dataclass(frozen=True, slots=True)
class Film:
    """A film of two persons."""

    case: str
    heard: str
    other: str
    file: Path
    middle: int
    """Where its halves meet, in pixels from the left."""
    left: bool
    """Whether the one who is heard is on the left."""


def films(talks: list[Talk], seed: int, folder: Path) -> Iterator[Film]:
    """Yield films of all pairs; each takes the place of the one before."""
    draw = random.Random(seed)
    persons = sorted({talk.person for talk in talks})
    for heard, other in permutations(persons, 2):
        talk = draw.choice([one for one in talks if one.person == heard])
        of_other = [one for one in talks if one.person == other]
        talking, silent = draw.choice(of_other).pictures, max((one.quiet() for one in of_other), key=len)
        for words, shown in (("both talk", talking), ("one talks", to_and_fro(silent, len(talk.pictures)))):
            number = min(len(talk.pictures), len(shown))
            for size, (of_talk, of_shown) in SIZES.items() if number else ():
                left = draw.random() < 0.5
                first = [resized(one, of_talk) for one in talk.pictures[:number]]
                second = [resized(one, of_shown) for one in shown[:number]]
                sides = (first, second) if left else (second, first)
                film = [beside(*both) for both in zip(*sides, strict=True)]
                write(folder / "film.mp4", film, talk.sound[: number * RATE // FPS])
                middle = sides[0][0].shape[1] + 1 & ~1
                yield Film(f"{words}, {size}", heard, other, folder / "film.mp4", middle, left)


def to_and_fro(shown: list[np.ndarray], number: int) -> list[np.ndarray]:
    both = [*shown, *shown[::-1]]
    return (both * (number // len(both) + 1))[:number] if both else []


def is_right(film: Film, rule: str) -> bool | None:
    """Whether `rule` takes the heard face in most pictures; None if most do not show both faces."""
    how = VisualSettings().model_dump() | {"speaker": rule}
    shown, lips = watched(Clip("", film.file, "", None, None), how)
    detect = detector(how["detector"], how["min_face"], how["first_look"])
    pictures_alone = (picture for _, picture in shown)
    looked_at = enumerate(followed(pictures_alone, detect, how["detect_every"]))
    found = {place: boxes for place, (_, boxes) in looked_at if boxes}
    boxes = list(found.values())
    on_left = [[box[0] + box[2] / 2 < film.middle for box in of] for of in boxes]
    if 2 * sum(len(set(sides)) == 2 for sides in on_left) <= len(boxes):
        return None
    taken = chosen_places(boxes, list(found), lips)
    right = [sides[place] == film.left for sides, place in zip(on_left, taken, strict=True)]
    return 2 * sum(right) > len(right)


Outcome = tuple[str, str, float]
"""Who is heard, who is not, and a value: of one rule, whether the heard one was taken; or a difference of two."""


def rate(outcomes: list[Outcome], seed: int) -> tuple[float, float, float]:
    """Mean value, and its interval of 95 %."""
    persons = sorted({person for heard, other, _ in outcomes for person in (heard, other)})
    place = {person: number for number, person in enumerate(persons)}
    heard, other = np.array([(place[heard], place[other]) for heard, other, _ in outcomes]).T
    right = np.array([value for *_, value in outcomes])
    draw = np.random.default_rng(seed)
    shares = []
    for _ in range(RESAMPLES):
        times = np.bincount(draw.integers(len(persons), size=len(persons)), minlength=len(persons))
        weights = times[heard] * times[other]
        if weights.sum():
            shares.append((weights * right).sum() / weights.sum())
    low, high = np.quantile(shares, [0.025, 0.975])
    return float(right.mean()), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    talks = talks_in(args.folder)
    persons = sorted({talk.person for talk in talks})
    seconds = dict.fromkeys(RULES, 0.0)
    for number, half in enumerate((persons[::2], persons[1::2]), 1):
        outcomes: dict[str, dict[str, list[Outcome]]] = {}
        unusable = 0
        with tempfile.TemporaryDirectory() as folder:
            for film in films([talk for talk in talks if talk.person in half], args.seed, Path(folder)):
                right = {}
                for rule in RULES:
                    begin = perf_counter()
                    right[rule] = is_right(film, rule)
                    seconds[rule] += perf_counter() - begin
                largest, lips = right["largest"], right["lips"]
                if largest is None or lips is None:
                    unusable += 1
                    continue
                words = film.case.partition(",")[0]
                for case in (film.case, f"{words}, all sizes"):
                    for name, value in (("largest", largest), ("lips", lips), ("lips - largest", lips - largest)):
                        of_case = outcomes.setdefault(case, {}).setdefault(name, [])
                        of_case.append((film.heard, film.other, float(value)))
        print(f"\nhalf {number}: {len(half)} persons ({', '.join(half)}), {unusable} films without both faces")
        for case, by_name in sorted(outcomes.items()):
            for name, of_case in by_name.items():
                share, low, high = rate(of_case, args.seed)
                print(
                    f"{case:27} {name:14} {100 * share:5.1f} % ({100 * low:.1f} to {100 * high:.1f}) of {len(of_case)}"
                )
    print(f"\ntime of finding faces and choosing: lips against largest {seconds['lips'] / seconds['largest']:.2f}")


if __name__ == "__main__":
    main()
