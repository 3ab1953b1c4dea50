"""Checkpoints of running trainings, so that an interrupted one can be resumed."""

from pathlib import Path
from typing import Any

import torch

from foundation.files import whole


def save_checkpoint(file: Path, **parts: Any) -> None:
    """Write `parts`: tensors, numbers, strings, and lists and dictionaries of these."""
    with whole(file) as half:
        torch.save(parts, half)


def load_checkpoint(file: Path) -> dict[str, Any] | None:
    """Load what `save_checkpoint` wrote, on the CPU; None if there is no file."""
    if not file.is_file():
        return None
    parts: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return parts
