"""The pool of the report's trainings: many at once give what one after the other gives, and none is done twice."""

import logging
from argparse import Namespace
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from foundation.errors import UserError
from model import training
from paper import ahead, pool, study, train
from paper.courses import Fits, Jobs
from paper.params import load_report
from paper.search import Job
from paper.trainings import Trainings
from pipeline.params import Params, load_params
from pipeline.training import store
from pipeline.training.pool import Task, side_by_side
from pipeline.training.store import Trained
from tests.paper.small import PROJECT, write_params
from tests.random_features import write_features_of_meld

PARAMS = load_params(PROJECT / "params.yaml")


class Known:
    """Stands in for Trainings: a training is known once it was done; its number of parameters is its seed."""

    name = "meld"

    def __init__(self) -> None:
        self.done: list[int] = []

    def folder(self, params: Params) -> Path:
        return Path(params.model.name)

    def found(self, params: Params, seed: int, *, weights: bool) -> Trained | None:
        return Trained([], 0, None, seed) if seed in self.done else None

    def task(self, params: Params, seed: int, *, weights: bool) -> Task:
        return Task(self.name, params, seed, weights, self.folder(params))

    def train(self, params: Params, seed: int, *, weights: bool) -> Trained:
        assert seed not in self.done
        self.done.append(seed)
        return Trained([], 0, None, seed)


def asking(*steps: list[int], fails: bool = False) -> Generator[Jobs, Fits, list[int]]:
    """A course that asks for the seeds of each step, and returns all that it was given, in their order."""
    given: list[int] = []
    for step in steps:
        given += [fit.parameters for fit in (yield [Job(PARAMS, seed, True) for seed in step])]
        if fails:
            raise UserError("at none of the points")
    return given


def run(courses: dict[str, Generator[Jobs, Fits, Any]], known: Known) -> tuple[dict[str, Any], dict[str, UserError]]:
    return pool.run_courses(cast(Trainings, known), courses, lambda: [])


def test_each_course_gets_its_own_trainings_in_their_order_and_what_two_need_is_done_once() -> None:
    known = Known()
    results, errors = run({"a": asking([3, 1], [2]), "b": asking([1], [4, 3]), "c": asking([])}, known)
    assert results == {"a": [3, 1, 2], "b": [1, 4, 3], "c": []}
    assert errors == {}
    assert known.done == [3, 1, 2, 4]


def test_a_course_that_fails_leaves_the_others_alone() -> None:
    known = Known()
    results, errors = run({"a": asking([1], [2], fails=True), "b": asking([3], [4])}, known)
    assert results == {"b": [3, 4]}
    assert [str(error) for error in errors.values()] == ["at none of the points"]
    assert sorted(known.done) == [1, 3, 4]
    with pytest.raises(UserError, match="at none of the points"):
        pool.run_course(cast(Trainings, known), "a", asking([1], [2], fails=True), lambda: None)  # type: ignore[arg-type, return-value]


def test_what_is_in_the_store_is_not_done_again() -> None:
    known = Known()
    known.done = [1, 2]
    results, _ = run({"a": asking([1, 5], [2])}, known)
    assert results == {"a": [1, 5, 2]}
    assert known.done == [1, 2, 5]


def test_what_a_course_waits_for_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to seed 1 comes last of all: meanwhile the other course comes to its end."""
    taken: list[list[int]] = []

    def answers(tasks: Iterator[Task]) -> Iterator[tuple[Task, Trained]]:
        held: list[Task] = []
        while True:
            new = list(tasks)
            taken.append([task.seed for task in new])
            held += new
            if not held:
                return
            held.sort(key=lambda task: task.seed == 1)
            task = held.pop(0)
            yield task, Trained([], 0, None, task.seed)

    monkeypatch.setattr(pool, "several", lambda: True)
    monkeypatch.setattr(pool, "side_by_side", answers)
    results, _ = run({"slow": asking([1], [6]), "fast": asking([2], [3], [4, 5])}, Known())
    assert results == {"slow": [1, 6], "fast": [2, 3, 4, 5]}
    assert taken == [[1, 2], [3], [4, 5], [], [], [6], []]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_features_of_meld(tmp_path)
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(folder: Path) -> dict[str, bytes]:
    """What two models' searches and two studies have written, without the times."""
    for model in ("cmath", "multidag"):
        train.run(Namespace(corpus="meld", model=model), load_params())
    for name in ("ablations", "modalities"):
        study.run(Namespace(corpus="meld", study=name), load_params())
    files = sorted((folder / "paper").rglob("*.csv"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.slow
def test_trainings_at_once_are_those_one_after_the_other_and_the_stages_find_them_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write_params(folder, models=["cmath", "multidag"])
    alone = rows(folder)
    assert len(alone) == 2 * 4 + 4 * 3
    (folder / "another").mkdir()
    monkeypatch.setenv("CMATH_CACHE", "another")  # and a relative one: the processes must find it too
    monkeypatch.setenv("CMATH_WORKERS", "2")
    caplog.clear()
    ahead.run("meld", load_params(), load_report())
    assert "the other" in caplog.text
    assert "24 trainings, 24 of them done" in caplog.messages[-1]
    assert not list(Path("another").rglob("*.running.json"))
    assert not list(Path("another").rglob("*.pt"))

    def fit(*_: object) -> None:
        raise AssertionError("was trained again")

    monkeypatch.setenv("CMATH_WORKERS", "1")
    monkeypatch.setattr(store, "fit", fit)
    assert rows(folder) == alone
    assert training.fit is not fit


@pytest.mark.slow
def test_a_process_that_would_train_other_numbers_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMATH_WORKERS", "2")
    task = Trainings("meld", load_params()).task(load_params(), 0, weights=True)
    other = replace(task, folder=task.folder.with_name("of another device"))
    with pytest.raises(UserError, match=r"would train other numbers than the one that asks \(device cpu\)"):
        list(side_by_side(iter([other])))
