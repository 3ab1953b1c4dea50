"""Seeds side by side, a process and a thread each, against one after the other with all threads of torch.

    python -m bench.seeds           about a quarter of an hour

Each way is timed on an idle machine and beside a process that keeps one core busy, in one run. The corpora are random
numbers in the shapes of the synthetic corpus, of a small corpus with three modalities, and of MELD's text; the models
are CMATH with the settings of params.yaml. Every seed trains for the same number of epochs.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from foundation.torch_setup import prepare_torch
from foundation.workers import TaskLost, number_of_workers, spread_here
from model.batching import Corpus
from model.registry import make_model
from model.settings import TrainingSettings
from model.training import fit
from pipeline.params import load_params
from pipeline.training.store import model_config

SEEDS = (0, 1, 2, 3, 4)
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a corpus, and the entry of params.yaml whose settings it is trained with."""

    name: str
    params: str
    dims: tuple[tuple[str, int], ...]
    dialogues: int
    turns: int
    """Turns of the mean dialogue."""
    epochs: int


SHAPES = (
    Shape("demo", "demo", (("text", 384), ("audio", 1582), ("visual", 342)), 22, 8, 6),
    Shape("small, three modalities", "meld", (("text", 384), ("audio", 300), ("visual", 342)), 60, 10, 2),
    Shape("MELD's text", "meld", (("text", 384),), 1038, 10, 1),
)


def random_corpus(shape: Shape) -> Corpus:
    """Dialogues of `shape` for training, and a tenth as many for validation and for test."""
    draw = torch.Generator().manual_seed(0)
    dialogues: dict[str, list[Tensor]] = {}
    begin = 0
    for split, number in (("train", shape.dialogues), ("validation", 3), ("test", 3)):
        dialogues[split] = []
        for turns in torch.randint(1, 2 * shape.turns, (number,), generator=draw).tolist():
            dialogues[split].append(torch.arange(begin, begin + turns))
            begin += turns
    features = {name: torch.randn(begin, width, generator=draw) for name, width in shape.dims}
    present = {name: torch.ones(begin, dtype=torch.bool) for name in features}
    speaker, label = torch.randint(4, (begin,), generator=draw), torch.randint(7, (begin,), generator=draw)
    return Corpus(features, present, speaker, label, dialogues)


def train(shape: Shape, seed: int) -> None:
    """Train CMATH for the epochs of `shape`."""
    params, corpus = load_params(), random_corpus(shape)
    config = model_config(params, shape.params, corpus, tuple("abcdefg"))
    patient = {"epochs": shape.epochs, "patience": shape.epochs}
    settings: TrainingSettings = params.train[shape.params].model_copy(update=patient)
    with tempfile.TemporaryDirectory() as folder:
        fit(lambda: make_model("cmath", config), corpus, settings, None, seed, CPU, Path(folder) / "checkpoint",
            each_epoch=lambda _: None)  # fmt: skip


def prepare() -> None:
    prepare_torch(threads=1)


def one_after_the_other(shape: Shape) -> None:
    prepare_torch(threads=len(os.sched_getaffinity(0)))
    for seed in SEEDS:
        train(shape, seed)


def side_by_side(shape: Shape) -> None:
    for _, answer in spread_here(train_one, [(shape, seed) for seed in SEEDS], prepare):
        assert not isinstance(answer, TaskLost)


def train_one(work: tuple[Shape, int]) -> None:
    train(*work)


@contextmanager
def busy_core() -> Iterator[None]:
    """A process that computes all the time, as a browser or another training does."""
    process = multiprocessing.get_context("spawn").Process(target=compute, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def compute() -> None:
    while True:
        sum(range(1_000_000))


def main() -> None:
    print(f"{len(SEEDS)} seeds, {number_of_workers()} processes side by side")
    print("| corpus | machine | one after the other | side by side | times as fast |\n|---|---|---|---|---|")
    for shape in SHAPES:
        for machine, company in (("idle", nullcontext()), ("one core busy", busy_core())):
            seconds = []
            with company:
                for way in (one_after_the_other, side_by_side):
                    begin = time.perf_counter()
                    way(shape)
                    seconds.append(time.perf_counter() - begin)
            print(f"| {shape.name} | {machine} | {seconds[0]:.1f} s | {seconds[1]:.1f} s | "
                  f"{seconds[0] / seconds[1]:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    argparse.ArgumentParser("python -m bench.seeds", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()  # fmt: skip
    main()
