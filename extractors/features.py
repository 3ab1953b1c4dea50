"""The feature file data/D/features/M.safetensors: one matrix per modality, rows in index order."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from foundation.errors import UserError
from foundation.files import whole


class FeaturesError(UserError):
    """A feature file cannot be used; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Features:
    """Features of one modality of a corpus."""

    values: np.ndarray
    """Features, float32 [utterances, dim]; zero where the modality is missing. dim is 0 if the corpus leaves it out."""
    present: np.ndarray
    """Whether each utterance has the modality, bool [utterances]."""
    identity: dict
    """Parameters, checksums and versions that determine the values."""
    reduction: dict[str, np.ndarray] = field(default_factory=dict)
    """Tensors of the reduction applied to `values` (extractors/audio/reduction.py); only `read_origin` reads them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Identity and reduction of one modality's features, needed to extract other recordings in the same way."""

    identity: dict
    reduction: dict[str, np.ndarray]


def write_features(features: Features, file: Path) -> None:
    """Write the file, completely or not at all; the same features give the same bytes.

    Raises:
        FeaturesError: a value is not finite.
        DiskError: it cannot be written, for example because the disk is full; what was extracted is in the work cache.
    """
    wrong = np.flatnonzero(~np.isfinite(features.values).all(1))
    if len(wrong):
        raise FeaturesError(f"{file}: not written: {len(wrong)} utterances have values that are not finite, the first "
                            f"in row {wrong[0] + 1} of the index: the encoder is broken, or this input is none for it"
                            )  # fmt: skip
    tensors = {"features": features.values.astype(np.float32), "present": features.present.astype(bool)}
    tensors |= {f"reduction.{name}": value for name, value in features.reduction.items()}
    # safetensors writes the memory in its current order and ignores strides, so a transposed matrix must be copied.
    tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    with whole(file) as half:
        save_file(tensors, half, metadata={"identity": json.dumps(features.identity, sort_keys=True)})


def read_features(file: Path, utterances: int) -> Features:
    """Read the file, which must have as many rows as the index has `utterances`.

    Raises:
        FeaturesError: the file is missing, broken, or belongs to another index.
    """
    try:
        with safe_open(file, "np") as stored:
            identity = json.loads((stored.metadata() or {}).get("identity", "{}"))
            features = Features(stored.get_tensor("features"), stored.get_tensor("present"), identity)
    except FileNotFoundError:
        raise FeaturesError(f"{file}: no such file; `dvc repro` makes it") from None
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise FeaturesError(f"{file}: is no feature file ({error}); delete it and run `dvc repro`") from None
    values, present = features.values, features.present
    for name, found, dtype, edges in (("features", values, np.float32, 2), ("present", present, np.bool_, 1)):
        if found.dtype != dtype or found.ndim != edges:
            raise FeaturesError(f"{file}: `{name}` is {found.dtype} of {found.ndim} dimensions, where a feature file "
                                f"has {dtype.__name__} of {edges}; delete it and run `dvc repro`")  # fmt: skip
    if not isinstance(identity, dict):
        raise FeaturesError(f"{file}: does not say what made it (`identity`); delete it and run `dvc repro`")
    if len(values) != utterances or len(present) != utterances:
        raise FeaturesError(f"{file}: has {len(values)} rows, and says of {len(present)} whether they are present, "
                            f"where the index has {utterances}; `dvc repro`")  # fmt: skip
    if not np.isfinite(values).all():
        raise FeaturesError(f"{file}: holds values that are not finite; delete it and run `dvc repro`")
    return features


def read_origin(file: Path) -> Origin:
    """Read identity and reduction of the features in `file`, which `read_features` has read.

    Raises:
        FeaturesError: the file does not say what made it.
    """
    with safe_open(file, "np") as stored:
        kept = [name for name in stored.keys() if name.startswith("reduction.")]  # noqa: SIM118 (no mapping)
        reduction = {name.removeprefix("reduction."): stored.get_tensor(name) for name in kept}
        identity = json.loads((stored.metadata() or {}).get("identity", "null"))
    if not isinstance(identity, dict):
        raise FeaturesError(f"{file}: does not say what made it (`identity`); delete it and run `dvc repro`")
    return Origin(identity, reduction)
