"""Reader of FER-2013: 35,887 grey faces of 48x48 pixels, as `fer2013.csv` or as folders of pictures.

fer2013.csv                       emotion,pixels,Usage; `fer2013new.csv` (FER+) beside it has ten votes per face
{train,test}/<emotion>/*.jpg      the folder form: Training and PublicTest
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from sklearn.model_selection import train_test_split

from foundation.errors import UserError
from foundation.files import is_file, is_folder, read_file

Row = TypeVar("Row")
EDGE = 48
MOST_BYTES = 2**20
"""Largest file of a picture; one of 48x48 pixels has some kilobytes."""
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER-2013's own classes in its own order."""
FERPLUS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
"""Emotion columns of FER+; the two columns after them, `unknown` and `NF` (no face), are not emotions."""
MOST_VOTES = 1000
"""Largest number of votes for an emotion that is believed; FER+ has ten a face."""
USAGES = {"Training": "train", "PublicTest": "test", "PrivateTest": "private"}


class FerError(UserError):
    """FER-2013 cannot be read; the message names the file, the line and the remedy."""


@dataclass(frozen=True, slots=True)
class LabelledFaces:
    """Pictures of faces and their labels."""

    pixels: np.ndarray
    """Grey levels, uint8 [faces, 48, 48]."""
    targets: np.ndarray
    """Probability of each class, float32 [faces, classes]: one-hot, or the distribution of FER+'s votes."""


@dataclass(frozen=True, slots=True)
class Fer2013:
    classes: tuple[str, ...]
    train: LabelledFaces
    test: LabelledFaces
    """The official PublicTest."""


def read(folder: Path, labels: str) -> Fer2013:
    """Read FER-2013 in the form that `folder` has; `labels` is `fer2013`, or `majority` or `soft` (CSV form with FER+).

    Raises:
        FerError: the form is unknown, a line is malformed, or FER+'s votes are needed and missing.
    """
    if is_file(folder / "fer2013.csv"):
        return _from_csv(folder, labels)
    if not is_folder(folder / "train") or not is_folder(folder / "test"):
        raise FerError(f"{folder}: has neither fer2013.csv nor the folders train and test; set face.data to FER-2013")
    if labels != "fer2013":
        raise FerError(f"{folder}: face.labels = {labels} needs fer2013.csv and fer2013new.csv; the folder form has "
                       "FER-2013's own labels alone: face.labels=fer2013")  # fmt: skip
    return Fer2013(EMOTIONS, *(_from_pictures(folder / part) for part in ("train", "test")))


def held_out(train: LabelledFaces, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide `train` by class: places of the faces to train on, and of the fraction `share` to choose the epoch on."""
    fitted, chosen_on = train_test_split(
        np.arange(len(train.pixels)), test_size=share, random_state=seed, stratify=train.targets.argmax(axis=1)
    )
    return fitted, chosen_on


def _from_pictures(folder: Path) -> LabelledFaces:
    pixels, classes = [], []
    for number, emotion in enumerate(EMOTIONS):
        for file in sorted((folder / emotion).glob("*.*")):
            if file.name.startswith("._"):  # left by macOS archives
                continue
            content = read_file(file, MOST_BYTES)
            try:
                picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
            except cv2.error:  # of a size that OpenCV does not believe
                picture = None
            if picture is None:
                raise FerError(f"{file}: is no picture; delete it, or unpack FER-2013 again")
            if picture.shape != (EDGE, EDGE):
                raise FerError(f"{file}: is {picture.shape[1]}x{picture.shape[0]} pixels, FER-2013 has {EDGE}x{EDGE}")
            pixels.append(picture)
            classes.append(number)
    if not pixels:
        raise FerError(f"{folder}: has no pictures in folders {', '.join(EMOTIONS)}")
    return LabelledFaces(np.stack(pixels), np.eye(len(EMOTIONS), dtype=np.float32)[classes])


def _from_csv(folder: Path, labels: str) -> Fer2013:
    file = folder / "fer2013.csv"
    votes = None if labels == "fer2013" else _votes(folder / "fer2013new.csv", labels)
    classes = EMOTIONS if votes is None else FERPLUS
    pixels: dict[str, list[np.ndarray]] = {part: [] for part in USAGES.values()}
    targets: dict[str, list[np.ndarray]] = {part: [] for part in USAGES.values()}
    one_hot = np.eye(len(EMOTIONS), dtype=np.float32)
    with file.open(newline="", encoding="utf-8", errors="replace") as stream:
        for place, row in enumerate(_rows(file, csv.DictReader(stream))):
            try:
                part = USAGES[row["Usage"].strip()]
                face = np.array(row["pixels"].split(), dtype=np.uint8).reshape(EDGE, EDGE)
                target = one_hot[int(row["emotion"])] if votes is None else votes[place]
            except (KeyError, ValueError, IndexError, AttributeError, OverflowError, TypeError) as error:
                raise FerError(f"{file}, line {place + 2}: is no row of FER-2013 ({error})") from None
            if target is not None:
                pixels[part].append(face)
                targets[part].append(target)
    for part in ("train", "test"):
        if not pixels[part]:
            usage = next(key for key, value in USAGES.items() if value == part)
            raise FerError(f"{file}: has no faces of Usage {usage}")
    return Fer2013(
        classes, *(LabelledFaces(np.stack(pixels[part]), np.stack(targets[part])) for part in ("train", "test"))
    )


def _rows(file: Path, rows: Iterator[Row]) -> Iterator[Row]:
    """Give the rows of a CSV file; raise FerError where it is none."""
    try:
        yield from rows
    except csv.Error as error:
        raise FerError(f"{file}: is not CSV ({error}); unpack FER-2013 again") from None


def _votes(file: Path, labels: str) -> list[np.ndarray | None]:
    """FER+ label of every row of fer2013.csv; None where most votes are for `unknown` or `NF`."""
    if not file.is_file():
        raise FerError(f"{file}: no such file; face.labels = {labels} needs FER+'s votes, face.labels=fer2013 does not")
    result: list[np.ndarray | None] = []
    with file.open(newline="", encoding="utf-8", errors="replace") as stream:
        rows = _rows(file, csv.reader(stream))
        next(rows, None)
        for place, row in enumerate(rows):
            try:
                counts = [int(value) for value in row[2:12]]
            except ValueError as error:
                raise FerError(f"{file}, line {place + 2}: is no row of FER+ ({error})") from None
            if not all(0 <= count <= MOST_VOTES for count in counts):
                raise FerError(f"{file}, line {place + 2}: is no row of FER+ (a face has ten votes)")
            votes = np.array(counts, dtype=np.float32)
            if len(votes) != len(FERPLUS) + 2:
                raise FerError(f"{file}, line {place + 2}: has {len(row)} columns, FER+ has {len(FERPLUS) + 4}")
            emotions = votes[: len(FERPLUS)]
            if votes.argmax() >= len(FERPLUS) or not emotions.sum():
                result.append(None)
            elif labels == "soft":
                result.append(emotions / emotions.sum())
            else:
                result.append(np.eye(len(FERPLUS), dtype=np.float32)[emotions.argmax()])
    return result
