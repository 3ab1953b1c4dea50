"""Scores on the test split: all numbers of scores.json and metrics.json."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from extractors.utterance import Utterance
from foundation.csv_file import read_csv
from foundation.device import device
from foundation.errors import UserError
from foundation.f1 import accuracy, class_f1, confusion, weighted_f1
from model.batching import NO_LABEL, Corpus
from model.interface import ErcModel
from model.training import positions, predict
from pipeline.calibration import Answer, Calibration, kept_above, macro_f1, softmax_of
from pipeline.scoring.scores import calibration_error, resampled_f1


@dataclass(frozen=True, slots=True)
class Seed:
    """Predictions of one seed's model on the test split, utterances in the order of `positions`."""

    seed: int
    answer: Answer
    """Class probabilities and predicted classes."""
    representations: np.ndarray
    """Fused representations H'_x [utterances, d]."""
    predictions: np.ndarray
    """Predictions of the model of every epoch, int [epochs, utterances]."""


def compared(scores: dict) -> dict[str, object]:
    """Select the few `scores` for comparing experiments; DVC shows each of them as a column or a line."""
    of_test = ("weighted_f1", "weighted_f1_std", "macro_f1", "macro_f1_std", "accuracy", "accuracy_std",
               "calibration_error", "calibration_error_calibrated")  # fmt: skip
    of_ensemble = ("weighted_f1", "macro_f1", "accuracy", "calibration_error", "calibration_error_calibrated")
    return {
        **{name: scores[name] for name in of_test},
        "ensemble": {name: scores["ensemble"][name] for name in of_ensemble},
        "validation_weighted_f1": scores["validation"]["weighted_f1"],
        "validation_macro_f1": scores["validation"]["ensemble"]["macro_f1"],
        **({"seen_labels": 1} if scores.get("seen") else {}),
    }


def said_of_test(model: ErcModel, predictions: np.ndarray, seed: int, corpus: Corpus, calibration: Calibration) -> Seed:
    """Predict test with a trained `model`; `predictions` is as in `Seed`."""
    logits, representations = predict(model, corpus, "test", device())
    answer = calibration.of_seed(seed, logits.double().softmax(1).numpy())
    return Seed(seed, answer, representations.numpy(), predictions)


def labelled(seeds: list[Seed], rows: list[Utterance]) -> tuple[list[Seed], list[Utterance]]:
    """Leave out the utterances without a label: they are context, and enter no score."""
    places = [place for place, row in enumerate(rows) if row.label]
    if len(places) == len(rows):
        return seeds, rows
    kept = [
        Seed(one.seed, one.answer.at(places), one.representations[places], one.predictions[:, places]) for one in seeds
    ]
    return kept, [rows[place] for place in places]


def labelled_answer(said: Answer, rows: list[Utterance], names: tuple[str, ...]) -> tuple[Answer, np.ndarray]:
    """What is said of the utterances with a label, and their classes, int [utterances]."""
    places = [place for place, row in enumerate(rows) if row.label]
    return said.at(places), np.array([names.index(rows[place].label) for place in places], dtype=int)


def metrics(seeds: list[Seed], rows: list[Utterance], train: list[str], names: tuple[str, ...]) -> dict:
    """Compute the scores on test in percent; see the docstring of pipeline/evaluate.py.

    Args:
        rows: test utterances, in the order of the seeds' predictions.
        train: labels of the training split, for the majority-class baseline.

    Utterances without a label are left out.
    """
    seeds, rows = labelled(seeds, rows)
    label = np.array([names.index(row.label) for row in rows])
    predictions = [seed.answer.label for seed in seeds]
    counts = [confusion(label, predicted, len(names)) for predicted in predictions]
    by_seed = {
        "accuracy": [accuracy(part) for part in counts],
        "weighted_f1": [weighted_f1(part) for part in counts],
        "macro_f1": [macro_f1(part) for part in counts],
        "oracle_weighted_f1": [
            max(weighted_f1(confusion(label, epoch, len(names))) for epoch in seed.predictions) for seed in seeds
        ],
    }
    found: dict = {}
    for key, values in by_seed.items():
        found[key], found[f"{key}_std"] = _rounded(np.mean(values)), _rounded(_deviation(values))
    low, high = np.percentile(resampled_f1(label, predictions, len(names)), [2.5, 97.5])
    found["weighted_f1_low"], found["weighted_f1_high"] = _rounded(low), _rounded(high)
    f1 = [class_f1(part) for part in counts]
    found["f1"] = {name: _rounded(value) for name, value in zip(names, np.mean(f1, axis=0), strict=True)}
    found["f1_std"] = {name: _rounded(_deviation(values)) for name, values in zip(names, np.transpose(f1), strict=True)}
    errors = [_calibration_errors(label, seed.answer) for seed in seeds]
    found |= {name: _rounded(np.mean([one[name] for one in errors])) for name in errors[0]}
    found["majority"] = scores_of(np.full_like(label, majority_class(train, names)), rows, names)
    found["seeds"], found["utterances"] = len(seeds), len(label)
    return found


