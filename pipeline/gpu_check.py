"""Does this machine's card compute what a CPU computes, twice the same, and how fast? One command, about five minutes.

    python -m pipeline.gpu_check --out gpu_check.json

It needs no corpus: features, texts and faces are made here, and models have the settings that params.yaml gives
MELD. Each model trains for two epochs in each precision. The table has a row for each of them, and
for encoders of texts, faces and pictures and their training:

    difference   the largest |card - CPU| / (1 + |CPU|) among losses and logits (or vectors), without dropout, whose
                 masks each device draws in its own way; the CPU's numbers are float32. It must be below `allowed`
    repeats      whether a second training, with dropout, leaves the same bytes
    resumes      whether one that was killed in its last epoch and goes on from its checkpoint leaves the same bytes
    ms           a training step with 4 dialogues of 10 turns; of encoders, a pass
    MB           peak of the card's memory in such steps
    kernels      that such a step launches on the card

Exit code 0 if every row is good. A row that fails says why, and the others go on.
"""

import argparse
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from extractors.result import ExtractorError
from extractors.text.folders import encoder_folder
from foundation.errors import UserError
from foundation.files import write_whole
from foundation.torch_setup import prepare_torch
from model.registry import MODELS
from pipeline.gpu.encoders import (
    check_face,
    check_face_training,
    check_pictures,
    check_sounds,
    check_text,
    check_text_training,
)
from pipeline.gpu.models import Models
from pipeline.gpu.rows import CheckRow, filled
from pipeline.params import Params, load_params
from pipeline.stage import command

PRECISIONS = ("float32", "bfloat16", "float16")
ALLOWED = {"float32": 0.0005, "bfloat16": 0.1, "float16": 0.05}
"""Largest difference to the CPU. float32 sums in another order; bfloat16 keeps 8 bits of a number, float16 11. Where
float16's scaler left out steps until its scale fitted, the row says how many, and may differ."""
QUICK = ("cmath", "dialogue_gcn")


def checks(
    params: Params, device: torch.device, names: list[str] | None, quick: bool
) -> Iterator[tuple[CheckRow, Callable[[CheckRow], None]]]:
    """The rows, still empty, each with what fills it."""
    models, precisions = Models(params, device), PRECISIONS if device.type == "cuda" and not quick else ("float32",)
    for name in names or (QUICK if quick else MODELS):
        for precision in precisions:
            yield CheckRow(name, precision, ALLOWED[precision]), models.check
    text = params.text["meld"].model_copy(update={"max_tokens": 64})
    lower = "bfloat16" if device.type == "cuda" else "float32"  # encoders choose by themselves
    yield CheckRow("text: roberta", lower, ALLOWED[lower]), partial(check_text, "roberta", settings=text, device=device)
    with suppress(ExtractorError):
        encoder_folder("minilm")
        yield (
            CheckRow("text: minilm", lower, ALLOWED[lower]),
            partial(check_text, "minilm", settings=text, device=device),
        )
    yield (
        CheckRow("text: fine-tuning", lower, ALLOWED[lower]),
        partial(check_text_training, settings=text, device=device),
    )
    yield CheckRow("face", "float32", ALLOWED["float32"]), partial(check_face, params=params, device=device)
    yield CheckRow("sound: wavlm", lower, ALLOWED[lower]), partial(check_sounds, device=device)
    yield CheckRow("pictures: clip", lower, ALLOWED[lower]), partial(check_pictures, device=device)
    yield CheckRow("face: training", "bfloat16", ALLOWED["bfloat16"]), partial(check_face_training, device=device)


def about(device: torch.device) -> dict[str, Any]:
    """Versions, the card, and whether float32 may be rounded to TF32."""
    backends = torch.backends
    found: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda, "device": device.type}
    found |= {"tf32 of products": backends.cuda.matmul.allow_tf32, "tf32 of cuDNN": backends.cudnn.allow_tf32}
    if device.type == "cuda":
        card, query = torch.cuda.get_device_properties(device), ["--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            answer = subprocess.run(["nvidia-smi", *query], capture_output=True, text=True, check=True)
            driver = answer.stdout.split()[0]
        except (OSError, subprocess.CalledProcessError, IndexError):
            driver = "unknown"
        found |= {"driver": driver, "cudnn": backends.cudnn.version(), "card": card.name,
                  "capability": f"{card.major}.{card.minor}", "memory_mb": card.total_memory // 2**20}  # fmt: skip
    return found


COLUMNS = ("model", "precision", "difference", "allowed", "repeats", "resumes", "ms", "MB", "kernels", "copies", "")
WIDTHS = (18, 10, 10, 8, 8, 8, 8, 9, 8, 7, 0)


def line(cells: Sequence[object]) -> str:
    """Format a row of the table: names to the left, numbers to the right."""
    shown = [
        str(cell).ljust(width) if place < 2 or not width else str(cell).rjust(width)
        for place, (cell, width) in enumerate(zip(cells, WIDTHS, strict=True))
    ]
    return " ".join(shown).rstrip()


def cells(row: CheckRow) -> list[object]:
    words = {None: "-", True: "yes", False: "NO"}
    near = "-" if row.difference is None else f"{row.difference:.1e}"
    numbers = ["-" if value is None else value for value in (row.milliseconds, row.megabytes, row.kernels, row.copies)]
    remarks = [row.error or "NOT GOOD"] if not row.good else []
    remarks += [f"{row.skipped} steps skipped"] if row.skipped else []
    first = [row.what, row.precision, near, row.allowed, words[row.repeats], words[row.resumes]]
    return [*first, *numbers, ", ".join(remarks)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; exit with 1 if a row is not good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="what is compared with the CPU: cuda, cuda:1, or cpu itself")
    parser.add_argument("--out", type=Path, help="a JSON file for the same numbers, to attach to an issue")
    parser.add_argument("--models", nargs="+", choices=MODELS, help="which of them (all)")
    parser.add_argument("--quick", action="store_true", help=f"of models only {' and '.join(QUICK)}, in float32")
    chosen = parser.parse_args(arguments)
    device = torch.device(chosen.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("torch sees no CUDA device: `nvidia-smi` says whether the driver does, and which CUDA it can; "
                        f"this torch, {torch.__version__}, needs CUDA {torch.version.cuda}")  # fmt: skip
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)
    prepare_torch(threads=1)
    found, rows = about(device), list[CheckRow]()
    print(*(f"{name}: {value}" for name, value in found.items()), line(COLUMNS), sep="\n", flush=True)
    for row, check in checks(load_params(), device, chosen.models, chosen.quick):
        rows.append(filled(row, check))
        print(line(cells(row)), flush=True)
        if chosen.out:  # after each row, for a card may end the process
            good = all(row.good for row in rows)
            told = {**found, "good": good, "rows": [{**asdict(row), "good": row.good} for row in rows]}
            write_whole(chosen.out, json.dumps(told, indent=2) + "\n")
    for warning in sorted({warning for row in rows for warning in row.warnings}):
        print(f"warning ({next(row.what for row in rows if warning in row.warnings)}): {warning}")
    bad = sum(not row.good for row in rows)
    print(f"{bad} of {len(rows)} rows are not good" if bad else f"all {len(rows)} rows are good")
    if bad:
        raise SystemExit(1)


if __name__ == "__main__":
    command(main)
