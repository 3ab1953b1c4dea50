"""The places where a model may lie: a folder, a zip of it, or a name on the Hugging Face hub."""

from pathlib import Path

from foundation.errors import UserError
from foundation.files import is_file, is_folder
from pipeline.bundle import Bundle, read_bundle
from pipeline.bundle.archive import read_zip
from pipeline.bundle.hub import PREFIX, downloaded

ENDING = ".zip"
STARTER = "starter"
"""The model that comes with the project (docs/starter.md); commands use it if none is named."""


def open_bundle(model: str | Path) -> Bundle:
    """Read and check the bundle that `model` names: models/D, a bundle, a zip, or `hf:org/name` with `@revision`.

    `starter` is the model that comes with the project, wherever the command runs.

    A zip is unpacked into the work cache, a name on the hub is downloaded into the hub's own cache. Both are then
    checked as any folder is.

    Raises:
        UserError: it is not there, cannot be had, or is no bundle that can be used.
    """
    name = str(model)
    if name == STARTER and not Path(name).exists():
        name = str(Path(__file__).parents[2] / STARTER)
    if name.startswith(PREFIX):
        folder = downloaded(name)
        try:
            return read_bundle(folder)
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
    if is_file(Path(name)):
        return read_zip(Path(name))
    if name.endswith(ENDING) and not is_folder(Path(name)):
        raise UserError(f"{name}: no such file; give a folder, a zip, or {PREFIX}org/name")
    return read_bundle(Path(name))
