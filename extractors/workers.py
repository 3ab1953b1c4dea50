"""Work spread over processes: decoding, openSMILE and face detection hold the interpreter, threads would queue for it.

Processes are spawned, not forked: FFmpeg's, OpenCV's and torch's threads do not survive a fork.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from extractors.result import ExtractorError

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AHEAD = 4
"""Items handed out a worker before their answers are taken: enough to keep it busy, few enough to bound memory."""


def number_of_workers() -> int:
    """`$CMATH_WORKERS`, or the cores that this process may use."""
    value = os.environ.get("CMATH_WORKERS", "")
    if not value:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not value.isdigit() or int(value) < 1:
        raise ExtractorError(f"CMATH_WORKERS = {value!r}: must be a whole number, 1 or more")
    return int(value)


def spread(
    work: Callable[[Item], Answer], items: Iterable[Item], prepare: Callable[..., None], *arguments: object
) -> Iterator[tuple[Item, Answer]]:
    """Items with their answers as they come, in no set order; `prepare(*arguments)` runs once in each process.

    Raises:
        ExtractorError: a worker process died. Answers that were taken before are not lost.
    """
    rest = iter(items)
    first = list(islice(rest, AHEAD * number_of_workers()))
    if not first:
        return
    count = min(number_of_workers(), len(first))
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), prepare, arguments)
    waiting: dict[Future[Answer], Item] = {}
    try:
        waiting = {pool.submit(work, item): item for item in first}
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                item = waiting.pop(future)
                yield item, future.result()
                waiting |= {pool.submit(work, item): item for item in islice(rest, 1)}
    except BrokenProcessPool:
        raise ExtractorError("a worker process died (out of memory, or a crash of a decoder); what was finished is "
                             "kept, and the same command goes on from there. CMATH_WORKERS=1 uses less memory; "
                             f"one of these was in hand: {', '.join(str(item) for item in waiting.values())}"
                             ) from None  # fmt: skip
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
