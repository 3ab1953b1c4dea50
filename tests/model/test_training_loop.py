"""The whole training loop against a plain statement of it: Adam by hand, and nothing of `model.training`."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foundation.f1 import weighted_f1_of
from model import training
from model.batching import Batch, Corpus
from model.interface import ErcModel, Output
from model.settings import TrainingSettings
from model.training import PREDICTED_AT_ONCE, Fit, fit, positions, predict
from tests.model.dialogues import collate

CPU, CLASSES, SEED = torch.device("cpu"), 3, 43
CLASS_WEIGHTS = torch.tensor([0.3, 1.1, 1.6])
SETTINGS = TrainingSettings(learning_rate=0.15, batch=3, epochs=40, patience=4, weight_decay=0.02, ema_decay=0.75,
                    class_weights=True)  # fmt: skip
SLOW = SETTINGS.model_copy(update={"learning_rate": 0.01, "patience": 2})
"""For many epochs no better than a constant prediction."""
HASTY = SETTINGS.model_copy(update={"class_weights": False, "batch": 5, "patience": 1, "learning_rate": 0.3})


def weights_of(settings: TrainingSettings) -> Tensor | None:
    return CLASS_WEIGHTS if settings.class_weights else None


CONSTANT = 51.21212121212121
"""Weighted F1 of the best constant prediction on the example's validation split."""
BUCKET = 4
"""Dialogues that each epoch of `Tiny` adds."""


class Tiny(ErcModel):
    """One matrix, four terms of a loss, a schedule and a curriculum."""

    curriculum = 3

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, CLASSES, dtype=torch.float64))
        self.loss_weights = {"ce": 0.8, "pull": 0.05, "spare": 0.0, "lean": 0.3}
        self.heat = torch.nan

    def begin_epoch(self, epoch: int) -> None:
        self.heat = 1 / epoch

    def curriculum_subset(self, corpus: Corpus, epoch: int) -> list[Tensor]:
        return corpus.dialogues["train"][: BUCKET * epoch]

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        x = F.dropout(batch.features["text"].double(), 0.2, self.training)
        logits = x @ self.weight
        real, label = logits[batch.mask], batch.label[batch.mask]
        losses = {
            "ce": F.cross_entropy(real, label, None if class_weights is None else class_weights.double()),
            "pull": self.heat * self.weight.square().sum(),
            "spare": (real - 3).square().mean(),
            "lean": (real[:, 0] - real[:, 1] - 1).square().mean(),
        }
        return Output(logits, losses, x)


@dataclass
class Stated:
    """What a training should give, and what a wrong one might."""

    best: Tensor | None = None
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    predictions: list[list[int]] = field(default_factory=list)
    raw_predictions: list[list[int]] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)


