"""What the tests of the places of a model share."""

from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from foundation.errors import UserError
from pipeline.bundle.places import open_bundle


def refused(model: str | Path, words: str) -> str:
    with pytest.raises(UserError, match=words) as error:
        open_bundle(model)
    assert "\n" not in str(error.value)
    return str(error.value)


def zipped(file: Path, folder: Path, place: str = "", more: dict[str, bytes] | None = None) -> Path:
    """A zip of `folder`, with its files under `place` and `more` beside them, as a program of a desktop makes it."""
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, place + path.relative_to(folder).as_posix())
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return file


def weights_of(model: str | Path) -> bytes:
    bundle = open_bundle(model)
    bundle.network(0)
    return (bundle.folder / "seed0.safetensors").read_bytes()
