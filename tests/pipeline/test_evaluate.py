"""What `evaluate` says of test: numbers by hand, and of a whole run each number once more in another way."""

import csv
import json
import shutil
from argparse import Namespace
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file
from sklearn.metrics import f1_score

from extractors.features import read_features, write_features
from extractors.utterance import Utterance
from model.batching import Corpus
from pipeline import evaluate, finetune_text, train
from pipeline.bundle import TEST_PREDICTIONS, read_bundle
from pipeline.calibration import Answer
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.labels import MELD
from pipeline.params import load_params
from pipeline.scoring.lengths import LENGTHS, length_groups
from pipeline.scoring.metrics import (
    Seed,
    by_group,
    metrics,
    modality_groups,
    shares_present,
    text_encoder_scores,
    validation_scores,
)
from pipeline.scoring.tables import write_confusion, write_ensemble, write_predictions
from pipeline.training.loading import load_corpus
from tests.model.dialogues import collate
from tests.pipeline.statements import draws, quantile, weighted_f1
from tests.random_features import write_features_of_meld, write_leakage

PROJECT = Path(__file__).parents[2]
NAMES = ("A", "B", "C", "D")
LABELS = "AAABBC"
"""Of the six utterances of test: A is the most frequent class; D is none of theirs."""
SAID = {3: "ADABBC", 5: "AAABBA", 4: "DACCCC"}
"""Predictions by seed: weighted F1 90, 76.19 and 31.67, accuracy 83.33, 83.33 and 33.33."""
SURE = {3: 0.7, 5: 0.9, 4: 0.5}
EPOCHS = {
    3: ("BBBBBB", "AAABBC", "ADABBC"),  # 16.67, 100, 90
    5: ("AAABBA", "CCCCCC", "AAABBB", "BBBAAA"),  # 76.19, 4.76, 76.67, 0
    4: ("DACCCC", "AAAAAA", "DDDDDD"),  # 31.67, 33.33, 0
}
"""What the model of each epoch says: the best is neither the first nor the last, nor the same for all seeds."""


def numbers(word: str) -> list[int]:
    return [NAMES.index(letter) for letter in word]


def row(place: int, label: str, dialogue: str = "d", split: str = "test", **more: object) -> Utterance:
    usual = {"turn": place, "speaker": 0, "text": "x"}
    return Utterance(utterance_id=f"u{place}", dialogue_id=dialogue, split=split, label=label, **{**usual, **more})


TESTED = [row(place, label) for place, label in enumerate(LABELS)]


@pytest.fixture
def seeds() -> list[Seed]:
    found = []
    for seed, said in SAID.items():
        probabilities = np.full((6, 4), (1 - SURE[seed]) / 3)
        probabilities[np.arange(6), numbers(said)] = SURE[seed]
        predictions = np.array([numbers(word) for word in EPOCHS[seed]])
        answer = Answer(probabilities, probabilities, np.array(numbers(said)))
        found.append(Seed(seed, answer, np.zeros((6, 1)), predictions))
    return found


def test_metrics_are_those_reckoned_by_hand(seeds: list[Seed]) -> None:
    found = metrics(seeds, TESTED, list("CBBD"), NAMES)
    assert (found["accuracy"], found["accuracy_std"]) == (66.67, 28.87)
    assert (found["weighted_f1"], found["weighted_f1_std"]) == (65.95, 30.48)
    # By class, of seed 3: 80, 100, 100, and 0 for D, which it says; of 5: 85.71, 100 and 0; of 4: 50, 0, 40 and 0.
    macro = [(80 + 100 + 100) / 4, (600 / 7 + 100) / 3, 90 / 4]
    assert (found["macro_f1"], found["macro_f1_std"]) == (round(mean(macro), 2), round(stdev(macro), 2))
    assert (found["oracle_weighted_f1"], found["oracle_weighted_f1_std"]) == (70.0, 33.83)  # of 100, 76.67 and 33.33
    assert found["f1"] == {"A": 71.9, "B": 66.67, "C": 46.67, "D": 0.0}
    assert found["f1_std"] == {"A": 19.18, "B": 57.74, "C": 50.33, "D": 0.0}
    # Gaps of 0.8333 - 0.7, 0.9 - 0.8333 and 0.5 - 0.3333, each in a single bin.
    assert found["calibration_error"] == pytest.approx((13.333 + 6.667 + 16.667) / 3, abs=0.01)
    # Always B, of train; A: 50 and 33.33. Of A, B and C its macro F1 has 0, 50 and 0.
    assert found["majority"] == {"accuracy": 33.33, "weighted_f1": 16.67, "macro_f1": 16.67}
    assert (found["seeds"], found["utterances"]) == (3, 6)


