"""Training of one model from one seed; the epoch is chosen on validation, and an interrupted run can be resumed.

Test labels are never used. The test predictions of every epoch are stored without scoring them, so that `evaluate` can
report how much choosing the epoch on test would inflate the score.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from foundation.checkpoint import load_checkpoint, save_checkpoint
from foundation.log import log
from foundation.torch_setup import seed_of
from model.batching import Corpus, collate, in_order, shuffled
from model.interface import ErcModel
from model.settings import TrainingSettings


@dataclass(slots=True)
class Fit:
    """A finished training."""

    weights: dict[str, Tensor]
    """Weights of the epoch with the best validation score."""
    history: list[dict[str, float]]
    """One row per epoch: seed, epoch, losses by name, validation score."""
    best_epoch: int
    test_predictions: Tensor
    """Test predictions of every epoch, int8 [epochs, test utterances], in the order of `positions`."""


@dataclass(slots=True)
class _State:
    """Progress of a training, without the states of the model and the optimiser."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    predictions: list[Tensor] = field(default_factory=list)


def positions(corpus: Corpus, split: str) -> Tensor:
    """Positions of a split's utterances, dialogue by dialogue; `predict` returns its results in this order."""
    return torch.cat(corpus.dialogues[split])


@torch.inference_mode()
def predict(model: ErcModel, corpus: Corpus, split: str, device: torch.device, size: int = 32) -> tuple[Tensor, Tensor]:
    """Compute logits [utterances, C] and fused representations [utterances, d] of a split, ordered as `positions`."""
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


def weighted_f1(label: Tensor, predicted: Tensor) -> float:
    """Weighted F1 in percent: the mean over the classes, weighted by class frequency."""
    return 100 * float(f1_score(label.numpy(), predicted.numpy(), average="weighted", zero_division=0))


def fit(
    make_model: Callable[[], ErcModel],
    corpus: Corpus,
    settings: TrainingSettings,
    class_weights: Tensor | None,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    seconds_between_checkpoints: float = 20.0,
    each_epoch: Callable[[list[dict[str, float]]], None] | None = None,
) -> Fit:
    """Train a model from `seed` until the validation score has not improved for `patience` epochs.

    Args:
        class_weights: weights [C] of the classes in the loss.
        each_epoch: is called with the history so far after each newly trained epoch; without it, a terminal shows a
            progress bar.

    Every epoch draws its random numbers from (seed, epoch), so interrupting and resuming a run changes no result.
    """
    torch.manual_seed(seed_of(seed, 0))
    class_weights = None if class_weights is None else class_weights.to(device)
    model = make_model().to(device)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    averaged = AveragedModel(model, multi_avg_fn=partial(_average, settings.ema_decay))
    kept: ErcModel = averaged.module  # type: ignore[assignment]
    for part in kept.modules():
        if isinstance(part, nn.RNNBase):
            part.flatten_parameters()  # a copy's weights lie apart, and cuDNN would gather them at each call
    scaler = torch.amp.GradScaler("cuda", enabled=device.type == "cuda" and settings.precision == "float16")
    state = _State()
    if stored := load_checkpoint(checkpoint):
        model.load_state_dict(stored["model"])
        averaged.load_state_dict(stored["averaged"])
        optimizer.load_state_dict(stored["optimizer"])
        scaler.load_state_dict(stored["scaler"])
        state = _State(**stored["state"])

    def save() -> None:
        parts = {name: getattr(state, name) for name in state.__dataclass_fields__}
        save_checkpoint(checkpoint, model=model.state_dict(), averaged=averaged.state_dict(),
                        optimizer=optimizer.state_dict(), scaler=scaler.state_dict(), state=parts)  # fmt: skip

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
            torch.manual_seed(seed_of(seed, state.epoch))
            losses = _train_epoch(
                model, averaged, optimizer, scaler, corpus, settings, class_weights, seed, state.epoch, device
            )
            if not all(map(math.isfinite, losses.values())):
                if not state.best:
                    raise DivergenceError(f"seed {seed}: the loss is not finite in the first epoch: {losses}; lower "
                                          "train's learning_rate")  # fmt: skip
                log.warning(
                    "seed %d: the loss became infinite or NaN in epoch %d; training stopped there", seed, state.epoch
                )
                state.epoch = settings.epochs  # a resumed run must not train this epoch again
                break
            score = weighted_f1(validation, predict(kept, corpus, "validation", device)[0].argmax(1))
            state.history.append({"seed": seed, "epoch": state.epoch, **losses, "validation_weighted_f1": score})
            state.predictions.append(predict(kept, corpus, "test", device)[0].argmax(1).to(torch.int8))
            if score > state.best_score:
                state.best_score, state.best_epoch = score, state.epoch
                state.best = {name: value.detach().cpu().clone() for name, value in kept.state_dict().items()}
            if each_epoch:
                each_epoch(state.history)
            progress.update()
            progress.set_postfix({**{name: f"{value:.3f}" for name, value in losses.items()}, "F1": f"{score:.2f}"})
            if time.monotonic() - saved >= seconds_between_checkpoints:
                save()
                saved = time.monotonic()
    save()  # so that a finished seed is not trained again if a later seed is interrupted
    return Fit(state.best, state.history, state.best_epoch, torch.stack(state.predictions))


def _average(decay: float, averaged: list[Tensor], current: list[Tensor], steps: Tensor) -> None:
    """Move the averages towards the current weights; the decay is smaller in the first steps."""
    so_far = min(decay, float(steps + 1) / float(steps + 10)) if decay else 0.0
    torch._foreach_lerp_(averaged, current, 1 - so_far)


def _train_epoch(
    model: ErcModel,
    averaged: AveragedModel,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    corpus: Corpus,
    settings: TrainingSettings,
    class_weights: Tensor | None,
    seed: int,
    epoch: int,
    device: torch.device,
) -> dict[str, float]:
    """Train for one epoch and return the mean of each loss term over the batches, by name."""
    model.train()
    generator = torch.Generator().manual_seed(seed_of(seed, epoch))
    weights = model.loss_weights
    sums: dict[str, Tensor] = {}
    steps = 0
    dtype = getattr(torch, settings.precision)
    lower = device.type == "cuda" and dtype != torch.float32
    model.begin_epoch(epoch)
    for dialogues in shuffled(model.curriculum_subset(corpus, epoch), settings.batch, generator):
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
    """The loss became NaN or infinite; the message says in which seed and epoch."""
