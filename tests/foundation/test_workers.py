"""Worker processes: one that dies costs its item at most, and none outlives the process that started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from foundation import workers
from foundation.errors import UserError
from foundation.spread import spread
from foundation.workers import TaskLost, spread_here
from tests.extractors.dying import prepare, work

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMATH_WORKERS", "2")


def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_kills_its_process_twice_is_lost_with_a_reason_and_the_rest_is_answered(tmp_path: Path) -> None:
    items = [f"item {number}" for number in range(12)]
    given = [*items[:3], "kills once", *items[3:6], "kills always", *items[6:], "eats"]
    answers = dict(spread(work, given, prepare, tmp_path))
    killer, eater = answers.pop("kills always"), answers.pop("eats")
    assert isinstance(killer, TaskLost)
    assert "died twice" in killer.reason
    assert isinstance(eater, TaskLost)
    assert "memory" in eater.reason
    assert answers == {item: item.upper() for item in [*items, "kills once"]}


def test_a_machine_on_which_everything_dies_is_said_to_be_at_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MOST_TASKS_LOST", 1)
    with pytest.raises(UserError, match=r"died again and again.*CMATH_WORKERS=1.*The last was kills always"):
        list(spread(work, [f"kills always {number}" for number in range(3)], prepare, tmp_path))


@pytest.mark.slow
def test_each_process_has_a_device_of_its_own_also_after_one_has_died(tmp_path: Path) -> None:
    items = ["device", "kills once", *(f"device {number}" for number in range(10))]
    answers = dict(spread_here(work, items, prepare, tmp_path, devices=["cuda:0", "cuda:1"]))
    assert answers.pop("kills once") == "KILLS ONCE"
    assert set(answers.values()) == {"cuda:0", "cuda:1"}


def test_a_fault_of_the_work_itself_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of the item's own"):
        list(spread(work, ["fails"], prepare, tmp_path))


def test_an_engine_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CMATH_ENGINE", "steam")
    with pytest.raises(UserError, match="CMATH_ENGINE = 'steam': must be one of processes, ray"):
        list(spread(work, ["item"], prepare, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_that_started_them(tmp_path: Path, how: signal.Signals) -> None:
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.extractors.dying", str(tmp_path)],
        cwd=PROJECT,
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    if how == signal.SIGINT:  # a terminal's Ctrl-C reaches the workers too
        os.killpg(started.pid, how)
    else:
        started.kill()
    _, said = started.communicate(timeout=240)
    assert started.returncode != 0
    assert said.count("KeyboardInterrupt") <= 1  # of the process itself
    assert "ForkProcess" not in said
    assert "SpawnProcess" not in said
    until(lambda: not any(Path(f"/proc/{file.stem}").exists() for file in tmp_path.glob("*.pid")))
