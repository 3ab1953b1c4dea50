"""Trainings side by side: in processes on the devices of this machine or, with `CMATH_ENGINE=ray`, of a Ray cluster.

Each training is a task by itself and has one thread, so its result does not depend on how many run at once. All write
to the same store. On a cluster, every machine must see the project's folder and the work cache at the same paths.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from foundation.device import device, training_devices
from foundation.errors import UserError
from foundation.files import write_whole
from foundation.folders import cache_folder
from foundation.spread import engine, spread
from foundation.torch_setup import prepare_torch
from foundation.workers import TaskLost
from model.batching import Corpus
from model.identity import digest
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.params import Params
from pipeline.stage import start_logging
from pipeline.training.loading import load_corpus
from pipeline.training.store import Trained, model_config, trained, training_folder

RUNNING = "seed{}.running.json"
"""File in the folder of a training: the history so far of a seed that trains in another process."""


@dataclass(frozen=True, slots=True)
class Task:
    """One training: a model and a seed on a corpus."""

    corpus: str
    params: Params
    seed: int
    weights: bool
    """Whether its weights must be saved, and not only its score."""
    folder: Path
    """Folder of the store that keeps it: result of `training_folder`."""
    files: tuple[tuple[str, Path], ...] = ()
    """Modalities, and feature files that replace those in data/D/features."""


def several() -> bool:
    """Whether there is more than this process to train in."""
    return engine() == "ray" or len(training_devices()) > 1


def side_by_side(tasks: Iterator[Task], most: int | None = None) -> Iterator[tuple[Task, Trained]]:
    """Yield each task with its finished training, in any order.

    Args:
        tasks: are taken when a process is free. If none is ready, it is asked again after the next answer.
        most: largest number of processes.

    Raises:
        UserError: a process died twice on a task, or a machine of the cluster would train other numbers.
    """
    here, cache = Path.cwd(), cache_folder().absolute()
    devices = training_devices()[:most]
    for task, answer in spread(_train, tasks, _prepare, here, cache, devices=devices):
        if isinstance(answer, TaskLost):
            raise UserError(f"{task.params.model.name} on {task.corpus}, seed {task.seed}: {answer.reason}; "
                            "CMATH_WORKERS=1, or CMATH_DEVICES with one entry, trains one at a time; what was finished "
                            "is kept")  # fmt: skip
        yield task, answer


_loaded: dict[tuple, tuple[Corpus, str, tuple[str, ...]]] = {}
"""The corpus that this worker process has used last, its digest, and its labels in order."""


def _prepare(here: Path, cache: Path) -> None:
    os.chdir(here)
    os.environ["CMATH_CACHE"] = str(cache)
    start_logging()
    prepare_torch(threads=1)
    _loaded.clear()


def _train(task: Task) -> Trained:
    params, settings = task.params, task.params.train[task.corpus]
    corpus, content, order = _data_of(task)
    config = model_config(params, task.corpus, corpus, order)
    own = training_folder(content, params.model.name, config, settings)
    if own.name != task.folder.name:
        raise UserError(f"the machine {os.uname().nodename} would train other numbers than the one that asks (device "
                        f"{device().type}): both need the same kind of device, processor, files and code")  # fmt: skip
    try:
        return trained(task.folder, task.corpus, corpus, params.model.name, config, settings, task.seed,
                       weights=task.weights, each_epoch=partial(_write_running, task.folder, task.seed))  # fmt: skip
    finally:
        (task.folder / RUNNING.format(task.seed)).unlink(missing_ok=True)


def _write_running(folder: Path, seed: int, history: list[dict[str, float]]) -> None:
    write_whole(folder / RUNNING.format(seed), json.dumps(history))


def running(folder: Path, seed: int) -> list[dict[str, float]]:
    """History so far of a training in another process; empty if none runs, or none of its epochs is finished."""
    try:
        found: list[dict[str, float]] = json.loads((folder / RUNNING.format(seed)).read_text("utf-8"))
    except FileNotFoundError:
        return []
    return found


def _data_of(task: Task) -> tuple[Corpus, str, tuple[str, ...]]:
    wanted = task.corpus, tuple(task.params.model.modalities), task.files
    if wanted not in _loaded:
        rows = read_index(Path("data") / task.corpus / "index.csv")
        order = labels(task.params.index[task.corpus].reader, [row.label for row in rows])
        corpus, _ = load_corpus(task.corpus, rows, order, list(wanted[1]), dict(task.files))
        _loaded.clear()  # one corpus is enough: the next one would need as much memory again
        _loaded[wanted] = corpus, digest(corpus), order
    return _loaded[wanted]
