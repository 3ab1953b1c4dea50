"""Training: it learns, it is repeatable, it can be killed, and it keeps the epoch that validation chose."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from foundation.f1 import weighted_f1_of
from foundation.torch_setup import prepare_torch
from model import training
from model.batching import NO_LABEL, Corpus
from model.cmath import Cmath, CmathConfig
from model.interface import ErcModel
from model.settings import TrainingSettings
from model.training import Fit, fit, positions, predict
from tests.model.dialogues import DIMS, random_corpus
from tests.model.networks import AS_PRINTED, network

SETTINGS = TrainingSettings(learning_rate=3e-3, batch=4, epochs=6, patience=6, weight_decay=0.0, ema_decay=0.0)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return random_corpus([5, 3, 1, 7, 4, 2, 6, 1])


def model() -> Cmath:
    return Cmath(
        CmathConfig(**(AS_PRINTED | {"dims": DIMS, "speakers": 3, "classes": 4, "dim": 20, "heads": 2, "dropout": 0.1}))
    )


def run(
    corpus: Corpus, checkpoint: Path, settings: TrainingSettings = SETTINGS, seed: int = 0, seconds: float = 1e9
) -> Fit:
    prepare_torch(threads=1)
    return fit(model, corpus, settings, None, seed, CPU, checkpoint, seconds)


def same(one: Fit, two: Fit) -> bool:
    equal = all(torch.equal(one.weights[name], two.weights[name]) for name in one.weights)
    return equal and one.history == two.history and torch.equal(one.test_predictions, two.test_predictions)


@pytest.mark.slow
def test_it_learns_eight_dialogues(corpus: Corpus, tmp_path: Path) -> None:
    seen = replace(corpus, dialogues={**corpus.dialogues, "validation": corpus.dialogues["train"]})
    result = run(seen, tmp_path / "c", SETTINGS.model_copy(update={"epochs": 80, "patience": 80}))
    assert max(row["validation_weighted_f1"] for row in result.history) > 95
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 3


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(corpus: Corpus, tmp_path: Path) -> None:
    assert same(run(corpus, tmp_path / "a"), run(corpus, tmp_path / "b"))
    assert not same(run(corpus, tmp_path / "a"), run(corpus, tmp_path / "c", seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_an_interrupted_training_ends_with_the_bytes_of_one_that_was_not(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, average: float
) -> None:
    settings = SETTINGS.model_copy(update={"ema_decay": average})
    whole = run(corpus, tmp_path / "whole", settings)
    trained: list[int] = []
    epoch = training._train_epoch

    def dying(*arguments: object) -> dict[str, float]:
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(1)
        return epoch(*arguments)

    monkeypatch.setattr(training, "_train_epoch", dying)
    with pytest.raises(KeyboardInterrupt):
        run(corpus, tmp_path / "part", settings, seconds=0.0)
    trained.clear()
    monkeypatch.setattr(training, "_train_epoch", lambda *a: trained.append(1) or epoch(*a))
    assert same(run(corpus, tmp_path / "part", settings, seconds=0.0), whole)
    assert len(trained) == SETTINGS.epochs - 3


def test_the_scale_of_float16_goes_on_over_epochs_and_interruptions(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaler = partial(torch.amp.GradScaler, "cpu", init_scale=2.0, growth_interval=1)
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: scaler())
    steps = len(corpus.dialogues["train"]) // SETTINGS.batch
    for epochs in (1, 3):
        run(corpus, tmp_path / "c", SETTINGS.model_copy(update={"epochs": epochs}))
        stored = torch.load(tmp_path / "c", weights_only=True)
        assert stored["scaler"]["scale"] == 2.0 ** (1 + steps * epochs)


def test_the_averaged_copy_of_a_recurrent_network_has_its_weights_in_one_piece(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flattened: list[nn.Module] = []
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", lambda part: flattened.append(part))
    made: list[nn.Module] = []

    def recurrent() -> ErcModel:
        made.append(network("dialogue_gcn"))
        flattened.clear()
        return made[0]

    fit(recurrent, corpus, SETTINGS.model_copy(update={"epochs": 1}), None, 0, CPU, tmp_path / "c")
    own = {id(part) for part in made[0].modules()}
    assert [part for part in flattened if id(part) not in own]


def test_float32_on_cuda_is_not_rounded_to_tf32() -> None:
    torch.backends.cudnn.allow_tf32 = True
    prepare_torch(threads=1)
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_the_epoch_kept_is_the_best_on_validation(corpus: Corpus, tmp_path: Path) -> None:
    result = run(corpus, tmp_path / "c")
    scores = [row["validation_weighted_f1"] for row in result.history]
    assert result.best_epoch == scores.index(max(scores)) + 1
    kept = model()
    kept.load_state_dict(result.weights)
    predicted = predict(kept, corpus, "validation", CPU)[0].argmax(1)
    assert weighted_f1_of(corpus.label[positions(corpus, "validation")], predicted) == pytest.approx(max(scores))
    predictions = predict(kept, corpus, "test", CPU)[0].argmax(1)
    assert torch.equal(predictions.to(torch.int8), result.test_predictions[result.best_epoch - 1])


@pytest.mark.slow
def test_labels_of_test_never_enter(corpus: Corpus, tmp_path: Path) -> None:
    where = positions(corpus, "test")
    label = corpus.label.clone()
    label[where] = (label[where] + 1) % 4
    assert same(run(corpus, tmp_path / "a"), run(replace(corpus, label=label), tmp_path / "b"))


def test_a_training_that_leaves_the_finite_numbers_at_once_says_so(corpus: Corpus, tmp_path: Path) -> None:
    said = r"^seed 0: the loss is not finite in the first epoch: \{.*'loss': .*\}; lower train's learning_rate$"
    with pytest.raises(training.DivergenceError, match=said):
        run(corpus, tmp_path / "c", SETTINGS.model_copy(update={"learning_rate": 1e30}))


def test_the_epoch_is_chosen_on_the_labelled_turns_of_validation(tmp_path: Path) -> None:
    whole = random_corpus([3, 5, 4], missing=0.0)
    where = positions(whole, "validation")
    label = whole.label.clone()
    label[where[[0, 4, 5]]] = NO_LABEL
    label[whole.dialogues["train"][0][:2]] = NO_LABEL
    some = replace(whole, label=label)
    done = run(some, tmp_path / "checkpoint.pt", SETTINGS.model_copy(update={"epochs": 2}))
    kept = model()
    kept.load_state_dict(done.weights)
    predicted = predict(kept, some, "validation", CPU)[0].argmax(1)
    labelled = [place for place in range(12) if place not in (0, 4, 5)]
    score = done.history[done.best_epoch - 1]["validation_weighted_f1"]
    assert score == pytest.approx(weighted_f1_of(whole.label[where][labelled], predicted[labelled]))
    assert done.test_predictions.shape == (len(done.history), 12)
