"""One pool for the trainings of all courses: as many at once as there are devices (pipeline/training/pool.py).

What a course waits for keeps no other course waiting. A training that two courses need is done once; one that is in the
store is not done at all.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from foundation.device import training_devices
from foundation.errors import UserError
from foundation.log import log
from paper.courses import Fits, Jobs
from paper.plan import Plan, in_words
from paper.search import Job
from paper.trainings import Trainings
from pipeline.training.pool import Task, several, side_by_side
from pipeline.training.store import Trained

Course = Generator[Jobs, Fits, Any]


def run_courses(
    trainings: Trainings, courses: Mapping[str, Course], left: Callable[[], list[Plan]]
) -> tuple[dict[str, Any], dict[str, UserError]]:
    """Run `courses` to their ends; return the result of each by its name, and the errors of those that failed.

    Args:
        left: plans of what is left; they are told after each training.
    """
    pool, processes = _Pool(trainings, courses), len(training_devices())
    for task, fit in side_by_side(pool) if several() else pool.in_this_process():
        names = pool.answered(task, fit)
        if fit.seconds is not None:
            log.info("%s on %s, seed %d: %d epochs of %.1f s each, of which epoch %d is the best on validation; %s",
                     ", ".join(names), trainings.name, task.seed, len(fit.history), fit.seconds, fit.best_epoch,
                     in_words(left(), processes))  # fmt: skip
    return pool.results, pool.errors


def run_course(trainings: Trainings, name: str, course: Course, left: Callable[[], Plan]) -> Any:
    """Run one course and return its result, or raise its error."""
    results, errors = run_courses(trainings, {name: course}, lambda: [left()])
    for error in errors.values():
        raise error
    return results[name]


class _Pool:
    """Iterator over the tasks that can be done now: it may end, and have more after the next answer."""

    def __init__(self, trainings: Trainings, courses: Mapping[str, Course]) -> None:
        self.results: dict[str, Any] = {}
        self.errors: dict[str, UserError] = {}
        self._trainings, self._courses = trainings, courses
        self._ready: deque[Task] = deque()
        self._fits: dict[str, list[Trained | None]] = {}
        """Trainings of the jobs that a course waits for; None where one is missing."""
        self._places: dict[tuple[Path, int], list[tuple[str, int]]] = {}
        """Courses that wait for a task, and its place among their jobs."""
        for name in courses:
            self._go_on(name, None)

    def __iter__(self) -> Iterator[Task]:
        return self

    def __next__(self) -> Task:
        if not self._ready:
            raise StopIteration
        return self._ready.popleft()

    def in_this_process(self) -> Iterator[tuple[Task, Trained]]:
        """Do the tasks one after the other, here."""
        while self._ready:
            task = self._ready.popleft()
            yield task, self._trainings.train(task.params, task.seed, weights=task.weights)

    def answered(self, task: Task, fit: Trained) -> list[str]:
        """Give the training of `task` to the courses that wait for it, and return their names."""
        places = self._places.pop((task.folder, task.seed))
        for name, place in places:
            self._fits[name][place] = fit
        for name in dict.fromkeys(name for name, _ in places):
            fits = [one for one in self._fits[name] if one is not None]
            if len(fits) == len(self._fits[name]):
                self._go_on(name, fits)
        return [name for name, _ in places]

    def _go_on(self, name: str, fits: Fits | None) -> None:
        """Send `fits` to a course, as long as all that it asks for next is in the store."""
        while True:
            try:
                jobs = next(self._courses[name]) if fits is None else self._courses[name].send(fits)
            except StopIteration as end:
                self.results[name] = end.value
                return
            except UserError as error:
                self.errors[name] = error
                return
            found = [self._trainings.found(job.params, job.seed, weights=job.weights) for job in jobs]
            fits = [one for one in found if one is not None]
            if len(fits) < len(jobs):
                self._fits[name] = found
                for place, (job, one) in enumerate(zip(jobs, found, strict=True)):
                    if one is None:
                        self._ask(job, name, place)
                return

    def _ask(self, job: Job, name: str, place: int) -> None:
        task = self._trainings.task(job.params, job.seed, weights=job.weights)
        waiting = self._places.setdefault((task.folder, task.seed), [])
        if not waiting:
            self._ready.append(task)
        waiting.append((name, place))