def majority_class(train: list[str], names: tuple[str, ...]) -> int:
    """The most frequent class among the labels of train, in which an utterance without a label is ""."""
    return names.index(Counter(filter(None, train)).most_common(1)[0][0])


def scores_of(said: np.ndarray, rows: list[Utterance], names: tuple[str, ...]) -> dict[str, float]:
    """Accuracy, weighted and macro F1 of one predicted class for each of `rows`, int [rows]."""
    known = [place for place, row in enumerate(rows) if row.label]
    label = np.array([names.index(rows[place].label) for place in known], dtype=int)
    return _scores(confusion(label, said[known], len(names)))


def ensemble_scores(said: Answer, rows: list[Utterance], names: tuple[str, ...], calibration: Calibration) -> dict:
    """Scores of the ensemble of the seeds on test, which counts as one model; percent, except for `threshold`.

    `coverage` is the table of that name of validation, for test: at each of its thresholds, how many utterances are
    kept, and how many of these are wrong. A row is left out where nothing is kept. Utterances without a label enter no
    score.
    """
    said, label = labelled_answer(said, rows, names)
    counts = confusion(label, said.label, len(names))
    f1 = {name: _rounded(value) for name, value in zip(names, class_f1(counts), strict=True)}
    left = [kept_above(row.threshold, said.confidence, said.label != label) for row in calibration.coverage]
    coverage = [
        {"threshold": row.threshold, "coverage": _rounded(100 * row.coverage), "risk": _rounded(100 * row.risk)}
        for row in filter(None, left)
    ]
    return {**_scores(counts), "f1": f1, **_calibration_errors(label, said), "coverage": coverage}


def ensemble_on_validation(
    networks: Mapping[int, ErcModel], corpus: Corpus, calibration: Calibration
) -> dict[str, float]:
    """Scores of the ensemble on validation, where its calibration was fitted; they may be used for choosing."""
    label = corpus.label[positions(corpus, "validation")].numpy()
    known, classes = label != NO_LABEL, len(calibration.priors)
    said = calibration.of_all([softmax_of(network, corpus, "validation")[known] for network in networks.values()])
    return _scores(confusion(label[known], said.label, classes))


def _scores(counts: np.ndarray) -> dict[str, float]:
    """Accuracy, weighted and macro F1 of confusion counts."""
    scores = {"accuracy": accuracy(counts), "weighted_f1": weighted_f1(counts), "macro_f1": macro_f1(counts)}
    return {name: _rounded(value) for name, value in scores.items()}


def _calibration_errors(label: np.ndarray, said: Answer) -> dict[str, float]:
    """Calibration error before and after calibration, of the same predicted classes."""
    right = said.label == label
    return {
        "calibration_error": _rounded(calibration_error(said.raw_confidence, right)),
        "calibration_error_calibrated": _rounded(calibration_error(said.confidence, right)),
    }


