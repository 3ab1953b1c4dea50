"""Folders that params.yaml names."""

from pathlib import Path

from foundation.errors import UserError
from foundation.folders import root


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
