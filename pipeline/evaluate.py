"""evaluate@D: models, features and index to results/D: metrics.json, predictions.csv, and what `dvc plots` draws.

The only stage that looks at the labels of the test split. Every score is the mean over the seeds, percent, with its
deviation as `_std`; `validation` has what parameters may be chosen by; `constant` is the classifier that always says
the most frequent class of train; `oracle_weighted_f1` is what choosing each seed's epoch on test would have given, and
is only there because published rows are of that kind; `text_encoder` is the fine-tuned text encoder alone, an utterance
at a time. tsne.png is no output of the graph, for its bytes are not the same on every machine: it is the map of the
last evaluation that ran in this folder.
"""

import argparse
import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from extractors.device import device
from extractors.features import FeaturesError
from model.batching import Corpus
from model.interface import ErcModel
from model.training import positions, predict, prepare_torch
from pipeline.bundle import read_bundle
from pipeline.corpora.labels import labels
from pipeline.params import Params
from pipeline.pictures import draw_map
from pipeline.scores import accuracy, calibration_error, class_f1, confusion, resampled_f1, weighted_f1
from pipeline.stage import StageError, log, parser, start
from pipeline.train import GUESSES, load_corpus
from pipeline.utterances import Utterance, read_index

LENGTHS = {"demo": (9, 20), "meld": (9, 20), "iemocap": (39, 69), "custom": (9, 20)}
"""Turns of the longest conversations in the paper's buckets C1 and C2 (section 5.9); it leaves 70 open: here C3."""


@dataclass(frozen=True, slots=True)
class Seed:
    """What one seed's model says of the test split, utterances in the order of `positions`."""

    seed: int
    probabilities: np.ndarray
    """[utterances, C]"""
    representations: np.ndarray
    """[utterances, d]: the fused representations H'_x."""
    guesses: np.ndarray
    """int [epochs, utterances]: what the model of each epoch would have said."""


def run(args: argparse.Namespace, params: Params) -> None:
    name = args.corpus
    prepare_torch()
    rows = read_index(Path("data") / name / "index.csv")
    try:
        corpus, _ = load_corpus(name, rows, list(params.model.modalities))
    except FeaturesError as error:
        raise StageError(str(error)) from None
    order = labels(name, [row.label for row in rows])
    seeds = [predict_seed(Path("models") / name, seed, corpus) for seed in params.train[name].seeds]
    where = positions(corpus, "test")
    tested = [rows[place] for place in where.tolist()]
    scores = metrics(seeds, tested, [row.label for row in rows if row.split == "train"], order)
    scores["by_length"] = by_group(length_groups(tested, LENGTHS[name]), tested, seeds, order)
    scores |= text_encoder_scores(Path("data") / name / "encoder" / "text_guesses.csv", rows, order)
    scores["by_modalities"] = by_group(modality_groups(corpus, where), tested, seeds, order)

    scores["present"] = shares_present(rows, corpus)
    results = Path("results") / name
    scores["validation"] = validation_scores(results / "history.csv")
    results.mkdir(parents=True, exist_ok=True)
    (results / "metrics.json").write_text(json.dumps(scores, indent=2) + "\n", "utf-8")
    write_predictions(seeds, tested, order, results / "predictions.csv")
    write_class_scores(scores, order, results / "classes.csv")
    label = corpus.label[where].numpy()
    write_confusion(label, [seed.probabilities.argmax(1) for seed in seeds], order, results / "confusion.csv")
    model = read_bundle(Path("models") / name).model
    draw_map(seeds[0].representations, label, order, results / "tsne.png", f"{name}, {model}:")
    log.info("%s: a map of the utterances of test, which `dvc plots` does not show", results / "tsne.png")
    log.info("%s test, %d seeds: accuracy %.2f ± %.2f, weighted F1 %.2f ± %.2f (constant classifier: %.2f and %.2f)",
             name, len(seeds), scores["accuracy"], scores["accuracy_std"], scores["weighted_f1"],
             scores["weighted_f1_std"], scores["constant"]["accuracy"], scores["constant"]["weighted_f1"])  # fmt: skip


