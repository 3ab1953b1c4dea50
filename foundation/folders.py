"""Paths of the project and of its work cache."""

import os
from pathlib import Path


def root() -> Path:
    """Root folder of the project; if DVC runs an experiment in a temporary folder, still the original root."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def cache_folder() -> Path:
    """Folder of the work cache: `$CMATH_CACHE`, or `.cache` in the project's root."""
    return Path(os.environ.get("CMATH_CACHE") or root() / ".cache")