def test_utterances_without_a_label_enter_no_score(seeds: list[Seed]) -> None:
    """Two unlabelled turns, one in the middle and one at the end, predicted like the others."""

    def widened(values: np.ndarray, axis: int) -> np.ndarray:
        more = np.insert(values, 2, values.take(0, axis), axis)
        return np.concatenate([more, values.take([0], axis)], axis)

    wider = [
        Seed(
            one.seed,
            Answer(widened(one.answer.raw, 0), widened(one.answer.calibrated, 0), widened(one.answer.label, 0)),
            widened(one.representations, 0),
            widened(one.predictions, 1),
        )
        for one in seeds
    ]
    rows = [*TESTED[:2], row(90, ""), *TESTED[2:], row(91, "")]
    assert metrics(wider, rows, [*"CBBD", "", "", ""], NAMES) == metrics(seeds, TESTED, list("CBBD"), NAMES)
    groups = ["x", "y", "x", "y", "x", "y", "x", "z"]
    assert by_group(groups, rows, wider, NAMES) == by_group(["x", "y", "y", "x", "y", "x"], TESTED, seeds, NAMES)


def test_the_bounds_are_those_of_all_possible_draws_of_the_utterances(seeds: list[Seed]) -> None:
    found = metrics(seeds, TESTED, list("B"), NAMES)
    outcomes = [
        (round(mean(weighted_f1([(LABELS[at], said[at]) for at in draw]) for said in SAID.values()), 9), probability)
        for draw, probability in draws(6)
    ]
    assert found["weighted_f1_low"] == pytest.approx(quantile(outcomes, 0.025), abs=0.01)
    assert found["weighted_f1_high"] == pytest.approx(quantile(outcomes, 0.975), abs=0.01)
    assert quantile(outcomes, 0.05) - quantile(outcomes, 0.025) > 0.3
    assert quantile(outcomes, 0.975) - quantile(outcomes, 0.95) > 0.3


def test_a_single_seed_has_no_deviation(seeds: list[Seed]) -> None:
    found = metrics(seeds[1:2], TESTED, list("B"), NAMES)
    assert (found["weighted_f1"], found["weighted_f1_std"], found["f1_std"]["A"]) == (76.19, 0.0, 0.0)


def test_groups_have_the_mean_over_seeds_of_their_own_utterances(seeds: list[Seed]) -> None:
    # x: A, B, C of test, y: A, A, B. Of x, ABC, ABA and DCC: 100; 22.22 + 33.33 + 0; 0 + 0 + 22.22. Of y, DAB, AAB and
    # ACC: 44.44 + 33.33; 100; 44.44.
    found = by_group(["x", "y", "y", "x", "y", "x"], TESTED, seeds, NAMES)
    assert found == {
        "x": {"weighted_f1": 59.26, "utterances": 3},
        "y": {"weighted_f1": 74.07, "utterances": 3},
    }


def test_turns_of_a_conversation_are_counted_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LENGTHS, "brief", (3, 5))
    rows = [row(place, "A", dialogue) for place, dialogue in enumerate("abacbabacc" + "c" * 3)]
    assert Counter(row.dialogue_id for row in rows) == {"a": 4, "b": 3, "c": 6}
    groups = dict(zip((row.dialogue_id for row in rows), length_groups(rows, "brief"), strict=True))
    assert groups == {"a": "C2: 4-5", "b": "C1: 1-3", "c": "C3: 6 and more"}


