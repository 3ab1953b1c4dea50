"""Extractor interface and result type: the contract between `pipeline.extract` and the extractor of each modality."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from extractors.cache import Cache, pack, unpack
from extractors.utterance import Part, Utterance, parts_of
from foundation.errors import UserError


class ExtractorError(UserError):
    """An extractor cannot be set up or must stop; the message names the parameter or file and the remedy."""


@dataclass(frozen=True, slots=True)
class Result:
    """Result of extracting one modality of one utterance."""

    vector: np.ndarray | None
    """Features, float32 [dim], or None where the modality is missing."""
    reason: str = ""
    """Reason why it is missing: `silent`, `no face`, or the decoder's message."""
    used: int = 0
    """Number of tokens, samples or faces from which the vector was made."""
    lasting: bool = True
    """Whether a repetition would give the same result; if not (a worker process died), it is not cached."""
    chosen_by: str = ""
    """What chose the speaker's face among several, where that was asked for."""

    def to_bytes(self) -> bytes:
        if self.vector is None:
            return b"-" + self.reason.encode()
        if self.chosen_by:
            return b"*" + self.chosen_by.encode() + b"\n" + replace(self, chosen_by="").to_bytes()
        return b"+" + self.used.to_bytes(8, "little") + pack(self.vector)

    @staticmethod
    def from_bytes(value: bytes) -> "Result":
        if value[:1] == b"-":
            return Result(None, value[1:].decode())
        if value[:1] == b"*":
            chosen_by, _, vector = value[1:].partition(b"\n")
            return replace(Result.from_bytes(vector), chosen_by=chosen_by.decode())
        return Result(unpack(value[9:]), used=int.from_bytes(value[1:9], "little"))


@dataclass(frozen=True, slots=True)
class Clip:
    """Description of an utterance's media for a worker process, with the hash that the file must have.

    `parts` has all of it; `path` and the times are those of its first part, and mostly there is no other.
    """

    key: str
    path: Path
    content: str
    start: float | None
    end: float | None
    region: str = ""
    boxes: str = ""
    """Where the speaker's face is, as the index has it; empty: it has to be found."""
    more: tuple[Part, ...] = ()
    """Parts that are joined behind the first."""

    @property
    def parts(self) -> list[Part]:
        return [Part(self.path, self.content, self.start, self.end), *self.more]


def clip_of(key: str, row: Utterance, kind: str, raw: Path, boxes: bool = False) -> Clip:
    """What is read of the sound (`audio`) or the pictures (`video`) of `row`.

    Args:
        boxes: whether the face is where the index says, if it does.
    """
    first, *more = parts_of(row, kind, raw)
    if kind == "audio":
        return Clip(key, *first, more=tuple(more))
    return Clip(key, *first, row.region, row.boxes if boxes else "", tuple(more))


class Extractor(Protocol):
    """Extractor of one modality: makes one vector from each utterance."""

    @property
    def identity(self) -> dict[str, object]:
        """All that determines the values (parameters, checksums of weights, versions); it is hashed for the cache."""
        ...

    @property
    def dim(self) -> int:
        """Width of a vector; this may have to load an encoder."""
        ...

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        """Do the work on all `rows` that must precede the first vector; it also completes `identity`.

        Costly results are stored in `cache`, which must stay open until the last result has been yielded. With `share`,
        only those keys are processed.

        Returns:
            Whether all rows are prepared; while another share is not, no vector can be computed.
        """
        ...

    def keys(self, rows: Sequence[Utterance]) -> list[str | None]:
        """Key for everything that the vector of each of `rows` depends on; None where the modality is missing.

        A text encoder may read the turns around an utterance, so `rows` must hold whole dialogues. `extract` and the
        other methods take only rows whose keys have been made.
        """
        ...

    def groups(self, rows: Mapping[str, Utterance]) -> list[list[str]]:
        """Keys grouped so that each group is computed in one batch: floating-point rounding depends on the batch."""
        ...

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        """Yield results by key of all `rows` except the `known` ones, a few at a time and in any order."""
        ...
