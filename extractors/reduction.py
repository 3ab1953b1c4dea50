"""Reduction of a modality's features to fewer columns, fitted on the training split alone."""

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np
from safetensors.numpy import load, save

from extractors.cache import Cache
from pipeline.params import AudioOf

VERSION = 2
"""To be raised with every change of this module that changes a number."""
SETTINGS = ("reduce", "dim")
"""What of AudioOf is read here, and changes no functional: these are kept in all their columns."""
LIMIT = 10.0
"""Deviations from the mean beyond which a value is cut: functionals of unusual sounds lie millions away."""
PENALTY = 1e-3
"""C of the SVM: small, for functionals are many and alike."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """Standardisation of F columns, and then either a projection onto, or a choice of, fewer."""

    tensors: dict[str, np.ndarray]
    """`mean` and `deviation`, float32 [F]; `components` [dim, F], or `columns`, int64 [dim]."""

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """`values`, float32 [N, F], as float32 [N, dim]."""
        white = np.clip((values - self.tensors["mean"]) / self.tensors["deviation"], -LIMIT, LIMIT)
        if "columns" in self.tensors:
            return white[:, self.tensors["columns"]]
        return white @ self.tensors["components"].T


Kind = Literal["pca", "svm"]


def identity(settings: AudioOf) -> dict[str, object]:
    """Of a maker of reductions, in the work cache."""
    made_by = {"what": "audio reduction", "version": VERSION, "sklearn": version("scikit-learn")}
    return settings.model_dump(include=set(SETTINGS)) | made_by


def learnt(values: np.ndarray, labels: list[str], settings: AudioOf, cache: Cache) -> Reduction:
    """What `fit` learns by `settings`, which want a reduction, or learnt from the same values and labels before."""
    assert settings.reduce != "none"
    kind, dim = settings.reduce, settings.dim
    name = cache.maker(identity(settings))
    content = hashlib.sha256(values.tobytes())
    content.update(json.dumps([values.shape, labels if kind == "svm" else []]).encode())
    key = content.hexdigest()
    kept = cache.get(name, [key])
    if kept:
        return Reduction(load(kept[key]))
    found = fit(values, labels, kind, dim)
    cache.put(name, {key: save(found.tensors)})
    return found


def load_library() -> None:
    """Import what `fit` needs, which takes more than a second: while others work, if it can be foreseen."""
    import sklearn.decomposition
    import sklearn.svm  # noqa: F401


def fit(values: np.ndarray, labels: list[str], kind: Kind, dim: int) -> Reduction:
    """Learn to reduce `values`, float32 [N, F] of the training split, to `dim` columns, or to as many as it allows.

    `pca` keeps the directions of most variance, of which N utterances, at least 2, have at most N - 1. `svm` keeps the
    columns that a linear support vector machine, taught to tell the `labels` [N], gives the longest vectors of weights.
    """
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    deviation[deviation <= 1e-6 * np.maximum(np.abs(mean), 1e-6)] = 1.0
    standard = {"mean": mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
    white = np.clip((values - standard["mean"]) / standard["deviation"], -LIMIT, LIMIT)
    if kind == "pca":
        from sklearn.decomposition import PCA

        # Its own centring is left out of the reduction: a constant, which the model's standardisation takes away.
        projection = PCA(min(dim, len(values) - 1, values.shape[1]), random_state=0).fit(white)
        return Reduction({**standard, "components": np.ascontiguousarray(projection.components_, np.float32)})
    from sklearn.svm import LinearSVC

    # The primal form, and no last digit: a ranking needs neither more, and thousands of columns cost minutes as it is.
    machine = LinearSVC(C=PENALTY, dual=False, tol=1e-2).fit(white, labels)
    weight = np.linalg.norm(machine.coef_, axis=0)
    chosen = np.sort(np.argsort(-weight, kind="stable")[:dim])
    return Reduction({**standard, "columns": chosen.astype(np.int64)})
