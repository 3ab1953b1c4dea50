"""Base of extractors that make each vector of one clip: decoding in worker processes, silence, errors, identity.

What is the extractor's own is `vector`. `extractors/audio/sound.py` and `extractors/visual/pictures.py` say what a clip
is read as; docs/encoders.md has a complete example. This module imports no deep-learning library, because worker
processes load it.
"""

import hashlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from extractors.cache import Cache
from extractors.media import MediaError, OverBudgetError, require_parts
from extractors.result import Clip, ExtractorError, Result
from extractors.settings import AudioSettings, VisualSettings, dumped
from extractors.utterance import Utterance, key_of
from foundation.identity import code_digest
from foundation.settings import Settings
from foundation.spread import spread
from foundation.workers import TaskLost


class NoOptions(Settings):
    """Options of an extractor that has none."""


class ClipExtractor(ABC):
    """Extractor of one vector per clip; a clip that cannot be read, or has nothing in it, is missing."""

    modality: ClassVar[str]
    settings_class: ClassVar[type[AudioSettings] | type[VisualSettings]]
    Options: ClassVar[type[Settings]] = NoOptions
    """Settings class for `options` of params.yaml."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages whose versions may change a value, by their names on PyPI."""
    not_ours: ClassVar[frozenset[str]]
    """Settings that this extractor does not use, or that the identity has in another form."""
    not_in_key: ClassVar[frozenset[str]]
    """Fields of an utterance that the vector does not depend on; all other fields, new ones too, are in the key."""

    def __init__(self, settings: Any, raw: Path) -> None:
        self.settings, self.raw = settings, raw
        self.how = dumped(settings, self.not_ours)
        """Settings passed to the workers. They get no others, so no setting can be missing from the identity."""
        self.options: Any = self.Options.model_validate(self.how.get("options", {}))

    @abstractmethod
    def vector(self, content: Any) -> np.ndarray:
        """Make the vector, float32 [dim], of what `read` gives of a clip."""

    @abstractmethod
    def read(self, clip: Clip) -> tuple[Any, int] | Result | TaskLost:
        """Decode the clip: what `vector` takes, and the number of samples or pictures; or why it is missing.

        Raises:
            MediaError: it cannot be decoded.
        """

    @abstractmethod
    def clip(self, key: str, row: Utterance) -> Clip:
        """What is read of an utterance."""

    @abstractmethod
    def has_medium(self, row: Utterance) -> bool: ...

    @property
    @abstractmethod
    def dim(self) -> int: ...

    def files(self) -> list[Path]:
        """Files that the values depend on, such as weights; their contents are in the identity."""
        return []

    @cached_property
    def identity(self) -> dict[str, object]:
        """All that determines the values; see extractors/result.py."""
        known = {**self.how, "modality": self.modality, "version": self.code_version()}
        if files := self.files():
            known["files"] = [_digest(file) for file in files]
        return {**known, **{_short(name): version(name) for name in self.packages}}

    def code_version(self) -> int | str:
        """Version of the values for the work cache: the code itself without its comments, which nobody can forget.

        Raises:
            ExtractorError: the class lies outside of this project's extractors, whose code alone is known here.
        """
        file = Path(inspect.getfile(type(self)))
        if not file.is_relative_to(Path(__file__).parent):
            raise ExtractorError(f"{file}: an extractor of your own must lie in extractors/audio or extractors/visual: "
                                 "docs/encoders.md")  # fmt: skip
        return code_digest([file])

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        return True  # each utterance is extracted independently

    def groups(self, rows: Mapping[str, Utterance]) -> list[list[str]]:
        return [[key] for key in rows]

    def keys(self, rows: Sequence[Utterance]) -> list[str | None]:
        return [key_of(row, self.not_in_key) if self.has_medium(row) else None for row in rows]

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        width = 0
        for part in self.extracted(rows, known):
            for key, result in part.items():
                if result.vector is not None:
                    width = width or len(result.vector)
                    if len(result.vector) != width:
                        raise ExtractorError(f"{type(self).__name__}: makes a vector of {len(result.vector)} values of "
                                             f"{rows[key].utterance_id}, and of {width} of others")  # fmt: skip
            yield part

    def extracted(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        """Results of `extract`, whose widths are not compared yet: each clip is a worker process' own work."""
        clips = [self.clip(key, row) for key, row in rows.items() if key not in known]
        for clip, result in spread(_result_of_clip, clips, prepare_worker, type(self), self.how):
            yield {clip.key: Result(None, result.reason, lasting=False) if isinstance(result, TaskLost) else result}

    def result(self, clip: Clip) -> Result | TaskLost:
        """Read `clip` and make its vector, in a worker process; whatever is in one clip, the others go on."""
        content = self.content(clip)
        if not isinstance(content, tuple):
            return content
        try:
            return self.made(*content)
        except Exception as error:
            return TaskLost.by(error)

    def made(self, what: Any, used: int) -> Result:
        """Result of what `read` gave."""
        return Result(self.checked(self.vector(what)), used=used)

    def content(self, clip: Clip) -> tuple[Any, int] | Result | TaskLost:
        """What `read` gives of `clip`, or why it gives nothing."""
        try:
            return self.read(clip)
        except OverBudgetError as error:
            return TaskLost(str(error))
        except MediaError as error:
            return Result(None, str(error))
        except Exception as error:
            return TaskLost.by(error)

    def checked(self, values: object) -> np.ndarray:
        """The vector that `vector` returned.

        Raises:
            ExtractorError: it is none.
            ValueError: it has values that are not finite.
        """
        found = np.asarray(values)
        if found.ndim != 1 or not found.size or found.dtype.kind not in "fiu":
            raise ExtractorError(f"{type(self).__name__}.vector returns {found.dtype} {list(found.shape)}, where a "
                                 "vector of numbers [dim] is needed: docs/encoders.md")  # fmt: skip
        found = np.ascontiguousarray(found, np.float32)
        if not np.isfinite(found).all():
            raise ValueError("the vector has values that are not finite")
        return found


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ExtractorError(f"{file}: cannot be read ({error.strerror})") from None


def _short(package: str) -> str:
    """Name of a package in an identity."""
    return package.removesuffix("-python-headless")


_worker: dict[str, ClipExtractor] = {}
"""Extractor of this worker process."""


def prepare_worker(kind: type[ClipExtractor], how: dict) -> None:
    """Prepare this process for clips of the extractor `kind`; `how` has the settings that its identity has."""
    _worker["extractor"] = kind(kind.settings_class.model_validate(how), Path())


def content_of_clip(clip: Clip) -> tuple[Any, int] | Result | TaskLost:
    """What is read of `clip`, for an extractor that makes its vectors elsewhere."""
    require_parts(clip.parts)
    return _worker["extractor"].content(clip)


def _result_of_clip(clip: Clip) -> Result | TaskLost:
    require_parts(clip.parts)
    return _worker["extractor"].result(clip)
