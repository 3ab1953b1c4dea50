"""Reading of the single files in which features are published: pickles, json, .npy and .npz; nothing in them is run."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from extractors.published.pickles import DTYPES, PickleError, filled, read_pickle
from foundation.errors import UserError

LARGEST_MEMBER = 2**30
"""Bytes of the largest array in an .npz; a compressed one can declare any size."""
ZIP, NUMPY = b"PK\x03\x04", b"\x93NUMPY"
JSON = (b"[", b"{")
"""First characters of a json file; no pickle begins with them."""


class FileError(UserError):
    """The file cannot be read; the message names it and what is wrong."""


def read_file(file: Path) -> Any:
    """Read a pickle, a json file, an array or an archive of arrays (as a dict), told apart by content.

    Raises:
        UserError: the file is missing, broken, of another kind, or asks for more than its kind may.
    """
    try:
        if file.exists() and not file.is_file():  # reading from a pipe would wait for ever
            raise FileError(f"{file}: is a folder, a pipe or a device, and no file")
        content = file.read_bytes()
    except OSError as error:
        raise FileError(f"{file}: cannot be read ({error.strerror})") from None
    if not content:
        raise FileError(f"{file}: is empty (zero bytes)")
    if content.startswith(b"version https://git-lfs"):
        raise FileError(f"{file}: is a pointer of git-lfs and not the file itself; fetch it with `git lfs pull`")
    if content.startswith(NUMPY):
        return read_array(content, str(file))
    if content.startswith(ZIP):
        return read_archive(content, str(file))
    if content.lstrip()[:1] in JSON:
        return read_json(content, str(file))
    return read_pickle(content, str(file))


def read_json(content: bytes, name: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{name}: is no json file ({str(error).splitlines()[0]})") from None


def read_array(content: bytes, name: str) -> Any:
    """Read an .npy file; one of objects is a pickle inside, and read as such."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of the format is not read")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
    except Exception as error:  # numpy reads the header as a piece of Python, and raises what its parser does
        raise FileError(f"{name}: is no .npy file ({str(error).splitlines()[0]})") from None
    rest = content[stream.tell() :]
    if dtype == np.dtype("O"):
        return read_pickle(rest, name)
    if dtype.str[1:] not in DTYPES and dtype.kind not in "SU":
        raise FileError(f"{name}: has the data type {dtype}; allowed are numbers and strings")
    try:
        return filled(dtype, shape, fortran, rest)
    except ValueError as error:
        raise FileError(f"{name}: {error}") from None


def read_archive(content: bytes, name: str) -> dict[str, Any]:
    """Read all arrays of an .npz, by name."""
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                if not member.filename.endswith(".npy"):
                    raise PickleError(f"{name}: holds {member.filename!r}; an .npz of features holds arrays alone "
                                      "(a PyTorch file is not read)")  # fmt: skip
                if member.file_size > LARGEST_MEMBER:
                    raise FileError(f"{name}: declares {member.file_size:,} bytes for {member.filename!r}")
                with archive.open(member) as stream:
                    inside = stream.read(member.file_size + 1)
                found[member.filename.removesuffix(".npy")] = read_array(inside, f"{name}, {member.filename}")
    except UserError:
        raise
    except Exception as error:  # of zipfile and zlib, which raise many kinds, and a ValueError for a place before zero
        raise FileError(f"{name}: is no whole .npz file ({error})") from None
    return found


def checksums(file: Path) -> tuple[str, str]:
    """SHA-256 of the file, and the id that git gives to its content (SHA-1 of `blob SIZE`, a zero byte, content)."""
    sha256, blob = hashlib.sha256(), hashlib.sha1(f"blob {file.stat().st_size}\0".encode(), usedforsecurity=False)
    with file.open("rb") as stream:
        while part := stream.read(1 << 20):
            sha256.update(part)
            blob.update(part)
    return sha256.hexdigest(), blob.hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, SHA-256 over the names and contents of its files, without its subfolders.

    Raises:
        FileError: it, or an entry of it, is a link that leads nowhere, a pipe or a device.
    """
    if not path.is_dir():
        return checksums(_whole(path))[0]
    whole = hashlib.sha256()
    for file in sorted(path.iterdir()):
        if not file.is_dir():  # such as the .ipynb_checkpoints of a notebook
            whole.update(f"{file.name}\0{checksums(_whole(file))[0]}\n".encode())
    return whole.hexdigest()


def _whole(file: Path) -> Path:
    """Return `file`; raises FileError if it is a link that leads nowhere, a pipe or a device."""
    if not file.is_file() and (file.exists() or file.is_symlink()):
        what = "is a pipe or a device" if file.exists() else "is a link to a file that does not exist"
        raise FileError(f"{file}: {what}; put the file there, or remove it")
    return file
