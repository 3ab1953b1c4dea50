"""evaluate@D: models, features and index to results/D/metrics.json, predictions.csv and pictures.

The only stage that looks at the labels of the test split. Every score is the mean over the seeds, percent, with its
deviation as `_std`; `constant` is the classifier that always says the most frequent class of train;
`oracle_weighted_f1` is what choosing each seed's epoch on test would have given, and is only there because published
rows are of that kind.
"""

import argparse
import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, f1_score

from extractors.device import device
from extractors.features import FeaturesError
from model.batching import Corpus
from model.cmath import Cmath, CmathConfig
from model.training import positions, predict, prepare_torch
from pipeline.corpora.labels import LABELS
from pipeline.offline_plots import write_vega
from pipeline.params import Params
from pipeline.pictures import draw_confusion, draw_curves, draw_scores
from pipeline.stage import StageError, log, parser, root, start
from pipeline.train import load_corpus
from pipeline.utterances import Utterance, read_index


@dataclass(frozen=True, slots=True)
class Seed:
    """What one seed's model says of the test split, utterances in the order of `positions`."""

    seed: int
    probabilities: np.ndarray
    """[utterances, C]"""
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
    seeds = [predict_seed(Path("models") / name, seed, corpus) for seed in params.train[name].seeds]
    where = positions(corpus, "test")
    label = corpus.label[where].numpy()
    train = corpus.label[positions(corpus, "train")].numpy()

    results = Path("results") / name
    results.mkdir(parents=True, exist_ok=True)
    scores = metrics(seeds, label, train, LABELS[name])
    (results / "metrics.json").write_text(json.dumps(scores, indent=2) + "\n", "utf-8")
    write_predictions(seeds, [rows[place] for place in where.tolist()], LABELS[name], results / "predictions.csv")
    write_class_scores(scores, LABELS[name], results / "classes.csv")
    draw_confusion(label, [seed.probabilities.argmax(1) for seed in seeds], LABELS[name], results / "confusion.png")
    draw_curves(results / "history.csv", results / "curves.png")
    draw_scores(scores, LABELS[name], results / "classes.png")
    write_vega(root() / ".dvc" / "tmp")
    log.info("%s test, %d seeds: accuracy %.2f ± %.2f, weighted F1 %.2f ± %.2f (constant classifier: %.2f and %.2f)",
             name, len(seeds), scores["accuracy"], scores["accuracy_std"], scores["weighted_f1"],
             scores["weighted_f1_std"], scores["constant"]["accuracy"], scores["constant"]["weighted_f1"])  # fmt: skip


def predict_seed(folder: Path, seed: int, corpus: Corpus) -> Seed:
    """Probabilities of the test split by the model of `seed`.

    Raises:
        StageError: the model file is missing or does not fit the features.
    """
    file = folder / f"seed{seed}.safetensors"
    if not file.is_file():
        raise StageError(f"{file}: no such file; `dvc repro` makes it")
    with safe_open(file, "pt") as stored:
        config = CmathConfig(**json.loads(stored.metadata()["config"]))
    tensors = load_file(file)
    weights = {key.removeprefix("model."): value for key, value in tensors.items() if key.startswith("model.")}
    dims = {modality: values.shape[1] for modality, values in corpus.features.items()}
    if config.dims != dims:
        raise StageError(
            f"{file}: was trained on features of widths {config.dims}, not {dims}; `dvc repro` trains anew"
        )
    model = Cmath(config)
    model.load_state_dict(weights)
    logits, _ = predict(model.to(device()), corpus, "test", device())
    return Seed(seed, logits.double().softmax(1).numpy(), tensors["test_guesses"].numpy())


def metrics(seeds: list[Seed], label: np.ndarray, train: np.ndarray, names: tuple[str, ...]) -> dict:
    """Scores on test, percent; see the module's docstring."""
    classes = range(len(names))
    by_seed: dict[str, list[float]] = {"accuracy": [], "weighted_f1": [], "oracle_weighted_f1": []}
    f1 = []
    for seed in seeds:
        guess = seed.probabilities.argmax(1)
        by_seed["accuracy"].append(accuracy(label, guess))
        by_seed["weighted_f1"].append(weighted_f1(label, guess))
        by_seed["oracle_weighted_f1"].append(max(weighted_f1(label, epoch) for epoch in seed.guesses))
        f1.append(100 * f1_score(label, guess, labels=classes, average=None, zero_division=0))
    scores: dict = {}
    for key, values in by_seed.items():
        scores[key], scores[f"{key}_std"] = _rounded(np.mean(values)), _rounded(_deviation(values))
    scores["f1"] = {name: _rounded(value) for name, value in zip(names, np.mean(f1, axis=0), strict=True)}
    scores["f1_std"] = {
        name: _rounded(_deviation(values)) for name, values in zip(names, np.transpose(f1), strict=True)
    }
    constant = np.full_like(label, Counter(train.tolist()).most_common(1)[0][0])
    scores["constant"] = {
        "accuracy": _rounded(accuracy(label, constant)),
        "weighted_f1": _rounded(weighted_f1(label, constant)),
    }
    scores["seeds"], scores["utterances"] = len(seeds), len(label)
    return scores


def accuracy(label: np.ndarray, guess: np.ndarray) -> float:
    return 100 * float(accuracy_score(label, guess))


def weighted_f1(label: np.ndarray, guess: np.ndarray) -> float:
    return 100 * float(f1_score(label, guess, average="weighted", zero_division=0))


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
    """F1 a class as a table that `dvc plots` can draw and compare."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["class", "f1"])
        writer.writerows([name, scores["f1"][name]] for name in names)


if __name__ == "__main__":
    start(run, parser(__doc__))