def test_modalities_of_an_utterance_are_those_it_has_at_its_own_place() -> None:
    there = {"text": [True, True, False, False], "audio": [False, True, True, False]}
    present = {name: torch.tensor(values) for name, values in there.items()}
    corpus = Corpus({}, present, torch.zeros(4), torch.zeros(4), {})
    assert modality_groups(corpus, torch.tensor([3, 1, 0, 2])) == ["none", "text+audio", "text", "audio"]


def test_the_share_present_is_of_the_media_that_the_index_has() -> None:
    rows = [row(place, "A", text="x" if place < 4 else "", audio="a" if place < 3 else "") for place in range(5)]
    present = {"text": torch.tensor([1, 1, 1, 0, 0]).bool(), "audio": torch.tensor([0, 0, 1, 0, 0]).bool()}
    corpus = Corpus({}, present, torch.zeros(5), torch.zeros(5), {})
    assert shares_present(rows, corpus) == {"text": 75.0, "audio": 33.33}


def test_validation_scores_are_of_each_seeds_best_epoch(tmp_path: Path) -> None:
    history = ["seed,epoch,loss,validation_weighted_f1"]
    scores = {0: (40.0, 50.5, 45.0), 1: (20.0, 9.5, 30.0, 31.5, 4.0), 2: (3.0, 62.0, 61.0)}
    history += [f"{seed},{epoch},99,{score}" for seed, part in scores.items() for epoch, score in enumerate(part, 1)]
    (tmp_path / "history.csv").write_text("\n".join(history))
    found = validation_scores(tmp_path / "history.csv")
    assert found == {"weighted_f1": 48.0, "weighted_f1_std": 15.4}  # of 50.5, 31.5 and 62; the population's is 12.57


def test_the_text_encoder_is_scored_on_each_split_by_its_own_labels(tmp_path: Path) -> None:
    splits = {"train": "AAAAA", "test": LABELS, "validation": "BBA"}
    rows = [
        replace(row(place, label, split, split), utterance_id=f"{split}{place}")
        for split, labels in splits.items() for place, label in enumerate(labels)
    ]  # fmt: skip
    said = {"test": "AAABBA", "validation": "BCA"}
    lines = [
        "utterance_id,D,C,B,A"
    ]  # neither the order of the classes, nor below that of the utterances, is the index'
    for split, predictions in said.items():
        for place in reversed(range(len(predictions))):
            shares = (0.7 if name == predictions[place] else 0.1 for name in "DCBA")
            lines.append(f"{split}{place},{','.join(map(str, shares))}")
    (tmp_path / "text_predictions.csv").write_text("\n".join(lines))
    assert text_encoder_scores(tmp_path / "text_predictions.csv", rows, NAMES) == {
        # B of validation: 2 of 3 utterances, precision 1, recall 0.5.
        "text_encoder": {"accuracy": 83.33, "weighted_f1": 76.19, "validation_weighted_f1": 77.78}
    }


def table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_predictions_have_a_line_an_utterance_and_seed(tmp_path: Path) -> None:
    shares = np.array([[0.1234567, 0.8765433, 0.0], [0.5, 0.2, 0.3], [0.0, 0.0, 1.0]])
    raw, said = np.full((3, 3), 1 / 3), [np.array([1, 0, 2]), np.array([2, 0, 1])]
    of_seeds = [
        Seed(7, Answer(raw, shares, said[0]), shares, shares),
        Seed(2, Answer(raw, shares[::-1], said[1]), shares, shares),
    ]
    rows = [row(4, "A"), row(1, "C"), row(9, "C")]
    write_predictions(of_seeds, rows, ("A", "B", "C"), tmp_path / "predictions.csv")
    write_ensemble(Answer(raw, shares, np.array([1, 2, 2])), rows, ("A", "B", "C"), tmp_path / "ensemble.csv")
    assert (tmp_path / "ensemble.csv").read_text().splitlines() == [
        "utterance_id,label,prediction,A,B,C",
        "u4,A,B,0.123457,0.876543,0.000000",
        "u1,C,C,0.500000,0.200000,0.300000",  # of the decision balanced
        "u9,C,C,0.000000,0.000000,1.000000",
    ]
    assert (tmp_path / "predictions.csv").read_text().splitlines() == [
        "utterance_id,seed,label,prediction,A,B,C",
        "u4,7,A,B,0.123457,0.876543,0.000000",
        "u1,7,C,A,0.500000,0.200000,0.300000",
        "u9,7,C,C,0.000000,0.000000,1.000000",
        "u4,2,A,C,0.000000,0.000000,1.000000",
        "u1,2,C,A,0.500000,0.200000,0.300000",
        "u9,2,C,B,0.123457,0.876543,0.000000",
    ]


