"""Training of several seeds, side by side in processes, with progress messages."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from foundation.device import training_devices
from foundation.errors import UserError
from foundation.files import write_whole
from foundation.log import log
from foundation.progress import QUIET_SECONDS
from foundation.torch_setup import prepare_torch
from foundation.workers import TaskLost, spread_here
from model.batching import Corpus
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.params import Params
from pipeline.stage import start_logging
from pipeline.training.history import write_history
from pipeline.training.loading import load_corpus
from pipeline.training.store import Trained, found, model_config, trained

RUNNING = "seed{}.running.json"
"""File in the folder of the trainings: the history so far of a seed that trains in another process."""


def train_seeds(
    corpus_name: str, params: Params, corpus: Corpus, config: dict[str, Any], folder: Path, told: "Told"
) -> dict[int, Trained]:
    """Train all seeds, or find them in the store, and return the finished training of each seed.

    Seeds train side by side, each in a process with one thread, so results do not depend on the number of cores:
    `training_devices` says where.
    """
    settings, model = params.train[corpus_name], params.model.name
    fits = {seed: found(folder, seed, weights=True) for seed in settings.seeds}
    left = [seed for seed, known in fits.items() if known is None]
    devices = training_devices()[: len(left)]
    if len(devices) < 2:
        for seed in left:
            fits[seed] = trained(folder, corpus_name, corpus, model, config, settings, seed, weights=True,
                                 each_epoch=partial(told.epoch, seed))  # fmt: skip
    else:
        with told.watching():
            values = params.model_dump()
            for seed, answer in spread_here(_train_seed, left, _prepare, corpus_name, values, folder, devices=devices):
                if isinstance(answer, TaskLost):
                    raise UserError(f"seed {seed}: {answer.reason}; CMATH_WORKERS=1, or CMATH_DEVICES with one entry, "
                                    "trains one seed at a time")  # fmt: skip
                fits[seed] = answer
    return {seed: known for seed, known in fits.items() if known is not None}


_train_here: list[Callable[[int], Trained]] = []
"""Function that trains one seed, set in a worker process."""


def _prepare(corpus_name: str, values: dict, folder: Path) -> None:
    params = Params.model_validate(values)
    start_logging()
    prepare_torch(threads=1)
    rows = read_index(Path("data") / corpus_name / "index.csv")
    order = labels(params.index[corpus_name].reader, [row.label for row in rows])
    corpus, _ = load_corpus(corpus_name, rows, order, list(params.model.modalities))
    config = model_config(params, corpus_name, corpus, order)

    def train_seed(seed: int) -> Trained:
        return trained(folder, corpus_name, corpus, params.model.name, config, params.train[corpus_name], seed,
                       weights=True, each_epoch=partial(write_epochs, folder, seed))  # fmt: skip

    _train_here[:] = [train_seed]


def _train_seed(seed: int) -> Trained:
    return _train_here[0](seed)


def write_epochs(folder: Path, seed: int, history: list[dict[str, float]]) -> None:
    """Write the history of a running training to the file that the parent process reads."""
    write_whole(folder / RUNNING.format(seed), json.dumps(history))


class Told:
    """Progress output of a training: history.csv, and a bar on a terminal or one line per minute in a log file.

    Args:
        folder: folder of the trainings, where worker processes write their histories.
        file: path of history.csv.
    """

    def __init__(self, folder: Path, seeds: list[int], epochs: int, file: Path) -> None:
        self.folder, self.seeds, self.epochs, self.file = folder, seeds, epochs, file
        self._histories: dict[int, list[dict[str, float]]] = {}
        self._begin = self._said = time.monotonic()
        self._before: int | None = None
        """Number of epochs that were finished before this process began."""
        self._bar: tqdm | None = None

    def epoch(self, seed: int, history: list[dict[str, float]]) -> None:
        """Report a finished epoch; `history` is that of the seed so far."""
        self._histories[seed] = history
        self._tell(history[-1])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Report, once per second, the progress of trainings in other processes."""
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
        """Finish the output after the last epoch; `rows` are those of all seeds."""
        if self._bar is not None:
            self._bar.close()
        if rows:
            write_history(rows, self.file)
