"""Models in `gpu_check`: two epochs of each on the card and on the CPU, twice, killed and resumed, and timed."""

import math
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from model.batching import Corpus
from model.interface import ErcModel
from model.registry import make_model
from model.settings import TrainingSettings
from model.training import fit, predict
from pipeline.corpora.labels import MELD
from pipeline.gpu.rows import CPU, TIMED, WARM, CheckRow, KilledError, Meter, difference, interrupt, kill, same
from pipeline.params import Params
from pipeline.training.store import class_weights_of, model_config

DIMS = {"text": 1024, "audio": 300, "visual": 342}
CLASSES, SPEAKERS = 7, 3
LENGTHS = {
    "train": [1 + 7 * n % 16 for n in range(12)],
    "validation": [1 + 5 * n % 12 for n in range(6)],
    "test": [3, 9, 1, 6],
}
"""Turns of the dialogues of the small corpus, by split."""
TURNS = {"train": [10] * 4 * 2 * (WARM + TIMED + 2), "validation": [1], "test": [1]}
"""Size of the corpus for timing: twice what is timed, for MultiDAG's first epoch takes half."""
EPOCHS = 2


class SameDraws(TorchDispatchMode):
    """Normal and exponential numbers are drawn by the CPU's generator, whatever the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket is torch.ops.aten.randn_like:
            return torch.randn(args[0].shape).to(args[0])
        if func.overloadpacket is torch.ops.aten.exponential_:
            return args[0].copy_(torch.empty(args[0].shape).exponential_())
        return func(*args, **(kwargs or {}))


def corpus_of(lengths: dict[str, list[int]]) -> Corpus:
    """Dialogues of random features, a fifth of them missing, that tell the label; the same at each call."""
    draw = torch.Generator().manual_seed(0)
    total = sum(map(sum, lengths.values()))
    label = torch.randint(CLASSES, (total,), generator=draw)
    present = {name: torch.rand(total, generator=draw) >= 0.2 for name in DIMS}
    features = {name: torch.randn(total, width, generator=draw) for name, width in DIMS.items()}
    for name, values in features.items():
        values[:, :CLASSES] += 3 * nn.functional.one_hot(label, CLASSES)
        values *= present[name].unsqueeze(1)
    ends = np.cumsum([0, *(turns for part in lengths.values() for turns in part)]).tolist()
    dialogues = iter([torch.arange(begin, end) for begin, end in pairwise(ends)])
    parts = {split: [next(dialogues) for _ in part] for split, part in lengths.items()}
    return Corpus(features, present, torch.randint(SPEAKERS, (total,), generator=draw), label, parts)


def configuration(params: Params, name: str, corpus: Corpus) -> dict[str, Any]:
    """Configuration of the model `name` by params.yaml; MultiDAG's curriculum is cut to the epochs of the check."""
    of_model = {"name": name, "context": "whole"}  # not each of the models has another
    chosen = params.model_copy(update={"model": params.model.model_copy(update=of_model)})
    config = model_config(chosen, "meld", corpus, MELD)
    return config | ({"buckets": EPOCHS} if name == "multidag" else {})


def without_dropout(model: ErcModel) -> ErcModel:
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        elif isinstance(part.__dict__.get("dropout"), float):  # attention and recurrent networks
            part.dropout = 0.0  # type: ignore[assignment]
    return model


class Models:
    """The checks of the models. The CPU's numbers are computed once for each model."""

    def __init__(self, params: Params, device: torch.device) -> None:
        self.params, self.device = params, device
        self.small, self.timed = corpus_of(LENGTHS), corpus_of(TURNS)
        self._expected: dict[str, Tensor] = {}

    def check(self, row: CheckRow) -> None:
        make = partial(make_model, row.what, configuration(self.params, row.what, self.small))
        settings = self.params.train["meld"].model_copy(update={"precision": row.precision, "epochs": EPOCHS})
        if row.what not in self._expected:
            threads = torch.get_num_threads()
            if self.device != CPU:  # to wait less; its last bits do not matter
                torch.set_num_threads(os.cpu_count() or 1)
            self._expected[row.what] = self._numbers(make, settings, CPU)[0]
            torch.set_num_threads(threads)
        numbers, row.skipped = self._numbers(make, settings, self.device)
        row.difference = difference(numbers, self._expected[row.what])
        once = self._trained(make, settings, self.device)
        row.resumes = same(once, self._trained(make, settings, self.device, killed=True))
        row.repeats = row.resumes or same(once, self._trained(make, settings, self.device))
        self._time(row, make, settings)

    def _trained(
        self, make: Callable[[], ErcModel], settings: TrainingSettings, device: torch.device, killed: bool = False
    ) -> dict[str, Any]:
        """The checkpoint of a finished training, which was killed before the last epoch's checkpoint was written."""
        weights = self._weights(settings)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "seed0.pt"
            if killed:
                interrupt(lambda: fit(make, self.small, settings, weights, 0, device, file, 0.0, kill(EPOCHS)), file)
            fit(make, self.small, settings, weights, 0, device, file, 1e9, lambda _: None)
            stored: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            return stored

    def _weights(self, settings: TrainingSettings) -> Tensor | None:
        return class_weights_of(settings, self.small.label, CLASSES)

    def _numbers(
        self, make: Callable[[], ErcModel], settings: TrainingSettings, device: torch.device
    ) -> tuple[Tensor, int]:
        """Losses of all epochs and logits of validation after the last, without dropout; and the steps left out."""
        with SameDraws():
            stored = self._trained(lambda: without_dropout(make()), settings, device)
        model = make()
        model.load_state_dict(stored["average"])
        logits, _ = predict(model.to(device), self.small, "validation", device)
        rows = stored["state"]["history"]
        losses = [row[name] for row in rows for name in ("loss", *model.loss_weights)]
        taken = max(int(value["step"]) for value in stored["optimizer"]["state"].values())
        subsets = [model.curriculum_subset(self.small, epoch) for epoch in range(1, EPOCHS + 1)]
        steps = sum(math.ceil(len(dialogues) / settings.batch) for dialogues in subsets)
        return torch.cat([torch.tensor(losses), logits.flatten()]), steps - taken

    def _time(self, row: CheckRow, make: Callable[[], ErcModel], settings: TrainingSettings) -> None:
        """Times of steps from one forward pass to the next, inside an ordinary training that is then ended."""
        meter, calls = Meter(row, self.device), 0

        def before_forward(model: nn.Module, _: object) -> None:
            nonlocal calls
            if not model.training:
                return
            calls += 1
            if calls == WARM + 1:
                meter.begin()
            elif calls == WARM + TIMED + 1:
                meter.end(TIMED)
                meter.count()
            elif calls == WARM + TIMED + 2:
                meter.counted()
                raise KilledError

        def make_watched() -> ErcModel:
            model = make()
            model.register_forward_pre_hook(before_forward)
            return model

        with TemporaryDirectory() as folder, suppress(KilledError):
            file = Path(folder) / "seed0.pt"
            fit(
                make_watched,
                self.timed,
                settings,
                self._weights(settings),
                0,
                self.device,
                file,
                each_epoch=lambda _: None,
            )