def test_confusion_has_the_annotated_class_first_and_shares_of_it(tmp_path: Path) -> None:
    predictions = [np.array(numbers(word)) for word in ("ABAABC", "BBABBC")]
    write_confusion(np.array(numbers(LABELS)), predictions, NAMES, tmp_path / "confusion.csv")
    found = {(line["label"], line["prediction"]): (float(line["share"]), float(line["utterances"]))
             for line in table(tmp_path / "confusion.csv")}  # fmt: skip
    assert list(found) == [(one, other) for one in NAMES for other in NAMES]
    assert {pair: values for pair, values in found.items() if any(values)} == {
        ("A", "A"): (50.0, 1.5), ("A", "B"): (50.0, 1.5), ("B", "A"): (25.0, 0.5), ("B", "B"): (75.0, 1.5),
        ("C", "C"): (100.0, 1.0),
    }  # fmt: skip


MODALITIES = ("text", "audio")


def run_stages(folder: Path, decision: str = "likeliest") -> None:
    """Train and evaluate on the features in `folder`."""
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["model"] |= {"name": "ctnet", "modalities": list(MODALITIES)}
    content["baselines"]["ctnet"] |= {"dim": 16, "hidden": 8}
    content["train"]["meld"] |= {"epochs": 6, "patience": 6, "seeds": [1, 0], "learning_rate": 0.01, "ema_decay": 0.0,
                                 "decision": decision}  # fmt: skip
    with (folder / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CMATH_CACHE", str(folder / "cache"))
        patch.setattr("pipeline.scoring.scores.RESAMPLES", 50)
        stage, params = Namespace(corpus="meld"), load_params()
        finetune_text.run(stage, params)
        train.run(stage, params)
        evaluate.run(stage, params)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which train and evaluate have run, on features that tell the labels more or less."""
    folder = tmp_path_factory.mktemp("learned")
    rows = [replace(one, audio="a.wav") for one in write_features_of_meld(folder)]
    write_index(rows, folder / "data/meld/index.csv")
    run_stages(folder)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which train and evaluate have run. The index begins with test, turns stand in it the wrong way round,
    each split has another most frequent class, and three clips of test have no sound."""
    folder = tmp_path_factory.mktemp("evaluated")
    rows = write_features_of_meld(folder)
    order = [place for split in ("test", "train", "validation") for place in reversed(range(len(rows)))
             if rows[place].split == split]  # fmt: skip
    often = {"train": "anger", "test": "surprise", "validation": "fear"}
    rows = [
        replace(rows[at], label=often[rows[at].split] if at % 3 == 0 else rows[at].label, audio="a.wav") for at in order
    ]
    write_index(rows, folder / "data/meld/index.csv")
    for modality in MODALITIES:
        file = folder / f"data/meld/features/{modality}.safetensors"
        made = read_features(file, len(rows))
        present = np.ones(len(rows), bool)
        present[[2, 3, 11]] = modality != "audio"
        values = np.where(present[:, None], made.values[order], np.float32(0))
        write_features(replace(made, values=values, present=present), file)
    run_stages(folder)
    return folder


def test_scores_of_seen_labels_are_marked_where_they_are_written(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copy = shutil.copytree(project, tmp_path / "project")
    monkeypatch.chdir(copy)
    monkeypatch.setattr("pipeline.scoring.scores.RESAMPLES", 50)
    write_leakage(copy, known=["the encoder x has seen labels"], suspected=["test"])
    evaluate.run(Namespace(corpus="meld"), load_params())
    scores, before = (json.loads((place / "results/meld/scores.json").read_text()) for place in (copy, project))
    suspicion = "labels of test were probably seen"
    assert scores.pop("seen") == ["text: the encoder x has seen labels", f"text: {suspicion}, says the probe"]
    assert scores.pop("leakage")["text"] == suspicion
    assert before.pop("leakage") == dict.fromkeys(MODALITIES, "no sign of leakage")
    assert scores == before
    assert json.loads((copy / "results/meld/metrics.json").read_text())["seen_labels"] == 1
    assert "meld: NOT A FAIR SCORE: text: the encoder x has seen labels" in caplog.text


def test_the_scores_of_a_run_are_those_of_its_own_files(project: Path) -> None:
    rows = {one.utterance_id: one for one in read_index(project / "data/meld/index.csv")}
    results = project / "results/meld"
    scores, predicted = json.loads((results / "scores.json").read_text()), table(results / "predictions.csv")
    by_seed = {seed: [line for line in predicted if line["seed"] == seed] for seed in ("1", "0")}
    assert [line["seed"] for line in predicted] == ["1"] * 36 + ["0"] * 36
    for lines in by_seed.values():
        assert {line["utterance_id"] for line in lines} == {name for name, one in rows.items() if one.split == "test"}
    assert all(line["label"] == rows[line["utterance_id"]].label for line in predicted)

    def scored(lines: list[dict[str, str]]) -> float:
        pairs = [(line["label"], line["prediction"]) for line in lines]
        return float(100 * f1_score(*zip(*pairs, strict=True), average="weighted", zero_division=0))

    of_seed = [scored(lines) for lines in by_seed.values()]
    assert scores["weighted_f1"] == pytest.approx(mean(of_seed), abs=0.006)
    assert scores["weighted_f1_std"] == pytest.approx(stdev(of_seed), abs=0.006)
    lengths = Counter(line["utterance_id"].split("_")[0] for line in by_seed["0"])
    assert set(lengths.values()) == set(range(1, 9))
    baselines = ("majority", "logistic_regression")
    assert scores["by_length"] == {"C1: 1-9": {
        "weighted_f1": scores["weighted_f1"], "utterances": 36, **{one: scores[one]["weighted_f1"] for one in baselines}
    }}  # fmt: skip

    often = Counter(one.label for one in rows.values() if one.split == "train").most_common(1)[0][0]
    label = [line["label"] for line in by_seed["0"]]
    assert often != Counter(label).most_common(1)[0][0]
    assert scores["majority"]["accuracy"] == pytest.approx(100 * label.count(often) / 36, abs=0.006)

    # The file has dialogue after dialogue, as the index has their first rows, and in each the turns in order.
    said = json.loads((project / "models/meld/linear.json").read_text())
    of_test = [one for one in rows.values() if one.split == "test"]
    first = {one.dialogue_id: place for place, one in reversed(list(enumerate(of_test)))}
    in_order = sorted(of_test, key=lambda one: (first[one.dialogue_id], one.turn))
    logistic = {one.utterance_id: MELD[guess] for one, guess in zip(in_order, said["test"], strict=True)}
    guessed = [{"label": one.label, "prediction": logistic[one.utterance_id]} for one in of_test]
    assert scores["logistic_regression"] == {
        "accuracy": pytest.approx(100 * mean(one["label"] == one["prediction"] for one in guessed), abs=0.006),
        "weighted_f1": pytest.approx(scored(guessed), abs=0.006),
        "macro_f1": scores["logistic_regression"]["macro_f1"],
        "C": said["strength"],
        "validation_weighted_f1": said["validation_weighted_f1"],
    }

    kept = load_file(project / "models/meld" / TEST_PREDICTIONS)
    best = [
        max(100 * f1_score(label, [MELD[predicted] for predicted in epoch], average="weighted", zero_division=0)
            for epoch in kept[f"seed{seed}"].tolist())
        for seed in (1, 0)
    ]  # fmt: skip
    assert scores["oracle_weighted_f1"] == pytest.approx(mean(best), abs=0.006)
    history = table(results / "history.csv")
    chosen = [
        max(float(line["validation_weighted_f1"]) for line in history if line["seed"] == seed) for seed in ("1", "0")
    ]
    assert scores["validation"]["weighted_f1"] == pytest.approx(mean(chosen), abs=0.006)
    assert json.loads((results / "metrics.json").read_text()) == {
        **{key: scores[key] for key in ("weighted_f1", "weighted_f1_std", "macro_f1", "macro_f1_std", "accuracy",
                                        "accuracy_std", "calibration_error", "calibration_error_calibrated")},
        "ensemble": {key: scores["ensemble"][key] for key in (
            "weighted_f1", "macro_f1", "accuracy", "calibration_error", "calibration_error_calibrated")},
        "validation_weighted_f1": scores["validation"]["weighted_f1"],
        "validation_macro_f1": scores["validation"]["ensemble"]["macro_f1"],
    }  # fmt: skip

    without = {name for place, name in enumerate(rows) if place in (2, 3, 11)}
    assert scores["present"] == {"text": 100.0, "audio": pytest.approx(100 * 105 / 108, abs=0.006)}
    assert {group: part["utterances"] for group, part in scores["by_modalities"].items()} == {
        "text": 3, "text+audio": 33
    }  # fmt: skip
    mute = [scored([line for line in lines if line["utterance_id"] in without]) for lines in by_seed.values()]
    assert scores["by_modalities"]["text"]["weighted_f1"] == pytest.approx(mean(mute), abs=0.006)
    alone = [{"label": rows[one].label, "prediction": logistic[one]} for one in without]
    assert scores["by_modalities"]["text"]["logistic_regression"] == pytest.approx(scored(alone), abs=0.006)
    constant = [{"label": rows[one].label, "prediction": often} for one in without]
    assert scores["by_modalities"]["text"]["majority"] == pytest.approx(scored(constant), abs=0.006)
    pairs = Counter((line["label"], line["prediction"]) for line in predicted)
    for line in table(results / "confusion.csv"):
        assert float(line["utterances"]) == pairs[line["label"], line["prediction"]] / 2
    classes = table(results / "classes.csv")
    assert [line["class"] for line in classes] == list(MELD)
    assert [float(line["f1"]) for line in classes] == list(scores["f1"].values())
    assert [float(line["f1_std"]) for line in classes] == list(scores["f1_std"].values())


def raw_of(rows: list[Utterance], split: str) -> tuple[list[str], list[str], np.ndarray]:
    """Names and labels of the utterances of a split, and the softmax [seeds, utterances, C] of seeds 1 and 0."""
    corpus, _ = load_corpus("meld", rows, MELD, list(MODALITIES))
    places = torch.cat(corpus.dialogues[split]).tolist()
    shares = []
    for seed in (1, 0):
        network = read_bundle(Path("models/meld")).network(seed).eval()
        with torch.inference_mode():
            logits = [network(collate(corpus, [dialogue])).logits[0].double() for dialogue in corpus.dialogues[split]]
        shares.append(torch.cat(logits).softmax(1).numpy())
    return [rows[at].utterance_id for at in places], [rows[at].label for at in places], np.array(shares)


def error_of(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error: fifteen bins, percent."""
    bins = [int(min(one * 15, 14)) for one in confidence]
    gaps = [sum(confidence[at] - right[at] for at, mine in enumerate(bins) if mine == one) for one in range(15)]
    return 100 * sum(map(abs, gaps)) / len(right)


def test_the_ensemble_is_the_tempered_mean_of_the_seeds_and_counts_as_one_model(
    learned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(learned)
    rows = read_index(Path("data/meld/index.csv"))
    card = json.loads(Path("models/meld/bundle/bundle.json").read_text())["calibration"]
    scores = json.loads(Path("results/meld/scores.json").read_text())
    assert scores["calibration"] == {name: card[name] for name in ("temperature", "of_seeds", "decision", "tau")}
    counts = Counter(one.label for one in rows if one.split == "train")
    assert card["priors"] == pytest.approx([counts[name] / counts.total() for name in MELD], abs=1e-6)

    def tempered(shares: np.ndarray, temperature: float) -> np.ndarray:
        raised = shares ** (1 / temperature)
        return raised / raised.sum(axis=-1, keepdims=True)

    # Each temperature is the likeliest of validation.
    _, truth, shares = raw_of(rows, "validation")
    label = np.array([MELD.index(name) for name in truth])
    found = {
        card["temperature"]: shares.mean(axis=0),
        card["of_seeds"]["1"]: shares[0],
        card["of_seeds"]["0"]: shares[1],
    }
    assert len(found) == 3
    for best, of_one in found.items():
        loss = [-np.log(tempered(of_one, best * factor)[np.arange(36), label]).mean() for factor in (0.98, 1, 1.02)]
        assert loss[1] < min(loss[0], loss[2])
    said = tempered(shares.mean(axis=0), card["temperature"])
    predicted = [MELD[best] for best in said.argmax(axis=1)]
    macro = 100 * f1_score(truth, predicted, average="macro", zero_division=0)
    assert scores["validation"]["ensemble"]["macro_f1"] == pytest.approx(macro, abs=0.006)
    wrong = said.argmax(axis=1) != label
    for row in card["coverage"]:
        kept = said.max(axis=1) >= row["threshold"]
        assert (row["coverage"], row["risk"]) == pytest.approx((kept.mean(), wrong[kept].mean()), abs=1e-6)
    assert card["coverage"][-1]["threshold"] == 0

    names, truth, shares = raw_of(rows, "test")
    said, label = tempered(shares.mean(axis=0), card["temperature"]), np.array([MELD.index(name) for name in truth])
    predicted, right = [MELD[best] for best in said.argmax(axis=1)], said.argmax(axis=1) == label
    lines = table(Path("results/meld/ensemble.csv"))
    assert [(line["utterance_id"], line["label"], line["prediction"]) for line in lines] == list(
        zip(names, truth, predicted, strict=True)
    )
    np.testing.assert_allclose([[float(line[name]) for name in MELD] for line in lines], said, atol=2e-5)
    ensemble = scores["ensemble"]
    for key, average in (("weighted_f1", "weighted"), ("macro_f1", "macro")):
        expected = 100 * f1_score(truth, predicted, average=average, zero_division=0)
        assert ensemble[key] == pytest.approx(expected, abs=0.006)
    assert ensemble["accuracy"] == pytest.approx(100 * right.mean(), abs=0.006)
    assert ensemble["calibration_error"] == pytest.approx(error_of(shares.mean(axis=0).max(axis=1), right), abs=0.02)
    assert ensemble["calibration_error_calibrated"] == pytest.approx(error_of(said.max(axis=1), right), abs=0.02)
    for row in ensemble["coverage"]:
        kept = said.max(axis=1) >= row["threshold"]
        expected = 100 * kept.mean(), 100 * (~right)[kept].mean()
        assert (row["coverage"], row["risk"]) == pytest.approx(expected, abs=0.006)
    errors = [[error_of(of_one.max(axis=1), of_one.argmax(axis=1) == label) for of_one in part] for part in (
        shares, [tempered(shares[0], card["of_seeds"]["1"]), tempered(shares[1], card["of_seeds"]["0"])])]  # fmt: skip
    keys = ("calibration_error", "calibration_error_calibrated")
    assert [scores[key] for key in keys] == pytest.approx([mean(part) for part in errors], abs=0.02)


def test_each_probability_is_the_models_of_that_seed_for_that_utterance(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    rows = read_index(Path("data/meld/index.csv"))
    corpus, _ = load_corpus("meld", rows, MELD, list(MODALITIES))
    said = {(line["utterance_id"], line["seed"]): line for line in table(Path("results/meld/predictions.csv"))}
    card = json.loads(Path("models/meld/bundle/bundle.json").read_text())["calibration"]
    for seed in (0, 1):
        network = read_bundle(Path("models/meld")).network(seed).eval()
        for dialogue in sorted({one.dialogue_id for one in rows if one.split == "test"}):
            turns = sorted((one.turn, place) for place, one in enumerate(rows) if one.dialogue_id == dialogue)
            with torch.inference_mode():
                logits = network(collate(corpus, [torch.tensor([place for _, place in turns])])).logits[0]
            shares = (logits / card["of_seeds"][str(seed)]).softmax(1)
            for (_, place), expected in zip(turns, shares.tolist(), strict=True):
                line = said[rows[place].utterance_id, str(seed)]
                assert [float(line[name]) for name in MELD] == pytest.approx(expected, abs=2e-5)
                assert line["prediction"] == max(MELD, key=lambda name: float(line[name]))
