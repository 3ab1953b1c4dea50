"""Where networks run: CUDA where there is one, else the CPU; `CMATH_DEVICE` chooses another."""

import os

import torch


def device() -> torch.device:
    """The device of `$CMATH_DEVICE`, or the first CUDA device, or the CPU."""
    wanted = os.environ.get("CMATH_DEVICE", "")
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
