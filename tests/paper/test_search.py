"""The search: every model is tried at the same number of points, and goes on in any direction that is still better."""

from collections.abc import Callable
from math import log10
from pathlib import Path

import pytest

from paper.params import Report, Start, load_report
from paper.search import Point, Scores, Walk, at_point, chosen, search_jobs, walk_of
from pipeline.params import Params, load_params
from tests.paper.small import PROJECT, SEARCH, write_params

LADDERS: dict[str, list[float]] = {
    "learning_rate": [1e-5, 1e-4, 1e-3, 1e-2],
    "dropout": [0.0, 0.2, 0.4],
    "batch": [1, 4, 16],
}


START = Point(1e-4, 0.2, 4)


def walk(points: int, start: Point = START) -> Walk:
    return Walk(start, LADDERS, points)


def tried_by(one: Walk, score: Callable[[Point], float | None]) -> Scores:
    """What a search tries if a point has this score."""
    tried: Scores = {}
    while point := one.next_point(tried):
        assert point not in tried
        tried[point] = score(point)
    return tried


def test_it_begins_at_the_start_and_tries_its_neighbours_one_setting_at_a_time() -> None:
    tried = tried_by(walk(7), lambda point: 1.0 if point == Point(1e-4, 0.2, 4) else 0.0)
    assert list(tried) == [
        Point(1e-4, 0.2, 4), Point(1e-5, 0.2, 4), Point(1e-3, 0.2, 4), Point(1e-4, 0.0, 4), Point(1e-4, 0.4, 4),
        Point(1e-4, 0.2, 1), Point(1e-4, 0.2, 16),
    ]  # fmt: skip
    assert walk(7).open_sides(tried, Point(1e-4, 0.2, 4)) == []


def test_it_goes_on_where_the_score_rises_and_holds_at_a_point_with_worse_ones_on_all_sides() -> None:
    def score(point: Point) -> float:  # best at 1e-3, 0.0, 4
        return -abs(log10(point.learning_rate) + 3) - point.dropout - 0.1 * abs(point.batch - 4)

    start = Point(1e-5, 0.4, 16)
    for points in (16, 20):
        one = walk(points, start)
        tried = tried_by(one, score)
        assert len(tried) == points
        best = chosen(tried)
        assert best == Point(1e-3, 0.0, 4)
        assert one.open_sides(tried, best) == []  # below a dropout of 0 there is none
    short = walk(4, start)
    tried = tried_by(short, score)
    assert list(tried) == [Point(rate, 0.4, 16) for rate in (1e-5, 1e-4, 1e-3, 1e-2)]  # up one list as long as it helps
    assert chosen(tried) == Point(1e-3, 0.4, 16)
    assert short.open_sides(tried, Point(1e-3, 0.4, 16)) == ["dropout", "batch"]


@pytest.mark.parametrize(("rate", "sides"), [(1e-5, ["learning_rate"]), (1e-2, ["learning_rate"]), (1e-3, [])])
def test_the_end_of_a_list_is_an_edge(rate: float, sides: list[str]) -> None:
    one = walk(36)
    tried = tried_by(one, lambda point: float(point == Point(rate, 0.2, 4)))
    assert one.open_sides(tried, Point(rate, 0.2, 4)) == sides
    assert one.open_sides(tried, Point(1e-3, 0.4, 16)) == ["dropout", "batch"]
    assert one.open_sides(tried, Point(1e-3, 0.0, 1)) == []


def test_every_model_has_the_same_number_of_points_wherever_its_best_one_lies() -> None:
    scores: list[Callable[[Point], float | None]] = [
        lambda point: point.learning_rate,
        lambda point: -point.learning_rate,
        lambda point: float(point.batch),
        lambda point: 50.0,
        lambda point: None,
        lambda point: None if point.learning_rate > 1e-5 else 1.0,
    ]
    assert {len(tried_by(walk(12), score)) for score in scores} == {12}
    assert {len(tried_by(walk(1000), score)) for score in scores} == {walk(1000).most} == {4 * 3 * 3}


def test_a_start_whose_loss_is_not_finite_is_left_for_lower_rates() -> None:
    tried = tried_by(walk(4, Point(1e-2, 0.2, 4)), lambda point: None if point.learning_rate > 1e-4 else 1.0)
    assert [point.learning_rate for point in tried] == [1e-2, 1e-3, 1e-4, 1e-5]
    assert chosen(tried) == Point(1e-4, 0.2, 4)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Params, Report]:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    return load_params(), load_report()


def test_it_begins_where_the_authors_were_and_keeps_their_weight_decay(settings: tuple[Params, Report]) -> None:
    params, report = settings
    start = {"multidag": Start(learning_rate=0.0005, batch=30, weight_decay=0.0)}
    report = report.model_copy(update={"search": report.search.model_copy(update={"start": start})})
    one = walk_of(params, "meld", "multidag", report)
    assert one.start == Point(0.0005, 0.2, 30)
    assert one.ladders == {"learning_rate": [0.0005, 0.001, 0.01], "dropout": [0.2], "batch": [4, 30]}
    assert at_point(params, "meld", "multidag", report, Point(0.01, 0.2, 4)).train["meld"].weight_decay == 0.0
    other = walk_of(params, "meld", "ctnet", report)  # of which nothing is said
    assert other.start == Point(0.001, 0.2, 4)
    decay = params.train["meld"].weight_decay
    assert at_point(params, "meld", "ctnet", report, other.start).train["meld"].weight_decay == decay != 0
    assert one.points == other.points == SEARCH["points"]


def test_a_curriculum_gets_the_epochs_in_which_it_shows_only_a_part_of_train_beside_those_of_all_models(
    settings: tuple[Params, Report],
) -> None:
    params, report = settings
    whole = {**params.baselines.model_dump(), "multidag": {**params.baselines.multidag.model_dump(), "buckets": 12}}
    params = params.model_copy(update={"baselines": type(params.baselines).model_validate(whole)})

    def epochs(model: str, report: Report) -> tuple[int, int]:
        start = walk_of(params, "meld", model, report).start
        searched = search_jobs(params, "meld", model, report, start)[0].params
        return searched.train["meld"].epochs, at_point(params, "meld", model, report, start).train["meld"].epochs

    assert epochs("ctnet", report) == (2, 4)
    assert epochs("multidag", report) == (2 + 11, 4 + 11)  # the twelfth epoch is the first that sees all of train
    assert epochs("multidag", report.model_copy(update={"epochs": 1})) == (1 + 11, 1 + 11)


def test_the_shipped_lists_ascend_and_reach_beyond_every_start() -> None:
    search = load_report(PROJECT / "paper/params.yaml").search
    for ladder in (search.learning_rate, search.dropout, search.batch):
        assert ladder == sorted(ladder)
    assert (min(search.learning_rate), max(search.learning_rate)) == (1e-6, 0.03)