def predict_seed(folder: Path, seed: int, corpus: Corpus) -> Seed:
    """Probabilities of the test split by the model of `seed`.

    Raises:
        StageError: a file of the model is missing, or does not fit the features.
    """
    bundle = read_bundle(folder)
    dims = {modality: values.shape[1] for modality, values in corpus.features.items()}
    if bundle.config["dims"] != dims:
        raise StageError(f"{folder}: was trained on features of widths {bundle.config['dims']}, not {dims}; "
                         "`dvc repro` trains anew")  # fmt: skip
    guesses = load_file(folder / GUESSES)[f"seed{seed}"].long().numpy()
    return said_of_test(bundle.network(seed).to(device()), guesses, seed, corpus)


def said_of_test(model: ErcModel, guesses: np.ndarray, seed: int, corpus: Corpus) -> Seed:
    """What a trained `model` says of test; `guesses` as in Seed."""
    logits, representations = predict(model, corpus, "test", device())
    return Seed(seed, logits.double().softmax(1).numpy(), representations.numpy(), guesses)


def metrics(seeds: list[Seed], rows: list[Utterance], train: list[str], names: tuple[str, ...]) -> dict:
    """Scores on test, percent; see the module's docstring.

    Args:
        rows: the utterances of test, in the order of the seeds' predictions.
        train: the labels of the training split, for the constant classifier.
    """
    label = np.array([names.index(row.label) for row in rows])
    guesses = [seed.probabilities.argmax(1) for seed in seeds]
    counts = [confusion(label, guess, len(names)) for guess in guesses]
    by_seed = {
        "accuracy": [accuracy(part) for part in counts],
        "weighted_f1": [weighted_f1(part) for part in counts],
        "oracle_weighted_f1": [
            max(weighted_f1(confusion(label, epoch, len(names))) for epoch in seed.guesses) for seed in seeds
        ],
    }
    found: dict = {}
    for key, values in by_seed.items():
        found[key], found[f"{key}_std"] = _rounded(np.mean(values)), _rounded(_deviation(values))
    low, high = np.percentile(resampled_f1(label, guesses, len(names)), [2.5, 97.5])
    found["weighted_f1_low"], found["weighted_f1_high"] = _rounded(low), _rounded(high)
    f1 = [class_f1(part) for part in counts]
    found["f1"] = {name: _rounded(value) for name, value in zip(names, np.mean(f1, axis=0), strict=True)}
    found["f1_std"] = {name: _rounded(_deviation(values)) for name, values in zip(names, np.transpose(f1), strict=True)}
    found["calibration_error"] = _rounded(np.mean([calibration_error(label, seed.probabilities) for seed in seeds]))
    constant = np.full_like(label, names.index(Counter(train).most_common(1)[0][0]))
    always = confusion(label, constant, len(names))
    found["constant"] = {"accuracy": _rounded(accuracy(always)), "weighted_f1": _rounded(weighted_f1(always))}
    found["seeds"], found["utterances"] = len(seeds), len(label)
    return found


def text_encoder_scores(file: Path, rows: list[Utterance], names: tuple[str, ...]) -> dict:
    """Scores of the fine-tuned text encoder alone, as `text_encoder`; nothing where it is used as published.

    Raises:
        StageError: what the encoder said is missing.
    """
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            shares = {line.pop("utterance_id"): line for line in csv.DictReader(stream)}
    except FileNotFoundError:
        raise StageError(f"{file}: no such file; `dvc repro` makes it") from None
    if not shares:
        return {}
    counts = {}
    for split in ("validation", "test"):
        judged = [row for row in rows if row.split == split]
        guess = np.array([np.argmax([float(shares[row.utterance_id][name]) for name in names]) for row in judged])
        counts[split] = confusion(np.array([names.index(row.label) for row in judged]), guess, len(names))
    found = {
        "accuracy": _rounded(accuracy(counts["test"])),
        "weighted_f1": _rounded(weighted_f1(counts["test"])),
        "validation_weighted_f1": _rounded(weighted_f1(counts["validation"])),
    }
    return {"text_encoder": found}


