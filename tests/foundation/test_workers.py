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
from foundation.spread import spread, without_processes
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


def test_without_processes_the_work_is_done_here_and_prepared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_prepared_here", {})
    prepared: list[Path] = []

    def prepare_here(folder: Path) -> None:
        prepared.append(folder)
        prepare(folder)

    for folder in (tmp_path, tmp_path, tmp_path / "other", tmp_path):
        folder.mkdir(exist_ok=True)
        with without_processes():
            answers = dict(spread(work, ["one", "eats", "two"], prepare_here, folder))
        lost = answers.pop("eats")
        assert isinstance(lost, TaskLost)
        assert "memory" in lost.reason
        assert answers == {"one": "ONE", "two": "TWO"}
        assert [file.name for file in folder.glob("*.pid")] == [f"{os.getpid()}.pid"]
    assert prepared == [tmp_path, tmp_path / "other", tmp_path]
    with without_processes(), pytest.raises(ValueError, match="of the item's own"):
        list(spread(work, ["fails"], prepare_here, tmp_path))
    dict(spread(work, ["three"], prepare, tmp_path))
    assert len(list(tmp_path.glob("*.pid"))) > 1  # processes again


@pytest.mark.slow
@pytest.mark.parametrize("way", ["script", "-c", "-"])
def test_a_script_without_a_guard_a_console_and_standard_input_start_processes(tmp_path: Path, way: str) -> None:
    code = ("from pathlib import Path\n"
            "from foundation.spread import spread\n"
            "from tests.extractors.dying import prepare, work\n"
            f"print(sorted(answer for _, answer in spread(work, ['a', 'b'], prepare, Path({str(tmp_path)!r}))))\n"
            "import __main__\n"
            "assert __main__.spread is spread\n")  # fmt: skip
    script = tmp_path / "script.py"
    script.write_text(code)
    given = {"script": [str(script)], "-c": ["-c", code], "-": ["-"]}[way]
    ran = subprocess.run([sys.executable, *given], cwd=PROJECT, input=code, text=True, capture_output=True,
                         env={**os.environ, "PYTHONPATH": str(PROJECT)})  # fmt: skip
    assert (ran.stdout, ran.returncode) == ("['A', 'B']\n", 0)
    assert "bootstrapping" not in ran.stderr
    assert "a worker process died" not in ran.stderr


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
