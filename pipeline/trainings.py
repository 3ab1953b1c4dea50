"""The store of finished trainings: each is done once, kept in the work cache, and found there again.

A finished training is `.cache/trainings/<identity>/seed<k>.json` (its history, time and number of parameters) and,
where they are asked for, `seed<k>.safetensors`: the weights, and what each epoch's model predicts on test, unscored.
One that was killed goes on at its checkpoint. The identity is a name for all that decides the numbers: the corpus as
the model sees it, the model's configuration, how it is trained, and the code of the network and its training without
comments. So neither a deleted model nor a comment trains anything anew.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from extractors.cache import fingerprint
from extractors.device import device
from model.batching import Corpus
from model.identity import code_digest
from model.losses import inverse_frequency
from model.registry import make_model
from model.training import DivergenceError, Settings, fit, positions
from pipeline.arithmetic import arithmetic
from pipeline.params import Params, TrainOf
from pipeline.stage import cache_folder, log

CHECKPOINT_SECONDS = float(os.environ.get("CMATH_CHECKPOINT_SECONDS", "20"))
"""Between two checkpoints: what a kill may cost."""
FOLDER = "trainings"
"""In the work cache."""
ABOUT = "about.json"
"""In the folder of an identity: which corpus and model its trainings are of, for people and for pruning."""
GUESSES = "test_guesses"
NOT_OF_MODEL = frozenset({"name", "modalities"})
"""Of `model`: the name stands beside the configuration, and the corpus has features of the modalities alone."""
NOT_OF_TRAINING = frozenset({"seeds", "gamma1", "gamma2"})
"""Of `train`: a seed has a file of its own, and the two weights of the loss are in CMATH's configuration."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What is known of a finished training."""

    history: list[dict[str, float]]
    """A row an epoch: losses and the validation score; none where the loss was not finite in the first."""
    best_epoch: int
    seconds: float | None
    """An epoch, mean of those that one process did; None where it was killed after the last of them."""
    parameters: int

    @property
    def score(self) -> float | None:
        """Weighted F1 on validation, percent, of the epoch that was kept; None where the training failed."""
        return self.history[self.best_epoch - 1]["validation_weighted_f1"] if self.history else None


def model_config(params: Params, name: str, corpus: Corpus, order: tuple[str, ...]) -> dict[str, Any]:
    """The fields of the configuration of the model that params.yaml names, for this corpus' features and labels."""
    found = {
        "dims": {modality: values.shape[1] for modality, values in corpus.features.items()},
        "speakers": int(corpus.speaker.max()) + 1,
        "classes": len(order),
    }
    if params.model.name != "cmath":
        return found | params.baselines[params.model.name].model_dump()
    weights = {"gamma1": params.train[name].gamma1, "gamma2": params.train[name].gamma2}
    return found | weights | params.model.model_dump(exclude=set(NOT_OF_MODEL))


def training_settings(settings: TrainOf, train: Tensor, classes: int) -> Settings:
    """How to train by `settings`; class weights are of `train`, the labels of the training split."""
    return Settings(
        class_weights=inverse_frequency(train, classes) if settings.class_weights else None,
        **settings.model_dump(exclude={"class_weights", *NOT_OF_TRAINING}),
    )


def training_folder(content: str, model: str, config: dict[str, Any], train: TrainOf) -> Path:
    """Where the trainings of a model on a corpus, with these settings, are kept, a file a seed.

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
        "arithmetic": arithmetic(),
    }
    return cache_folder() / FOLDER / fingerprint(values)


def found(folder: Path, seed: int, *, weights: bool) -> Trained | None:
    """What is known of a training, if it is finished (and its weights kept, if they are asked for)."""
    file = folder / f"seed{seed}.json"
    if not file.is_file():
        return None
    known = Trained(**json.loads(file.read_text(encoding="utf-8")))
    kept = (folder / f"seed{seed}.safetensors").is_file() or not known.history
    return known if kept or not weights else None


def trained(
    folder: Path,
    corpus_name: str,
    corpus: Corpus,
    model: str,
    config: dict[str, Any],
    train: TrainOf,
    seed: int,
    *,
    weights: bool,
    each_epoch: Callable[[list[dict[str, float]]], None] | None = None,
) -> Trained:
    """The finished training, from the store or done now; one whose loss was not finite is a finished one too.

    Args:
        folder: of `training_folder`.
        each_epoch: is given the history so far after each epoch that is trained now.
    """
    known = found(folder, seed, weights=weights)
    if known:
        return known
    write_whole(folder / ABOUT, json.dumps({"corpus": corpus_name, "model": model}))
    settings = training_settings(train, corpus.label[positions(corpus, "train")], config["classes"])
    checkpoint = folder / f"seed{seed}.pt"
    before, begin = _epochs(checkpoint), time.monotonic()
    parameters = sum(value.numel() for value in make_model(model, config).parameters())
    try:
        result = fit(lambda: make_model(model, config), corpus, settings, seed, device(), checkpoint,
                     CHECKPOINT_SECONDS, each_epoch)  # fmt: skip
    except DivergenceError as error:
        log.warning("%s: %s", model, error)
        known = Trained([], 0, None, parameters)
    else:
        now = len(result.history) - before
        seconds = round((time.monotonic() - begin) / now, 3) if now else None
        known = Trained(result.history, result.best_epoch, seconds, parameters)
        if weights:
            tensors = {key: value.contiguous() for key, value in result.weights.items()}
            half = folder / f"seed{seed}.half.safetensors"
            save_file({**tensors, GUESSES: result.test_guesses}, half)
            half.replace(folder / f"seed{seed}.safetensors")
    write_whole(folder / f"seed{seed}.json", json.dumps(asdict(known)))
    checkpoint.unlink(missing_ok=True)
    return known


def kept_weights(folder: Path, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """Weights of a finished training, and int8 [epochs, test utterances]: what each epoch's model says of test."""
    tensors = load_file(folder / f"seed{seed}.safetensors")
    return tensors, tensors.pop(GUESSES)


def write_whole(file: Path, text: str) -> None:
    """Write the file; a kill leaves the one before, or none. Several processes may write it at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(f".{os.getpid()}.half")
    half.write_text(text, encoding="utf-8")
    half.replace(file)


def _epochs(checkpoint: Path) -> int:
    """How many epochs an interrupted training has behind it."""
    if not checkpoint.is_file():
        return 0
    return int(torch.load(checkpoint, mmap=True, weights_only=True)["state"]["epoch"])
