"""Atomic file writes: after a kill, or on a full disk, the earlier file is still complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `file`, which replaces `file` when the block ends without an error.

    Several processes may do this at the same time; the file of the last one stays.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_name(f".{file.stem}.{os.getpid()}.half{file.suffix}")
    try:
        yield half
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)


def write_whole(file: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with whole(file) as half:
        half.write_text(text, encoding="utf-8")
