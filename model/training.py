"""Training of one model from one seed: the epoch is chosen on validation, and a killed run goes on where it was.

Labels of the test split never enter. What each epoch's model says on test is kept unseen, so that `evaluate` can tell
how much a choice of the epoch on test would flatter.
"""

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from sklearn.metrics import f1_score
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from model.batching import Corpus, collate, in_order, shuffled
from model.interface import ErcModel

log = logging.getLogger("cmath")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a model is trained."""

    learning_rate: float
    batch: int
    epochs: int
    patience: int
    weight_decay: float
    average: float = 0.0
    """Decay of the moving average of the weights that is validated and kept; 0: the last weights."""
    precision: str = "float32"
    class_weights: Tensor | None


@dataclass(slots=True)
class Fit:
    """A finished training."""

    weights: dict[str, Tensor]
    """Of the epoch with the best validation score."""
    history: list[dict[str, float]]
    """A row an epoch: epoch, losses by name, train and validation scores."""
    best_epoch: int
    test_guesses: Tensor
    """int8 [epochs, test utterances]: what each epoch's model predicts, in the order of `positions`."""


@dataclass(slots=True)
class _State:
    """Where a training is, apart from the model and its optimiser."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    guesses: list[Tensor] = field(default_factory=list)

    def save(self, file: Path, model: ErcModel, averaged: AveragedModel, optimizer: torch.optim.Optimizer) -> None:
        """Write the checkpoint; a kill leaves the one before."""
        file.parent.mkdir(parents=True, exist_ok=True)
        half = file.with_suffix(".half")
        state = {name: getattr(self, name) for name in self.__dataclass_fields__}
        torch.save(
            {
                "model": model.state_dict(),
                "averaged": averaged.state_dict(),
                "optimizer": optimizer.state_dict(),
                "state": state,
            },
            half,
        )
        half.replace(file)

    @classmethod
    def load(cls, file: Path, model: ErcModel, averaged: AveragedModel, optimizer: torch.optim.Optimizer) -> "_State":
        stored = torch.load(file, map_location="cpu", weights_only=True)
        model.load_state_dict(stored["model"])
        averaged.load_state_dict(stored["averaged"])
        optimizer.load_state_dict(stored["optimizer"])
        return cls(**stored["state"])


def prepare_torch() -> None:
    """Make numbers repeatable, and small ones cheap: subnormal gradients cost a CPU up to ten times the time.

    On a CPU a process computes with one thread: sums over several would depend on how many there are.
    """
    torch.set_num_threads(1)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory finds bugs, costs time in every step, and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)


def positions(corpus: Corpus, split: str) -> Tensor:
    """Positions of a split's utterances, dialogue by dialogue: the order in which `predict` answers."""
    return torch.cat(corpus.dialogues[split])


@torch.inference_mode()
def predict(model: ErcModel, corpus: Corpus, split: str, device: torch.device, size: int = 32) -> tuple[Tensor, Tensor]:
    """Logits [utterances, C] and fused representations [utterances, d] of a split, in the order of `positions`."""
    model.eval()
    logits: dict[int, Tensor] = {}
    representations: dict[int, Tensor] = {}
    for dialogues in in_order(corpus.dialogues[split], size):
        batch = collate(corpus, dialogues).to(device)
        output = model(batch)
        for row, dialogue in enumerate(dialogues):
            logits[int(dialogue[0])] = output.logits[row, : len(dialogue)].float().cpu()
            representations[int(dialogue[0])] = output.representation[row, : len(dialogue)].float().cpu()
    firsts = [int(dialogue[0]) for dialogue in corpus.dialogues[split]]
    return torch.cat([logits[first] for first in firsts]), torch.cat([representations[first] for first in firsts])


def weighted_f1(label: Tensor, guess: Tensor) -> float:
    """F1 averaged over the classes by their frequency, percent."""
    return 100 * float(f1_score(label.numpy(), guess.numpy(), average="weighted", zero_division=0))


