"""Content of a published feature file in any layout: turns in conversation order, and vectors by modality."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import UserError
from foundation.log import log

TRAIN, VALIDATION, TEST, UNSAID = "train", "validation", "test", ""
"""Splits as the index names them; UNSAID where the file says none."""
MELD_SPLITS = {TRAIN: range(1039), VALIDATION: range(1039, 1153), TEST: range(1153, 1433)}
"""Numbers of MELD's dialogues in the field's files: Dialogue_ID, and of dev and test after those before them."""
OLD_CHARACTERS = {code: bytes([code]).decode("cp1252", "ignore") or " " for code in range(0x80, 0xA0)}
"""Control characters that are cp1252 letters read as latin1, and the letters: U+0092 is an apostrophe."""


class PublishedError(UserError):
    """A feature file is not of its layout; the message names the file and what was seen."""


@contextmanager
def understood(raw: Path) -> Iterator[None]:
    """Make a PublishedError of what code raises that expects lists, words and numbers, and finds other things.

    A pickle or json file can hold anything in any place, and asking of each part what it is would double the code.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError) as error:
        log.debug("%s", raw, exc_info=True)
        said = " ".join(str(error).split())[:150]
        raise PublishedError(f"{raw}: cannot be understood ({type(error).__name__}: {said}); it has other things than "
                             "the layouts that are read (docs/feature_files.md)") from None  # fmt: skip
    except OSError as error:
        raise PublishedError(f"{error.filename or raw}: cannot be read ({error.strerror or error})") from None


@dataclass(frozen=True, slots=True)
class PublishedTurn:
    """One utterance of a published file."""

    dialogue: str
    """Name of the conversation in the index."""
    utterance: str
    """Id of the utterance in the index; its vectors are found by it again."""
    speaker: str
    label: Any
    """Label as it is written: a code, a number, a word, or None."""
    split: str
    text: str


@dataclass(frozen=True, slots=True)
class Vectors:
    """Vectors of one modality."""

    files: Sequence[str]
    """File of each turn's vector, relative to the raw folder; empty where there is none."""
    places: Sequence[str]
    """Place of each turn's vector in its file. Ids do not say it: they may come from another file beside it."""
    take: Callable[[int, str], Any]
    """Reads the vector of a turn (its number, `last` or `last4`), as written: a list or an array [F], or [N, F] to be
    averaged over its rows."""
    layers: int = 1
    """Number of layers of an encoder of which the file has vectors."""

    def content(self, turn: int, digest: str) -> str:
        """SHA-256 for a turn's vector: of its file's `digest`, and its place there."""
        return hashlib.sha256(f"{digest}|{self.places[turn]}".encode()).hexdigest()


@dataclass(slots=True)
class Published:
    """Content of a feature file, or of a folder of them."""

    layout: str
    """Name of the layout, after the publication whose code reads it."""
    coding: str
    """Corpus or protocol whose label codes these are: `iemocap`, `meld`, `merbench_meld`, `emorynlp`, `polarity` or
    `unknown`."""
    turns: list[PublishedTurn]
    vectors: dict[str, Vectors]
    files: list[Path]
    """The files that were read, except the single vectors."""
    keys: list[tuple[Any, int]] = field(default_factory=list)
    """Key of each turn's dialogue in the file, and place of the turn in it; only for pickles."""
    folds: bool = False
    """Whether the protocol has no split but folds by session."""
    notes: list[str] = field(default_factory=list)


def clean(value: Any) -> str:
    """Text or name as in the index: repaired cp1252 letters, NFC, single blanks, no half characters."""
    if isinstance(value, bytes):  # of an array of bytes; latin1 leaves the letters of cp1252 to OLD_CHARACTERS
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            value = value.decode("latin1")
    text = str(value).translate(OLD_CHARACTERS).encode("utf-8", "replace").decode("utf-8")
    return " ".join(unicodedata.normalize("NFC", text).split())


