"""What an extractor is and what it gives: the contract between `pipeline.extract` and one module a modality."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from extractors.cache import Cache, pack, unpack
from pipeline.utterances import Utterance


class ExtractorError(Exception):
    """An extractor cannot be set up or must stop; the message names the parameter or file and the remedy."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one utterance's medium."""

    vector: np.ndarray | None
    """Features, float32 [dim], or None where the modality is missing."""
    reason: str = ""
    """Why it is missing: `silent`, `no face`, or what the decoder said."""
    used: int = 0
    """Number of pieces (tokens, samples, faces) that the vector summarises."""
    lasting: bool = True
    """Whether it would be the same another time; if not (a worker process died), the work cache does not keep it."""

    def to_bytes(self) -> bytes:
        if self.vector is None:
            return b"-" + self.reason.encode()
        return b"+" + self.used.to_bytes(8, "little") + pack(self.vector)

    @staticmethod
    def from_bytes(value: bytes) -> "Result":
        if value[:1] == b"-":
            return Result(None, value[1:].decode())
        return Result(unpack(value[9:]), used=int.from_bytes(value[1:9], "little"))


@dataclass(frozen=True, slots=True)
class Clip:
    """A piece of a media file, as a worker process needs it: small, and with the hash that its content must have."""

    key: str
    path: Path
    content: str
    start: float | None
    end: float | None
    region: str = ""


class Extractor(Protocol):
    """One modality's way from utterances to vectors."""

    identity: dict[str, object]
    """All that decides the numbers: parameters, weights' checksums, versions. Its fingerprint is the cache's."""

    @property
    def dim(self) -> int:
        """Width of a vector; to tell it an encoder may have to be loaded."""
        ...

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        """Do for all `rows` by key what must be known before the first vector; `identity` is whole afterwards.

        What is costly is kept in `cache`, which stays open until the last result has come. With a `share`, do it for
        those keys alone.

        Returns:
            Whether it is done for all: if another share is not, there can be no vector yet.
        """
        ...

    def key(self, row: Utterance) -> str | None:
        """What of `row` goes into its vector, as a name for its content; None where the modality is missing."""
        ...

    def groups(self, rows: Mapping[str, Utterance]) -> list[list[str]]:
        """All keys, in groups whose members' vectors depend, in their last bits, on each other's company."""
        ...

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        """Results by key of all `rows` but the `known`, some at a time, in whatever order they are ready."""
        ...
