"""A folder that is sealed: its description names the checksum of every file, and has one over itself.

`files` of the description is the SHA-256 of each file by its path in the folder, and `checksum` the SHA-256 of the
description without it, written as JSON without blanks. Hidden files, which desktops and git leave in folders, are
passed over. So is the model card README.md: it is for people, and edited on a hub's web page after the model was
published; no program reads it, so that a change of it changes no prediction.

The seal finds what was changed, cut or mixed up on its way. It is no signature: whoever writes a folder can seal it. So
nothing in the folder is run, and no name in it may lead outside.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import is_file, resolved

CARD = "README.md"
"""Model card at the top of the folder."""
REMEDY = "copy the folder anew, or train anew with `dvc repro`"


def write_description(file: Path, content: dict[str, Any]) -> None:
    """Write the description `file` with `content`, and seal the folder in which it lies, which must be complete."""
    sealed = {**content, "files": {name: _digest(path) for name, path in _files(file)}}
    file.write_text(json.dumps({**sealed, "checksum": _checksum(sealed)}, indent=2) + "\n", "utf-8")


def read_description(file: Path) -> dict[str, Any]:
    """Read the description as it is written; `require_sealed` checks it.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is no description.
    """
    try:
        content = json.loads(file.read_text("utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{file}: cannot be read as the description of a model ({error}); {REMEDY}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: cannot be read as the description of a model (it is no object); {REMEDY}")
    return content


def require_sealed(file: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Check the folder of the description `file` against its seal, and return `content` without the seal.

    Raises:
        UserError: the description or a file was changed, is missing, or is not named; or a link leads elsewhere.
    """
    sealed = {name: value for name, value in content.items() if name != "checksum"}
    if content.get("checksum") != _checksum(sealed):
        raise UserError(f"{file}: was changed after it was written (its checksum differs); {REMEDY}")
    named = sealed.pop("files", None)
    if not isinstance(named, dict):
        raise UserError(f"{file}: names no files; {REMEDY}")
    there = dict(_files(file))
    for name in named:
        if name not in there:
            raise UserError(f"{file.parent / name}: no such file: the bundle is not whole; {REMEDY}")
    for name, path in there.items():
        if name not in named:
            raise UserError(f"{path}: is no file that {file.name} names; remove it, or {REMEDY}")
        if _digest(path) != named[name]:
            raise UserError(f"{path}: was changed after it was written (its checksum differs); {REMEDY}")
    return sealed


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _checksum(sealed: dict[str, Any]) -> str:
    # The keys are not sorted: the order of the modalities is part of what is sealed.
    return hashlib.sha256(json.dumps(sealed, separators=(",", ":")).encode()).hexdigest()


def _files(file: Path) -> Iterator[tuple[str, Path]]:
    """Yield path in the folder, and path, of all files of the folder of the description `file`, but for itself."""
    whole = resolved(file.parent)
    for path in _walked(file.parent):
        if path in (file, file.parent / CARD):
            continue
        target = resolved(path)
        inside = target.is_relative_to(whole) or _is_of_dvc(target) or _is_of_hub(target, whole)
        if path.is_symlink() and not inside:
            raise UserError(f"{path}: is a link that leads out of the bundle; {REMEDY}")
        if not is_file(path):
            raise UserError(f"{path}: is no file; {REMEDY}")
        yield path.relative_to(file.parent).as_posix(), path


def _walked(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walked(path)
        else:
            yield path


def _is_of_dvc(target: Path) -> bool:
    """Whether a link leads to DVC's cache, as with `cache.type symlink`; there a file is at files/md5/xx/yyyy…."""
    return target.parts[-4:-2] == ("files", "md5")


def _is_of_hub(target: Path, folder: Path) -> bool:
    """Whether a link of the downloaded `folder` leads to where huggingface_hub keeps the contents of files.

    A download is the folder models--ORG--NAME/snapshots/COMMIT of the hub's cache, and its files are links to `blobs`
    of the same model or of the cache.
    """
    model = folder.parent.parent
    if folder.parent.name != "snapshots" or not model.name.startswith("models--"):
        return False
    return any(target.is_relative_to(place / "blobs") for place in (model, model.parent))


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); {REMEDY}") from None
