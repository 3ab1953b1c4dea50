"""Training of one model from one seed; the epoch is chosen on validation, and an interrupted run can be resumed.

Test labels are never used. The test predictions of every epoch are stored without scoring them, so that `evaluate` can
report how much choosing the epoch on test would inflate the score.
"""

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from foundation.checkpoint import load_checkpoint, save_checkpoint
from foundation.f1 import weighted_f1_of
from foundation.log import log
from foundation.precision import chosen_precision, lowered, tf32
from foundation.torch_setup import seed_of, sent
from model.batching import NO_LABEL, Corpus, batches, in_order, shuffled
from model.interface import ErcModel
from model.settings import TrainingSettings

PREDICTED_AT_ONCE = {"cpu": 32, "cuda": 128}
"""Dialogues of a batch whose classes are predicted, by type of device."""


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
def predict(model: ErcModel, corpus: Corpus, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Compute logits [utterances, C] and fused representations [utterances, d] of a split, ordered as `positions`."""
    (found,) = _outputs(model, corpus.to(device), (split,))
    return found[0].cpu(), found[1].cpu()


def _outputs(model: ErcModel, corpus: Corpus, splits: tuple[str, ...]) -> list[tuple[Tensor, Tensor]]:
    """Logits and representations of each of `splits`, float32 on the device of the corpus, ordered as `positions`."""
    model.eval()
    device = next(iter(corpus.features.values())).device
    size = PREDICTED_AT_ONCE.get(device.type, PREDICTED_AT_ONCE["cpu"])
    groups = [list(in_order(corpus.dialogues[split], size)) for split in splits]
    every = map(model, batches(corpus, [group for part in groups for group in part]))
    outputs = iter([(one.logits.float().flatten(0, 1), one.representation.float().flatten(0, 1)) for one in every])
    found = []
    for split, part in zip(splits, groups, strict=True):
        logits, representations = (torch.cat(values) for values in zip(*islice(outputs, len(part)), strict=True))
        place = sent(_places(part, corpus.dialogues[split]), device)
        found.append((logits[place], representations[place]))
    return found


def _places(groups: list[list[Tensor]], dialogues: list[Tensor]) -> Tensor:
    """Place of each turn of `dialogues` among the rows of all padded `groups`, one group after the other."""
    begins, begin = dict[int, int](), 0
    for group in groups:
        turns = max(map(len, group))
        for dialogue in group:
            begins[int(dialogue[0])] = begin
            begin += turns
    return torch.cat([torch.arange(len(dialogue)) + begins[int(dialogue[0])] for dialogue in dialogues])


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

    Patience counts only once a model has begun to learn: from the first epoch that sees all of train, and not before
    the validation score is better than that of the best constant prediction.

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
    average = Average(model, settings.ema_decay)
    kept = average.model
    corpus = corpus.to(device)
    precision = chosen_precision(settings.precision, device, older="float32")
    scaler = torch.amp.GradScaler("cuda", enabled=precision == "float16")
    state = _State()
    if stored := load_checkpoint(checkpoint):
        model.load_state_dict(stored["model"])
        kept.load_state_dict(stored["average"])
        average.steps = stored["steps"]
        optimizer.load_state_dict(stored["optimizer"])
        scaler.load_state_dict(stored["scaler"])
        state = _State(**stored["state"])

    def save() -> None:
        parts = {name: getattr(state, name) for name in state.__dataclass_fields__}
        save_checkpoint(checkpoint, model=model.state_dict(), average=kept.state_dict(), steps=average.steps,
                        optimizer=optimizer.state_dict(), scaler=scaler.state_dict(), state=parts)  # fmt: skip

    validation = corpus.label[positions(corpus, "validation")]
    labelled = validation != NO_LABEL
    known = validation[labelled]
    constant = weighted_f1_of(known, torch.full_like(known, int(known.mode().values)))
    saved = time.monotonic()
    with tqdm(
        total=settings.epochs,
        initial=state.epoch,
        desc=f"seed {seed}",
        unit="epoch",
        disable=True if each_epoch else None,
        leave=False,
    ) as progress:
        while state.epoch < settings.epochs and (
            state.best_score <= constant
            or state.epoch - max(state.best_epoch, model.curriculum - 1) < settings.patience
        ):
            state.epoch += 1
            torch.manual_seed(seed_of(seed, state.epoch))
            with tf32(precision == "tf32"):
                losses = _train_epoch(model, average, optimizer, scaler, corpus, settings.batch, precision,
                                      class_weights, seed, state.epoch)  # fmt: skip
            if not all(map(math.isfinite, losses.values())):
                if not state.best:
                    raise DivergenceError(f"seed {seed}: the loss is not finite in the first epoch: {losses}; lower "
                                          "train's learning_rate")  # fmt: skip
                log.warning(
                    "seed %d: the loss became infinite or NaN in epoch %d; training stopped there", seed, state.epoch
                )
                state.epoch = settings.epochs  # a resumed run must not train this epoch again
                break
            predicted, of_test = _classes(kept, corpus)
            score = weighted_f1_of(validation[labelled], predicted[labelled])
            state.history.append({"seed": seed, "epoch": state.epoch, **losses, "validation_weighted_f1": score})
            state.predictions.append(of_test.to(torch.int8))
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


@torch.inference_mode()
def _classes(model: ErcModel, corpus: Corpus) -> tuple[Tensor, Tensor]:
    """Predicted classes of validation and of test, on the CPU: one pass and one copy for both."""
    validation, test = (logits.argmax(1) for logits, _ in _outputs(model, corpus, ("validation", "test")))
    both = torch.cat([validation, test]).cpu()
    return both[: len(validation)], both[len(validation) :]


class Average:
    """The exponential moving average of a model's weights, as a model.

    It counts its steps on the CPU; torch's AveragedModel counts on the device, and each step waits to read the count.
    """

    def __init__(self, model: ErcModel, decay: float) -> None:
        self.model, self.decay, self.steps = deepcopy(model), decay, 0
        for part in self.model.modules():
            if isinstance(part, nn.RNNBase):
                part.flatten_parameters()  # a copy's weights lie apart, and cuDNN would gather them at each call

    @torch.no_grad()
    def update(self, model: ErcModel) -> None:
        """Move the averages towards the weights of `model`; the decay is smaller in the first steps."""
        decay = min(self.decay, (self.steps + 1) / (self.steps + 10)) if self.steps and self.decay else 0.0
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for mine, its in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(its)
        self.steps += 1


def _train_epoch(
    model: ErcModel,
    average: Average,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    corpus: Corpus,
    size: int,
    precision: str,
    class_weights: Tensor | None,
    seed: int,
    epoch: int,
) -> dict[str, float]:
    """Train for one epoch and return the mean of each loss term over the batches, by name.

    Nothing in the loop waits for a GPU, but for the scale of float16: all losses are read at the end, in one copy.
    """
    model.train()
    generator = torch.Generator().manual_seed(seed_of(seed, epoch))
    weights = model.loss_weights
    sums: dict[str, Tensor] = {}
    device = next(iter(corpus.features.values())).device
    model.begin_epoch(epoch)
    groups = list(shuffled(model.curriculum_subset(corpus, epoch), size, generator))
    for batch in batches(corpus, groups):
        with lowered(precision, device):
            output = model(batch, class_weights)
        loss = torch.stack([weights[name] * value for name, value in output.losses.items() if weights[name]]).sum()
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scale = scaler.get_scale()
        scaler.update()
        if scaler.get_scale() >= scale:  # a lower scale means that float16 overflowed, and the step was left out
            average.update(model)
        for name, value in {"loss": loss, **output.losses}.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value.detach()
    read = torch.stack(list(sums.values())).tolist()
    return {name: value / len(groups) for name, value in zip(sums, read, strict=True)}


class DivergenceError(Exception):
    """The loss became NaN or infinite; the message says in which seed and epoch."""
