"""Every baseline learns by the training that CMATH has: the same bytes from a seed, also when it was interrupted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from foundation.torch_setup import prepare_torch
from model import training
from model.batching import Corpus
from model.settings import TrainingSettings
from model.training import Fit, fit
from tests.model.dialogues import random_corpus
from tests.model.networks import BASELINES, network

pytestmark = pytest.mark.slow

SETTINGS = TrainingSettings(learning_rate=1e-2, batch=4, epochs=4, patience=4, weight_decay=0.0, ema_decay=0.0)
CPU = torch.device("cpu")

# The two whose last attention mixes a whole dialogue before it is told apart take longer.
EPOCHS = {"dialogue_rnn": 90, "dialogue_gcn": 100, "mmgcn": 40, "adaign": 35}
OVERFIT = {"dialogue_gcn": {"hidden": 32, "window": 1, "dropout": 0.0}}

every_baseline = pytest.mark.parametrize("name", BASELINES)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return random_corpus([5, 3, 1, 7, 4, 2, 6, 1])


def run(
    name: str,
    corpus: Corpus,
    checkpoint: Path,
    settings: TrainingSettings = SETTINGS,
    seconds: float = 1e9,
    **changes: object,
) -> Fit:
    prepare_torch(threads=1)
    return fit(lambda: network(name, **changes), corpus, settings, None, 0, CPU, checkpoint, seconds)


def same(one: Fit, two: Fit) -> bool:
    equal = all(torch.equal(one.weights[name], two.weights[name]) for name in one.weights)
    return equal and one.history == two.history and torch.equal(one.test_predictions, two.test_predictions)


@every_baseline
def test_it_learns_eight_dialogues(name: str, tmp_path: Path) -> None:
    corpus = random_corpus([5, 3, 1, 7, 4, 2, 6, 1], missing=0.0)
    seen = replace(corpus, dialogues={**corpus.dialogues, "validation": corpus.dialogues["train"]})
    epochs, rate = EPOCHS.get(name, 20), 2e-3 if name == "dialogue_gcn" else 1e-2
    long = SETTINGS.model_copy(update={"learning_rate": rate, "epochs": epochs, "patience": epochs})
    result = run(name, seen, tmp_path / "c", long, **OVERFIT.get(name, {}))
    assert (
        max(row["validation_weighted_f1"] for row in result.history) > 90
    )  # last bits, and so the way, differ between machines
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 2


@every_baseline
def test_an_interrupted_training_ends_with_the_bytes_of_one_that_was_not(
    name: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(name, corpus, tmp_path / "whole")
    epoch = training._train_epoch
    trained: list[int] = []

    def dying(*arguments: object) -> dict[str, float]:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(1)
        return epoch(*arguments)

    monkeypatch.setattr(training, "_train_epoch", dying)
    with pytest.raises(KeyboardInterrupt):
        run(name, corpus, tmp_path / "part", seconds=0.0)
    monkeypatch.setattr(training, "_train_epoch", epoch)
    assert same(run(name, corpus, tmp_path / "part", seconds=0.0), whole)


def test_patience_counts_from_the_epoch_that_sees_all_of_the_training_split(corpus: Corpus, tmp_path: Path) -> None:
    still = SETTINGS.model_copy(update={"learning_rate": 1e-12, "epochs": 50, "patience": 2})
    result = run("multidag", corpus, tmp_path / "c", still)
    assert result.best_epoch == 1
    assert len(result.history) == network("multidag").curriculum - 1 + 2
