"""Hashes of a model's training data and of its code: see foundation/identity.py."""

import hashlib
import inspect
from pathlib import Path

from foundation import identity
from model import losses, training
from model.batching import Corpus
from model.registry import MODELS


def digest(corpus: Corpus) -> str:
    """Hash of features, presence, speakers, labels and splits."""
    found = hashlib.sha256()
    parts = {**corpus.features, **{f"{name} present": there for name, there in corpus.present.items()}}
    parts |= {"speaker": corpus.speaker, "label": corpus.label}
    parts |= {f"{split} {number}": dialogue for split, dialogues in corpus.dialogues.items()
              for number, dialogue in enumerate(dialogues)}  # fmt: skip
    for name, values in parts.items():
        found.update(f"{name} {values.dtype} {list(values.shape)}".encode())
        found.update(values.contiguous().numpy().tobytes())
    return found.hexdigest()


def code_digest(model: str) -> str:
    """Hash of the code of `model` and its training: their modules and the project modules that these import."""
    network = Path(inspect.getfile(MODELS[model][0]))
    return identity.code_digest([network, Path(training.__file__), Path(losses.__file__)])