def stated(corpus: Corpus, settings: TrainingSettings, seed: int) -> Stated:
    found, step, first, second = Stated(), 0, 0.0, 0.0
    torch.manual_seed(seed * 1_000_003)
    model = Tiny()
    w, average = model.weight, model.weight.detach().clone()
    label = corpus.label[torch.cat(corpus.dialogues["validation"])].numpy()
    constant = max(f1(label, np.full_like(label, c)) for c in range(CLASSES))
    for epoch in range(1, settings.epochs + 1):
        torch.manual_seed(seed * 1_000_003 + epoch)
        model.heat, sums = 1 / epoch, dict.fromkeys(["loss", *model.loss_weights], 0.0)
        batches = order(corpus.dialogues["train"][: BUCKET * epoch], settings.batch, seed * 1_000_003 + epoch)
        for dialogues in batches:
            terms = model.train()(collate(corpus, dialogues), weights_of(settings)).losses
            loss = 0.8 * terms["ce"] + 0.05 * terms["pull"] + 0.3 * terms["lean"]
            sums = {name: sums[name] + value.item() for name, value in {"loss": loss, **terms}.items()}
            (gradient,) = torch.autograd.grad(loss, w)
            with torch.no_grad():
                step, gradient = step + 1, gradient + settings.weight_decay * w
                first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
                w -= settings.learning_rate * (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
                share = min(settings.ema_decay, step / (step + 9)) if settings.ema_decay and step > 1 else 0.0
                average = share * average + (1 - share) * w
        label, predicted = answers(corpus, "validation", average)
        score = f1(label, predicted)
        means = {name: value / len(batches) for name, value in sums.items()}
        found.history.append({"seed": seed, "epoch": epoch, **means, "validation_weighted_f1": score})
        found.predictions.append(answers(corpus, "test", average)[1].tolist())
        found.raw_predictions.append(answers(corpus, "test", w.detach())[1].tolist())
        found.accuracies.append(float((label == predicted).mean()))
        if found.best is None or score > found.history[found.best_epoch - 1]["validation_weighted_f1"]:
            found.best, found.best_epoch = average.clone(), epoch
        if score_of(found) > constant and epoch >= max(found.best_epoch, Tiny.curriculum - 1) + settings.patience:
            break
    return found


def score_of(found: Stated) -> float:
    """The best validation score so far."""
    return max(row["validation_weighted_f1"] for row in found.history)


def order(dialogues: list[Tensor], size: int, number: int) -> list[list[Tensor]]:
    """By length with a tenth of noise to both sides, cut into batches, the batches in random order."""
    draw = torch.Generator().manual_seed(number)
    length = torch.tensor([len(dialogue) for dialogue in dialogues]) * (
        0.9 + 0.2 * torch.rand(len(dialogues), generator=draw)
    )
    ranked = [dialogues[place] for place in length.argsort()]
    batches = [ranked[begin : begin + size] for begin in range(0, len(ranked), size)]
    return [batches[place] for place in torch.randperm(len(batches), generator=draw)]


def answers(corpus: Corpus, split: str, weight: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions of a split's utterances, dialogue by dialogue."""
    where = torch.cat(corpus.dialogues[split])
    predicted = (corpus.features["text"][where].double() @ weight).argmax(1)
    return corpus.label[where].numpy(), predicted.numpy()


def f1(label: np.ndarray, predicted: np.ndarray) -> float:
    """F1 of each class, 2 hits / (annotated + predicted), weighted by how often it is annotated; percent."""
    total = 0.0
    for c in range(CLASSES):
        hits, annotated, said = ((label == c) & (predicted == c)).sum(), (label == c).sum(), (predicted == c).sum()
        total += annotated * 2 * hits / max(annotated + said, 1)
    return float(100 * total / len(label))


def example(seed: int = SEED) -> Corpus:
    """Dialogues of many lengths, one class rare; the features tell the label, but not surely."""
    draw = torch.Generator().manual_seed(seed)
    lengths = {"train": [2, 7, 1, 5, 3, 8, 4, 1, 6, 2, 9, 3], "validation": [4, 3, 8, 5], "test": [3, 9, 1, 6, 7]}
    total = sum(map(sum, lengths.values()))
    label = torch.multinomial(torch.tensor([0.6, 0.25, 0.15]), total, replacement=True, generator=draw)
    text = torch.randn(total, 4, generator=draw) + F.one_hot(label, 4)
    parts: dict[str, list[Tensor]] = {}
    begin = 0
    for split, turns in lengths.items():
        parts[split] = []
        for n in turns:
            parts[split].append(torch.arange(begin, begin + n))
            begin += n
    present = torch.ones(total, dtype=torch.bool)
    return Corpus({"text": text}, {"text": present}, torch.zeros(total, dtype=torch.int64), label, parts)


def run(
    folder: Path, settings: TrainingSettings = SETTINGS, make: Callable[[], ErcModel] = Tiny, **more: object
) -> Fit:
    return fit(make, example(), settings, weights_of(settings), SEED, CPU, folder / "checkpoint", 1e9, **more)


@pytest.mark.parametrize(
    "settings",
    [SETTINGS, SETTINGS.model_copy(update={"ema_decay": 0.0}), HASTY, SLOW],
    ids=["all", "last weights", "no class weights, little patience", "slow to learn"],
)
def test_training_is_the_plain_loop(settings: TrainingSettings, tmp_path: Path) -> None:
    result, expected = run(tmp_path, settings), stated(example(), settings, SEED)
    assert len(result.history) == len(expected.history)
    for row, told in zip(result.history, expected.history, strict=True):
        assert row == pytest.approx(told, rel=1e-9)
    assert result.best_epoch == expected.best_epoch
    assert result.weights.keys() == {"weight"}
    torch.testing.assert_close(result.weights["weight"], expected.best, rtol=1e-9, atol=1e-9)
    assert result.test_predictions.tolist() == expected.predictions


def test_the_example_tells_a_right_choice_of_the_epoch_from_wrong_ones() -> None:
    # If this fails, the test above has become blind: choose another SEED.
    expected = stated(example(), SETTINGS, SEED)
    scores = [row["validation_weighted_f1"] for row in expected.history]
    losses = [row["loss"] for row in expected.history]
    assert Tiny.curriculum < expected.best_epoch
    assert scores.count(max(scores)) > 1  # the first of equals
    assert losses.index(min(losses)) + 1 != expected.best_epoch
    assert expected.accuracies.index(max(expected.accuracies)) + 1 != expected.best_epoch
    assert len(scores) == expected.best_epoch + SETTINGS.patience < SETTINGS.epochs
    assert expected.raw_predictions != expected.predictions
    hasty = stated(example(), HASTY, SEED)
    # The first epoch is the best, and patience counts from the second on, the last that sees a part of train.
    assert hasty.best_epoch == 1
    assert len(hasty.history) == 3
    assert hasty.history[0]["validation_weighted_f1"] > CONSTANT


def test_patience_does_not_count_before_a_model_is_better_than_every_constant_prediction(tmp_path: Path) -> None:
    label = example().label[positions(example(), "validation")].numpy()
    assert max(f1(label, np.full_like(label, c)) for c in range(CLASSES)) == pytest.approx(CONSTANT)
    scores = [row["validation_weighted_f1"] for row in run(tmp_path, SLOW).history]
    assert len(scores) == 17  # ended by patience
    assert [score > CONSTANT for score in scores] == [False] * 14 + [True] * 3
    assert scores.index(max(scores[:14])) + 1 == 3  # so patience would have ended it with epoch 5
    still = SLOW.model_copy(update={"learning_rate": 1e-12, "epochs": 9})
    assert len(run(tmp_path / "still", still).history) == 9


class Constant(Tiny):
    """Predicts the last class for everything."""

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        output = super().forward(batch, class_weights)
        return replace(output, logits=0 * output.logits + torch.eye(CLASSES)[-1])


def test_the_best_constant_prediction_is_the_most_frequent_class_of_validation(tmp_path: Path) -> None:
    corpus = example()
    assert corpus.label.mode().values == 0
    turned = replace(corpus, label=(corpus.label + CLASSES - 1) % CLASSES)  # now it is the last class
    few = SETTINGS.model_copy(update={"epochs": 9, "patience": 1})
    result = fit(Constant, turned, few, CLASS_WEIGHTS, SEED, CPU, tmp_path / "checkpoint", 1e9)
    assert len(result.history) == 9  # it never is better, so patience never counts


def test_the_validation_score_is_the_weighted_f1_in_percent() -> None:
    label, predicted = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 0])
    found = weighted_f1_of(torch.from_numpy(label), torch.from_numpy(predicted))
    # By hand: class 0 has 2 hits of 3 annotated and 4 predicted, class 1 has 1 of 2 and 2, class 2 none of 1 and 0.
    assert found == pytest.approx(100 * (3 * 4 / 7 + 2 * 2 / 4 + 0) / 6) == f1(label, predicted)


