"""Parallel work in processes of this machine or, with `CMATH_ENGINE=ray`, of a Ray cluster."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from foundation.errors import UserError
from foundation.workers import TaskLost, in_this_process, spread_here

Item = TypeVar("Item")
Answer = TypeVar("Answer")

ENGINES = ("processes", "ray")
_here: list[bool] = []
"""Not empty inside `without_processes`."""


@contextmanager
def without_processes() -> Iterator[None]:
    """Let `spread` start no process inside this block, and do the work in this one."""
    _here.append(True)
    try:
        yield
    finally:
        _here.pop()


def engine() -> str:
    """Value of `$CMATH_ENGINE`: `processes` (of this machine, the default) or `ray`."""
    value = os.environ.get("CMATH_ENGINE") or ENGINES[0]
    if value not in ENGINES:
        raise UserError(f"CMATH_ENGINE = {value!r}: must be one of {', '.join(ENGINES)}")
    return value


def spread(
    work: Callable[[Item], Answer],
    items: Iterable[Item],
    prepare: Callable[..., None],
    *arguments: object,
    devices: Sequence[str] = (),
) -> Iterator[tuple[Item, Answer | TaskLost]]:
    """Yield items with their answers in any order; `prepare(*arguments)` runs once in each process.

    `engine()` decides where the processes run.

    Args:
        items: are taken as processes become free. When no more come, it is asked again after the next answer.
        devices: one process for each of them, with this `CMATH_DEVICE`; without any, `number_of_workers()` processes. A
            cluster has its own devices, and takes from this list how many processes one card has.

    Raises:
        UserError: too many items are lost; answers that were already yielded remain valid.
    """
    if _here:
        yield from in_this_process(work, items, prepare, *arguments)
    elif engine() == "ray":
        from foundation.ray_workers import spread_over_cluster

        yield from spread_over_cluster(work, iter(items), prepare, arguments, devices)
    else:
        yield from spread_here(work, items, prepare, *arguments, devices=devices)
