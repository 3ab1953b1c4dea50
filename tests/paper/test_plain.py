"""Logistic regression and the text encoder alone: what they learn from, and what the stage writes."""

import csv
import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from model.batching import NO_LABEL, Corpus
from paper import plain
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.labels import MELD
from pipeline.params import load_params
from pipeline.training.linear import STRENGTHS, regression
from tests.paper.small import write_params
from tests.random_features import write_features_of_meld


def corpus(seed: int = 0) -> Corpus:
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
def test_the_strength_is_chosen_on_validation_and_test_is_not_looked_at(balanced: bool) -> None:
    made = corpus()
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
    made = corpus()
    context = torch.arange(300) % 3 == 0
    less = replace(made, label=torch.where(context, NO_LABEL, made.label))
    noise = (context & (torch.arange(300) < 220))[:, None]
    other = replace(less, features={name: torch.where(noise, 9.0, values) for name, values in less.features.items()})
    first, second = (regression(one, ["text"], 3, balanced=False) for one in (less, other))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1:] == second[1:]


@pytest.mark.slow
def test_the_stage_writes_a_row_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.scoring.scores.RESAMPLES", 20)
    rows = write_features_of_meld(tmp_path)
    write_params(tmp_path)
    file = tmp_path / "paper/features/meld/encoder/text_predictions.csv"
    file.parent.mkdir(parents=True)
    plain.run(Namespace(corpus="meld"), load_params())
    assert sorted(path.name for path in Path("paper/plain/meld").iterdir()) == ["logistic", "logistic_text"]
    whole, of_text = (json.loads((plain.FOLDER / "meld" / name / "metrics.json").read_text())
                      for name in ("logistic", "logistic_text"))  # fmt: skip
    assert whole["modalities"] == ["text", "audio", "visual"]
    assert of_text["modalities"] == ["text"]
    tested = [row for row in rows if row.split == "test"]
    with (plain.FOLDER / "meld/logistic/predictions.csv").open() as stream:
        said = list(csv.DictReader(stream))
    assert [(row["utterance_id"], row["label"], row["seed"]) for row in said] == [
        (row.utterance_id, row.label, "0") for row in tested
    ]  # fmt: skip
    assert whole["accuracy"] == pytest.approx(
        100 * np.mean([row["prediction"] == row["label"] for row in said]), abs=0.01
    )
    assert whole["weighted_f1"] > whole["majority"]["weighted_f1"]

    # Where there is a fine-tuned encoder, its own predictions are a row, too.
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["utterance_id", *MELD])
        writer.writerows([row.utterance_id, *(float(name == row.label) for name in MELD)] for row in rows)
    plain.run(Namespace(corpus="meld"), load_params())
    assert json.loads((plain.FOLDER / "meld/encoder/metrics.json").read_text())["accuracy"] == 100


def test_of_text_alone_there_is_one_regression_and_of_a_single_class_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.scoring.scores.RESAMPLES", 20)
    rows = write_features_of_meld(tmp_path)
    write_params(tmp_path)
    params = load_params()
    text = params.model_copy(update={"model": params.model.model_copy(update={"modalities": ["text"]})})
    plain.run(Namespace(corpus="meld"), text)
    assert [path.name for path in Path("paper/plain/meld").iterdir()] == ["logistic"]
    write_index([replace(row, label="joy") for row in rows], tmp_path / "data/meld/index.csv")
    (tmp_path / "paper/plain/meld/logistic/metrics.json").unlink()
    plain.run(Namespace(corpus="meld"), text)
    assert not list(Path("paper/plain").rglob("metrics.json"))
    assert read_index(tmp_path / "data/meld/index.csv")
