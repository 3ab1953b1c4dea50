"""The stage finetune_text: what it leaves with and without fine-tuning, folds, and what `evaluate` makes of it."""

import csv
import json
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from extractors.features import read_features
from extractors.settings import ContextSettings
from extractors.text.window import Window
from extractors.training import text_training
from foundation.errors import UserError
from foundation.folders import cache_folder
from pipeline import extract, finetune_text
from pipeline.corpora.index_file import read_index, write_index
from pipeline.scoring.metrics import text_encoder_scores
from pipeline.training.fine_tuning import folds_of, parts_of, training_data
from tests.pipeline.small import ENCODER, params_with, write_text_corpus

PROJECT = Path(__file__).parents[2]


def test_without_fine_tuning_it_leaves_a_note_at_once(tmp_path: Path) -> None:
    code = ("import runpy, sys; sys.argv = ['finetune_text', 'demo'];"
            "runpy.run_module('pipeline.finetune_text', run_name='__main__');"
            "print(*{'torch', 'numpy', 'transformers', 'sklearn'} & set(sys.modules))")  # fmt: skip
    (tmp_path / "params.yaml").write_text((PROJECT / "params.yaml").read_text())
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(PROJECT)}, text=True,
                          capture_output=True, check=True)  # fmt: skip
    assert done.stdout.split() == []
    assert "used as published" in done.stderr
    assert {str(file.relative_to(tmp_path)): file.read_text() for file in tmp_path.rglob("data/**/*.*")} == {
        "data/demo/encoder/text/encoder.json": '{\n  "fine_tuned": false\n}\n',
        "data/demo/encoder/text_predictions.csv": "utterance_id\n",
    }
    assert text_encoder_scores(tmp_path / "data/demo/encoder/text_predictions.csv", [], ()) == {}


