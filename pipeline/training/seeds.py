"""Training of several seeds, side by side in processes, with progress messages."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from foundation.log import log
from foundation.progress import QUIET_SECONDS
from model.batching import Corpus
from pipeline.params import Params
from pipeline.training.history import write_history
from pipeline.training.pool import Task, running, several, side_by_side
from pipeline.training.store import Trained, found, trained


def train_seeds(
    corpus_name: str, params: Params, corpus: Corpus, config: dict[str, Any], folder: Path, told: "Told"
) -> dict[int, Trained]:
    """Train all seeds, or find them in the store, and return the finished training of each seed.

    Seeds train side by side, each in a process with one thread: pipeline/training/pool.py.
    """
    settings, model = params.train[corpus_name], params.model.name
    fits = {seed: found(folder, seed, weights=True) for seed in settings.seeds}
    left = [seed for seed, known in fits.items() if known is None]
    if len(left) > 1 and several():
        tasks = (Task(corpus_name, params, seed, True, folder.absolute()) for seed in left)
        with told.watching():
            fits |= {task.seed: fit for task, fit in side_by_side(tasks, len(left))}
    else:
        for seed in left:
            fits[seed] = trained(folder, corpus_name, corpus, model, config, settings, seed, weights=True,
                                 each_epoch=partial(told.epoch, seed))  # fmt: skip
    return {seed: known for seed, known in fits.items() if known is not None}


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
                    history = running(self.folder, seed)
                    if len(history) > len(self._histories.get(seed, [])):
                        self.epoch(seed, history)

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

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
