"""Bundles as zips: one is made with the same bytes each time, and one from outside may be anything.

A zip is unpacked into the work cache, under the hash of its content, whole or not at all. It may be made by hand, with
or without folders around the bundle; what lies beside the bundle is not unpacked.
"""

import hashlib
import shutil
import stat
import zlib
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from foundation.errors import UserError
from foundation.files import whole, whole_folder
from foundation.folders import cache_folder
from foundation.log import log
from foundation.safe_names import safe_name
from pipeline.bundle import FILE, NAME, Bundle, read_bundle

UNPACKED = "bundles"
"""Folder of the work cache with the unpacked zips."""
MOST_BYTES = 64 * 2**30
"""Largest size of all that a zip holds; five fine-tuned encoders of RoBERTa-Large's size have 7 GB."""
MOST_FILES = 10_000
MOST_TIMES = 100
"""How much larger than the zip its content may be. Weights shrink by a tenth, vocabularies to a fifth; zeros, of which
bombs are made, to a thousandth."""
BY_MAC = "__MACOSX"
"""Folder that macOS adds to its zips."""
REMEDY = "it is no zip of a bundle as `python -m pipeline.bundle publish` makes it"


def read_zip(file: Path) -> Bundle:
    """Read the bundle in a zip, and check all of it but the weights.

    Raises:
        UserError: the zip cannot be read or must not be unpacked, or what is in it is no bundle that can be used.
    """
    try:
        with file.open("rb") as stream:
            folder = cache_folder() / UNPACKED / hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); copy it anew") from None
    if folder.is_dir():
        with suppress(UserError):  # the copy in the work cache was damaged
            return read_bundle(folder)
    _unpack(file, folder)
    try:
        return read_bundle(folder)
    except UserError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"{file}: {error}") from None


def _unpack(file: Path, folder: Path) -> None:
    try:
        with ZipFile(file) as archive:
            entries = _bundle_in(file, _checked(file, archive.infolist()))
            with whole_folder(folder) as half:
                for name, entry in entries.items():
                    target = half / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(entry) as source, target.open("xb") as stream:
                        shutil.copyfileobj(source, stream)
    except (BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error, OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be unpacked ({' '.join(str(error).split())}): {REMEDY}") from None


def _checked(file: Path, entries: list[ZipInfo]) -> dict[PurePosixPath, ZipInfo]:
    """The files of a zip by their paths in it; those that desktops add are left out.

    Nothing of them is read. That a file holds more than its entry says costs nothing: ZipFile reads no further.

    Raises:
        UserError: one of them must not be unpacked, or they are too many or too large.
    """
    if len(entries) > MOST_FILES:
        raise UserError(f"{file}: has more than {MOST_FILES} files: {REMEDY}")
    total, limit = sum(entry.file_size for entry in entries), min(MOST_BYTES, MOST_TIMES * file.stat().st_size)
    if total > limit:
        raise UserError(f"{file}: would have {total:,} bytes when unpacked, and may have at most {limit:,} "
                        f"({MOST_TIMES} times its size, and never over {MOST_BYTES >> 30} GiB): {REMEDY}")  # fmt: skip
    found: dict[PurePosixPath, ZipInfo] = {}
    for entry in entries:
        name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
            raise UserError(f"{file}: the entry {name!r} leads out of the zip: {REMEDY}")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise UserError(f"{file}: the entry {name!r} is a link or a device, and no file: {REMEDY}")
        if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise UserError(f"{file}: the entry {name!r} is compressed in a way other than `deflate`: {REMEDY}")
        if entry.flag_bits & 1:
            raise UserError(f"{file}: the entry {name!r} is encrypted: {REMEDY}")
        if entry.is_dir() or BY_MAC in path.parts or any(part.startswith(".") for part in path.parts):
            continue
        if any(safe_name(part) != part for part in path.parts):
            raise UserError(f"{file}: the entry {name!r} has no name that a file can have everywhere: {REMEDY}")
        if path in found:
            raise UserError(f"{file}: the entry {name!r} is there twice: {REMEDY}")
        found[path] = entry
    return found


def _bundle_in(file: Path, entries: Mapping[PurePosixPath, ZipInfo]) -> dict[PurePosixPath, ZipInfo]:
    """The files of the only bundle among those of a zip, by their paths in the bundle."""
    places = [path.parent for path in entries if path.name == FILE]
    if len(places) != 1:
        has = f"has {len(places)} models: make a zip of one" if places else f"has no {FILE}: it is no trained model"
        raise UserError(f"{file}: {has}")
    (place,) = places
    if beside := [str(path) for path in entries if not path.is_relative_to(place)]:
        log.warning("%s: not used, because it does not lie in the bundle's folder: %s", file, ", ".join(beside[:10]))
    return {path.relative_to(place): entry for path, entry in entries.items() if path.is_relative_to(place)}


def write_zip(file: Path, contents: Mapping[str, Path | bytes]) -> None:
    """Write a zip with `contents` by path, in the folder `bundle`; the same contents give the same bytes.

    Nothing is compressed: weights do not shrink, and another version of zlib would give other bytes.
    """
    with whole(file) as half, ZipFile(half, "w", ZIP_STORED) as archive:
        for name, content in sorted(contents.items()):
            entry = ZipInfo(f"{NAME}/{name}")  # of 1980, as all zips without times
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
            with (
                archive.open(entry, "w") as target,
                BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source,
            ):
                shutil.copyfileobj(source, target)
