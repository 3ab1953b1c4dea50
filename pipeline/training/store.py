"""Store of finished trainings in the work cache, so that each training is done only once.

A finished training is `.cache/trainings/<identity>/seed<k>.json` (its history, time and number of parameters) and, if
requested, `seed<k>.safetensors` (the weights, and the unscored test predictions of every epoch). An interrupted
training resumes at its checkpoint. The identity is a hash of everything that affects the result: the corpus as the
model sees it, the model's configuration, the training settings, and the code of network and training without comments.
So neither deleting a model nor editing a comment causes a new training.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from foundation.arithmetic import arithmetic
from foundation.checkpoint import checkpoint_seconds, load_checkpoint
from foundation.device import device
from foundation.errors import UserError
from foundation.files import whole, write_whole
from foundation.log import log
from foundation.precision import chosen_precision
from foundation.trainings import folder_of, write_about
from model.batching import Corpus
from model.identity import code_digest
from model.losses import inverse_frequency
from model.registry import make_model
from model.settings import TrainingSettings
from model.training import DivergenceError, fit, positions
from pipeline.params import Params

CHECKPOINT_SECONDS = 20.0
"""Seconds between two checkpoints, the most that a kill can lose, unless the environment says otherwise."""
PREDICTIONS = "test_predictions"
NOT_OF_MODEL = frozenset({"name", "modalities", "context"})
"""Fields of `model` that are not in the configuration: the identity has the name, the corpus the modalities, and
`context_of` the context."""
NOT_OF_TRAINING = frozenset({"seeds", "gamma1", "gamma2", "decision"})
"""Fields of `train` that are not in the identity: each seed has its own file, CMATH's configuration has the gammas, and
the decision is made when a model is trained."""


@dataclass(frozen=True, slots=True)
class Trained:
    """Record of a finished training."""

    history: list[dict[str, float]]
    """One row per epoch: losses and validation score; empty if the loss was not finite in the first epoch."""
    best_epoch: int
    seconds: float | None
    """Mean seconds per epoch, over the epochs of the last process; None if that process trained no epoch."""
    parameters: int

    @property
    def score(self) -> float | None:
        """Weighted F1 on validation, percent, at the chosen epoch; None if the training failed."""
        return self.history[self.best_epoch - 1]["validation_weighted_f1"] if self.history else None


def model_config(params: Params, name: str, corpus: Corpus, order: tuple[str, ...]) -> dict[str, Any]:
    """Configuration fields of the model that `params` name, for this corpus' features and labels."""
    found = {
        "dims": {modality: values.shape[1] for modality, values in corpus.features.items()},
        "speakers": int(corpus.speaker.max()) + 1,
        "classes": len(order),
    }
    found |= context_of(params)
    if params.model.name != "cmath":
        return found | params.baselines[params.model.name].model_dump()
    weights = {"gamma1": params.train[name].gamma1, "gamma2": params.train[name].gamma2}
    return found | weights | params.model.model_dump(exclude=set(NOT_OF_MODEL))


def context_of(params: Params) -> dict[str, str]:
    """Field `context` of the configuration; none for `whole`, so that models from before there was it are the same."""
    return {"context": params.model.context} if params.model.context != "whole" else {}


def class_weights_of(settings: TrainingSettings, train: Tensor, classes: int) -> Tensor | None:
    """Class weights [C] from the training labels `train`; None if `settings` do not ask for them."""
    return inverse_frequency(train, classes) if settings.class_weights else None


def training_folder(content: str, model: str, config: dict[str, Any], train: TrainingSettings) -> Path:
    """Folder of the trainings of a model on a corpus with these settings; it has one file per seed.

    Args:
        content: `model.identity.digest` of the corpus.
    """
    values = {
        "corpus": content,
        "model": model,
        "config": config,
        "train": train.model_dump(exclude=set(NOT_OF_TRAINING)),
        "code": code_digest(model),
        "torch": torch.__version__,
        "device": device().type,
        "precision": chosen_precision(train.precision, device(), older="float32"),
        "arithmetic": arithmetic(),
    }
    return folder_of(values)


def found(folder: Path, seed: int, *, weights: bool) -> Trained | None:
    """Find the record of a training; None if it is not finished, or if `weights` are requested and missing.

    A finished training needs no checkpoint: one that is left is deleted.
    """
    file = folder / f"seed{seed}.json"
    if not file.is_file():
        return None
    try:
        known = Trained(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        log.warning("%s: is no whole record of a training (%s); it is trained anew", file, error)
        return None
    kept = (folder / f"seed{seed}.safetensors").is_file() or not known.history
    if weights and not kept:
        return None
    # A training that was killed between its last two steps has left its checkpoint beside its record.
    _checkpoint(folder, seed).unlink(missing_ok=True)
    return known


def trained(
    folder: Path,
    corpus_name: str,
    corpus: Corpus,
    model: str,
    config: dict[str, Any],
    train: TrainingSettings,
    seed: int,
    *,
    weights: bool,
    each_epoch: Callable[[list[dict[str, float]]], None] | None = None,
) -> Trained:
    """Get a finished training from the store, or train now; a training whose loss was not finite counts as finished.

    Args:
        folder: result of `training_folder`.
        each_epoch: is called with the history so far after each newly trained epoch.
    """
    known = found(folder, seed, weights=weights)
    if known:
        return known
    write_about(folder, corpus=corpus_name, model=model)
    class_weights = class_weights_of(train, corpus.label[positions(corpus, "train")], config["classes"])
    checkpoint = _checkpoint(folder, seed)
    before, begin = _epochs(checkpoint), time.monotonic()
    parameters = sum(value.numel() for value in make_model(model, config).parameters())
    try:
        result = fit(lambda: make_model(model, config), corpus, train, class_weights, seed, device(), checkpoint,
                     checkpoint_seconds(CHECKPOINT_SECONDS), each_epoch)  # fmt: skip
    except DivergenceError as error:
        log.warning("%s: %s", model, error)
        known = Trained([], 0, None, parameters)
    else:
        now = len(result.history) - before
        seconds = round((time.monotonic() - begin) / now, 3) if now else None
        known = Trained(result.history, result.best_epoch, seconds, parameters)
        if weights:
            tensors = {key: value.contiguous() for key, value in result.weights.items()}
            with whole(folder / f"seed{seed}.safetensors") as half:
                save_file({**tensors, PREDICTIONS: result.test_predictions}, half)
    write_whole(folder / f"seed{seed}.json", json.dumps(asdict(known)))
    checkpoint.unlink(missing_ok=True)
    return known


def kept_weights(folder: Path, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Load the weights of a finished training, and its test predictions of every epoch, int8 [epochs, utterances].

    Raises:
        UserError: their file is broken.
    """
    file = folder / f"seed{seed}.safetensors"
    try:
        tensors = load_file(file)
        return tensors, tensors.pop(PREDICTIONS)
    except (SafetensorError, KeyError) as error:
        raise UserError(f"{file}: is broken ({error}); delete it, and the same command trains this seed anew") from None


def _checkpoint(folder: Path, seed: int) -> Path:
    return folder / f"seed{seed}.pt"


def _epochs(checkpoint: Path) -> int:
    """Number of finished epochs of an interrupted training."""
    stored = load_checkpoint(checkpoint)
    return int(stored["state"]["epoch"]) if stored else 0
