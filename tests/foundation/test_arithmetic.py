"""The last bits of features and models are the same on every Intel processor with AVX2, whatever else it can do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
STATEMENT = """
import hashlib, {first}
import numpy as np
import torch
torch.manual_seed(0)
torch.set_num_threads({threads})
x = torch.randn(64, 300)
layer = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.GELU(), torch.nn.Linear(200, 7), torch.nn.Softmax(1))
array = x.double().numpy()
parts = [layer(x).detach().numpy(), np.exp(array), array.T @ array]
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""


def said(first: str, threads: int = 1, **environment: str) -> str:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MKL", "ATEN", "ONEDNN", "OPENB", "NPY"))
    }
    code = STATEMENT.format(first=first, threads=threads)
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, text=True,
                          capture_output=True, check=True, env={**kept, **environment})  # fmt: skip
    return done.stdout


def test_a_processor_that_can_more_computes_the_same_bits() -> None:
    """As if it had AVX2 and no more: MKL, OpenBLAS, torch and oneDNN can be told so from outside."""
    other = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2",
             "OPENBLAS_CORETYPE": "Haswell"}  # fmt: skip
    assert said("pipeline") == said("pipeline", **other) == said("pipeline.train") == said("paper.train")


def test_what_is_set_outside_is_left_alone() -> None:
    code = "import pipeline, os; print(os.environ['MKL_CBWR'], os.environ['ATEN_CPU_CAPABILITY'])"
    environment = {name: value for name, value in os.environ.items() if name != "ATEN_CPU_CAPABILITY"}
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, text=True, capture_output=True, check=True,
                          env={**environment, "MKL_CBWR": "COMPATIBLE"})  # fmt: skip
    assert done.stdout.split() == ["COMPATIBLE", "avx2"]
