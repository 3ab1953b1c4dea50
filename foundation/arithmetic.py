"""Environment variables for equal arithmetic on all Intel processors with AVX2, set before importing numpy and torch.

The libraries choose instructions by processor type, and other instructions sum in another order. The last bits of
features and models would then differ between machines, and so would every checksum in dvc.lock. On a processor with
AVX-512, using AVX2 makes training about 10 % slower. oneMKL ignores its setting on other makers' processors, so on AMD
the last bits of text features and models still differ. Variables that are already set are not changed.
"""

import os

SETTINGS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "MKL_CBWR": "AVX2",  # torch's matrix products and elementary functions
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch's convolutions, GELU and LSTM
    "OPENBLAS_CORETYPE": "Haswell",  # numpy's and scipy's linear algebra
    "OPENBLAS_NUM_THREADS": "1",  # its sums depend on the number of threads
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # numpy's exponentials and logarithms
}


def arithmetic() -> dict[str, str]:
    """Settings that are in effect."""
    return {name: os.environ.get(name, "") for name in SETTINGS}


def set_arithmetic() -> None:
    """Set the environment variables, which the libraries and all child processes read."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
