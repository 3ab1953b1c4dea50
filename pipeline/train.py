"""train@D: features and index to a model a seed in the bundle models/D/bundle/, and results/D/history.csv.

Standardisation and class weights come from the training split alone, the epoch of each seed is chosen on validation. A
run that was killed goes on at the seed and about the epoch where it was; what was once trained is taken from the work
cache. history.csv is written anew after each epoch, so that `dvc plots show` can draw a training while it runs.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from extractors.device import device
from extractors.features import FeaturesError, read_origin
from model.batching import Corpus
from model.identity import digest
from model.scaling import Scaler
from model.training import prepare_torch
from pipeline.bundle import NAME, TEST_GUESSES, Bundle, reduction_of, write_bundle
from pipeline.corpora.labels import labels
from pipeline.history import write_history
from pipeline.loading import load_corpus
from pipeline.params import Params
from pipeline.stage import StageError, log, parser, start
from pipeline.trainings import kept_weights, model_config, trained, training_folder
from pipeline.utterances import read_index

QUIET_SECONDS = 60.0
"""Between two lines of a training that is not watched on a terminal."""


def run(args: argparse.Namespace, params: Params) -> None:
    corpus_name, settings, model = args.corpus, params.train[args.corpus], params.model.name
    prepare_torch()
    rows = read_index(Path("data") / corpus_name / "index.csv")
    try:
        corpus, scalers = load_corpus(corpus_name, rows, list(params.model.modalities))
    except FeaturesError as error:
        raise StageError(str(error)) from None
    order = labels(corpus_name, [row.label for row in rows])
    config = model_config(params, corpus_name, corpus, order)
    log.info("%s: %s of %s, on %s; %d dialogues to train on", corpus_name, model,
             " + ".join(config["dims"]), device(), len(corpus.dialogues["train"]))  # fmt: skip

    folder = training_folder(digest(corpus), model, config, settings)
    told = Told(settings.seeds, settings.epochs, Path("results") / corpus_name / "history.csv")
    for seed in settings.seeds:
        done = trained(folder, corpus_name, corpus, model, config, settings, seed, weights=True,
                       each_epoch=told.epoch)  # fmt: skip
        if not done.history:
            raise StageError(f"params.yaml: train.{corpus_name}.learning_rate = {settings.learning_rate}: the loss of "
                             f"seed {seed} is not finite in the first epoch; try a lower one")  # fmt: skip
        told.finished(done.history)
        log.info("seed %d: best of %d epochs is %d, validation weighted F1 %.2f",
                 seed, len(done.history), done.best_epoch, done.score)  # fmt: skip
    bundle = make_bundle(corpus_name, params, corpus, scalers, config, order)
    kept = {seed: kept_weights(folder, seed) for seed in settings.seeds}
    encoders, face_weights = Path("data") / corpus_name / "encoder" / "text", params.visual[corpus_name].weights
    write_bundle(bundle, {seed: weights for seed, (weights, _) in kept.items()}, encoders, face_weights)
    # Each epoch's unseen guesses on test, int8 [epochs, utterances] a seed: they are evaluate's, not the model's.
    save_file({f"seed{seed}": guesses for seed, (_, guesses) in kept.items()}, bundle.folder.parent / TEST_GUESSES)


class Told:
    """What a training says of itself while it runs: history.csv, and in a log file a line a minute.

    On a terminal there is a bar instead of the lines.
    """

    def __init__(self, seeds: list[int], epochs: int, file: Path) -> None:
        self.seeds, self.epochs, self.file = seeds, epochs, file
        self._rows: list[dict[str, float]] = []
        self._seeds_done = 0
        self._begin = self._said = time.monotonic()
        self._trained = 0
        """Epochs of this process."""

    def epoch(self, history: list[dict[str, float]]) -> None:
        """After an epoch; `history` is that of the seed so far."""
        self._trained += 1
        write_history([*self._rows, *history], self.file)
        now = time.monotonic()
        if sys.stderr.isatty() or now - self._said < QUIET_SECONDS:
            return
        self._said = now
        last = history[-1]
        left = self.epochs * (len(self.seeds) - self._seeds_done) - int(last["epoch"])
        minutes = left * (now - self._begin) / self._trained / 60
        log.info("seed %d (%d of %d): epoch %d of at most %d, validation weighted F1 %.2f; at most %.0f min left",
                 last["seed"], self._seeds_done + 1, len(self.seeds), last["epoch"], self.epochs,
                 last["validation_weighted_f1"], minutes)  # fmt: skip

    def finished(self, history: list[dict[str, float]]) -> None:
        """After a seed."""
        self._rows += history
        self._seeds_done += 1
        write_history(self._rows, self.file)


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


if __name__ == "__main__":
    start(run, parser(__doc__))
