"""Reduction of audio features to fewer columns, fitted on the training split only."""

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np
from safetensors.numpy import load, save

from extractors.cache import Cache
from extractors.settings import AudioSettings
from foundation.standardisation import standardised, statistics

VERSION = 2
"""Version of this module; raise it with every change that changes a value."""
SETTINGS = ("reduce", "dim")
"""Fields of AudioSettings that are used only here; the cached functionals do not depend on them."""
PENALTY = 1e-3
"""C of the SVM; small, because there are many and strongly correlated functionals."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """Standardisation of F columns, followed by a projection to, or a selection of, fewer columns."""

    tensors: dict[str, np.ndarray]
    """Mean `mean` and standard deviation `deviation`, float32 [F]; `components` [dim, F], or `columns`, int64 [dim]."""

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Reduce `values`, float32 [N, F], to float32 [N, dim]."""
        scaled = standardised(values, self.tensors["mean"], self.tensors["deviation"])
        if "columns" in self.tensors:
            return scaled[:, self.tensors["columns"]]
        return scaled @ self.tensors["components"].T


ReductionKind = Literal["pca", "svm"]


def identity(settings: AudioSettings) -> dict[str, object]:
    """Identity of the maker of reductions in the work cache."""
    made_by = {"what": "audio reduction", "version": VERSION, "sklearn": version("scikit-learn")}
    return settings.model_dump(include=set(SETTINGS)) | made_by


def cached_fit(values: np.ndarray, labels: list[str], settings: AudioSettings, cache: Cache) -> Reduction:
    """Fit the reduction that `settings` ask for, or take it from the cache if values and labels are the same."""
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
    """Import the libraries that `fit` needs; this takes more than a second, so a caller can do it in the background."""
    import sklearn.decomposition
    import sklearn.svm  # noqa: F401


def fit(values: np.ndarray, labels: list[str], kind: ReductionKind, dim: int) -> Reduction:
    """Fit a reduction of `values`, float32 [N, F] of the training split, to `dim` columns, or fewer if N is small.

    `pca` keeps the directions of largest variance; N utterances (at least 2) have at most N - 1 of them. `svm` trains a
    linear support vector machine on the `labels` [N] and keeps the columns whose weight vectors have the largest norm.
    """
    mean, std = statistics(values)
    standard, scaled = {"mean": mean, "deviation": std}, standardised(values, mean, std)
    if kind == "pca":
        from sklearn.decomposition import PCA

        # The PCA's own centring is not stored: it is a constant, which the model's standardisation removes.
        projection = PCA(min(dim, len(values) - 1, values.shape[1]), random_state=0).fit(scaled)
        return Reduction({**standard, "components": np.ascontiguousarray(projection.components_, np.float32)})
    from sklearn.svm import LinearSVC

    # Primal form and low precision are enough to rank the columns; even so, thousands of columns take minutes.
    machine = LinearSVC(C=PENALTY, dual=False, tol=1e-2).fit(scaled, labels)
    weight = np.linalg.norm(machine.coef_, axis=0)
    chosen = np.sort(np.argsort(-weight, kind="stable")[:dim])
    return Reduction({**standard, "columns": chosen.astype(np.int64)})
