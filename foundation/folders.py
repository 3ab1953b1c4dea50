"""Paths of the project and of its work cache."""

import os
from pathlib import Path

from foundation.errors import UserError


def root() -> Path:
    """Root folder of the project; if DVC runs an experiment in a temporary folder, still the original root."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def from_root(written: str, key: str) -> Path:
    """Path that `key` of params.yaml names: a relative one starts at the project's root, and `~` is a home folder.

    Raises:
        UserError: it begins with `~` and the name of a user who is not there.
    """
    try:
        return root() / Path(written).expanduser()
    except RuntimeError:
        raise UserError(f"params.yaml: {key} = {written!r}: the home folder of {Path(written).parts[0]} is not known; "
                        "write the whole path") from None  # fmt: skip


def cache_folder() -> Path:
    """Folder of the work cache: `$CMATH_CACHE`, or `.cache` in the project's root."""
    return Path(os.environ.get("CMATH_CACHE") or root() / ".cache")