def by_group(groups: list[str], rows: list[Utterance], seeds: list[Seed], names: tuple[str, ...]) -> dict:
    """Weighted F1 (mean over the seeds) and number of the utterances of each group, groups by name."""
    label, member = np.array([names.index(row.label) for row in rows]), np.array(groups)
    found = {}
    for group in sorted(set(groups)):
        part = member == group
        counts = [confusion(label[part], seed.probabilities.argmax(1)[part], len(names)) for seed in seeds]
        mean = _rounded(np.mean([weighted_f1(of_seed) for of_seed in counts]))
        found[group] = {"weighted_f1": mean, "utterances": int(part.sum())}
    return found


def length_groups(rows: list[Utterance], bounds: tuple[int, int]) -> list[str]:
    """The bucket of each utterance's conversation by its turns (section 5.9): C1, C2 up to the bounds, C3 beyond."""
    turns = Counter(row.dialogue_id for row in rows)
    first, second = bounds
    names = (f"C1: 1-{first}", f"C2: {first + 1}-{second}", f"C3: {second + 1} and more")
    return [names[(turns[row.dialogue_id] > first) + (turns[row.dialogue_id] > second)] for row in rows]


def modality_groups(corpus: Corpus, where: torch.Tensor) -> list[str]:
    """The modalities that each utterance has, joined by +."""
    there = {name: present[where].tolist() for name, present in corpus.present.items()}
    return ["+".join(name for name in there if there[name][place]) or "none" for place in range(len(where))]


def validation_scores(history: Path) -> dict[str, float]:
    """Weighted F1 on validation of the epochs that were kept: what a search over parameters may look at."""
    best: dict[str, float] = {}
    with history.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            best[row["seed"]] = max(best.get(row["seed"], 0.0), float(row["validation_weighted_f1"]))
    values = list(best.values())
    return {"weighted_f1": _rounded(np.mean(values)), "weighted_f1_std": _rounded(_deviation(values))}


def shares_present(rows: list[Utterance], corpus: Corpus) -> dict[str, float]:
    """By modality the percentage of the index's texts, sounds and videos that gave features: what is no silence and has
    a face."""
    kinds = {"text": "text", "audio": "audio", "visual": "video"}
    found = {}
    for modality, present in corpus.present.items():
        media = sum(bool(getattr(row, kinds[modality])) for row in rows)
        found[modality] = _rounded(100 * int(present.sum()) / media)
    return found


def _deviation(values: list[float] | np.ndarray) -> float:
    """Sample deviation over seeds; 0 for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 2)


def write_predictions(seeds: list[Seed], rows: list[Utterance], names: tuple[str, ...], file: Path) -> None:
    """A row an utterance of test and seed: label, prediction, a probability a class."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["utterance_id", "seed", "label", "prediction", *names])
        for seed in seeds:
            for row, probabilities in zip(rows, seed.probabilities, strict=True):
                guess = names[int(probabilities.argmax())]
                shares = (f"{share:.6f}" for share in probabilities)
                writer.writerow([row.utterance_id, seed.seed, row.label, guess, *shares])


def write_class_scores(scores: dict, names: tuple[str, ...], file: Path) -> None:
    """F1 a class and its deviation over the seeds, as a table that `dvc plots` can draw and compare."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["class", "f1", "f1_std"])
        writer.writerows([name, scores["f1"][name], scores["f1_std"][name]] for name in names)


def write_confusion(label: np.ndarray, guesses: list[np.ndarray], names: tuple[str, ...], file: Path) -> None:
    """A row a pair of classes, also where it never occurs: the share of the annotated class' utterances that get this
    prediction, percent, and their number, both means over `guesses` (a seed each)."""
    counts = np.mean([confusion(label, guess, len(names)) for guess in guesses], axis=0)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["label", "prediction", "share", "utterances"])
        for row, annotated in enumerate(names):
            for column, predicted in enumerate(names):
                values = _rounded(shares[row, column]), _rounded(counts[row, column])
                writer.writerow([annotated, predicted, *values])


if __name__ == "__main__":
    start(run, parser(__doc__))
