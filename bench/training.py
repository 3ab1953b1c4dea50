"""Speed of a training step, against the matrix products of the machine it runs on, and against the baselines' code.

    make bench

16 dialogues of 110 turns, 1024 / 1582 / 342 wide, width 500: an IEMOCAP batch of the longest kind; then 4 dialogues of
10 turns at width 400, a mean batch of MELD. `useful` counts the floating-point operations of the model's products,
forward and backward, and divides by the whole step's time; a plain matrix product of the same size, timed in the same
run, shows what could be had if nothing else were to be done. A small batch needs other things as well: its products
read every weight from memory, and every weight is updated. So the products of the step are repeated in the same run, in
their order, with their own shapes and each with operands of its own, and the update is timed alone. Both together are
the least that a step could take.

Then a step of each baseline with the settings of params.yaml, beside what the public code takes for such a batch on two
cores, where there is such code.
"""

import argparse
import resource
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from foundation.torch_setup import prepare_torch
from model.batching import Batch
from model.interface import ErcModel
from model.registry import MODELS, make_model
from model.training import Average
from pipeline.params import load_params
from pipeline.training.store import NOT_OF_MODEL

DIALOGUES, TURNS, DIMS, DIM = 16, 110, {"text": 1024, "audio": 1582, "visual": 342}, 500
SMALL = (4, 10, 400)
"""Dialogues, turns and width of a mean batch of MELD."""
FORM = {"dims": DIMS, "speakers": 2, "classes": 6}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}
PUBLIC_CODE = {
    "sdt": "7.5", "dialogue_rnn": "5.5", "dialogue_gcn": "7.3", "mmgcn": "over 100", "mm_dfn": "over 100",
    "multidag": "37",
}  # fmt: skip
"""Seconds that the baselines' own code takes for a step on two cores, with subnormal numbers flushed to zero."""


def timed(work: Callable[[], object], repeats: int = 7) -> float:
    """Median seconds of some runs, after one that is not counted."""
    seconds = []
    for number in range(repeats + 1):
        begin = time.perf_counter()
        work()
        if number:
            seconds.append(time.perf_counter() - begin)
    return median(seconds)


def random_batch(dialogues: int, turns: int) -> Batch:
    """A batch of random features, the same at each call."""
    torch.manual_seed(0)
    mask, speaker = torch.ones(dialogues, turns, dtype=torch.bool), torch.randint(2, (dialogues, turns))
    return Batch(
        {name: torch.randn(dialogues, turns, width) for name, width in DIMS.items()},
        dict.fromkeys(DIMS, mask),
        speaker,
        mask,
        torch.randint(6, (dialogues, turns)),
        speaker,
    )


def training_step(model: ErcModel, batch: Batch) -> tuple[Callable[[], None], Callable[[], None]]:
    """Forward, backward, optimiser and moving average, as training does them; and the last two of these alone."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    average = Average(model, 0.999)

    def update() -> None:
        optimizer.step()
        average.update(model)

    def step() -> None:
        losses = model(batch).losses
        loss = torch.stack([model.loss_weights[name] * value for name, value in losses.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        update()

    return step, update


class Products(TorchDispatchMode):
    """Records the matrix products that are computed in its block."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[Any, list[tuple]]] = []
        """Each operation with shape and strides of its operands."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if function.overloadpacket.__name__ in PRODUCTS:
            operands = [value for value in args if isinstance(value, torch.Tensor)]
            self.shapes.append((function, [(value.shape, value.stride()) for value in operands]))
        return function(*args, **(kwargs or {}))

    def again(self) -> Callable[[], None]:
        """The recorded products, on random operands that no two of them share."""
        calls = [
            (function, [torch.empty_strided(shape, stride).normal_() for shape, stride in operands])
            for function, operands in self.shapes
        ]

        def work() -> None:
            for function, operands in calls:
                function(*operands)

        return work


def parameters(model: ErcModel) -> float:
    """Number of parameters, in millions."""
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def time_cmath(dialogues: int, turns: int, width: int) -> None:
    """A step of CMATH against its limit: its matrix products as plain ones, and the update of its weights."""
    params = load_params()
    weights = {"gamma1": params.train["iemocap"].gamma1, "gamma2": params.train["iemocap"].gamma2}
    settings = params.model.model_dump(exclude=set(NOT_OF_MODEL)) | {"dim": width, "heads": 10, "feature_dropout": 0.3}
    model = make_model("cmath", {**FORM, **settings, **weights})
    step, update = training_step(model, random_batch(dialogues, turns))
    with FlopCounterMode(display=False) as counter, Products() as products:
        step()
    operations = counter.get_total_flops()
    seconds = timed(step)

    rows = dialogues * turns
    left, right = torch.randn(rows, width), torch.randn(width, width)
    product = 2 * rows * width * width / timed(lambda: left @ right)
    least = timed(products.again()) + timed(update)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"CMATH, {dialogues} x {turns} turns, width {width}: {parameters(model):.1f} M parameters")
    print(f"  step            {seconds:8.3f} s, threads: {torch.get_num_threads()}")
    print(f"  useful          {operations / seconds / 1e9:8.1f} GFLOP/s of {operations / 1e9:.0f} GFLOP a step")
    print(f"  matrix product  {product / 1e9:8.1f} GFLOP/s ({rows} x {width} by {width} x {width})")
    print(f"  update          {timed(update):8.3f} s for Adam and the moving average")
    print(f"  least           {least:8.3f} s for the step's own products and the update")
    print(f"  ratio           {operations / seconds / product:8.2f} to the products alone")
    print(f"  ratio           {least / seconds:8.2f} to its own products and the update")
    print(f"  peak memory     {peak:8.0f} MB")


def time_baselines(batch: Batch, names: list[str]) -> None:
    settings = load_params().baselines
    print(f"{'baseline':14} {'M parameters':>12} {'step':>8}   public code")
    for name in names:
        model = make_model(name, FORM | settings[name].model_dump())
        seconds = timed(training_step(model, batch)[0], repeats=3)
        public = f"{PUBLIC_CODE[name]} s" if name in PUBLIC_CODE else "-"
        print(f"{name:14} {parameters(model):12.1f} {seconds:6.2f} s   {public}", flush=True)


def main() -> None:
    baselines = [name for name in MODELS if name != "cmath"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="which of them (all)")
    chosen = parser.parse_args().models
    prepare_torch(threads=1)
    if "cmath" in chosen:
        time_cmath(DIALOGUES, TURNS, DIM)
        time_cmath(*SMALL)
    if names := [name for name in baselines if name in chosen]:
        time_baselines(random_batch(DIALOGUES, TURNS), names)


if __name__ == "__main__":
    main()
