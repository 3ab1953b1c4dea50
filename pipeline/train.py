"""train@D: trains one model per seed, and writes the bundle models/D/bundle/ and results/D/history.csv.

Standardisation and class weights are computed on the training split only. The epoch of each seed is chosen on
validation; so is the calibration of the probabilities (pipeline/calibration.py). An interrupted run resumes near the
epoch where it stopped; finished trainings are taken from the work cache. history.csv is rewritten after each epoch, so
that `dvc plots show` can draw a running training.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from extractors.features import read_origin
from foundation.device import device
from foundation.errors import UserError
from foundation.files import whole, whole_folder
from foundation.log import log
from foundation.torch_setup import prepare_torch
from model.batching import Corpus
from model.identity import digest
from model.registry import make_model
from model.scaling import Scaler
from pipeline.bundle import NAME, TEST_PREDICTIONS, Bundle, reduction_of, write_bundle
from pipeline.calibration import Calibration, fitted
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import ROLES, labels
from pipeline.params import Params
from pipeline.stage import parser, start
from pipeline.training.linear import linear, write_linear
from pipeline.training.loading import load_corpus
from pipeline.training.seeds import Told, train_seeds
from pipeline.training.store import kept_weights, model_config, training_folder


def run(args: argparse.Namespace, params: Params) -> None:
    corpus_name, settings, model = args.corpus, params.train[args.corpus], params.model.name
    prepare_torch(threads=1)
    rows = read_index(Path("data") / corpus_name / "index.csv")
    order = labels(params.index[corpus_name].reader, [row.label for row in rows])
    corpus, scalers = load_corpus(corpus_name, rows, order, list(params.model.modalities))
    config = model_config(params, corpus_name, corpus, order)
    log.info("%s: %s of %s, on %s; %d dialogues to train on", corpus_name, model,
             " + ".join(config["dims"]), device(), len(corpus.dialogues["train"]))  # fmt: skip

    folder = training_folder(digest(corpus), model, config, settings)
    told = Told(folder, settings.seeds, settings.epochs, Path("results") / corpus_name / "history.csv")
    fits = train_seeds(corpus_name, params, corpus, config, folder, told)
    told.finished([row for seed in settings.seeds for row in fits[seed].history])
    for seed, done in fits.items():
        if not done.history:
            raise UserError(f"params.yaml: train.{corpus_name}.learning_rate = {settings.learning_rate}: the loss of "
                            f"seed {seed} is not finite in the first epoch; try a lower one")  # fmt: skip
        log.info("seed %d: %d epochs, of which epoch %d is the best on validation (weighted F1 %.2f)",
                 seed, len(done.history), done.best_epoch, done.score)  # fmt: skip
    kept = {seed: kept_weights(folder, seed) for seed in settings.seeds}
    networks = {seed: make_model(model, config).to(device()) for seed in kept}
    for seed, (of_seed, _) in kept.items():
        networks[seed].load_state_dict(of_seed)
    calibration = fitted(networks, corpus, len(order), settings.decision)
    log.info("temperature on validation: %g for the ensemble; of the seeds %s", calibration.temperature,
             ", ".join(f"{seed}: {value:g}" for seed, value in calibration.of_seeds.items()))  # fmt: skip
    if settings.decision == "balanced":
        log.info("decision balanced: tau %g has the best macro F1 on validation", calibration.tau)
    bundle = make_bundle(corpus_name, params, corpus, scalers, config, calibration, order)
    encoders, face_weights = Path("data") / corpus_name / "encoder" / "text", params.visual[corpus_name].weights
    with whole_folder(bundle.folder) as half:
        weights = {seed: of_seed for seed, (of_seed, _) in kept.items()}
        write_bundle(replace(bundle, folder=half), weights, encoders, face_weights)
    # Unscored test predictions of every epoch, int8 [epochs, utterances] per seed: only `evaluate` needs them.
    with whole(bundle.folder.parent / TEST_PREDICTIONS) as half:
        save_file({f"seed{seed}": predictions for seed, (_, predictions) in kept.items()}, half)
    floor = linear(corpus, len(order), balanced=settings.class_weights)
    log.info("logistic regression on the same features: C = %g has the best weighted F1 on validation, %.2f",
             floor.strength, floor.validation_weighted_f1)  # fmt: skip
    write_linear(floor, bundle.folder.parent)


def make_bundle(
    name: str,
    params: Params,
    corpus: Corpus,
    scalers: dict[str, Scaler],
    config: dict[str, Any],
    calibration: Calibration,
    order: tuple[str, ...],
) -> Bundle:
    """Collect everything except the weights that prediction must know about this training."""
    origins = {
        modality: read_origin(Path("data") / name / "features" / f"{modality}.safetensors") for modality in scalers
    }
    made = {name for name, origin in origins.items() if "source" not in origin.identity}  # not taken from a file
    spoken = "text" in made
    return Bundle(
        corpus=name,
        synthetic=params.index[name].reader == "demo",
        assembled=params.index[name].reader == "assembled",
        labels=order,
        model=params.model.name,
        config=config,
        seeds=list(params.train[name].seeds),
        turns=max(len(dialogue) for part in corpus.dialogues.values() for dialogue in part),
        calibration=calibration,
        origins={modality: origin.identity for modality, origin in origins.items()},
        text_encoder=params.text[name].model if spoken else "",
        audio_encoder=params.audio[name].encoder if "audio" in made else "",
        visual_encoder=params.visual[name].encoder if "visual" in made else "",
        fine_tuned=spoken and params.text[name].finetune,
        roles=ROLES.get(params.index[name].reader, ()),
        scalers=scalers,
        reduction=reduction_of(origins),
        folder=Path("models") / name / NAME,
    )


if __name__ == "__main__":
    start(run, parser(__doc__))
