"""Check whether a file is still the one that the index names, by its state and the hash of its content."""

import hashlib
from functools import lru_cache
from pathlib import Path

from foundation.errors import UserError


class ContentError(UserError):
    """A file differs from the index; the message names the file and the remedy."""


def state(path: Path) -> tuple[int, int, int]:
    """State of a file that reveals a change without reading it: size, modification time, status-change time.

    The status-change time is set by the file system, so a program cannot set it back.
    """
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=4)
def _content(path: Path, seen: tuple[int, int, int]) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_content(path: Path, digest: str) -> None:
    """Raise ContentError unless the file's SHA-256 is `digest`: features must belong to the index that names them."""
    try:
        found = _content(path, state(path))
    except OSError as error:
        raise ContentError(f"{path}: cannot be read ({error.strerror}); it could when the index was made") from None
    if found != digest:
        raise ContentError(
            f"{path}: was changed since the index was made; `dvc repro -f index@D` makes the index of the corpus D "
            "anew (or list D under `watch` in params.yaml, and `dvc repro` does so by itself)"
        )
