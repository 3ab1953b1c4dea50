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
from pipeline.training.linear import STRENGTHS, linear, read_linear, regression, write_linear
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


def three_classes(seed: int = 0) -> Corpus:
    """Three classes of which the text tells more than the audio; class 0 is rare in train."""
    draw = np.random.default_rng(seed)
    label = draw.choice(3, size=300, p=[0.1, 0.4, 0.5])
    text, audio = (np.eye(3)[label] * size + draw.normal(size=(300, 3)) for size in (1.5, 0.8))
    dialogues = {split: list(torch.arange(begin, end).split(10)) for split, begin, end in
                 (("train", 0, 150), ("validation", 150, 220), ("test", 220, 300))}  # fmt: skip
    features = {"text": torch.tensor(text).float(), "audio": torch.tensor(audio).float()}
    there = {name: torch.ones(300, dtype=torch.bool) for name in features}
    return Corpus(features, there, torch.zeros(300, dtype=torch.int64), torch.tensor(label), dialogues)


@pytest.mark.parametrize("balanced", [False, True])
def test_probabilities_are_those_of_the_chosen_strength_and_test_is_not_looked_at(balanced: bool) -> None:
    made = three_classes()
    said, strength, score = regression(made, ["text", "audio"], 4, balanced=balanced)
    values = np.concatenate([made.features[name].double().numpy() for name in ("text", "audio")], axis=1)
    label = made.label.numpy()
    fitted = {
        one: LogisticRegression(C=one, max_iter=1000, class_weight="balanced" if balanced else None).fit(
            values[:150], label[:150])
        for one in STRENGTHS
    }  # fmt: skip
    scores = {one: 100 * f1_score(label[150:220], model.predict(values[150:220]), average="weighted")
              for one, model in fitted.items()}  # fmt: skip
    assert scores[strength] == max(scores.values())
    assert score == pytest.approx(scores[strength])
    np.testing.assert_allclose(said[:, :3], fitted[strength].predict_proba(values[220:]), atol=1e-3)
    assert (said[:, 3] == 0).all()  # a label that train does not have
    blind = replace(made, label=torch.where(torch.arange(300) < 220, made.label, 0))
    np.testing.assert_array_equal(regression(blind, ["text", "audio"], 4, balanced=balanced)[0], said)


def test_turns_without_a_label_are_not_learnt_from() -> None:
    made = three_classes()
    context = torch.arange(300) % 3 == 0
    less = replace(made, label=torch.where(context, NO_LABEL, made.label))
    noise = (context & (torch.arange(300) < 220))[:, None]
    other = replace(less, features={name: torch.where(noise, 9.0, values) for name, values in less.features.items()})
    first, second = (regression(one, ["text"], 3, balanced=False) for one in (less, other))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1:] == second[1:]
