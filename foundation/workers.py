"""Parallel work in processes, because decoding, openSMILE and face detection hold Python's global interpreter lock.

Processes are spawned, not forked, because the threads of FFmpeg, OpenCV and torch do not survive a fork.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from types import ModuleType
from typing import TypeVar

from foundation.errors import UserError
from foundation.log import log

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AHEAD = 4
"""Items queued per worker: enough to keep it busy, few enough to limit memory."""
MOST_TASKS_LOST = 20
"""Largest number of lost items; with more, the machine is assumed to be the cause and the work stops."""


@dataclass(frozen=True, slots=True)
class TaskLost:
    """Result for an item whose work failed for a reason that may not occur again, such as a dead process."""

    reason: str

    @staticmethod
    def by(error: Exception) -> "TaskLost":
        """Result for an item whose work raised `error`, which nobody foresaw.

        Raises:
            MemoryError, UserError: as they are; the first is the machine's, and the second stops the work.
        """
        if isinstance(error, (MemoryError, UserError)):
            raise error
        return TaskLost(f"failed ({type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'})")


def number_of_workers() -> int:
    """Value of `$CMATH_WORKERS`, or the number of cores that this process may use."""
    value = os.environ.get("CMATH_WORKERS", "")
    if not value:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not value.isdigit() or int(value) < 1:
        raise UserError(f"CMATH_WORKERS = {value!r}: must be a whole number, 1 or more")
    return int(value)


def spread_here(
    work: Callable[[Item], Answer],
    items: Iterable[Item],
    prepare: Callable[..., None],
    *arguments: object,
    devices: Sequence[str] = (),
) -> Iterator[tuple[Item, Answer | TaskLost]]:
    """Yield items with their answers in any order; `prepare(*arguments)` runs once in each process.

    Args:
        devices: one process for each of them, with this `CMATH_DEVICE`; without any, `number_of_workers()` processes.

    If a process dies (a decoder crash, or too little memory), the items in progress are tried again one at a time. An
    item that kills its process again gives `TaskLost`, and the work continues with the others.

    Raises:
        UserError: too many items are lost; answers that were already yielded remain valid.
    """
    rest = iter(items)
    lost, each = 0, list(devices) or [""] * number_of_workers()
    # An item for a device takes minutes: none waits for a certain process.
    most = len(each) if devices else AHEAD * len(each)
    while in_hand := (yield from _in_processes(work, rest, prepare, arguments, each, most)):
        log.warning("a worker process died; trying the %d items that it may have had one at a time", len(in_hand))
        suspects = iter(in_hand)
        while killer := (yield from _in_processes(work, suspects, prepare, arguments, each[:1], 1)):
            lost += 1
            if lost > MOST_TASKS_LOST:
                raise UserError(
                    f"worker processes died again and again, {lost} times on an item alone; what was finished is kept, "
                    "and the same command goes on from there. Is there enough memory? CMATH_WORKERS=1 uses less. The "
                    f"last was {killer[0]}"
                )
            yield killer[0], TaskLost("its worker process died twice: a crash of the decoder, or too little memory")


def _in_processes(
    work: Callable[[Item], Answer],
    items: Iterator[Item],
    prepare: Callable[..., None],
    arguments: tuple,
    devices: list[str],
    most: int,
) -> Generator[tuple[Item, Answer | TaskLost], None, list[Item]]:
    """Yield answers of a process for each of `devices`, with at most `most` items in progress at once.

    Returns:
        The items in progress when a process died; empty if none died.
    """
    context = multiprocessing.get_context("spawn")
    left_over = context.SimpleQueue()
    for device in devices:
        left_over.put(device)
    pool = ProcessPoolExecutor(len(devices), context, _begin, (left_over,))
    waiting: dict[Future[Answer], Item] = {}
    left: list[Item] = []
    try:
        while not left:
            for item in islice(items, most - len(waiting)):
                try:
                    with _interrupts_held_back(), _script_held_back():
                        waiting[pool.submit(_answer, work, item, prepare, arguments)] = item
                except BrokenProcessPool:
                    left.append(item)
                    break
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                item = waiting.pop(future)
                try:
                    answer = future.result()
                except BrokenProcessPool:
                    left.append(item)
                except MemoryError:
                    yield item, TaskLost("needs more memory than there is")
                else:
                    yield item, answer
        while waiting:  # a process died: the other items in progress have failed too, or were just finished
            for future in wait(waiting).done:
                item = waiting.pop(future)
                if future.exception():
                    left.append(item)
                else:
                    yield item, future.result()
        return left
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if waiting:  # interrupted: do not wait for the items in progress, which may take minutes
            for process in multiprocessing.active_children():
                process.terminate()


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Block Ctrl-C in processes started in this block; this process receives it after the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _script_held_back() -> Iterator[None]:
    """Let processes started in this block not run the user's script: it may have no `if __name__ == "__main__":`.

    A spawned process imports the main module, and a script without that line would start processes of its own. What is
    done here lies in modules that are imported by name, so a script, standard input and a notebook are not needed. What
    `python -m` has started is a module of the project, and stays.
    """
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is None:
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


_prepared_here: dict[Callable[..., None], tuple] = {}
"""Last arguments of each preparation function that has run in this process itself."""


def in_this_process(
    work: Callable[[Item], Answer], items: Iterable[Item], prepare: Callable[..., None], *arguments: object
) -> Iterator[tuple[Item, Answer | TaskLost]]:
    """Yield items with their answers as `spread_here` does, in order and in this process.

    For few items at a time, again and again: a process takes seconds to start. An item that crashes its decoder ends
    this process.
    """
    for item in items:
        if _prepared_here.get(prepare) != arguments:
            prepare(*arguments)
            _prepared_here[prepare] = arguments
        try:
            yield item, work(item)
        except MemoryError:
            yield item, TaskLost("needs more memory than there is")


def _begin(devices: "multiprocessing.SimpleQueue[str]") -> None:
    """Take one of `devices`; and make this process end when its parent is killed: its queue alone would not tell it."""
    if device := devices.get():
        os.environ["CMATH_DEVICE"] = device
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_prepared: list[tuple] = []
"""Last preparation function and arguments of this process."""


def _answer(work: Callable[[Item], Answer], item: Item, prepare: Callable[..., None], arguments: tuple) -> Answer:
    if _prepared != [(prepare, arguments)]:
        prepare(*arguments)
        _prepared[:] = [(prepare, arguments)]
    return work(item)
