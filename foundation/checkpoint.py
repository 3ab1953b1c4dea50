"""Checkpoints of running trainings, so that an interrupted one can be resumed."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from foundation.errors import UserError
from foundation.files import whole
from foundation.log import log


def save_checkpoint(file: Path, **parts: Any) -> None:
    """Write `parts`: tensors, numbers, strings, and lists and dictionaries of these."""
    with whole(file) as half:
        torch.save(parts, half)


def load_checkpoint(file: Path) -> dict[str, Any] | None:
    """Load what `save_checkpoint` wrote, on the CPU; None if there is no file.

    A broken file is set aside, as if there were none: a training can begin anew.
    """
    if not file.is_file():
        return None
    try:
        parts: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        aside = file.with_suffix(".broken")
        file.replace(aside)
        log.warning("%s: is no whole checkpoint (%s); it is %s now, and the training begins anew", file,
                    " ".join(str(error).split())[:100], aside.name)  # fmt: skip
        return None
    return parts


def checkpoint_seconds(default: float) -> float:
    """Seconds between two checkpoints: `$CMATH_CHECKPOINT_SECONDS`, or `default`.

    Raises:
        UserError: the variable is no number of seconds.
    """
    value = os.environ.get("CMATH_CHECKPOINT_SECONDS") or default
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise UserError(f"CMATH_CHECKPOINT_SECONDS = {value!r}: must be a number of seconds, 0 or more; unset it "
                        "for the default")  # fmt: skip
    return seconds
