"""The logistic regression beside every model: fitted on train, chosen on validation, and blind to test."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from foundation.errors import UserError
from model.batching import NO_LABEL, Corpus
from model.training import positions
from pipeline.training import linear as module
from pipeline.training.linear import linear, read_linear, write_linear
from tests.model.dialogues import random_corpus


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMATH_CACHE", str(tmp_path / "cache"))


def noisy(seed: int = 0) -> Corpus:
    """A corpus in which the best strength is neither the first nor the last."""
    corpus = random_corpus([9, 7, 8, 6], missing=0.3, seed=seed)
    features = {name: values + 0.5 * torch.randn(values.shape, generator=torch.Generator().manual_seed(seed))
                for name, values in corpus.features.items()}  # fmt: skip
    return replace(corpus, features=features)


def by_hand(corpus: Corpus, weight: str | None = None) -> tuple[float, float, list[int]]:
    """Strength, score on validation and predictions of test, each strength fitted from the beginning."""
    rows = np.hstack([corpus.features[name] for name in ("audio", "text", "visual")])
    label, found = corpus.label.numpy(), []
    train, validation, test = (np.concatenate(corpus.dialogues[split]) for split in ("train", "validation", "test"))
    train, validation = train[label[train] >= 0], validation[label[validation] >= 0]
    for strength in (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0):
        model = LogisticRegression(C=strength, max_iter=5000, tol=1e-6, class_weight=weight).fit(
            rows[train], label[train]
        )
        said = model.predict(rows[validation])
        score = 100 * f1_score(label[validation], said, average="weighted", zero_division=0)
        found.append((strength, score, model.predict(rows[test]).tolist()))
    return max(found, key=lambda one: one[1])


def test_the_strength_is_that_of_the_best_validation_score() -> None:
    chosen = set()
    for seed in range(4):
        corpus = noisy(seed)
        strength, score, said = by_hand(corpus)
        found = linear(corpus, 4, balanced=False)
        assert (found.strength, found.test) == (strength, said)
        assert found.validation_weighted_f1 == pytest.approx(score, abs=0.006)
        chosen.add(strength)
    assert len(chosen) > 1  # the choice is one


def test_labels_of_test_and_turns_without_a_label_change_nothing() -> None:
    corpus = noisy()
    found = linear(corpus, 4, balanced=False)
    other = corpus.label.clone()
    other[positions(corpus, "test")] = 0
    assert linear(replace(corpus, label=other), 4, balanced=False) == found

    train, validation = (positions(corpus, split) for split in ("train", "validation"))
    unlabelled = corpus.label.clone()
    unlabelled[train[:5]], unlabelled[validation[:5]] = NO_LABEL, NO_LABEL
    less = replace(corpus, label=unlabelled)
    strength, score, said = by_hand(less)
    assert (linear(less, 4, balanced=False).strength, linear(less, 4, balanced=False).test) == (strength, said)
    assert linear(less, 4, balanced=False).validation_weighted_f1 == pytest.approx(score, abs=0.006)


def test_rare_classes_weigh_as_in_the_models() -> None:
    corpus = noisy()
    label = torch.where(torch.arange(len(corpus.label)) % 5 > 0, 0, corpus.label)  # most are of the first class
    rare = replace(corpus, label=label)
    plain, weighted = (linear(rare, 4, balanced=balanced) for balanced in (False, True))
    assert (plain.strength, plain.test) == by_hand(rare)[::2]
    assert (weighted.strength, weighted.test) == by_hand(rare, "balanced")[::2]
    assert plain.test != weighted.test


def test_it_is_fitted_once_for_the_same_features(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = noisy()
    found = linear(corpus, 4, balanced=False)

    def fitted(*_: object, **__: object) -> None:
        raise AssertionError("fitted again")

    monkeypatch.setattr(module, "regression", fitted)
    assert linear(noisy(), 4, balanced=False) == found
    with pytest.raises(AssertionError, match="fitted again"):
        linear(noisy(1), 4, balanced=False)


def test_a_label_that_train_lacks_keeps_its_number_and_is_never_said() -> None:
    corpus = noisy()
    less = replace(corpus, label=torch.where(corpus.label == 1, 3, corpus.label))
    assert (linear(less, 4, balanced=False).strength, linear(less, 4, balanced=False).test) == by_hand(less)[::2]
    assert set(linear(less, 4, balanced=False).test) == {0, 2, 3}


def test_a_corpus_of_one_label_has_one_answer() -> None:
    corpus = noisy()
    found = linear(replace(corpus, label=torch.full_like(corpus.label, 2)), 4, balanced=False)
    assert (set(found.test), len(found.test), found.validation_weighted_f1) == ({2}, 30, 100.0)


def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path: Path) -> None:
    found = linear(noisy(), 4, balanced=False)
    write_linear(found, tmp_path)
    assert read_linear(tmp_path, 30) == found
    file = tmp_path / "linear.json"
    content = json.loads(file.read_text())
    for wrong in ("", "[]", "{", json.dumps({**content, "test": ["joy"] * 30}), json.dumps({**content, "more": 1}),
                  json.dumps({**content, "test": content["test"][1:]}), "[" * 100_000):  # fmt: skip
        file.write_text(wrong)
        with pytest.raises(UserError, match=r"linear.json: cannot be used \(.*\); `dvc repro` makes it anew"):
            read_linear(tmp_path, 30)
    file.unlink()
    with pytest.raises(UserError, match=r"linear.json: no such file; `dvc repro` makes it"):
        read_linear(tmp_path, 30)
