"""Device on which networks run: a CUDA device if one can be used, else the CPU; `CMATH_DEVICE` overrides this.

A device that cannot work is found before anything starts, and the message has the remedy: a driver that is too old for
this build of torch, a card for which the build has no code, a card without free memory, or a name that is none.
"""

import ctypes
import os
import re
import sys
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from foundation.errors import UserError
from foundation.log import log
from foundation.workers import number_of_workers

if TYPE_CHECKING:
    import torch

NAME = re.compile(r"cpu|cuda(:\d{1,3})?")
LEAST_FREE = 2**30
"""Bytes that must be free on a card: torch, cuBLAS and cuDNN alone take about half of it."""
OLDER_WHEEL = (
    "`pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cu126` installs a "
    "build for older drivers (525 or newer) and cards (V100, P100, GTX 10)"
)


def device() -> "torch.device":
    """Device named by `$CMATH_DEVICE`; otherwise the first CUDA device that can be used, or the CPU.

    Without `$CMATH_DEVICE`, a card that cannot be used is named once in a warning, and the CPU is taken.

    Raises:
        UserError: `$CMATH_DEVICE` is no device or one that cannot be used, or the card has no memory left.
    """
    return _chosen(_wanted())


def training_devices() -> list[str]:
    """Device of each process that trains at the same time as others: value of `$CMATH_DEVICES`.

    By default these are as many CPUs as there are workers, or the one card. A card that is named twice has two
    processes.

    Raises:
        UserError: an entry is no device.
    """
    return _listed() or (["cpu"] * number_of_workers() if device().type == "cpu" else [str(device())])


def device_type() -> str:
    """Type of `device()`; torch, which takes a second to load, is imported only if it is needed for the answer."""
    if _wanted() == "cpu" or not (_wanted() or _may_have_cuda()):
        return "cpu"
    return device().type


def _listed() -> list[str]:
    """Entries of `$CMATH_DEVICES`."""
    value = os.environ.get("CMATH_DEVICES", "")
    names = [name.strip() for name in value.split(",") if name.strip()]
    if not all(map(NAME.fullmatch, names)) or len({name.partition(":")[0] for name in names}) > 1:
        raise UserError(f"CMATH_DEVICES = {value!r}: must be cards, or cpu alone: cuda:0,cuda:1 for two cards, "
                        "cuda:0,cuda:0 for two processes on one card, cpu,cpu for two on the CPU")  # fmt: skip
    return names


def _wanted() -> str:
    wanted = os.environ.get("CMATH_DEVICE", "") or next(iter(_listed()), "")
    if wanted and not NAME.fullmatch(wanted):
        raise UserError(f"CMATH_DEVICE = {wanted!r}: must be cpu, cuda, or cuda:1 for the second card; unset it for "
                        "the first card there is, or the CPU")  # fmt: skip
    return wanted


@lru_cache
def _chosen(wanted: str) -> "torch.device":
    import torch

    if wanted == "cpu" or (not wanted and not _may_have_cuda()):
        return torch.device("cpu")
    if problem := driver_problem():
        return _cpu_or_error(wanted, problem)
    number = torch.cuda.device_count()
    if wanted.startswith("cuda:") and int(wanted[5:]) >= number:
        raise UserError(f"CMATH_DEVICE = {wanted!r}: there {'is 1 card' if number == 1 else f'are {number} cards'}, "
                        "counted from cuda:0")  # fmt: skip
    cards = [int(wanted[5:])] if wanted.startswith("cuda:") else range(number)
    problems = {card: card_problem(card) for card in cards}
    usable = [card for card, problem in problems.items() if not problem]
    if not usable:
        return _cpu_or_error(wanted, next(iter(problems.values())))
    first = usable[0]
    for card, problem in problems.items():
        if card < first:
            log.warning("%s; cuda:%d is used instead", problem, first)
    free, whole = torch.cuda.mem_get_info(first)
    if free < LEAST_FREE:
        raise UserError(f"cuda:{first} ({torch.cuda.get_device_name(first)}) has {free / 2**30:.1f} of "
                        f"{whole / 2**30:.0f} GiB free: `nvidia-smi` names the programs that hold the rest. "
                        "CMATH_DEVICE=cuda:1 takes the second card, CMATH_DEVICE=cpu the CPU")  # fmt: skip
    return torch.device("cuda", first) if first else torch.device("cuda")


def _cpu_or_error(wanted: str, problem: str) -> "torch.device":
    import torch

    if wanted:
        raise UserError(f"CMATH_DEVICE = {wanted!r}: {problem}")
    log.warning("%s; until then the CPU computes (CMATH_DEVICE=cpu says that this is meant)", problem)
    return torch.device("cpu")


def driver_problem() -> str:
    """Reason why torch sees no card, with the remedy; empty if it sees one."""
    import torch

    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        usual = f"`pip install --force-reinstall torch=={torch.__version__.partition('+')[0]}` installs the usual one"
        return "" if torch.version.hip else f"torch {torch.__version__} is a build without CUDA: {usual}"
    known = driver_version()
    if known is None:
        return "there is no NVIDIA driver (`nvidia-smi` fails too): install it, or unset CMATH_DEVICE for the CPU"
    if known[0] < int(torch.version.cuda.partition(".")[0]):
        return (f"the NVIDIA driver is for CUDA {known[0]}.{known[1]}, and torch {torch.__version__} needs one for "
                f"CUDA {torch.version.cuda} (580 or newer for CUDA 13): update it, or {OLDER_WHEEL}")  # fmt: skip
    return ("the NVIDIA driver is there, and torch sees no card: `nvidia-smi` says whether there is one, and "
            "CUDA_VISIBLE_DEVICES may hide it")  # fmt: skip


def driver_version() -> tuple[int, int] | None:
    """Newest version of CUDA, (major, minor), that NVIDIA's driver knows; None without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1" if sys.platform == "linux" else "nvcuda.dll")
    except OSError:
        return None
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return None
    return number.value // 1000, number.value % 1000 // 10


def card_problem(card: int) -> str:
    """Reason why this build of torch has no code for `cuda:{card}`, with the remedy; empty if it has."""
    import torch

    if torch.version.hip or runs_on(torch.cuda.get_device_capability(card), torch.cuda.get_arch_list()):
        return ""
    major, minor = torch.cuda.get_device_capability(card)
    return (f"cuda:{card} ({torch.cuda.get_device_name(card)}) has capability {major}.{minor}, and torch "
            f"{torch.__version__} has code for {', '.join(torch.cuda.get_arch_list())}: {OLDER_WHEEL}")  # fmt: skip


def runs_on(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Whether code built for e.g. `sm_86` or `compute_90` runs on a card of `capability` (major, minor).

    Machine code (sm) runs on cards of the same major number and an equal or higher minor one; intermediate code
    (compute) on all that are not older.
    """
    for name in built_for:
        kind, _, number = name.partition("_")
        digits = re.match(r"\d+", number)
        built = divmod(int(digits[0]), 10) if digits else (1_000, 0)
        same = built[0] == capability[0] and built[1] <= capability[1]
        if same if kind == "sm" else kind == "compute" and built <= capability:
            return True
    return False


def _may_have_cuda() -> bool:
    """Whether torch must be asked; not if NVIDIA's driver is missing, unless torch is built for AMD GPUs."""
    if sys.platform != "linux" or "rocm" in version("torch"):
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
