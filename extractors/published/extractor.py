"""Extractor of vectors that a published feature file already holds: they are taken as they are, by utterance."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from extractors.cache import Cache
from extractors.published.content import Published, vector
from extractors.published.files import digest
from extractors.published.reading import base_of, read_published
from extractors.result import ExtractorError, Result
from extractors.utterance import Utterance

VERSION = 1
"""Version of this room; raise it with every change that changes a vector, or which vector an utterance gets."""
TOGETHER = 512
"""Number of vectors that are yielded at a time."""
ANEW = "`dvc repro -f index@D` makes the index of the corpus D anew"
ZEROS, NOT_FINITE = "all zeros in the file", "values that are not finite in the file"
"""Reasons why an utterance counts as without the modality. The field writes zeros where it found no face or sound."""


class VectorExtractor:
    """Extractor of one modality from a published file or folder, float32 [dim]."""

    def __init__(self, modality: str, raw: Path, folders: Mapping[str, str], layers: str = "last") -> None:
        """Create the extractor; nothing is read before the first vector.

        Args:
            raw: the file or folder that `index.D.raw` names.
            folders: `index.D.folders`.
            layers: which layers of a text encoder are used where the file has four: `last`, or `last4`, their mean.
        """
        self.modality, self.raw, self.folders = modality, raw, dict(folders)
        self.layers = layers if modality == "text" else "last"
        self.identity: dict[str, object] = {
            "modality": modality, "source": "published vectors", "version": VERSION, "layers": self.layers,
        }  # fmt: skip

    @cached_property
    def published(self) -> Published:
        """Content of the file or folder."""
        return read_published(self.raw, self.folders)

    @cached_property
    def places(self) -> dict[str, int]:
        """Number of each turn in the file, by the utterance's id."""
        return {turn.utterance: place for place, turn in enumerate(self.published.turns)}

    @property
    def dim(self) -> int:
        return 0  # asked only where no utterance has a vector

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        return True

    def source(self, row: Utterance) -> tuple[str, str]:
        """File of the row's vector, and the hash of the file's content and the vector's place in it."""
        return {
            "text": (row.text_file, row.text_hash),
            "audio": (row.audio, row.audio_hash),
            "visual": (row.video, row.video_hash),
        }[self.modality]

    def keys(self, rows: Sequence[Utterance]) -> list[str | None]:
        return [content if file else None for file, content in map(self.source, rows)]

    def groups(self, rows: Mapping[str, Utterance]) -> list[list[str]]:
        return [[key] for key in rows]

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        """Yield the vectors; raises ExtractorError if a file is not the one that the index names."""
        digests: dict[str, str] = {}
        part: dict[str, Result] = {}
        width = 0
        for key, row in rows.items():
            if key in known:
                continue
            file, content = self.source(row)
            if file not in digests:
                digests[file] = self.digest_of(file)
            part[key] = result = self.result(row, digests[file], content)
            if result.vector is not None:
                width = width or len(result.vector)
                if len(result.vector) != width:
                    raise ExtractorError(f"{base_of(self.raw) / file}: the {self.modality} vector of "
                                         f"{row.utterance_id} has {len(result.vector)} values, and others have {width}"
                                         )  # fmt: skip
            if len(part) == TOGETHER:
                yield part
                part = {}
        if part:
            yield part

    def digest_of(self, file: str) -> str:
        path = base_of(self.raw) / file
        try:
            return digest(path)
        except OSError as error:
            why = f"cannot be read ({error.strerror}); it could when the index was made"
            raise ExtractorError(f"{path}: {why}") from None

    def result(self, row: Utterance, found: str, content: str) -> Result:
        """Vector of one utterance, or why it has none.

        Args:
            found: digest of the vector's file.
            content: hash that the index has for the vector.

        Raises:
            ExtractorError: the file is not the one that the index names.
        """
        place = self.places.get(row.utterance_id)
        vectors = self.published.vectors.get(self.modality)
        if place is None or vectors is None or vectors.content(place, found) != content:
            raise ExtractorError(
                f"{self.raw}: the {self.modality} vectors were changed since the index was made; {ANEW}"
            )
        taken = vectors.take(place, self.layers)
        if taken is None:
            return Result(None, "no file")
        values = vector(taken, f"{self.raw}, {row.utterance_id}")
        if not np.isfinite(values).all():
            return Result(None, NOT_FINITE)
        if not values.any():
            return Result(None, ZEROS)
        return Result(values, used=1)
