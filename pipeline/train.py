"""train@D: features and index to a model a seed in the bundle models/D/bundle/, and results/D/history.csv.

Standardisation and class weights come from the training split alone, the epoch of each seed is chosen on validation. A
run that was killed goes on at the seed and about the epoch where it was; what was once trained is taken from the work
cache. history.csv is written anew after each epoch, so that `dvc plots show` can draw a training while it runs.
"""

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tqdm import tqdm

from extractors.device import device
from extractors.features import FeaturesError, read_origin
from extractors.workers import Lost, number_of_workers, spread_here
from model.batching import Corpus
from model.identity import digest
from model.scaling import Scaler
from model.training import prepare_torch
from pipeline.bundle import NAME, TEST_GUESSES, Bundle, reduction_of, write_bundle
from pipeline.corpora.labels import labels
from pipeline.history import write_history
from pipeline.loading import load_corpus
from pipeline.params import Params
from pipeline.stage import StageError, log, parser, start, start_logging
from pipeline.trainings import Trained, found, kept_weights, model_config, trained, training_folder, write_whole
from pipeline.utterances import read_index

QUIET_SECONDS = 60.0
"""Between two lines of a training that is not watched on a terminal."""
RUNNING = "seed{}.running.json"
"""In the folder of the trainings: the history so far of a seed that trains in a process of its own."""


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
    told = Told(folder, settings.seeds, settings.epochs, Path("results") / corpus_name / "history.csv")
    fits = train_seeds(corpus_name, params, corpus, config, folder, told)
    told.finished([row for seed in settings.seeds for row in fits[seed].history])
    for seed, done in fits.items():
        if not done.history:
            raise StageError(f"params.yaml: train.{corpus_name}.learning_rate = {settings.learning_rate}: the loss of "
                             f"seed {seed} is not finite in the first epoch; try a lower one")  # fmt: skip
        log.info("seed %d: best of %d epochs is %d, validation weighted F1 %.2f",
                 seed, len(done.history), done.best_epoch, done.score)  # fmt: skip
    bundle = make_bundle(corpus_name, params, corpus, scalers, config, order)
    kept = {seed: kept_weights(folder, seed) for seed in settings.seeds}
    encoders, face_weights = Path("data") / corpus_name / "encoder" / "text", params.visual[corpus_name].weights
    write_bundle(bundle, {seed: weights for seed, (weights, _) in kept.items()}, encoders, face_weights)
    # Each epoch's unseen guesses on test, int8 [epochs, utterances] a seed: they are evaluate's, not the model's.
    save_file({f"seed{seed}": guesses for seed, (_, guesses) in kept.items()}, bundle.folder.parent / TEST_GUESSES)


def train_seeds(
    corpus_name: str, params: Params, corpus: Corpus, config: dict[str, Any], folder: Path, told: "Told"
) -> dict[int, Trained]:
    """The finished training of each seed, in order.

    On a CPU each seed trains in a process of its own with one thread, as many at once as CMATH_WORKERS or the cores: so
    the numbers do not depend on how many cores there are.
    """
    settings, model = params.train[corpus_name], params.model.name
    fits = {seed: found(folder, seed, weights=True) for seed in settings.seeds}
    left = [seed for seed, known in fits.items() if known is None]
    if device().type != "cpu" or len(left) < 2 or number_of_workers() == 1:
        for seed in left:
            fits[seed] = trained(folder, corpus_name, corpus, model, config, settings, seed, weights=True,
                                 each_epoch=partial(told.epoch, seed))  # fmt: skip
    else:
        with told.watching():
            for seed, answer in spread_here(_train_seed, left, _prepare, corpus_name, params.model_dump(), folder):
                if isinstance(answer, Lost):
                    raise StageError(f"seed {seed}: {answer.reason}; CMATH_WORKERS=1 trains one seed at a time")
                fits[seed] = answer
    return {seed: known for seed, known in fits.items() if known is not None}


_train_here: list[Callable[[int], Trained]] = []
"""In a process that trains seeds: what trains one."""


def _prepare(corpus_name: str, values: dict, folder: Path) -> None:
    params = Params.model_validate(values)
    start_logging()
    prepare_torch()
    rows = read_index(Path("data") / corpus_name / "index.csv")
    corpus, _ = load_corpus(corpus_name, rows, list(params.model.modalities))
    config = model_config(params, corpus_name, corpus, labels(corpus_name, [row.label for row in rows]))

    def train_seed(seed: int) -> Trained:
        return trained(folder, corpus_name, corpus, params.model.name, config, params.train[corpus_name], seed,
                       weights=True, each_epoch=partial(write_epochs, folder, seed))  # fmt: skip

    _train_here[:] = [train_seed]


def _train_seed(seed: int) -> Trained:
    return _train_here[0](seed)


def write_epochs(folder: Path, seed: int, history: list[dict[str, float]]) -> None:
    """Leave the history of a running training where the process that started it reads it."""
    write_whole(folder / RUNNING.format(seed), json.dumps(history))


class Told:
    """What a training says while it runs: history.csv, and a bar on a terminal or, in a log file, a line a minute.

    Args:
        folder: of the trainings, where processes that train leave their histories.
        file: history.csv.
    """

    def __init__(self, folder: Path, seeds: list[int], epochs: int, file: Path) -> None:
        self.folder, self.seeds, self.epochs, self.file = folder, seeds, epochs, file
        self._histories: dict[int, list[dict[str, float]]] = {}
        self._begin = self._said = time.monotonic()
        self._before: int | None = None
        """Epochs that were trained when this process began to look."""
        self._bar: tqdm | None = None

    def epoch(self, seed: int, history: list[dict[str, float]]) -> None:
        """After an epoch; `history` is that of the seed so far."""
        self._histories[seed] = history
        self._tell(history[-1])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Tell of trainings in other processes, once a second."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(1.0):
                for seed in self.seeds:
                    file = self.folder / RUNNING.format(seed)
                    history = json.loads(file.read_text("utf-8")) if file.is_file() else []
                    if len(history) > len(self._histories.get(seed, [])):
                        self.epoch(seed, history)

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            for seed in self.seeds:
                (self.folder / RUNNING.format(seed)).unlink(missing_ok=True)

    def _tell(self, last: dict[str, float]) -> None:
        write_history([row for seed in self.seeds for row in self._histories.get(seed, [])], self.file)
        done = sum(map(len, self._histories.values()))
        if self._before is None:
            self._before = done - 1
        left, now = self.epochs * len(self.seeds) - done, time.monotonic()
        if sys.stderr.isatty():
            self._bar = self._bar or tqdm(total=self.epochs * len(self.seeds), unit="epoch", leave=False)
            self._bar.n = done
            self._bar.set_postfix(seed=int(last["seed"]), F1=f"{last['validation_weighted_f1']:.2f}")
        elif now - self._said >= QUIET_SECONDS:
            self._said = now
            minutes = left * (now - self._begin) / (done - self._before) / 60
            log.info("seed %d: epoch %d of at most %d, validation weighted F1 %.2f; all seeds: at most %.0f min left",
                     last["seed"], last["epoch"], self.epochs, last["validation_weighted_f1"], minutes)  # fmt: skip

    def finished(self, rows: list[dict[str, float]]) -> None:
        """After the last epoch; `rows` are those of all seeds."""
        if self._bar is not None:
            self._bar.close()
        if rows:
            write_history(rows, self.file)


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
