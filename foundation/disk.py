"""A disk that is full or may not be written to, a place that takes no file: what happened, in one line with the remedy.

Each library says it in its own way: Python with a number, SQLite, safetensors and torch with words. So errors are told
apart here, in one place, and without loading any of these libraries.
"""

import errno
import os
import re
import shutil
import tempfile
from pathlib import Path

from foundation.errors import UserError
from foundation.folders import cache_folder

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
BROKEN = {errno.EIO}
NO_PLACE = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP}
"""A file stands where a folder is needed, or the other way round; or no file can have this name. An input that is
missing has the same numbers, so these count only where the error is about the place of the file that is written."""
NO_NAME = {errno.ENAMETOOLONG, errno.ELOOP}
"""No file can have this name, or it is a link that leads to itself: whoever gave the name can give another."""
WORDS = (
    (re.compile(r"no space left|disk is full|quota exceeded|file too large|os error (28|122|27)\b", re.I), FULL),
    (re.compile(r"read-?only|permission denied|not permitted|os error (30|13|1)\b", re.I), FORBIDDEN),
    (re.compile(r"input/output error|disk i/o error|os error 5\b", re.I), BROKEN),
    (re.compile(r"PytorchStreamWriter|inline_container"), FULL),  # torch does not say why it cannot write
)
"""What libraries say that give no number, and which of these it is."""
LIBRARIES = ("sqlite3", "safetensors", "safetensors_rust", "_sqlite3")
"""Modules whose errors are told apart by their words; a RuntimeError of torch is too."""
LITTLE = 64 * 2**20
"""A disk with fewer free bytes than this is named where the error does not say which disk is full."""
GOES_ON = "then start the same command again: what was finished is kept"


class DiskError(UserError):
    """A file cannot be written; the message names the place and the remedy."""


def disk_error(error: BaseException, file: Path | None = None) -> DiskError | None:
    """What `error`, raised while `file` was written, says about a disk; None if it is about something else."""
    kind = _kind(error)
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)  # of a copy, the target
    place = Path(os.fsdecode(named)) if isinstance(named, (str, bytes)) else file
    if file and place and ".half" in place.name:
        place = file
    about_file = file and place and named and file.is_relative_to(place)
    if kind in (None, NO_NAME) and about_file and getattr(error, "errno", None) in NO_PLACE:
        kind = NO_PLACE
    if not kind:
        return None
    said = " ".join((getattr(error, "strerror", None) or str(error)).split())[:200]
    if kind is FULL:
        where = f"{place}: cannot be written, because the disk is full" if place else "a disk is full"
        return DiskError(f"{where} ({_free(place)}; {said}). Make room there, {GOES_ON}. `python -m pipeline.cache "
                         "--prune` shrinks the work cache, CMATH_CACHE=FOLDER has it on another disk, and `dvc gc "
                         "--workspace` removes older outputs")  # fmt: skip
    if kind is FORBIDDEN:
        return DiskError(f"{place or 'a file'}: may not be read or written ({said}). Allow it (`ls -ld` shows who "
                         f"may), or use another folder (CMATH_CACHE=FOLDER for the work cache), {GOES_ON}")  # fmt: skip
    if kind is NO_PLACE:
        return DiskError(f"{file}: cannot be written there ({place}: {said}). Give another place, or move away what is "
                         "in its way")  # fmt: skip
    if kind is NO_NAME:
        return DiskError(f"{place or 'a file'}: cannot be opened ({said}); give another name")
    return DiskError(f"{place or 'a file'}: cannot be read or written ({said}): a fault of the disk, or of the way to "
                     f"it. Once it is mended, {GOES_ON.removeprefix('then ')}")  # fmt: skip


def _kind(error: BaseException) -> set[int] | None:
    number = getattr(error, "errno", None)
    if isinstance(error, OSError) or isinstance(number, int):
        return next((kind for kind in (FULL, FORBIDDEN, BROKEN, NO_NAME) if number in kind), None)
    told_by_words = type(error).__module__.split(".")[0] in LIBRARIES or type(error) is RuntimeError
    return next((kind for words, kind in WORDS if told_by_words and words.search(str(error))), None)


def _free(place: Path | None) -> str:
    """Free bytes of the disk of `place`, or of the disks that have little."""
    if place:
        return _room(place.parent)
    folders = (Path(), cache_folder(), Path(tempfile.gettempdir()))
    full = [_room(folder) for folder in folders if _bytes(folder) < LITTLE]
    return ", ".join(dict.fromkeys(full)) or "it is none of this folder's, the work cache's and the temporary files'"


def _room(folder: Path) -> str:
    return f"{_existing(folder)} has {_bytes(folder) / 2**20:.1f} MiB free"


def _bytes(folder: Path) -> int:
    try:
        return shutil.disk_usage(_existing(folder)).free
    except OSError:
        return LITTLE


def _existing(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that exists."""
    folder = folder.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
