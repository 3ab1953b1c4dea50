"""evaluate@D: computes scores, predictions and pictures of the test split from models, features and index.

This is the only stage that scores with the test labels. results/D/metrics.json has the few scores for comparing
experiments: accuracy, weighted and macro F1 on test (means over the seeds, percent; standard deviations as `_std`), the
calibration error before and after calibration, the same of the `ensemble` of the seeds, and `validation_weighted_f1`
and `validation_macro_f1` (of the ensemble), which may be used for choosing parameters. results/D/scores.json has all
scores: `majority` is the majority-class baseline, which always predicts the most frequent class of train;
`logistic_regression` reads the same features, one utterance at a time (pipeline/training/linear.py);
`oracle_weighted_f1` is the score if each seed's epoch were chosen on test, reported only because published results are
often of this kind, and always of the likeliest classes; `calibration` has what was fitted on validation;
`text_encoder` is the fine-tuned text encoder alone, without context; `leakage` is what the stage of that name says of
the features, and `seen` is there, with `seen_labels` in metrics.json, only if labels were seen in making them. tsne.png
is not an output of the graph, because its bytes differ between machines; it shows the last evaluation that ran in this
folder.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from foundation.device import device
from foundation.errors import UserError
from foundation.files import write_whole
from foundation.log import log
from foundation.torch_setup import prepare_torch
from model.batching import Corpus
from model.training import positions
from pipeline.bundle import TEST_PREDICTIONS, Bundle, read_bundle
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.params import Params
from pipeline.scoring.lengths import length_groups
from pipeline.scoring.marks import marks, verdicts
from pipeline.scoring.metrics import (
    Seed,
    by_group,
    compared,
    ensemble_on_validation,
    ensemble_scores,
    labelled,
    labelled_answer,
    majority_class,
    metrics,
    modality_groups,
    said_of_test,
    scores_of,
    shares_present,
    text_encoder_scores,
    validation_scores,
)
from pipeline.scoring.pictures import draw_tsne
from pipeline.scoring.tables import (
    write_class_scores,
    write_confusion,
    write_coverage,
    write_ensemble,
    write_predictions,
    write_reliability,
)
from pipeline.stage import parser, start
from pipeline.training.linear import LINEAR, read_linear
from pipeline.training.loading import load_corpus


def run(args: argparse.Namespace, params: Params) -> None:
    name = args.corpus
    prepare_torch(threads=1)
    rows = read_index(Path("data") / name / "index.csv")
    reader = params.index[name].reader
    order = labels(reader, [row.label for row in rows])
    corpus, _ = load_corpus(name, rows, order, list(params.model.modalities))
    bundle = read_bundle(Path("models") / name)
    seeds = [predict_seed(bundle, seed, corpus) for seed in params.train[name].seeds]
    ensemble = bundle.calibration.of_all([seed.answer.raw for seed in seeds])
    where = positions(corpus, "test")
    tested = [rows[place] for place in where.tolist()]
    floor = read_linear(Path("models") / name, len(tested))
    of_train = [row.label for row in rows if row.split == "train"]
    beside = {
        "majority": np.full(len(tested), majority_class(of_train, order)),
        LINEAR: np.array(floor.test, dtype=int),
    }
    scores = metrics(seeds, tested, of_train, order)
    scores[LINEAR] = scores_of(beside[LINEAR], tested, order)
    scores[LINEAR] |= {"C": floor.strength, "validation_weighted_f1": floor.validation_weighted_f1}
    scores["ensemble"] = ensemble_scores(ensemble, tested, order, bundle.calibration)
    scores["calibration"] = bundle.calibration.model_dump(include={"temperature", "of_seeds", "decision", "tau"})
    scores["by_length"] = by_group(length_groups(tested, reader), tested, seeds, order, beside)
    scores |= text_encoder_scores(Path("data") / name / "encoder" / "text_predictions.csv", rows, order)
    scores["by_modalities"] = by_group(modality_groups(corpus, where), tested, seeds, order, beside)

    scores["present"] = shares_present(rows, corpus)
    results = Path("results") / name
    networks = {seed.seed: bundle.network(seed.seed).to(device()) for seed in seeds}
    on_validation = ensemble_on_validation(networks, corpus, bundle.calibration)
    scores["validation"] = {**validation_scores(results / "history.csv"), "ensemble": on_validation}
    scores["leakage"] = verdicts(name, params.model.modalities)
    if seen := marks(name, params.model.modalities):
        scores["seen"] = seen
    write_whole(results / "scores.json", json.dumps(scores, indent=2) + "\n")
    write_whole(results / "metrics.json", json.dumps(compared(scores), indent=2) + "\n")
    write_predictions(seeds, tested, order, results / "predictions.csv")
    write_ensemble(ensemble, tested, order, results / "ensemble.csv")
    write_class_scores(scores, order, results / "classes.csv")
    write_reliability(*labelled_answer(ensemble, tested, order), results / "reliability.csv")
    write_coverage(bundle.calibration, scores["ensemble"]["coverage"], results / "coverage.csv")
    seeds, tested = labelled(seeds, tested)
    label = np.array([order.index(row.label) for row in tested])
    write_confusion(label, [seed.answer.label for seed in seeds], order, results / "confusion.csv")
    draw_tsne(seeds[0].representations, label, order, results / "tsne.png", f"{name}, {bundle.model}:")
    log.info("%s: t-SNE of the test utterances (no part of `dvc plots`)", results / "tsne.png")
    log.info("%s test, %d seeds: accuracy %.2f ± %.2f, weighted F1 %.2f ± %.2f "
             "(majority-class baseline: %.2f and %.2f; logistic regression: %.2f and %.2f)",
             name, len(seeds), scores["accuracy"], scores["accuracy_std"], scores["weighted_f1"],
             scores["weighted_f1_std"], *(scores[of][score] for of in beside for score in ("accuracy", "weighted_f1"))
             )  # fmt: skip
    shown = ("accuracy", "weighted_f1", "macro_f1", "calibration_error", "calibration_error_calibrated")
    log.info("%s test, the seeds together: accuracy %.2f, weighted F1 %.2f, macro F1 %.2f; calibration error %.2f, and "
             "%.2f after calibration", name, *(scores["ensemble"][key] for key in shown))  # fmt: skip
    for mark in scores.get("seen", []):
        log.warning("%s: NOT A FAIR SCORE: %s", name, mark)


def predict_seed(bundle: Bundle, seed: int, corpus: Corpus) -> Seed:
    """Predict the test split with the model of `seed`.

    Raises:
        UserError: a file of the model is missing, or does not fit the features.
    """
    folder = bundle.folder.parent
    dims = {modality: values.shape[1] for modality, values in corpus.features.items()}
    if bundle.config["dims"] != dims:
        raise UserError(f"{folder}: was trained on features of widths {bundle.config['dims']}, not {dims}; "
                        "`dvc repro` trains anew")  # fmt: skip
    predictions = load_file(folder / TEST_PREDICTIONS)[f"seed{seed}"].long().numpy()
    return said_of_test(bundle.network(seed).to(device()), predictions, seed, corpus, bundle.calibration)


if __name__ == "__main__":
    start(run, parser(__doc__))
