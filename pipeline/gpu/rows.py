"""A row of the table that `gpu_check` prints, and the measurements in it."""

import gc
import io
import math
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from extractors.hub import first_line

CPU = torch.device("cpu")
WARM, TIMED = 3, 10
"""Steps before the timing, and timed steps; the kernels of one more step are counted."""


@dataclass(slots=True)
class CheckRow:
    """Results for one model or encoder in one precision; None if a result does not apply."""

    what: str
    precision: str
    allowed: float
    difference: float | None = None
    repeats: bool | None = None
    resumes: bool | None = None
    milliseconds: float | None = None
    megabytes: float | None = None
    kernels: int | None = None
    copies: int | None = None
    """Copies between the card and the machine's memory, or inside the card, in one step."""
    skipped: int = 0
    """Steps that float16's scaler skipped. The CPU did them, so the difference counts for nothing."""
    warnings: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def good(self) -> bool:
        near = self.difference is not None and self.difference <= (math.inf if self.skipped else self.allowed)
        return near and self.repeats is not False and self.resumes is not False and not self.error


class KilledError(Exception):
    """Raised to end a training on purpose."""


def kill(after: int) -> Callable[[object], None]:
    """Make a function that ends a training when it is called for the `after`-th time, after that many epochs."""
    told = []

    def tell(news: object) -> None:
        told.append(news)
        if len(told) == after:
            raise KilledError

    return tell


def interrupt(training: Callable[[], object], checkpoint: Path) -> None:
    """Run a `training` that is killed on the way, and check that it leaves a checkpoint."""
    with suppress(KilledError):
        training()
    if not checkpoint.is_file():
        raise RuntimeError("a training that was killed left no checkpoint")


def same(one: Any, other: Any) -> bool:
    """Whether two checkpoints hold the same values, to the last bit."""
    if isinstance(one, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def difference(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs() / (1 + expected.abs())).max())


class Meter:
    """Measures time, memory and kernel launches between two calls, and writes them into a row."""

    def __init__(self, row: CheckRow, device: torch.device) -> None:
        self.row, self.cuda, self.since = row, device.type == "cuda", 0.0

    def begin(self) -> None:
        self._wait()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        self.since = time.perf_counter()

    def end(self, times: int) -> None:
        self._wait()
        self.row.milliseconds = round((time.perf_counter() - self.since) * 1000 / times, 2)
        if self.cuda:
            self.row.megabytes = round(torch.cuda.max_memory_allocated() / 2**20, 1)

    def count(self) -> None:
        if self.cuda:
            self.profile = profile(activities=[ProfilerActivity.CUDA], acc_events=True)
            self.profile.start()

    def counted(self) -> None:
        if not self.cuda:
            return
        self._wait()
        try:
            self.profile.stop()
            on_card = torch.autograd.DeviceType.CUDA
            names = [event.name for event in self.profile.events() or () if event.device_type == on_card]
        except (RuntimeError, AssertionError, AttributeError) as error:  # a machine may forbid it
            warnings.warn(f"kernels cannot be counted: {first_line(error)}", stacklevel=1)
            return
        self.row.copies = sum(name.startswith(("Memcpy", "Memset")) for name in names)
        self.row.kernels = len(names) - self.row.copies or None

    def whole(self, work: Callable[[], object]) -> None:
        """Measure `work`: time, memory and launches. A CPU is slow, so it is measured on fewer passes."""
        for _ in range(WARM if self.cuda else 1):
            work()
        times = TIMED if self.cuda else 2
        self.begin()
        for _ in range(times):
            work()
        self.end(times)
        self.count()
        work()
        self.counted()

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()


def filled(row: CheckRow, check: Callable[[CheckRow], None]) -> CheckRow:
    """Run `check` on `row`; an error becomes the row's remark."""
    if torch.cuda.is_initialized():
        gc.collect()  # the row before must not count as this one's memory
    with warnings.catch_warnings(record=True) as told, redirect_stderr(io.StringIO()):  # without bars of progress
        warnings.simplefilter("always")
        try:
            check(row)
        except Exception as error:  # whatever a card can do
            row.error = f"{type(error).__name__}: {first_line(error)}"
    told = [warning for warning in told if issubclass(warning.category, UserWarning)]  # torch's; not of old syntax
    row.warnings = sorted({str(warning.message).strip().splitlines()[0] for warning in told})
    return row
