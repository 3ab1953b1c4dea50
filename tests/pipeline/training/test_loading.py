"""From the index to the network and back: labels keep their names, statistics are those of train."""

import csv
import json
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from extractors.features import Features, write_features
from extractors.utterance import Utterance
from foundation.errors import UserError
from model.batching import Corpus
from model.training import positions, predict
from pipeline import evaluate, train
from pipeline.bundle import read_bundle
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.labels import IEMOCAP, MELD, labels
from pipeline.params import Params, load_params
from pipeline.training.loading import load_corpus
from pipeline.training.store import class_weights_of
from tests.random_features import write_leakage

PROJECT = Path(__file__).parents[3]
OWN = ("wry", "calm", "eager", "bored", "keen")
"""Emotions of a corpus of one's own, not sorted."""
EMOTIONS = {"custom": OWN, "meld": MELD[::-1], "iemocap": IEMOCAP[::-1]}


def labels_of_train(corpus: Corpus) -> torch.Tensor:
    return corpus.label[torch.cat(corpus.dialogues["train"])]


def order_of(name: str, rows: list[Utterance]) -> tuple[str, ...]:
    return labels({"custom": "table"}.get(name, name), [row.label for row in rows])


def write_corpus(name: str) -> list[Utterance]:
    """An index in data/D whose rows lie in no order, and features that tell the label.

    The later an emotion stands in `EMOTIONS`, the more frequent it is in train. Text tells the label in all rows, audio
    in some.
    """
    draw, emotions, rows = np.random.default_rng(5), EMOTIONS[name], []
    for split, dialogues in (("train", 12), ("validation", 4), ("test", 5)):
        for d in range(dialogues):
            for turn in range(3 + d % 4):
                often = 1.0 + np.arange(len(emotions)) if split == "train" else np.ones(len(emotions))
                label = emotions[draw.choice(len(emotions), p=often / often.sum())]
                row = Utterance(utterance_id=f"{split}{d}_{turn}", dialogue_id=f"{split}{d}", turn=turn,
                                speaker=turn % 2, split=split, text=label, label=label, audio="a.wav")  # fmt: skip
                rows.append(row)
    rows = [rows[place] for place in draw.permutation(len(rows))]
    data = Path("data") / name
    write_index(rows, data / "index.csv")
    (data / "encoder").mkdir()
    (data / "encoder/text_predictions.csv").write_text("utterance_id\n")  # no encoder was fine-tuned
    of_word = {word: 3 * draw.normal(size=10) for word in sorted(emotions)}
    test = np.array([[row.split == "test"] for row in rows])
    for modality, share, shift in (("text", 1.0, 4.0), ("audio", 0.6, -9.0)):
        values = np.stack([of_word[row.label] for row in rows]) + 0.3 * draw.normal(size=(len(rows), 10)) + shift
        present = draw.random(len(rows)) < share
        values = (values + test * 0.2) * present[:, None]
        write_features(Features(values.astype(np.float32), present, {}), data / "features" / f"{modality}.safetensors")
    return rows


def small_params(name: str, **changes: object) -> Params:
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["model"] |= {"name": "cmath", "modalities": ["audio", "text"], "dim": 20, "heads": 2,
                         "dropout": 0.1, "feature_dropout": 0.0}  # fmt: skip
    content["train"][name] |= {"epochs": 15, "patience": 15, "batch": 4, "seeds": [3], "learning_rate": 0.01,
                               "ema_decay": 0.0, "class_weights": True}  # fmt: skip
    content["train"][name] |= changes
    with Path("params.yaml").open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    return load_params()


