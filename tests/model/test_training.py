"""Training: it learns, it is repeatable, it can be killed, and it keeps the epoch that validation chose."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model import training
from model.batching import Corpus
from model.cmath import Cmath, CmathConfig
from model.training import Fit, Settings, fit, positions, predict, prepare_torch, weighted_f1
from tests.model.dialogues import DIMS, random_corpus

SETTINGS = Settings(learning_rate=3e-3, batch=4, epochs=6, patience=6, weight_decay=0.0, class_weights=None)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return random_corpus([5, 3, 1, 7, 4, 2, 6, 1])


def model() -> Cmath:
    return Cmath(CmathConfig(dims=DIMS, speakers=3, classes=4, dim=20, heads=2, dropout=0.1))


def run(corpus: Corpus, checkpoint: Path, settings: Settings = SETTINGS, seed: int = 0, seconds: float = 1e9) -> Fit:
    prepare_torch()
    return fit(model, corpus, settings, seed, CPU, checkpoint, seconds)


def same(one: Fit, two: Fit) -> bool:
    equal = all(torch.equal(one.weights[name], two.weights[name]) for name in one.weights)
    return equal and one.history == two.history and torch.equal(one.test_guesses, two.test_guesses)


@pytest.mark.slow
def test_it_learns_eight_dialogues(corpus: Corpus, tmp_path: Path) -> None:
    seen = replace(corpus, dialogues={**corpus.dialogues, "validation": corpus.dialogues["train"]})
    result = run(seen, tmp_path / "c", replace(SETTINGS, epochs=80, patience=80))
    assert max(row["validation_weighted_f1"] for row in result.history) > 95
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 3


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(corpus: Corpus, tmp_path: Path) -> None:
    assert same(run(corpus, tmp_path / "a"), run(corpus, tmp_path / "b"))
    assert not same(run(corpus, tmp_path / "a"), run(corpus, tmp_path / "c", seed=1))


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_an_interrupted_training_ends_with_the_bytes_of_one_that_was_not(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, average: float
) -> None:
    settings = replace(SETTINGS, average=average)
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


def test_the_epoch_kept_is_the_best_on_validation(corpus: Corpus, tmp_path: Path) -> None:
    result = run(corpus, tmp_path / "c")
    scores = [row["validation_weighted_f1"] for row in result.history]
    assert result.best_epoch == scores.index(max(scores)) + 1
    kept = model()
    kept.load_state_dict(result.weights)
    guess = predict(kept, corpus, "validation", CPU)[0].argmax(1)
    assert weighted_f1(corpus.label[positions(corpus, "validation")], guess) == pytest.approx(max(scores))
    guesses = predict(kept, corpus, "test", CPU)[0].argmax(1)
    assert torch.equal(guesses.to(torch.int8), result.test_guesses[result.best_epoch - 1])


def test_labels_of_test_never_enter(corpus: Corpus, tmp_path: Path) -> None:
    where = positions(corpus, "test")
    label = corpus.label.clone()
    label[where] = (label[where] + 1) % 4
    assert same(run(corpus, tmp_path / "a"), run(replace(corpus, label=label), tmp_path / "b"))


def test_a_training_that_leaves_the_finite_numbers_at_once_says_so(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(training.DivergenceError, match="learning_rate"):
        run(corpus, tmp_path / "c", replace(SETTINGS, learning_rate=1e30))
