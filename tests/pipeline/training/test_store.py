"""The store of finished trainings: found again by all that decides their numbers, and by nothing else."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from model.batching import Corpus
from model.registry import make_model
from model.settings import TrainingSettings
from model.training import Fit, predict
from pipeline.params import load_params
from pipeline.training import store
from pipeline.training.store import Trained, found, kept_weights, model_config, trained, training_folder
from tests.model.dialogues import DIMS, random_corpus

PROJECT = Path(__file__).parents[3]
CONFIG: dict[str, Any] = {"dims": DIMS, "speakers": 3, "classes": 4, "hidden": 6, "layers": 1, "dropout": 0.1,
                          "buckets": 1}  # fmt: skip


def settings(**changes: Any) -> TrainingSettings:
    usual = {"learning_rate": 0.01, "batch": 4, "epochs": 3, "patience": 3, "ema_decay": 0.0, "seeds": [0, 5]}
    return load_params(PROJECT / "params.yaml").train["meld"].model_copy(update=usual | changes)


@pytest.fixture
def corpus() -> Corpus:
    return random_corpus([4, 2, 5, 3])


def folder(content: str = "c", model: str = "multidag", train: TrainingSettings | None = None, **config: Any) -> Path:
    return training_folder(content, model, CONFIG | config, train or settings())


def train(corpus: Corpus, seed: int, *, weights: bool = True, of: TrainingSettings | None = None) -> Trained:
    return trained(folder(train=of), "meld", corpus, "multidag", CONFIG, of or settings(), seed, weights=weights)


@pytest.mark.slow
def test_whatever_decides_the_numbers_decides_where_a_training_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"learning_rate": 0.02, "batch": 5, "epochs": 4, "patience": 2, "weight_decay": 0.5, "ema_decay": 0.5,
               "precision": "float16", "class_weights": True}  # fmt: skip
    places = [folder(), folder(content="d"), folder(model="mmgcn"), folder(hidden=7)]
    places += [folder(train=settings(**{name: value})) for name, value in changes.items()]
    monkeypatch.setattr(store, "code_digest", lambda model: "other code")
    places.append(folder())
    monkeypatch.setattr(torch, "__version__", "0.0")
    places.append(folder())
    assert len(set(places)) == len(places)


def test_seeds_and_weights_of_the_configuration_do_not(corpus: Corpus) -> None:
    assert folder(train=settings(seeds=[9], gamma1=0.7, gamma2=0.7)) == folder()
    params = load_params(PROJECT / "params.yaml")
    of_demo = params.train["demo"].model_copy(update={"gamma1": 0.25, "gamma2": 1.75})
    params = params.model_copy(update={"train": {**params.train, "demo": of_demo}})
    config = model_config(params, "demo", corpus, ("a", "b", "c", "d"))
    assert (config["gamma1"], config["gamma2"]) == (0.25, 1.75)
    assert (config["dims"], config["speakers"], config["classes"]) == (DIMS, 3, 4)


@pytest.mark.slow
def test_a_seed_is_trained_once_and_each_is_another_training(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = train(corpus, 0), train(corpus, 5)
    assert [row["seed"] for row in first.history + second.history] == [0] * 3 + [5] * 3
    assert [row["loss"] for row in first.history] != [row["loss"] for row in second.history]
    assert first.seconds is not None
    assert first.seconds > 0
    monkeypatch.setattr(store, "fit", None)
    assert train(corpus, 0) == first
    assert train(corpus, 5, weights=False) == second
    assert json.loads((folder() / "about.json").read_text()) == {"corpus": "meld", "model": "multidag"}
    assert not list(folder().glob("*.pt"))


def test_the_weights_that_are_kept_are_the_best_epochs_and_count_as_the_parameters(corpus: Corpus) -> None:
    known = train(corpus, 0)
    tensors, predictions = kept_weights(folder(), 0)
    assert sum(value.numel() for value in tensors.values()) == known.parameters
    assert predictions.shape == (3, 14)
    model = make_model("multidag", CONFIG)
    model.load_state_dict(tensors)
    said = predict(model, corpus, "test", torch.device("cpu"))[0].argmax(1)
    assert torch.equal(said.to(torch.int8), predictions[known.best_epoch - 1])


def test_a_training_whose_weights_were_not_kept_is_done_again_when_they_are_asked_for(corpus: Corpus) -> None:
    short = train(corpus, 0, weights=False)
    assert not list(folder().glob("*.safetensors"))
    assert found(folder(), 0, weights=False) == short
    assert found(folder(), 0, weights=True) is None
    assert found(folder(), 5, weights=False) is None
    again = train(corpus, 0)
    assert (again.history, again.best_epoch) == (short.history, short.best_epoch)
    assert found(folder(), 0, weights=True) == again


@pytest.mark.parametrize("weights", [False, True])
def test_a_kill_after_the_record_leaves_no_checkpoint_behind(corpus: Corpus, weights: bool) -> None:
    known = train(corpus, 0, weights=weights)
    left = [folder() / "seed0.pt", folder() / "seed5.pt"]
    for file in left:
        file.write_bytes(b"a checkpoint")
    assert found(folder(), 0, weights=weights) == known
    assert [file.exists() for file in left] == [False, True]


def test_weights_that_are_being_trained_keep_their_checkpoint(corpus: Corpus) -> None:
    train(corpus, 0, weights=False)
    (folder() / "seed0.pt").write_bytes(b"a checkpoint")
    assert found(folder(), 0, weights=True) is None
    assert (folder() / "seed0.pt").exists()


def test_a_training_that_is_not_finite_in_its_first_epoch_is_finished_too(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hot = settings(learning_rate=1e30, batch=1)
    with caplog.at_level("WARNING", "cmath"):
        failed = train(corpus, 0, of=hot)
    [said] = caplog.messages
    assert said.startswith("multidag: seed 0: the loss is not finite in the first epoch")
    assert (failed.history, failed.best_epoch, failed.seconds, failed.score) == ([], 0, None, None)
    monkeypatch.setattr(store, "fit", None)
    assert train(corpus, 0, of=hot) == failed


def test_a_training_gets_what_the_settings_say(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def fit(make: Any, *arguments: Any) -> Fit:
        given[:] = [make(), *arguments]
        return Fit({}, [{"validation_weighted_f1": 50.0}], 1, torch.zeros(1, 14, dtype=torch.int8))

    def told(_: list[dict[str, float]]) -> None: ...

    monkeypatch.setattr(store, "fit", fit)
    monkeypatch.setattr("pipeline.training.store.device", lambda: torch.device("meta"))
    of = settings(class_weights=True)
    trained(folder(), "meld", corpus, "multidag", CONFIG, of, 5, weights=False, each_epoch=told)
    model, data, train_settings, class_weights, *rest = given
    assert type(model).__name__ == "MultiDag"
    assert (data, train_settings) == (corpus, of)
    assert rest == [5, torch.device("meta"), folder() / "seed5.pt", 20.0, told]
    label = corpus.label[:14].tolist()  # train stands first
    assert class_weights.tolist() == pytest.approx([14 / label.count(number) for number in range(4)])


def test_an_epoch_takes_the_mean_of_the_time_that_this_process_trained(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(history: list[dict[str, float]]) -> None:
        if len(history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(store, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        trained(folder(), "meld", corpus, "multidag", CONFIG, settings(), 0, weights=True, each_epoch=interrupted)
    # One epoch is in the checkpoint. The clock stands at 100 s, and at 109.0016 s after the other two.
    clock = iter([100.0, 109.0016])
    monkeypatch.setattr(store, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert train(corpus, 0).seconds == 4.501
    assert train(corpus, 0).seconds == 4.501  # as it is kept


def test_a_training_that_was_killed_before_its_record_was_written_has_no_time(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(store, "asdict", None)
        with pytest.raises(TypeError):
            train(corpus, 0)
    known = train(corpus, 0)
    assert (len(known.history), known.seconds) == (3, None)


def test_the_score_is_that_of_the_epoch_that_was_kept() -> None:
    history = [{"validation_weighted_f1": value} for value in (10.0, 40.0, 30.0)]
    assert Trained(history, 2, None, 7).score == 40.0