def text_encoder_scores(file: Path, rows: list[Utterance], names: tuple[str, ...]) -> dict:
    """Scores of the fine-tuned text encoder alone, under `text_encoder`; empty if it is used as published.

    Raises:
        UserError: the file of the encoder's predictions is missing.
    """

    def shares_of(line: dict[str, str]) -> tuple[str, np.ndarray]:
        shares = np.array([float(line[name]) for name in names])
        if not np.isfinite(shares).all():
            raise ValueError("has a share that is no number")
        return line["utterance_id"], shares

    shares = dict(read_csv(file, ["utterance_id"], shares_of, "`dvc repro` makes it"))
    if not shares:
        return {}
    counts = {}
    for split in ("validation", "test"):
        part = [row for row in rows if row.split == split and row.label]
        if lacking := [row.utterance_id for row in part if row.utterance_id not in shares]:
            raise UserError(f"{file}: has no row for {lacking[0]}, which the index has; `dvc repro` makes it anew")
        predicted = np.array([shares[row.utterance_id].argmax() for row in part], dtype=int)
        counts[split] = confusion(np.array([names.index(row.label) for row in part]), predicted, len(names))
    found = {
        "accuracy": _rounded(accuracy(counts["test"])),
        "weighted_f1": _rounded(weighted_f1(counts["test"])),
        "validation_weighted_f1": _rounded(weighted_f1(counts["validation"])),
    }
    return {"text_encoder": found}


def by_group(
    groups: list[str],
    rows: list[Utterance],
    seeds: list[Seed],
    names: tuple[str, ...],
    beside: Mapping[str, np.ndarray] | None = None,
) -> dict:
    """Weighted F1 (mean over the seeds) and number of labelled utterances of each group, sorted by name.

    Args:
        beside: predicted classes of baselines, int [rows] each, whose weighted F1 each group gets under their names.
    """
    known = [place for place, row in enumerate(rows) if row.label]
    groups = [groups[place] for place in known]
    beside = {name: said[known] for name, said in (beside or {}).items()}
    seeds, rows = labelled(seeds, rows)
    label, member = np.array([names.index(row.label) for row in rows]), np.array(groups)
    found = {}
    for group in sorted(set(groups)):
        part = member == group
        counts = [confusion(label[part], seed.answer.label[part], len(names)) for seed in seeds]
        mean = _rounded(np.mean([weighted_f1(of_seed) for of_seed in counts]))
        found[group] = {"weighted_f1": mean, "utterances": int(part.sum())}
        for name, said in beside.items():
            found[group][name] = _rounded(weighted_f1(confusion(label[part], said[part], len(names))))
    return found


def modality_groups(corpus: Corpus, where: torch.Tensor) -> list[str]:
    """Name of the modalities that each utterance has, such as `text+audio`."""
    there = {name: present[where].tolist() for name, present in corpus.present.items()}
    return ["+".join(name for name in there if there[name][place]) or "none" for place in range(len(where))]


def validation_scores(history: Path) -> dict[str, float]:
    """Weighted F1 on validation at the chosen epochs; a parameter search may use it."""
    best: dict[str, float] = {}
    for seed, score in read_csv(history, ["seed", "validation_weighted_f1"], _score, "`dvc repro` makes it"):
        best[seed] = max(best.get(seed, 0.0), score)
    if not best:
        raise UserError(f"{history}: has no epoch; `dvc repro` makes it")
    values = list(best.values())
    return {"weighted_f1": _rounded(np.mean(values)), "weighted_f1_std": _rounded(_deviation(values))}


def _score(row: dict[str, str]) -> tuple[str, float]:
    """Seed and score of an epoch.

    Raises:
        ValueError: the score is no percentage.
    """
    score = float(row["validation_weighted_f1"])
    if not 0 <= score <= 100:
        raise ValueError(f"validation_weighted_f1 = {score}: is no percentage")
    return row["seed"], score


def shares_present(rows: list[Utterance], corpus: Corpus) -> dict[str, float]:
    """Percentage of the index's texts, sounds and videos that have features (not silent, and with a face)."""
    there: dict[str, Callable[[Utterance], str]] = {
        "text": lambda row: row.text_file or row.text, "audio": lambda row: row.audio, "visual": lambda row: row.video
    }  # fmt: skip
    found = {}
    for modality, present in corpus.present.items():
        media = sum(bool(there[modality](row)) for row in rows)
        found[modality] = _rounded(100 * int(present.sum()) / media)
    return found


def _deviation(values: list[float] | np.ndarray) -> float:
    """Sample standard deviation over seeds; 0 for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 2)
