"""Atomic file writes: after a kill, or on a full disk, the earlier file is still complete."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

HALVES = ".*.half*"
"""Pattern of the temporary files, for code that copies a whole folder."""
ABANDONED_SECONDS = 3600.0
"""A temporary file that was not written to for so long belongs to a process that was killed."""


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `file`, which replaces `file` when the block ends without an error.

    Several processes may do this at the same time; the file of the last one stays.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(file)
    half = file.with_name(f".{file.stem}.{os.getpid()}.half{file.suffix}")
    try:
        yield half
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)


def _remove_leftovers(file: Path) -> None:
    """Remove temporary files of `file` that a killed process has left behind."""
    for half in file.parent.glob(f".{escape(file.stem)}.*.half{escape(file.suffix)}"):
        try:
            if time.time() - half.stat().st_mtime > ABANDONED_SECONDS:
                half.unlink()
        except FileNotFoundError:  # another process has just renamed or removed it
            continue


def write_whole(file: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with whole(file) as half:
        half.write_text(text, encoding="utf-8")


def is_file(path: Path) -> bool:
    """Check that `path` is a file; a path that no file can have, such as one of 300 letters, is none."""
    try:
        return path.is_file()
    except OSError:
        return False
