"""Marks of results that are no fair scores, because labels of test were seen when their features were made.

The stage `leakage` finds them out and writes them down by modality; whoever makes a table of scores asks here.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from foundation.errors import UserError


def leakage_file(corpus: str) -> Path:
    """File that the stage `leakage` writes."""
    return Path("results") / corpus / "leakage.json"


def verdicts(corpus: str, modalities: Sequence[str]) -> dict[str, str]:
    """What the probe says of the features of each of `modalities` that the corpus has.

    Raises:
        UserError: the stage `leakage` has not run.
    """
    return {modality: one["verdict"] for modality, one in _read(corpus).items() if modality in modalities}


def marks(corpus: str, modalities: Sequence[str]) -> list[str]:
    """Reasons why scores of a model of these `modalities` are not fair, a sentence each; empty if nothing is known.

    Raises:
        UserError: the stage `leakage` has not run.
    """
    found = []
    for modality, one in _read(corpus).items():
        if modality in modalities:
            found += [f"{modality}: {mark}" for mark in one["known"]]
            if "test" in one["suspected"]:  # of validation alone: the score on test is a fair one
                found.append(f"{modality}: {one['verdict']}, says the probe")
    return found


def _read(corpus: str) -> dict[str, dict]:
    file = leakage_file(corpus)
    if not file.is_file():
        raise UserError(f"{file}: no such file; `dvc repro leakage@{corpus}` makes it")
    found: dict[str, dict] = json.loads(file.read_text("utf-8"))["modalities"]
    return found