def sentence(value: Any) -> str:
    """What is said, as in the index; empty where the file has None or NaN, which pandas writes for a missing cell."""
    missing = value is None or (isinstance(value, (float, np.floating)) and np.isnan(value))
    return "" if missing else clean(value)


def vector(value: Any, what: str) -> np.ndarray:
    """Convert a vector as written to float32 [F]; of several rows [N, F], such as frames, the mean.

    Raises:
        PublishedError: it is no vector of numbers.
    """
    try:
        array = np.asarray(value, dtype=np.float32)
    except (ValueError, TypeError):
        raise PublishedError(f"{what}: is no vector of numbers") from None
    array = array.reshape([edge for edge in array.shape if edge != 1]) if array.ndim > 1 else array
    if array.ndim == 2:
        array = array.mean(axis=0, dtype=np.float64).astype(np.float32)
    if array.ndim != 1 or not array.size:
        raise PublishedError(f"{what}: has the shape {np.shape(value)}; a vector, or rows of vectors, is expected")
    return array


def length(value: Any) -> int:
    """Number of entries of a list, a tuple or an array; 0 for everything else, such as a number or a word."""
    if isinstance(value, np.ndarray):
        return len(value) if value.ndim else 0
    return len(value) if isinstance(value, (list, tuple)) else 0


def speaker_name(value: Any, what: str) -> str:
    """Name of a speaker: a word, or the place of the one in a list such as [0, 1, 0, …].

    Raises:
        PublishedError: it is neither.
    """
    if isinstance(value, (str, int)):
        return clean(value)
    try:
        places = np.flatnonzero(np.asarray(value, dtype=float))
    except (ValueError, TypeError):
        raise PublishedError(f"{what}: its speaker is neither a word nor a list of numbers") from None
    return str(places[0]) if len(places) else "?"


def label_of(value: Any, what: str) -> Any:
    """A label as a Python number, a word, or None.

    Raises:
        PublishedError: it is something else.
    """
    label = value.item() if isinstance(value, np.generic) else value
    if label is None or isinstance(label, (str, int, float)):
        return label
    raise PublishedError(f"{what}: its label is a {type(label).__name__}; a number or a word is expected")


def coding_of(keys: Sequence[Any], train: Sequence[Any], test: Sequence[Any], labels: Sequence[Any]) -> str:
    """Corpus or protocol whose label codes a file has, told by its dialogues' names and its labels."""
    if any(isinstance(label, float) and not label.is_integer() for label in labels):
        return "polarity"
    if all(isinstance(key, str) and re.match(r"Ses0[1-5]", key) for key in keys):
        return "iemocap"
    if all(isinstance(key, str) and re.fullmatch(r"\d+_\d+_\d+", key) for key in keys):
        return "emorynlp"
    before_test = MELD_SPLITS[TEST].start
    whole = all(type(key) is int for key in keys) and bool(train) and bool(test)
    if whole and max(train) < before_test <= min(test) and max(test) < MELD_SPLITS[TEST].stop:
        return "meld"
    return "unknown"


def dialogue_name(key: Any, coding: str) -> str:
    """Name of a dialogue in the index; MELD's are those of the reader of MELD.Raw."""
    if coding == "meld":
        split = meld_split(key)
        return f"{split}_dia{key - MELD_SPLITS[split].start}"
    return clean(key)


def meld_split(key: int) -> str:
    """Split of MELD that a dialogue number belongs to."""
    return next(split for split, numbers in MELD_SPLITS.items() if key in numbers)


def utterance_names(dialogue: str, ids: Sequence[Any] | None, number: int, coding: str) -> list[str]:
    """Ids of a dialogue's utterances: those of the file where they are of use, otherwise made of their places."""
    mark = "_utt" if coding == "meld" else "_"
    if ids is not None and len(ids) == number:
        written = [clean(part) for part in ids]
        if len(set(written)) == number:
            if all(name.startswith(f"{dialogue}_") for name in written):
                return written
            if all(name.isdecimal() for name in written):
                return [f"{dialogue}{mark}{name}" for name in written]
    return [f"{dialogue}{mark}{place}" for place in range(number)]
