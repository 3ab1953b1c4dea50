"""Work spread over processes: decoding, openSMILE and face detection hold the interpreter, threads would queue for it.

Processes are spawned, not forked: FFmpeg's, OpenCV's and torch's threads do not survive a fork. With `CMATH_ENGINE=ray`
they are those of a Ray cluster.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from extractors.result import ExtractorError
from pipeline.stage import log

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AHEAD = 4
"""Items handed out a worker before their answers are taken: enough to keep it busy, few enough to bound memory."""
MOST_LOST = 20
"""Items that may be lost before the machine is thought to be at fault, and not they."""
ENGINES = ("processes", "ray")


@dataclass(frozen=True, slots=True)
class Lost:
    """In place of an answer: the item could not be worked on here and now, which another time may go well."""

    reason: str


def number_of_workers() -> int:
    """`$CMATH_WORKERS`, or the cores that this process may use."""
    value = os.environ.get("CMATH_WORKERS", "")
    if not value:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not value.isdigit() or int(value) < 1:
        raise ExtractorError(f"CMATH_WORKERS = {value!r}: must be a whole number, 1 or more")
    return int(value)


def engine() -> str:
    """`$CMATH_ENGINE`: `processes` of this machine, or `ray`."""
    value = os.environ.get("CMATH_ENGINE") or ENGINES[0]
    if value not in ENGINES:
        raise ExtractorError(f"CMATH_ENGINE = {value!r}: must be one of {', '.join(ENGINES)}")
    return value


def spread(
    work: Callable[[Item], Answer], items: Iterable[Item], prepare: Callable[..., None], *arguments: object
) -> Iterator[tuple[Item, Answer | Lost]]:
    """Items with their answers as they come, in no set order; `prepare(*arguments)` runs once in each process.

    The processes are those of `engine()`.

    Raises:
        ExtractorError: too much is lost. Answers that were taken before are not.
    """
    if engine() == "ray":
        from extractors.ray_workers import spread_over_cluster

        yield from spread_over_cluster(work, iter(items), prepare, arguments)
    else:
        yield from spread_here(work, items, prepare, *arguments)


def spread_here(
    work: Callable[[Item], Answer], items: Iterable[Item], prepare: Callable[..., None], *arguments: object
) -> Iterator[tuple[Item, Answer | Lost]]:
    """As `spread`, over processes of this machine.

    Where a process dies (a crash of a decoder, or the system's want of memory), what was in hand is tried again, one
    at a time; what kills its process alone too is `Lost`, and the rest goes on.

    Raises:
        ExtractorError: too much is lost. Answers that were taken before are not.
    """
    rest = iter(items)
    lost, workers = 0, number_of_workers()
    while in_hand := (yield from _in_processes(work, rest, prepare, arguments, workers, AHEAD * workers)):
        log.warning("a worker process died; one of %d in hand is at fault: trying them one at a time", len(in_hand))
        suspects = iter(in_hand)
        while killer := (yield from _in_processes(work, suspects, prepare, arguments, 1, 1)):
            lost += 1
            if lost > MOST_LOST:
                raise ExtractorError(
                    f"worker processes died again and again, {lost} times on an item alone; what was finished is kept, "
                    "and the same command goes on from there. Is there enough memory? CMATH_WORKERS=1 uses less. The "
                    f"last was {killer[0]}"
                )
            yield killer[0], Lost("its worker process died twice: a crash of the decoder, or too little memory")


def _in_processes(
    work: Callable[[Item], Answer],
    items: Iterator[Item],
    prepare: Callable[..., None],
    arguments: tuple,
    count: int,
    most: int,
) -> Generator[tuple[Item, Answer | Lost], None, list[Item]]:
    """Answers of `count` processes, of which `most` items are in hand at once.

    Returns:
        What was in hand when a process died, or nothing.
    """
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin)
    waiting: dict[Future[Answer], Item] = {}
    left: list[Item] = []
    try:
        while not left:
            for item in islice(items, most - len(waiting)):
                try:
                    with _interrupts_held_back():
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
                    yield item, Lost("needs more memory than there is")
                else:
                    yield item, answer
        while waiting:  # a process died, and all that was still in hand with it, or was answered just before
            for future in wait(waiting).done:
                item = waiting.pop(future)
                if future.exception():
                    left.append(item)
                else:
                    yield item, future.result()
        return left
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        if waiting:  # interrupted: who waits for a clip of minutes?
            for process in multiprocessing.active_children():
                process.terminate()


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Processes that are started now never see Ctrl-C, which reaches all of a terminal's; this one sees it after."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Let this process end when the one that started it was killed: its queue alone would never tell."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_prepared: list[tuple] = []
"""What this process was last prepared with."""


def _answer(work: Callable[[Item], Answer], item: Item, prepare: Callable[..., None], arguments: tuple) -> Answer:
    if _prepared != [(prepare, arguments)]:
        prepare(*arguments)
        _prepared[:] = [(prepare, arguments)]
    return work(item)
