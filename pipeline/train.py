"""train@D: features and index to a model a seed in the bundle models/D/bundle/, and results/D/history.csv.

Standardisation and class weights come from the training split alone, the epoch of each seed is chosen on validation. A
run that was killed goes on at the seed and about the epoch where it was.
"""

import argparse
import csv
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from extractors.cache import fingerprint
from extractors.device import device
from extractors.features import FeaturesError, read_features, read_origin
from model.batching import Corpus
from model.losses import inverse_frequency
from model.registry import make_model
from model.scaling import Scaler
from model.training import DivergenceError, Fit, Settings, fit, prepare_torch
from pipeline.bundle import NAME, Bundle, reduction_of, write_bundle
from pipeline.corpora.labels import labels
from pipeline.params import MODALITIES, Params, TrainOf
from pipeline.stage import StageError, cache_folder, log, parser, start
from pipeline.utterances import SPLITS, Utterance, dialogues, read_index

CHECKPOINT_SECONDS = float(os.environ.get("CMATH_CHECKPOINT_SECONDS", "20"))
"""Between two checkpoints: what a kill may cost."""
GUESSES = "test_guesses.safetensors"


def run(args: argparse.Namespace, params: Params) -> None:
    corpus_name, settings = args.corpus, params.train[args.corpus]
    prepare_torch()
    rows = read_index(Path("data") / corpus_name / "index.csv")
    try:
        corpus, scalers = load_corpus(corpus_name, rows, list(params.model.modalities))
    except FeaturesError as error:
        raise StageError(str(error)) from None
    order = labels(corpus_name, [row.label for row in rows])
    config = model_config(params, corpus_name, corpus, order)
    log.info("%s: %s of %s, on %s; %d dialogues to train on", corpus_name, params.model.name,
             " + ".join(config["dims"]), device(), len(corpus.dialogues["train"]))  # fmt: skip

    checkpoints = cache_folder() / "train" / work_identity(corpus_name, params)
    fits: dict[int, Fit] = {}
    for seed in settings.seeds:
        try:
            fits[seed] = fit(lambda: make_model(params.model.name, config), corpus,
                             training_settings(settings, corpus, config["classes"]), seed, device(),
                             checkpoints / f"seed{seed}.pt", CHECKPOINT_SECONDS)  # fmt: skip
        except DivergenceError as error:
            raise StageError(str(error)) from None
        best = fits[seed].history[fits[seed].best_epoch - 1]
        log.info("seed %d: best of %d epochs is %d, validation weighted F1 %.2f",
                 seed, len(fits[seed].history), best["epoch"], best["validation_weighted_f1"])  # fmt: skip
    bundle = make_bundle(corpus_name, params, corpus, scalers, config, order)
    encoders, face_weights = Path("data") / corpus_name / "encoder" / "text", params.visual[corpus_name].weights
    write_bundle(bundle, {seed: result.weights for seed, result in fits.items()}, encoders, face_weights)
    write_guesses(fits, Path("models") / corpus_name / GUESSES)
    epochs = [row for result in fits.values() for row in result.history]
    write_history(epochs, Path("results") / corpus_name / "history.csv")
    shutil.rmtree(checkpoints, ignore_errors=True)


