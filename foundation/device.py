"""Device on which networks run: CUDA if available, else the CPU; `CMATH_DEVICE` overrides this."""

import ctypes
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device() -> "torch.device":
    """Device named by `$CMATH_DEVICE`; otherwise the first CUDA device, or the CPU."""
    import torch

    wanted = os.environ.get("CMATH_DEVICE", "")
    return torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))


def device_type() -> str:
    """Type of `device()`; torch, which takes a second to load, is imported only if it is needed for the answer."""
    wanted = os.environ.get("CMATH_DEVICE", "")
    if wanted or not _may_have_cuda():
        return wanted.partition(":")[0] or "cpu"
    return device().type


def _may_have_cuda() -> bool:
    """Whether torch must be asked; not if NVIDIA's driver is missing, unless torch is built for AMD GPUs."""
    if sys.platform != "linux" or "rocm" in version("torch"):
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
