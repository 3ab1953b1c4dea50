"""CSV tables of predictions, class scores and confusions."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from extractors.utterance import Utterance
from foundation.f1 import confusion
from foundation.files import open_whole
from pipeline.calibration import Answer, Calibration
from pipeline.scoring.metrics import Seed, _rounded
from pipeline.scoring.scores import reliability


def write_predictions(seeds: list[Seed], rows: list[Utterance], names: tuple[str, ...], file: Path) -> None:
    """Write one row per test utterance and seed: label, prediction, and each class' calibrated probability."""
    with open_whole(file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["utterance_id", "seed", "label", "prediction", *names])
        for seed in seeds:
            for row, cells in zip(rows, _cells(seed.answer, names), strict=True):
                writer.writerow([row.utterance_id, seed.seed, row.label, *cells])


def write_ensemble(said: Answer, rows: list[Utterance], names: tuple[str, ...], file: Path) -> None:
    """Write the same of the ensemble of all seeds, one row per test utterance."""
    with open_whole(file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["utterance_id", "label", "prediction", *names])
        for row, cells in zip(rows, _cells(said, names), strict=True):
            writer.writerow([row.utterance_id, row.label, *cells])


def _cells(said: Answer, names: tuple[str, ...]) -> Iterator[list[str]]:
    """Prediction and calibrated probabilities of each utterance."""
    for predicted, probabilities in zip(said.label, said.calibrated, strict=True):
        yield [names[int(predicted)], *(f"{share:.6f}" for share in probabilities)]


def write_class_scores(scores: dict, names: tuple[str, ...], file: Path) -> None:
    """Write F1 of each class and its standard deviation over the seeds, for `dvc plots`."""
    with open_whole(file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["class", "f1", "f1_std"])
        writer.writerows([name, scores["f1"][name], scores["f1_std"][name]] for name in names)


def write_reliability(said: Answer, label: np.ndarray, file: Path) -> None:
    """Write accuracy by confidence before and after calibration, in percent, for `dvc plots`.

    Args:
        said: of labelled utterances.
        label: their classes, int [utterances].
    """
    with open_whole(file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["calibration", "confidence", "accuracy", "utterances"])
        for name, confidence in (("before", said.raw_confidence), ("after", said.confidence)):
            for mean, right, count in reliability(confidence, said.label == label):
                writer.writerow([name, _rounded(mean), _rounded(right), count])


def write_coverage(calibration: Calibration, of_test: list[dict], file: Path) -> None:
    """Write coverage and risk, in percent, by threshold, of validation and of test, for `dvc plots`.

    Args:
        of_test: `coverage` of `ensemble_scores`.
    """
    with open_whole(file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["split", "threshold", "coverage", "risk"])
        for row in calibration.coverage:
            writer.writerow(["validation", row.threshold, _rounded(100 * row.coverage), _rounded(100 * row.risk)])
        writer.writerows(["test", row["threshold"], row["coverage"], row["risk"]] for row in of_test)


def write_confusion(label: np.ndarray, predictions: list[np.ndarray], names: tuple[str, ...], file: Path) -> None:
    """Write one row per pair of classes, including pairs that never occur.

    A row has the percentage of the labelled class with this prediction, and the number of utterances, both as means
    over `predictions` (one per seed).
    """
    counts = np.mean([confusion(label, predicted, len(names)) for predicted in predictions], axis=0)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with open_whole(file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["label", "prediction", "share", "utterances"])
        for row, annotated in enumerate(names):
            for column, predicted in enumerate(names):
                values = _rounded(shares[row, column]), _rounded(counts[row, column])
                writer.writerow([annotated, predicted, *values])