def load_corpus(
    name: str, rows: list[Utterance], modalities: list[str], files: dict[str, Path] | None = None
) -> tuple[Corpus, dict[str, Scaler]]:
    """Standardised features of the modalities that the training split has, and the statistics used.

    Args:
        files: feature files, by modality, that stand in for those of data/D/features.

    Raises:
        FeaturesError: a feature file cannot be used.
        StageError: none of `modalities` is present in train.
    """
    train = torch.tensor([row.split == "train" for row in rows])
    features, present, scalers = {}, {}, {}
    for modality in [name for name in MODALITIES if name in modalities]:  # one order, however they were listed
        own = Path("data") / name / "features" / f"{modality}.safetensors"
        read = read_features((files or {}).get(modality, own), len(rows))
        there = torch.from_numpy(read.present)
        if not (there & train).any():
            log.warning("%s: %s is missing in all of the training split, and left out", name, modality)
            continue
        values = torch.from_numpy(read.values)
        scalers[modality] = Scaler.fit(values, there & train)
        features[modality], present[modality] = scalers[modality](values, there), there
    if not features:
        raise StageError(f"params.yaml: model.modalities = {modalities}: {name} has none of them in its training split")
    order = labels(name, [row.label for row in rows])
    parts: dict[str, list[torch.Tensor]] = {split: [] for split in SPLITS}
    for positions in dialogues(rows):
        parts[rows[positions[0]].split].append(torch.tensor(positions))
    label = torch.tensor([order.index(row.label) for row in rows])
    return Corpus(features, present, torch.tensor([row.speaker for row in rows]), label, parts), scalers


def model_config(params: Params, name: str, corpus: Corpus, order: tuple[str, ...]) -> dict[str, Any]:
    """The fields of the configuration of the model that params.yaml names, for this corpus' features and labels."""
    found = {
        "dims": {modality: values.shape[1] for modality, values in corpus.features.items()},
        "speakers": int(corpus.speaker.max()) + 1,
        "classes": len(order),
    }
    if params.model.name != "cmath":
        return found | params.baselines[params.model.name].model_dump()
    weights = {"gamma1": params.train[name].gamma1, "gamma2": params.train[name].gamma2}
    return found | weights | params.model.model_dump(exclude={"name", "modalities"})


def training_settings(settings: TrainOf, corpus: Corpus, classes: int) -> Settings:
    train = corpus.label[torch.cat(corpus.dialogues["train"])]
    return Settings(
        class_weights=inverse_frequency(train, classes) if settings.class_weights else None,
        **settings.model_dump(exclude={"class_weights", "gamma1", "gamma2", "seeds"}),
    )


def work_identity(name: str, params: Params) -> str:
    """A name for all that decides this training's numbers, so that no other training's checkpoint is taken up."""
    inputs = [Path("data") / name / "index.csv", *sorted((Path("data") / name / "features").glob("*.safetensors"))]
    code = [Path(__file__), *sorted((Path(__file__).parent.parent / "model").rglob("*.py"))]
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in [*inputs, *code]}
    chosen = {
        "model": params.model.model_dump(),
        "own": params.baselines[params.model.name].model_dump(),
        "train": params.train[name].model_dump(),
    }
    return fingerprint({**chosen, "files": files, "torch": torch.__version__, "device": device().type})


def make_bundle(
    name: str,
    params: Params,
    corpus: Corpus,
    scalers: dict[str, Scaler],
    config: dict[str, Any],
    order: tuple[str, ...],
) -> Bundle:
    """What prediction must know of this training, apart from the weights."""
    origins = {
        modality: read_origin(Path("data") / name / "features" / f"{modality}.safetensors") for modality in scalers
    }
    spoken = "text" in scalers
    return Bundle(
        corpus=name,
        labels=order,
        model=params.model.name,
        config=config,
        seeds=list(params.train[name].seeds),
        turns=max(len(dialogue) for part in corpus.dialogues.values() for dialogue in part),
        origins={modality: origin.identity for modality, origin in origins.items()},
        text_encoder=params.text[name].model if spoken else "",
        fine_tuned=spoken and params.text[name].finetune,
        scalers=scalers,
        reduction=reduction_of(origins),
        folder=Path("models") / name / NAME,
    )


def write_guesses(fits: dict[int, Fit], file: Path) -> None:
    """Each epoch's unseen guesses on test, int8 [epochs, utterances] a seed: they are evaluate's, not the model's."""
    save_file({f"seed{seed}": result.test_guesses for seed, result in fits.items()}, file)


def write_history(rows: list[dict[str, float]], file: Path) -> None:
    """A row an epoch and seed: the loss terms and the validation score."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: round(value, 6) for name, value in row.items()})


if __name__ == "__main__":
    start(run, parser(__doc__))
