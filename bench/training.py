"""How fast a training step is, against the matrix products of the machine it runs on.

    make bench

16 dialogues of 110 turns, 1024 / 1582 / 342 wide, width 500: an IEMOCAP batch of the longest kind. `useful` counts the
floating-point operations of the model's matrix products, forward and backward, and divides by the whole step's time; a
plain matrix product of the same size, timed in the same run, shows what could be had if nothing else were to be done.
"""

import resource
import time
from collections.abc import Callable
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from model.batching import Batch
from model.cmath import Cmath, CmathConfig
from model.training import prepare_torch

DIALOGUES, TURNS, DIMS, DIM = 16, 110, {"text": 1024, "audio": 1582, "visual": 342}, 500
REPEATS = 7


def timed(work: Callable[[], object]) -> float:
    """Median seconds of REPEATS runs, after one that is not counted."""
    seconds = []
    for number in range(REPEATS + 1):
        begin = time.perf_counter()
        work()
        if number:
            seconds.append(time.perf_counter() - begin)
    return median(seconds)


def main() -> None:
    prepare_torch()
    torch.manual_seed(0)
    mask = torch.ones(DIALOGUES, TURNS, dtype=torch.bool)
    batch = Batch(
        {name: torch.randn(DIALOGUES, TURNS, width) for name, width in DIMS.items()},
        dict.fromkeys(DIMS, mask),
        torch.randint(2, (DIALOGUES, TURNS)),
        mask,
        torch.randint(6, (DIALOGUES, TURNS)),
    )
    model = Cmath(CmathConfig(dims=DIMS, speakers=2, classes=6, dim=DIM, heads=10, feature_dropout=0.3))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        losses = model(batch).losses
        loss = torch.stack([model.loss_weights[name] * value for name, value in losses.items()]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step()
    operations = counter.get_total_flops()
    seconds = timed(step)

    rows = DIALOGUES * TURNS
    left, right = torch.randn(rows, DIM), torch.randn(DIM, DIM)
    product = 2 * rows * DIM * DIM / timed(lambda: left @ right)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"CMATH, {DIALOGUES} x {TURNS} turns, width {DIM}: {parameters / 1e6:.1f} M parameters")
    print(f"  step            {seconds:8.2f} s on {torch.get_num_threads()} threads")
    print(f"  useful          {operations / seconds / 1e9:8.1f} GFLOP/s of {operations / 1e9:.0f} GFLOP a step")
    print(f"  matrix product  {product / 1e9:8.1f} GFLOP/s ({rows} x {DIM} by {DIM} x {DIM})")
    print(f"  ratio           {operations / seconds / product:8.2f}")
    print(f"  peak memory     {peak:8.0f} MB")


if __name__ == "__main__":
    main()
