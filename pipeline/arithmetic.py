"""The same arithmetic on every Intel processor with AVX2: set before numpy and torch are imported.

Their libraries choose instructions by the processor's kind, and other instructions sum in another order, so that the
last bits of features and models would differ between machines, and with them every checksum in dvc.lock. AVX2 costs a
training about a tenth of its speed where there is AVX-512. oneMKL does not let other makers' processors choose: on AMD
the last bits of text features and models stay that machine's own. A variable that is set outside is left alone.
"""

import os

SETTINGS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "MKL_CBWR": "AVX2",  # torch's matrix products and elementary functions
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # torch's convolutions, GELU and LSTM
    "OPENBLAS_CORETYPE": "Haswell",  # numpy's and scipy's linear algebra
    "OPENBLAS_NUM_THREADS": "1",  # whose sums depend on the number of threads
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # numpy's exponentials and logarithms
}


def arithmetic() -> dict[str, str]:
    """The settings as they are in force."""
    return {name: os.environ.get(name, "") for name in SETTINGS}


def set_arithmetic() -> None:
    """Put the settings into the environment, where the libraries and the processes started from here read them."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