@pytest.fixture
def corpus(tmp_path: Path, tiny_roberta: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the stages of text can run."""
    monkeypatch.chdir(tmp_path)
    write_text_corpus(tmp_path / "data/meld/index.csv")
    return tmp_path


def run(model: Path, crossfit: int, past: int = 0, **recipe: object) -> None:
    params = params_with(model, crossfit, past, **recipe)
    finetune_text.run(Namespace(corpus="meld"), params)
    extract.run(extract.arguments().parse_args(["meld", "text"]), params)


@pytest.mark.slow
def test_cross_fitting_gives_each_dialogue_of_train_features_of_an_encoder_that_has_not_seen_it(
    corpus: Path, tiny_roberta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    train = text_training.train

    def watched(
        published: Path, settings: object, recipe: object, data: text_training.Labelled, *rest: object
    ) -> object:
        seen.append({window.text for window in data.windows})
        return train(published, settings, recipe, data, *rest)

    monkeypatch.setattr(text_training, "train", watched)
    run(tiny_roberta, crossfit=3)
    rows = read_index(corpus / "data/meld/index.csv")
    card = json.loads((corpus / ENCODER / "encoder.json").read_text())
    of_train = {row.dialogue_id for row in rows if row.split == "train"}
    assert set(card["folds"]) == of_train
    assert sorted(card["folds"].values()) == [0, 0, 1, 1, 2, 2]
    for fold, texts in enumerate(seen):  # in this corpus no two utterances have the same text
        for row in rows:
            expected = row.split == "train" and card["folds"][row.dialogue_id] != fold and bool(row.text)
            assert (row.text in texts) == expected
    assert len(seen) == 3
    features = read_features(corpus / "data/meld/features/text.safetensors", len(rows))
    assert features.present.tolist() == [bool(row.text) for row in rows]
    assert len(set(features.identity["encoders"])) == 3


@pytest.mark.slow
def test_what_is_read_before_an_utterance_is_of_its_own_dialogue(
    corpus: Path, tiny_roberta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Window]] = []
    train, probabilities = text_training.train, text_training.probabilities

    def trained(*given: Any) -> object:
        seen.extend([given[3].windows, given[4].windows])
        return train(*given)

    def asked(classifier: text_training.Classifier, windows: list[Window]) -> Tensor:
        seen.append(windows)
        return probabilities(classifier, windows)

    monkeypatch.setattr(text_training, "train", trained)
    monkeypatch.setattr(text_training, "probabilities", asked)
    run(tiny_roberta, crossfit=2, past=2, epochs=1)
    rows = [row for row in read_index(corpus / "data/meld/index.csv") if row.text]
    before = {
        row.text: [f"{'AB'[other.turn % 2]}: {other.text}" for other in rows
                   if other.dialogue_id == row.dialogue_id and other.turn < row.turn]
        for row in rows
    }  # fmt: skip
    assert len(seen) == 2 * (2 + 2)  # data, validation, validation after the only epoch, predictions: of two encoders
    for windows in seen:
        assert max(len(window.past) for window in windows) == 2
        for window in windows:
            assert list(window.past) == (before[window.text][-2:] if window.text else [])
    features = read_features(corpus / "data/meld/features/text.safetensors", 60)
    assert features.identity["context"] == {"past": 2, "future": 0, "names": "index"}


def test_turns_without_a_label_are_read_and_not_learnt(corpus: Path) -> None:
    rows = [
        replace(row, label="" if row.turn == 1 else row.label) for row in read_index(corpus / "data/meld/index.csv")
    ]
    train, validation, _ = parts_of(rows)
    context = ContextSettings(past=1, names="none")
    found = training_data(train, validation, ("joy", "anger", "neutral"), {}, 0, context)
    text = {(row.dialogue_id, row.turn): row.text for row in rows}
    before = {3: 1, 4: 3}  # the turn that is read with each turn; the third turn of each dialogue is empty
    for part, taken in zip((train, validation), found, strict=True):
        assert taken.windows == [
            Window(row.text, past=(text[row.dialogue_id, before[row.turn]],) if row.turn else ())
            for row in part if row.turn in (0, 3, 4)
        ]  # fmt: skip


def test_folds_are_of_whole_dialogues_by_the_seed_and_no_more_than_there_are(corpus: Path) -> None:
    rows = [row for row in read_index(corpus / "data/meld/index.csv") if row.split == "train"]
    assert folds_of(rows, 2, 0) == folds_of(rows, 2, 0)
    assert len({tuple(folds_of(rows, 2, seed).items()) for seed in range(5)}) > 1
    assert folds_of(rows, 1, 0) == {}
    with pytest.raises(UserError, match=r"`crossfit` in params.yaml is 7, but train has only 6 dialogues"):
        folds_of(rows, 7, 0)


@pytest.mark.slow
def test_what_was_once_trained_is_taken_from_the_work_cache(
    corpus: Path, tiny_roberta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny_roberta, crossfit=1)
    files = [corpus / ENCODER / "0/model.safetensors", corpus / ENCODER / "encoder.json",
             corpus / "data/meld/encoder/text_predictions.csv"]  # fmt: skip
    before = [file.read_bytes() for file in files]
    rows = read_index(corpus / "data/meld/index.csv")
    write_index([replace(row, audio_hash="other") for row in rows], corpus / "data/meld/index.csv")

    def never(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(text_training, "_step", never)
    [record] = (cache_folder() / "trainings").glob("*/fit.json")
    checkpoint = record.with_name("state.pt")
    checkpoint.write_bytes(b"left by a kill after the record")
    run(tiny_roberta, crossfit=1)
    assert [file.read_bytes() for file in files] == before
    assert not checkpoint.exists()
    assert not list((corpus / ENCODER).rglob("state.pt"))


@pytest.mark.slow
def test_its_own_scores_are_made_by_evaluate_of_its_guesses(corpus: Path, tiny_roberta: Path) -> None:
    run(tiny_roberta, crossfit=2, epochs=6, patience=6)
    file = corpus / "data/meld/encoder/text_predictions.csv"
    rows = read_index(corpus / "data/meld/index.csv")
    with file.open() as stream:
        predictions = list(csv.DictReader(stream))
    assert [line["utterance_id"] for line in predictions] == [row.utterance_id for row in rows if row.split != "train"]
    order = tuple(name for name in predictions[0] if name != "utterance_id")
    for line in predictions:
        assert sum(float(line[name]) for name in order) == pytest.approx(1, abs=1e-5)
    said = {line["utterance_id"]: max(order, key=lambda name: float(line[name])) for line in predictions}
    tested = [row for row in rows if row.split == "test"]
    right = sum(said[row.utterance_id] == row.label for row in tested)
    scores = text_encoder_scores(file, rows, order)["text_encoder"]
    assert scores["accuracy"] == pytest.approx(100 * right / len(tested), abs=0.01)
    assert set(scores) == {"accuracy", "weighted_f1", "validation_weighted_f1"}
    ideal = [replace(row, label=said[row.utterance_id]) if row.split != "train" else row for row in rows]
    assert set(text_encoder_scores(file, ideal, order)["text_encoder"].values()) == {100.0}
    with pytest.raises(UserError, match="no such file; `dvc repro` makes it"):
        text_encoder_scores(file.with_name("none.csv"), rows, order)


def test_a_corpus_without_text_is_told_to_do_without(corpus: Path, tiny_roberta: Path) -> None:
    rows = read_index(corpus / "data/meld/index.csv")
    write_index([replace(row, text="") for row in rows], corpus / "data/meld/index.csv")
    with pytest.raises(UserError, match="there is no text to train on"):
        run(tiny_roberta, crossfit=1)
