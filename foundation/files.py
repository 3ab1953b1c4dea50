"""Files and folders that are written whole or not at all: after a kill, or on a full disk, the earlier one is still
there; and files that come from outside, which may be anything."""

import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TextIO

from foundation.disk import disk_error
from foundation.errors import UserError

HALVES = ".*.half*"
"""Pattern of the temporary files, for code that copies a whole folder."""
ABANDONED_SECONDS = 3600.0
"""A temporary file that was not written to for so long belongs to a process that was killed."""
LONGEST_STEM = 200
"""Bytes of a name that temporary files may repeat."""
ESCAPED = "backslashreplace"
"""Form of a file's name that is no UTF-8, such as one in Latin-1, in a text: `caf\\udce9.mp4`. JSON reads it back."""
MOST_BYTES = 256 * 2**20
"""Largest size of a text that is read at once; the annotations of MELD have 1.6 MB."""


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `file`, which replaces `file` when the block ends without an error.

    Several processes may do this at the same time; the file of the last one stays.

    Raises:
        DiskError: the disk is full, or may not be written to, or no file can be there; the earlier file is as it was.
    """
    half = file.with_name(f".{_short(file)}.{os.getpid()}.half{file.suffix}")
    try:
        with _disk_named(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(file)
            yield half
            half.replace(file)
    finally:
        with suppress(OSError):  # on a disk that may not be written to, not even what is not there can be removed
            half.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside `folder`, which replaces it when the block ends without an error.

    Raises:
        DiskError: the disk is full, or may not be written to, or no folder can be there; the earlier one is as it was.
    """
    half = folder.with_name(f".{folder.name}.{os.getpid()}.half")
    try:
        with _disk_named(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            _remove_half_folders(folder)
            half.mkdir()
            yield half
            shutil.rmtree(folder, ignore_errors=True)
            half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make `folder`, and the folders above it, unless it is there.

    Raises:
        DiskError: it cannot be made.
    """
    with _disk_named(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def _disk_named(place: Path) -> Iterator[None]:
    """Raise DiskError, which names `place`, where an error says that nothing can be written there, or on that disk."""
    try:
        yield
    except Exception as error:
        if said := disk_error(_only(error), place):
            raise said from None
        raise


def _only(error: Exception) -> Exception:
    """The first error of those that copying a folder collects, or `error` itself."""
    if isinstance(error, shutil.Error) and error.args and error.args[0]:
        return OSError(*_number_and_words(str(error.args[0][0][2])))
    return error


def _number_and_words(said: str) -> tuple[int, str]:
    """Number and words of what an OSError says as a text: `[Errno 28] No space left on device: …`."""
    number, _, words = said.removeprefix("[Errno ").partition("] ")
    return (int(number), words) if number.isdigit() else (0, said)


def _short(file: Path) -> str:
    """The file's name without its ending, or a shorter one: with what is added, a name may have 255 bytes."""
    return file.stem if len(os.fsencode(file.stem)) <= LONGEST_STEM else file.stem[: LONGEST_STEM // 4]


def _remove_leftovers(file: Path) -> None:
    """Remove temporary files of `file` that a killed process has left behind."""
    for half in file.parent.glob(f".{escape(_short(file))}.*.half{escape(file.suffix)}"):
        try:
            if time.time() - half.stat().st_mtime > ABANDONED_SECONDS:
                half.unlink()
        except FileNotFoundError:  # another process has just renamed or removed it
            continue


def _remove_half_folders(folder: Path) -> None:
    """Remove temporary folders of processes that are gone; they would stand among the outputs of a stage."""
    for half in folder.parent.glob(f".{escape(folder.name)}.*.half"):
        pid = half.name.split(".")[-2]
        if pid == str(os.getpid()) or not _runs(pid):
            shutil.rmtree(half, ignore_errors=True)


def _runs(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except PermissionError:  # another user's
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def write_whole(file: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with whole(file) as half:
        half.write_text(text, encoding="utf-8", errors=ESCAPED)


@contextmanager
def open_whole(file: Path, errors: str = ESCAPED) -> Iterator[TextIO]:
    """Open a text file for writing as UTF-8, without conversion of line ends; see `whole`."""
    with whole(file) as half, half.open("w", encoding="utf-8", errors=errors, newline="") as stream:
        yield stream


def read_file(file: Path, most: int = MOST_BYTES, advice: str = "give a file that can be read") -> bytes:
    """Content of a file from outside, which may be missing, no file at all, forbidden, or endless.

    Raises:
        UserError: it cannot be read, or has more than `most` bytes.
    """
    try:
        # Neither waits for a writer, as reading from a pipe would, nor reads a device.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISDIR(status.st_mode):
                raise UserError(f"{file}: is a folder; give a file")
            if not stat.S_ISREG(status.st_mode):
                raise UserError(f"{file}: is a pipe or a device and no file; give a file")
            if status.st_size > most:
                raise UserError(f"{file}: has more than {most >> 20} MiB: too much for such a file")
            return stream.read(most)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; {advice}") from None
    except IsADirectoryError:
        raise UserError(f"{file}: is a folder; give a file") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{file}: cannot be read ({reason}); {advice}") from None


def is_file(path: Path) -> bool:
    """Check that `path` is a file; a path that no file can have, such as one of 300 letters, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Check that `path` is a folder, as `is_file` does."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def resolved(path: Path) -> Path:
    """`path` from the root, without links; of a link that leads to itself, the link (`Path.resolve` raises there)."""
    return Path(os.path.realpath(path))
