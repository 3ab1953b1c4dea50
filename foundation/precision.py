"""Precision of matrix products: what a device computes well, and what was asked for."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch

Precision = Literal["auto", "float32", "tf32", "bfloat16", "float16"]
HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def chosen_precision(wanted: str, device: torch.device, older: str) -> str:
    """Precision that is used where `wanted` is asked for: one of Precision without `auto`.

    A CPU computes in float32. `auto` is bfloat16 on cards of capability 8.0 (A100, RTX 30) or newer, and `older` on the
    others: they emulate bfloat16 slowly.
    """
    if device.type != "cuda":
        return "float32"
    if wanted != "auto":
        return wanted
    return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else older


def lowered(precision: str, device: torch.device) -> AbstractContextManager:
    """Context in which forward passes multiply matrices in `precision`; float32 and tf32 change nothing here."""
    return torch.autocast(device.type, HALVES[precision]) if precision in HALVES else nullcontext()


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let products of float32 matrices and cuDNN round their inputs to TF32, ten bits, inside this block, or not."""
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = allowed
        yield
    finally:
        for place, was in zip(places, before, strict=True):
            place.allow_tf32 = was