class Breaking(Tiny):
    """Leaves the finite numbers in its third epoch."""

    lessons: ClassVar[list[int]] = []

    def begin_epoch(self, epoch: int) -> None:
        self.heat = torch.inf if epoch == 3 else 1 / epoch
        self.lessons.append(epoch)


def test_a_training_that_leaves_the_finite_numbers_later_keeps_what_it_had_and_does_not_try_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Breaking.lessons.clear()
    whole, told = run(tmp_path / "whole", SETTINGS.model_copy(update={"epochs": 2})), []
    with caplog.at_level("WARNING", "cmath"):
        broken = run(tmp_path, make=Breaking, each_epoch=lambda history: told.append(len(history)))
    assert caplog.messages == [f"seed {SEED}: the loss became infinite or NaN in epoch 3; training stopped there"]
    assert told == [1, 2]
    assert broken.history == whole.history
    assert broken.best_epoch == whole.best_epoch
    assert torch.equal(broken.weights["weight"], whole.weights["weight"])
    assert torch.equal(broken.test_predictions, whole.test_predictions)
    again = run(tmp_path, make=Breaking)
    assert again.history == whole.history
    assert Breaking.lessons == [1, 2, 3]


class Bar:
    """A progress bar that notes what it is told."""

    def __init__(self, **how: object) -> None:
        self.how, self.done, self.said = how, 0, []
        BARS.append(self)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self) -> None:
        self.done += 1

    def set_postfix(self, said: dict[str, str]) -> None:
        self.said.append(said)


