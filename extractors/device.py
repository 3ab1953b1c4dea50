"""Where networks run: CUDA where there is one, else the CPU; `CMATH_DEVICE` chooses another."""

import ctypes
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device() -> "torch.device":
    """The device of `$CMATH_DEVICE`, or the first CUDA device, or the CPU."""
    import torch

    wanted = os.environ.get("CMATH_DEVICE", "")
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def device_type() -> str:
    """The type of `device()`, without the second that torch takes to load where it has nothing to say."""
    wanted = os.environ.get("CMATH_DEVICE", "")
    if wanted or not _may_have_cuda():
        return wanted.partition(":")[0] or "cpu"
    return device().type


def _may_have_cuda() -> bool:
    """Whether torch must be asked: not where NVIDIA's driver is missing, unless torch is built for AMD's cards."""
    if sys.platform != "linux" or "rocm" in version("torch"):
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
