"""Setup of torch for repeatable results, and seeds that a resumed run can draw again."""

import os

import torch


def prepare_torch(threads: int | None = None) -> None:
    """Make results repeatable, and flush subnormal numbers to zero (they make a CPU up to ten times slower).

    Args:
        threads: number of CPU threads; default: torch's own choice. Sums depend on this number.
    """
    if threads:
        torch.set_num_threads(threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # needed for repeatable matrix products on CUDA
    torch.use_deterministic_algorithms(True)
    # Filling uninitialised memory only helps to find bugs; it costs time in every step and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)
    # Torch multiplies matrices on CUDA in float32, but cuDNN may round to TF32's ten bits if it is let.
    torch.backends.cudnn.allow_tf32 = False


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Send `values` from the CPU to `device`; to a GPU from pinned memory, so that the program does not wait for it."""
    return values if device.type == "cpu" else values.pin_memory().to(device, non_blocking=True)


def seed_of(seed: int, number: int) -> int:
    """Seed of epoch `number` in a training from `seed`; it does not depend on interruptions."""
    return (seed * 1_000_003 + number) % 2**31


def seed_of_step(seed: int, step: int) -> int:
    """Seed of a step, counted from 0 through all epochs; it is another one than those of the first 7,918 epochs."""
    return seed_of(seed, 7919 * (step + 1))