BARS: list[Bar] = []


def test_a_terminal_sees_how_far_a_training_is_unless_somebody_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BARS.clear()
    monkeypatch.setattr(training, "tqdm", Bar)
    run(tmp_path, SETTINGS.model_copy(update={"epochs": 1}))
    result = run(tmp_path, SETTINGS.model_copy(update={"epochs": 3}))
    first, second = BARS
    assert (first.how["total"], first.how["initial"], first.done) == (1, 0, 1)
    assert (second.how["total"], second.how["initial"], second.done) == (3, 1, 2)
    assert second.how["desc"] == f"seed {SEED}"
    assert second.how["disable"] is None  # tqdm's word for: where there is a terminal
    row = result.history[-1]
    assert second.said[-1]["loss"] == f"{row['loss']:.3f}"
    assert second.said[-1]["F1"] == f"{row['validation_weighted_f1']:.2f}"
    run(tmp_path / "other", SETTINGS.model_copy(update={"epochs": 1}), each_epoch=lambda _: None)
    assert BARS[-1].how["disable"] is True


def test_a_checkpoint_is_written_when_its_time_has_come_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, written = [0.0], []

    def epoch_over(history: list[dict[str, float]]) -> None:
        now[0] += 10.0

    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(training, "save_checkpoint", lambda *_, state, **__: written.append(state["epoch"]))
    settings = SETTINGS.model_copy(update={"epochs": 7, "patience": 7})
    fit(Tiny, example(), settings, CLASS_WEIGHTS, SEED, CPU, tmp_path / "checkpoint", 30.0, epoch_over)
    assert written == [3, 6, 7]


def test_logits_and_representations_are_in_the_order_of_the_dialogues(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    corpus, model = example(), Tiny()
    where = positions(corpus, "train")
    for size in (1, 5, 32):
        monkeypatch.setitem(PREDICTED_AT_ONCE, "cpu", size)
        logits, representations = predict(model, corpus, "train", CPU)
        text = corpus.features["text"][where].double()
        torch.testing.assert_close(representations, text.float())
        torch.testing.assert_close(logits, (text @ model.weight.detach()).float())
        assert (logits.dtype, representations.dtype) == (torch.float32, torch.float32)


def test_a_weight_that_a_batch_does_not_use_stays_as_it_is(tmp_path: Path) -> None:
    class Idle(Tiny):
        """Has a weight that only the first of the two batches uses."""

        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Parameter(torch.ones(1))

        def begin_epoch(self, epoch: int) -> None:
            super().begin_epoch(epoch)
            self.fresh = True

        def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
            output = super().forward(batch, class_weights)
            if self.training and self.fresh:
                output.losses["ce"] += self.idle.sum()
                self.fresh = False
            return output

    settings = SETTINGS.model_copy(update={"epochs": 1, "ema_decay": 0.0})
    result = run(tmp_path, settings, Idle)
    assert result.weights["idle"].item() == pytest.approx(1 - settings.learning_rate)  # Adam's first step


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_cpu_uses_float32_whatever_the_precision_for_cuda_and_without_a_warning(
    precision: str, tmp_path: Path
) -> None:
    few = SETTINGS.model_copy(update={"epochs": 2})
    expected = run(tmp_path / "float32", few)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(tmp_path / precision, few.model_copy(update={"precision": precision}))
    assert result.history == expected.history
    assert torch.equal(result.weights["weight"], expected.weights["weight"])