@pytest.mark.parametrize("name", list(EMOTIONS))
def test_a_label_is_the_place_of_its_word_in_the_corpus_order(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = write_corpus(name)
    order = {
        "custom": ("bored", "calm", "eager", "keen", "wry"),
        "meld": ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"),
        "iemocap": ("happy", "sad", "neutral", "angry", "excited", "frustrated"),
    }[name]  # of corpora in the literature, that of its publications
    corpus, _ = load_corpus(name, rows, order_of(name, rows), ["text"])
    assert order_of(name, rows) == order
    assert [order[place] for place in corpus.label.tolist()] == [row.label for row in rows]
    assert corpus.speaker.tolist() == [row.speaker for row in rows]


def test_dialogues_lie_in_their_split_with_their_turns_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus("custom")
    rows = read_index(Path("data/custom/index.csv"))
    corpus, _ = load_corpus("custom", rows, order_of("custom", rows), ["text"])
    seen = []
    for split, dialogues in corpus.dialogues.items():
        for positions_of_one in dialogues:
            turns = [rows[place] for place in positions_of_one.tolist()]
            assert {(row.split, row.dialogue_id) for row in turns} == {(split, turns[0].dialogue_id)}
            assert [row.turn for row in turns] == list(range(len(turns)))
            seen += positions_of_one.tolist()
    assert sorted(seen) == list(range(len(rows)))
    assert list(corpus.dialogues) == ["train", "validation", "test"]


def test_features_are_standardised_by_the_rows_of_train_that_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus("custom")
    # A corpus without differences would hide whose statistics are taken: test lies elsewhere.
    rows = read_index(Path("data/custom/index.csv"))
    train_rows = np.array([row.split == "train" for row in rows])
    draw = np.random.default_rng(1)
    raw = {}
    for modality, shift in (("text", 2.0), ("audio", -3.0)):
        there = draw.random(len(rows)) < 0.7
        values = shift + draw.normal(size=(len(rows), 4)) * np.where(train_rows, 1.0, 5.0)[:, None]
        values = (values * there[:, None]).astype(np.float32)
        write_features(Features(values, there, {}), Path(f"data/custom/features/{modality}.safetensors"))
        raw[modality] = values.astype(np.float64), there
    corpus, scalers = load_corpus("custom", rows, order_of("custom", rows), ["audio", "text"])
    assert list(corpus.features) == list(scalers) == ["text", "audio"]
    for modality, (values, there) in raw.items():
        chosen = values[train_rows & there]
        mean, deviation = chosen.mean(0), np.sqrt(((chosen - chosen.mean(0)) ** 2).mean(0))
        np.testing.assert_allclose(scalers[modality].mean, mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(scalers[modality].std, deviation, rtol=1e-5)
        expected = np.clip((values - mean) / deviation, -10, 10) * there[:, None]
        np.testing.assert_allclose(corpus.features[modality], expected, rtol=1e-4, atol=1e-5)
        assert corpus.present[modality].tolist() == there.tolist()


def test_a_class_weighs_as_the_inverse_of_its_words_frequency_in_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = write_corpus("custom")
    corpus, _ = load_corpus("custom", rows, order_of("custom", rows), ["text"])
    order = order_of("custom", rows)
    settings = small_params("custom").train["custom"]
    weights = class_weights_of(settings, labels_of_train(corpus), len(order))
    count = Counter(row.label for row in rows if row.split == "train")
    assert len(set(count.values())) == len(OWN)  # or a rotation could not be seen
    for place, word in enumerate(order):
        assert weights[place].item() == pytest.approx(sum(count.values()) / count[word], rel=1e-5)
    unweighted = settings.model_copy(update={"class_weights": False})
    assert class_weights_of(unweighted, labels_of_train(corpus), 5) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["custom", "meld"])
def test_the_word_in_the_index_is_the_word_that_a_trained_model_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "draw_tsne", lambda *_: None)
    rows, params = write_corpus(name), small_params(name)
    write_leakage(tmp_path, name)
    train.run(Namespace(corpus=name), params)
    evaluate.run(Namespace(corpus=name), params)
    word = {row.utterance_id: row.label for row in rows}
    of_test = sorted(row.utterance_id for row in rows if row.split == "test")

    with Path(f"results/{name}/predictions.csv").open(encoding="utf-8") as stream:
        said = list(csv.DictReader(stream))
    assert sorted(row["utterance_id"] for row in said) == sorted(
        row.utterance_id for row in rows if row.split == "test"
    )
    assert all(row["label"] == word[row["utterance_id"]] for row in said)
    assert sum(row["prediction"] == word[row["utterance_id"]] for row in said) > 0.8 * len(of_test)
    for row in said:
        chance = {emotion: float(row[emotion]) for emotion in EMOTIONS[name]}
        assert max(chance, key=lambda emotion: chance[emotion]) == row["prediction"]

    # The bundle's network and its own list of labels, on features that its own statistics standardise.
    bundle = read_bundle(Path("models") / name)
    assert json.loads((bundle.folder / "bundle.json").read_text())["labels"] == list(bundle.labels)
    corpus, _ = load_corpus(name, rows, order_of(name, rows), ["text", "audio"])
    logits = predict(bundle.network(3), corpus, "test", torch.device("cpu"))[0]
    names = [bundle.labels[place] for place in logits.argmax(1).tolist()]
    expected = [rows[place].label for place in positions(corpus, "test").tolist()]
    assert sum(a == b for a, b in zip(names, expected, strict=True)) > 0.8 * len(of_test)

    scores = json.loads(Path(f"results/{name}/scores.json").read_text())
    assert scores["accuracy"] > 80
    assert scores["oracle_weighted_f1"] >= scores["weighted_f1"] > 80


def test_a_modality_that_train_lacks_is_left_out_though_test_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = write_corpus("custom")
    there = np.array([row.split != "train" for row in rows])
    values = there[:, None] * np.ones((len(rows), 2), np.float32)
    write_features(Features(values, there, {}), Path("data/custom/features/audio.safetensors"))
    corpus, scalers = load_corpus("custom", rows, order_of("custom", rows), ["text", "audio"])
    assert list(corpus.features) == list(corpus.present) == list(scalers) == ["text"]
    with pytest.raises(UserError, match="none of them in its training split"):
        load_corpus("custom", rows, order_of("custom", rows), ["audio"])
