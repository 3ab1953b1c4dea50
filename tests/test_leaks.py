"""What is fitted is fitted on train: other labels and features of validation and test leave its bytes as they are.

Test changes nothing at all. Validation changes two things: which epoch is taken, and how probabilities are calibrated.
The weights of each epoch stay the same.
"""

import json
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from extractors.extraction import reduced
from extractors.features import Features, read_features, write_features
from extractors.settings import AudioSettings
from extractors.utterance import Utterance
from model.training import positions
from pipeline import extract, finetune_text, train
from pipeline.bundle import NAME, TEST_PREDICTIONS
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.labels import MELD
from pipeline.params import load_params
from pipeline.training.loading import load_corpus
from pipeline.training.store import class_weights_of
from tests.pipeline.small import ENCODER, PROJECT, WORDS, params_with, write_text_corpus
from tests.random_features import write_features_of_meld

pytestmark = pytest.mark.slow


def shuffled(*splits: str) -> Callable[[Utterance], str]:
    """Gives the utterances of `splits` labels at random."""
    draw = np.random.default_rng(7)
    return lambda row: list(WORDS)[draw.integers(3)] if row.split in splits else row.label


def text_files(
    folder: Path, model: Path, relabel: Callable[[Utterance], str], *, respelt: tuple[str, ...] = (), **recipe: object
) -> dict[str, bytes]:
    """Everything that the stages of text write in `folder`, with a work cache of its own; the utterances of the splits
    `respelt` say something else."""
    with pytest.MonkeyPatch.context() as patch:
        folder.mkdir()
        patch.chdir(folder)
        patch.setenv("CMATH_CACHE", str(folder / "cache"))
        rows = write_text_corpus(folder / "data/meld/index.csv", relabel)
        rows = [replace(row, text=row.text[::-1] if row.split in respelt else row.text) for row in rows]
        write_index(rows, folder / "data/meld/index.csv")
        params = params_with(model, crossfit=2, **recipe)
        finetune_text.run(Namespace(corpus="meld"), params)
        extract.run(extract.arguments().parse_args(["meld", "text"]), params)
    files = (*folder.glob("data/meld/encoder/**/*"), *folder.glob("data/meld/features/*"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files if file.is_file()}


def test_labels_of_test_change_no_encoder_no_guess_and_no_feature(tiny_roberta: Path, tmp_path: Path) -> None:
    before = text_files(tmp_path / "a", tiny_roberta, lambda row: row.label)
    assert {f"{ENCODER}/1/model.safetensors", "data/meld/features/text.safetensors"} <= set(before)
    assert text_files(tmp_path / "b", tiny_roberta, shuffled("test")) == before
    other = text_files(tmp_path / "c", tiny_roberta, shuffled("train"))
    assert other[f"{ENCODER}/0/model.safetensors"] != before[f"{ENCODER}/0/model.safetensors"]


def test_labels_of_validation_change_only_which_epoch_is_taken(tiny_roberta: Path, tmp_path: Path) -> None:
    one, card = {"epochs": 1}, f"{ENCODER}/encoder.json"
    before = text_files(tmp_path / "a", tiny_roberta, lambda row: row.label, **one)
    after = text_files(tmp_path / "b", tiny_roberta, shuffled("validation", "test"), **one)
    assert before.pop(card) != after.pop(card)  # it tells the score on validation
    assert after == before
    many = {"epochs": 4, "patience": 4}
    cards = [
        json.loads(text_files(tmp_path / name, tiny_roberta, relabel, **many)[card])["encoders"]
        for name, relabel in (("c", lambda row: row.label), ("d", shuffled("validation", "test")))
    ]
    losses = [[[epoch["loss"] for epoch in fit["history"]] for fit in fits] for fits in cards]
    scores = [[[epoch["validation_weighted_f1"] for epoch in fit["history"]] for fit in fits] for fits in cards]
    assert losses[0] == losses[1]
    assert scores[0] != scores[1]


@pytest.mark.parametrize(("respelt", "recipe"), [(("test",), {}), (("validation", "test"), {"epochs": 1})])
def test_what_others_say_changes_no_encoder_and_none_of_trains_features(
    tiny_roberta: Path, tmp_path: Path, respelt: tuple[str, ...], recipe: dict
) -> None:
    before = text_files(tmp_path / "a", tiny_roberta, lambda row: row.label, **recipe)
    after = text_files(tmp_path / "b", tiny_roberta, shuffled(*respelt), respelt=respelt, **recipe)
    encoders = {name for name in before if name.startswith(f"{ENCODER}/")}
    changed = {name for name in before if before[name] != after[name]}
    # The card tells the score on validation.
    assert changed & encoders == (set() if respelt == ("test",) else {f"{ENCODER}/encoder.json"})
    splits = [row.split for row in read_index(tmp_path / "a/data/meld/index.csv")]
    one, other = (
        read_features(tmp_path / name / "data/meld/features/text.safetensors", len(splits)).values for name in "ab"
    )
    assert {split for split, same in zip(splits, (one == other).all(axis=1), strict=True) if not same} == set(respelt)


@pytest.mark.parametrize("kind", ["pca", "svm"])
def test_reduction_is_fitted_on_train_alone(tmp_path: Path, kind: str) -> None:
    settings = AudioSettings.model_validate({"set": "IS10", "min_seconds": 0.25, "reduce": kind, "dim": 4})
    rows = write_text_corpus(tmp_path / "index.csv")
    train = np.array([row.split == "train" for row in rows])
    values = np.random.default_rng(0).normal(size=(len(rows), 20)).astype(np.float32)

    def file(values: np.ndarray, relabel: Callable[[Utterance], str]) -> bytes:
        relabelled = write_text_corpus(tmp_path / "index.csv", relabel)
        found = reduced(Features(values, np.ones(len(rows), bool), {}), relabelled, settings)
        write_features(found, tmp_path / "audio.safetensors")
        return (tmp_path / "audio.safetensors").read_bytes()

    before = file(values, lambda row: row.label)
    assert file(values, shuffled("validation", "test")) == before
    assert (file(values, shuffled("train")) == before) == (kind == "pca")  # which looks at no label
    other = np.where(train[:, None], values, values[::-1])
    for name, tensor in reduced(Features(other, np.ones(len(rows), bool), {}), rows, settings).reduction.items():
        expected = reduced(Features(values, np.ones(len(rows), bool), {}), rows, settings).reduction[name]
        np.testing.assert_array_equal(tensor, expected)


def test_standardisation_and_class_weights_are_of_train_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = load_params(PROJECT / "params.yaml")
    settings = params.train["meld"].model_copy(update={"class_weights": True})
    index = tmp_path / "data/meld/index.csv"
    rows = write_text_corpus(index)
    train = np.array([row.split == "train" for row in rows])
    values = np.random.default_rng(0).normal(size=(len(rows), 6)).astype(np.float32)

    def fitted(values: np.ndarray, relabel: Callable[[Utterance], str]) -> list[torch.Tensor]:
        write_text_corpus(index, relabel)
        write_features(Features(values, np.ones(len(rows), bool), {}), tmp_path / "data/meld/features/text.safetensors")
        corpus, scalers = load_corpus("meld", read_index(index), MELD, ["text"])
        weights = class_weights_of(settings, corpus.label[positions(corpus, "train")], 7)
        assert weights is not None
        return [scalers["text"].mean, scalers["text"].std, weights]

    before = fitted(values, lambda row: row.label)
    assert all(map(torch.equal, fitted(values, shuffled("validation", "test")), before))
    assert not torch.equal(fitted(values, shuffled("train"))[2], before[2])
    other = np.where(train[:, None], values, 9 * values)
    assert all(map(torch.equal, fitted(other, lambda row: row.label), before))
    assert not torch.equal(fitted(9 * values, lambda row: row.label)[1], before[1])


def trained_files(
    folder: Path, model: str, epochs: int, scrambled: tuple[str, ...]
) -> tuple[dict[str, bytes], bytes, np.ndarray]:
    """What `train` leaves of a model in `folder`, its history, and what its epochs say of test.

    Labels, speakers and features of the splits `scrambled` are others, and some have no sound.
    """
    folder.mkdir()
    rows, file = write_features_of_meld(folder), folder / "data/meld/index.csv"
    other = np.array([row.split in scrambled for row in rows])
    order = sorted({row.label for row in rows})
    following = dict(zip(order, [*order[1:], order[0]], strict=True))
    rows = [
        replace(row, label=following[row.label], speaker=1 - row.speaker) if there else row
        for row, there in zip(rows, other, strict=True)
    ]
    write_index(rows, file)
    for modality in ("text", "audio", "visual"):
        features = folder / f"data/meld/features/{modality}.safetensors"
        made = read_features(features, len(rows))
        present = made.present & ~(other & (np.arange(len(rows)) % 3 == 0) & (modality == "audio"))
        values = np.where(other[:, None], 5 - 3 * made.values, made.values) * present[:, None]
        write_features(replace(made, values=values.astype(np.float32), present=present), features)
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["model"] |= {"name": model, "dim": 20, "heads": 2}
    content["baselines"]["multidag"] |= {"hidden": 10, "layers": 2}
    content["train"]["meld"] |= {"epochs": epochs, "patience": epochs, "seeds": [0, 1], "class_weights": True}
    with (folder / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CMATH_CACHE", str(folder / "cache"))
        finetune_text.run(Namespace(corpus="meld"), load_params())
        train.run(Namespace(corpus="meld"), load_params())
    bundle = folder / "models/meld" / NAME
    files = {str(file.relative_to(bundle)): file.read_bytes() for file in bundle.rglob("*") if file.is_file()}
    predictions = np.concatenate(list(load_file(folder / "models/meld" / TEST_PREDICTIONS).values()))
    return files, (folder / "results/meld/history.csv").read_bytes(), predictions


@pytest.mark.parametrize("model", ["cmath", "multidag"])  # multidag orders its lessons by what it knows of the corpus
def test_a_model_its_epoch_and_its_history_know_nothing_of_test(model: str, tmp_path: Path) -> None:
    files, history, predictions = trained_files(tmp_path / "a", model, 3, ())
    other_files, other_history, other_guesses = trained_files(tmp_path / "b", model, 3, ("test",))
    assert any(name.endswith(".safetensors") for name in files)
    assert other_files == files
    assert other_history == history
    assert (other_guesses != predictions).any()


@pytest.mark.parametrize("model", ["cmath", "multidag"])
def test_validation_chooses_a_models_epoch_and_nothing_else(model: str, tmp_path: Path) -> None:
    files, history, _ = trained_files(tmp_path / "a", model, 1, ())
    other_files, other_history, _ = trained_files(tmp_path / "b", model, 1, ("validation", "test"))
    card, other_card = (json.loads(found.pop("bundle.json")) for found in (files, other_files))
    assert card.pop("checksum") != other_card.pop("checksum")
    assert card.pop("calibration") != other_card.pop("calibration")
    assert other_card == card
    assert other_files == files
    assert other_history != history
    of_train, _, _ = trained_files(tmp_path / "c", model, 1, ("train",))
    assert of_train.keys() - {"bundle.json"} == files.keys()
    assert any(of_train[name] != content for name, content in files.items() if name.startswith("seed"))