def fit(
    make_model: Callable[[], ErcModel],
    corpus: Corpus,
    settings: Settings,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    seconds_between_checkpoints: float = 20.0,
    each_epoch: Callable[[list[dict[str, float]]], None] | None = None,
) -> Fit:
    """Train a model from `seed` until the validation score has not risen for `patience` epochs.

    `each_epoch` is given the history so far after each epoch that is trained now; without it a terminal shows a bar.

    Every epoch draws its numbers from (seed, epoch): so it is the same one whether or not the run was interrupted.
    """
    torch.manual_seed(_mixed(seed, 0))
    model = make_model().to(device)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    averaged = AveragedModel(model, multi_avg_fn=partial(_average, settings.average))
    kept: ErcModel = averaged.module  # type: ignore[assignment]
    state = _State.load(checkpoint, model, averaged, optimizer) if checkpoint.exists() else _State()
    validation = corpus.label[positions(corpus, "validation")]
    saved = time.monotonic()
    with tqdm(
        total=settings.epochs,
        initial=state.epoch,
        desc=f"seed {seed}",
        unit="epoch",
        disable=True if each_epoch else None,
        leave=False,
    ) as progress:
        while (
            state.epoch < settings.epochs
            and state.epoch - max(state.best_epoch, model.curriculum - 1) < settings.patience
        ):
            state.epoch += 1
            torch.manual_seed(_mixed(seed, state.epoch))
            losses = _train_epoch(model, averaged, optimizer, corpus, settings, seed, state.epoch, device)
            if not all(map(math.isfinite, losses.values())):
                if not state.best:
                    raise DivergenceError(f"seed {seed}: the loss is not finite in the first epoch: {losses}; lower "
                                          "train's learning_rate")  # fmt: skip
                log.warning("seed %d: the loss left the finite numbers in epoch %d: stopped there", seed, state.epoch)
                state.epoch = settings.epochs  # a run that goes on from here must not try again
                break
            score = weighted_f1(validation, predict(kept, corpus, "validation", device)[0].argmax(1))
            state.history.append({"seed": seed, "epoch": state.epoch, **losses, "validation_weighted_f1": score})
            state.guesses.append(predict(kept, corpus, "test", device)[0].argmax(1).to(torch.int8))
            if score > state.best_score:
                state.best_score, state.best_epoch = score, state.epoch
                state.best = {name: value.detach().cpu().clone() for name, value in kept.state_dict().items()}
            if each_epoch:
                each_epoch(state.history)
            progress.update()
            progress.set_postfix({**{name: f"{value:.3f}" for name, value in losses.items()}, "F1": f"{score:.2f}"})
            if time.monotonic() - saved >= seconds_between_checkpoints:
                state.save(checkpoint, model, averaged, optimizer)
                saved = time.monotonic()
    state.save(
        checkpoint, model, averaged, optimizer
    )  # a finished seed is not trained again when a later one is interrupted
    return Fit(state.best, state.history, state.best_epoch, torch.stack(state.guesses))


def _average(decay: float, averaged: list[Tensor], current: list[Tensor], steps: Tensor) -> None:
    """Move the averages towards the current weights; the average of the first steps is a short one."""
    so_far = min(decay, float(steps + 1) / float(steps + 10)) if decay else 0.0
    torch._foreach_lerp_(averaged, current, 1 - so_far)


def _mixed(seed: int, epoch: int) -> int:
    return (seed * 1_000_003 + epoch) % 2**31


def _train_epoch(
    model: ErcModel,
    averaged: AveragedModel,
    optimizer: torch.optim.Optimizer,
    corpus: Corpus,
    settings: Settings,
    seed: int,
    epoch: int,
    device: torch.device,
) -> dict[str, float]:
    """One pass over the training split; mean of each loss term over the batches, by name."""
    model.train()
    generator = torch.Generator().manual_seed(_mixed(seed, epoch))
    class_weights = None if settings.class_weights is None else settings.class_weights.to(device)
    weights = model.loss_weights
    sums: dict[str, Tensor] = {}
    steps = 0
    dtype = getattr(torch, settings.precision)
    lower = device.type == "cuda" and dtype != torch.float32
    # A fresh scaler an epoch, for an epoch must not depend on what an interrupted run had learnt before it.
    scaler = torch.amp.GradScaler("cuda", enabled=lower and dtype == torch.float16)
    model.begin_epoch(epoch)
    for dialogues in shuffled(model.lesson(corpus, epoch), settings.batch, generator):
        with torch.autocast("cuda", dtype, enabled=lower):
            output = model(collate(corpus, dialogues).to(device), class_weights)
        loss = torch.stack([weights[name] * value for name, value in output.losses.items() if weights[name]]).sum()
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        averaged.update_parameters(model)
        steps += 1
        for name, value in {"loss": loss, **output.losses}.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach()
    return {name: float(value) / steps for name, value in sums.items()}


class DivergenceError(Exception):
    """Training left the finite numbers; the message says where."""
