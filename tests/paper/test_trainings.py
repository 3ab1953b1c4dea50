"""The paper's pipeline on a small corpus of random features: nothing trained twice, nothing chosen on test."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from extractors.features import read_features, write_features
from foundation.errors import UserError
from model import training
from paper import comparison, plan, train
from paper.params import load_report
from paper.search import Point, chosen, given_scores
from paper.trainings import Trainings
from pipeline.corpora.index_file import read_index, write_index
from pipeline.params import ParamsError, load_params, read_yaml
from pipeline.training import store
from tests.paper.small import PROJECT, SEARCH, write_params
from tests.random_features import write_features_of_meld

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder in which features are made and nothing is trained; also the working one."""
    write_features_of_meld(tmp_path)
    write_params(tmp_path)
    (tmp_path / "paper/published.yaml").write_bytes((PROJECT / "paper/published.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of the trainings that are really done, in their order."""
    seeds: list[int] = []

    def counted(make_model, corpus, settings, class_weights, seed, *rest):  # type: ignore[no-untyped-def]
        seeds.append(seed)
        return training.fit(make_model, corpus, settings, class_weights, seed, *rest)

    monkeypatch.setattr(store, "fit", counted)
    return seeds


def run(model: str) -> Path:
    train.run(Namespace(corpus="meld", model=model), load_params())
    return Path("paper/runs/meld") / model


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_training_is_done_once(folder: Path, fitted: list[int]) -> None:
    made = run("ctnet")
    assert fitted == [0, 0, 0, 1]  # two points of the search, then two seeds
    before = {file.name: file.read_bytes() for file in made.iterdir()}
    assert set(before) == {"history.csv", "metrics.json", "predictions.csv", "reliability.csv", "search.csv"}
    run("ctnet")
    assert fitted == [0, 0, 0, 1]
    assert {file.name: file.read_bytes() for file in made.iterdir()} == before
    write_params(folder, seeds=[0, 1, 2])
    run("ctnet")
    assert fitted == [0, 0, 0, 1, 2]
    assert json.loads((made / "metrics.json").read_text())["seeds"] == 3


def test_what_is_kept_is_the_best_epochs(folder: Path) -> None:
    run("multidag")
    kept = [json.loads(file.read_text()) for file in folder.glob("cache/trainings/*/seed*.json")]
    assert len(kept) == 4
    scores = [[row["validation_weighted_f1"] for row in one["history"]] for one in kept]
    assert [one["best_epoch"] for one in kept] == [of_one.index(max(of_one)) + 1 for of_one in scores]
    assert any(one["best_epoch"] > 1 for one in kept)


def test_a_search_as_long_as_the_reported_trainings_is_some_of_them(folder: Path, fitted: list[int]) -> None:
    write_params(folder, search={**SEARCH, "epochs": 4})
    run("ctnet")
    assert fitted == [0, 0, 1]


def test_points_whose_scores_are_given_are_not_trained(folder: Path, fitted: list[int]) -> None:
    made = run("ctnet")
    searched, before = rows(made / "search.csv"), (made / "predictions.csv").read_bytes()
    rates = [float(row["learning_rate"]) for row in searched]
    assert rates == [0.001, 0.01]
    assert [row["given"] for row in searched] == ["", ""]
    scores = [float(row["validation_weighted_f1"]) for row in searched]
    known = [{"learning_rate": rate, "dropout": 0.2, "batch": 4, "score": score}
             for rate, score in zip(rates, scores, strict=True)]  # fmt: skip

    def anew(given: list[dict], expected: list[int]) -> list[dict[str, str]]:
        write_params(folder, search={**SEARCH, "given": {"meld": {"ctnet": given}}})
        shutil.rmtree(folder / "cache")
        shutil.rmtree(made)
        del fitted[:]
        left = plan.plan(Trainings("meld", load_params()), load_params(), "ctnet", load_report())
        assert (left.done, left.left) == (0, len(expected))
        run("ctnet")
        assert fitted == expected
        after = plan.plan(Trainings("meld", load_params()), load_params(), "ctnet", load_report())
        assert (after.done, after.left) == (len(expected), 0)
        return rows(made / "search.csv")

    # The seeds of the chosen point are trained, and give the same predictions; a point that is not given is trained.
    said = anew(known, [0, 1])
    assert [{**row, "given": ""} for row in said] == searched
    assert [row["given"] for row in said] == ["yes", "yes"]
    assert (made / "predictions.csv").read_bytes() == before
    write_params(folder, search={**SEARCH, "given": {"demo": {"ctnet": known}}})  # is of another corpus
    assert plan.plan(Trainings("meld", load_params()), load_params(), "ctnet", load_report()).left == 2
    assert not given_scores(load_report(), "meld", "ctnet")
    said = anew([known[0], {**known[1], "batch": 8}], [0, 0, 1])
    assert [{**row, "given": ""} for row in said] == searched
    assert [row["given"] for row in said] == ["yes", ""]
    # The given score decides, and one that failed is not chosen.
    other = 1 - scores.index(max(scores))
    known[other]["score"] = 100.0
    assert [row["chosen"] for row in anew(known, [0, 1])] == ["yes" if at == other else "" for at in (0, 1)]
    assert json.loads((made / "metrics.json").read_text())["learning_rate"] == rates[other]
    known[other]["score"] = None
    said = anew(known, [0, 1])
    assert [row["chosen"] for row in said] == ["" if at == other else "yes" for at in (0, 1)]
    assert said[other]["validation_weighted_f1"] == ""


def test_a_point_that_is_given_twice_is_named(folder: Path) -> None:
    point = {"learning_rate": 0.001, "dropout": 0.2, "batch": 4, "score": 50.0}
    write_params(folder, search={**SEARCH, "given": {"meld": {"ctnet": [point, {**point, "score": 51.0}]}}})
    with pytest.raises(ParamsError, match=r"report\.search\.given\.meld\.ctnet = .*: must not name a point twice"):
        load_report()


def test_the_search_looks_at_validation_alone(folder: Path) -> None:
    made = run("multidag")
    before = (made / "search.csv").read_bytes(), (made / "history.csv").read_bytes()
    found = rows(made / "search.csv")
    assert len(found) == 2
    best = max(found, key=lambda row: float(row["validation_weighted_f1"]))
    assert [row["chosen"] for row in found] == ["yes" if row is best else "" for row in found]
    assert float(best["learning_rate"]) == json.loads((made / "metrics.json").read_text())["learning_rate"]
    index = read_index(Path("data/meld/index.csv"))
    order = sorted({row.label for row in index})
    other = dict(zip(order, [*order[1:], order[0]], strict=True))
    write_index(
        [replace(row, label=other[row.label]) if row.split == "test" else row for row in index],
        Path("data/meld/index.csv"),
    )
    of_test = np.array([row.split == "test" for row in index])
    for modality in ("text", "audio", "visual"):
        file = Path(f"data/meld/features/{modality}.safetensors")
        features = read_features(file, len(index))
        values = np.where(of_test[:, None], 5 - 3 * features.values, features.values)
        write_features(replace(features, values=values.astype(np.float32)), file)
    run("multidag")
    assert ((made / "search.csv").read_bytes(), (made / "history.csv").read_bytes()) == before


def test_the_search_takes_the_best_point_the_first_of_equal_ones_and_none_that_failed() -> None:
    worse, best, equal, failed = (Point(rate, 0.2, 4) for rate in (0.1, 0.2, 0.3, 0.4))
    assert chosen({worse: 40.0, best: 50.0, equal: 50.0, failed: None}) == best
    assert chosen({failed: None}) is None


def test_the_plan_counts_what_is_done_and_left(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan.main()
    said = capsys.readouterr().out
    assert "meld: 28 trainings, 0 of them done; no time estimate until one training has finished" in said
    run("multidag")
    plan.main()
    said = capsys.readouterr().out.splitlines()
    assert "meld, multidag: 4 trainings, 4 of them done" in said
    assert said[-1].startswith("meld: 28 trainings, 4 of them done; the other 24 take at most about ")


@pytest.mark.parametrize(("processes", "said"), [(1, "40 s"), (2, "20 s"), (8, "10 s")])
def test_the_time_left_is_shared_by_the_processes_that_train(processes: int, said: str) -> None:
    # Four trainings of ten epochs of a second: more than four processes find nothing to do.
    left = plan.Plan("sdt", done=1, left=4, epochs_left=40, seconds_an_epoch=1.0)
    assert plan.in_words([left], processes).endswith(f"the other 4 take at most about {said}")


def test_the_comparison_has_each_model_beside_its_published_row(folder: Path) -> None:
    report, params = load_report(), load_params()
    with pytest.raises(UserError, match=r"metrics\.json: no such file"):
        comparison.run(Namespace(corpus="meld"), params)
    for model in report.models:
        run(model)
    comparison.run(Namespace(corpus="meld"), params)
    results = folder / "paper/results/meld"
    found = rows(results / "comparison.csv")
    assert [(row["model"], row["source"]) for row in found] == [
        ("cmath", "here"), ("cmath", "paper, Table 3"), ("ctnet", "here"), ("ctnet", "paper, Table 3"),
        ("multidag", "here"), ("multidag", "paper, Table 3"), ("majority", "here"),
    ]  # fmt: skip
    cmath, ctnet, printed, constant = found[0], found[2], found[3], found[6]
    assert (ctnet["reimplementation"], cmath["reimplementation"]) == ("reimplementation", "")
    assert (printed["f1.fear"], printed["weighted_f1"]) == ("10.0", "60.5")
    scores = json.loads((folder / "paper/runs/meld/ctnet/metrics.json").read_text())
    assert float(ctnet["f1.joy"]) == scores["f1"]["joy"]
    assert float(constant["weighted_f1"]) == scores["majority"]["weighted_f1"]
    assert float(ctnet["cmath_difference"]) == pytest.approx(
        float(cmath["weighted_f1"]) - float(ctnet["weighted_f1"]), abs=0.011
    )
    assert float(ctnet["cmath_p_utterances_holm"]) >= float(ctnet["cmath_p_utterances"])
    text = (results / "comparison.md").read_text()
    assert "| CTNet (reimplementation) |" in text
    assert "| - paper, Table 3 | 62.00 | 60.50 | - | 77.40 |" in text
    assert "a copy of the corpus with 36 utterances in test, where the paper's has 2610" in text
    assert len(rows(results / "search.csv")) == 6
    assert (results / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_value_of_the_report_is_named(folder: Path) -> None:
    write_params(folder, seeds=[1, 1])
    with pytest.raises(ParamsError, match=r"paper/params.yaml: report.seeds = \[1, 1\]: must not name anything twice"):
        load_report()


def test_levels_of_damage_are_different(folder: Path) -> None:
    write_params(folder, robustness={"missing": [0.0, 0.5, 0.0], "noise": [0.0]})
    with pytest.raises(ParamsError, match=r"report\.robustness\.missing = .*: must not name anything twice"):
        load_report()


def test_weights_whose_folders_would_have_one_name_are_refused(folder: Path) -> None:
    write_params(folder)
    file = folder / "paper/params.yaml"
    content = read_yaml(file)
    content["report"]["studies"]["gammas"] = [1.0000001, 1.0000002]  # type: ignore[index]
    file.write_text(json.dumps(content))
    with pytest.raises(ParamsError, match=r"report\.studies\.gammas = .*: must differ in their first six digits"):
        load_report()


def test_a_corpus_that_params_lack_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_params(folder, corpora=["nope"])
    plan.main()
    assert "nope: nothing is known yet (nope: is no corpus; `index` of params.yaml has " in capsys.readouterr().out


def test_without_cmath_no_study_is_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_params(folder, models=["ctnet"])
    plan.main()
    said = capsys.readouterr().out
    assert "meld, ctnet: " in said
    assert "meld, ablations: " not in said


def command(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "CMATH_CHECKPOINT_SECONDS": "0"}
    environment["CMATH_CACHE"] = str(folder / "cache")
    return subprocess.Popen([sys.executable, "-m", *arguments], cwd=folder, env=environment)


def test_a_killed_run_goes_on_where_it_was(folder: Path) -> None:
    # A process of its own, like the killed one: another number of threads would be other last bits.
    assert command(folder, "paper.train", "meld", "cmath").wait() == 0
    made = folder / "paper/runs/meld/cmath"
    whole = {file.name: file.read_bytes() for file in made.iterdir() if file.suffix == ".csv"}
    for file in made.iterdir():
        file.unlink()
    shutil.rmtree(folder / "cache")
    process, end = command(folder, "paper.train", "meld", "cmath"), time.monotonic() + 120
    while len(list(folder.glob("cache/trainings/*/seed*.json"))) < 2 or not any(
        folder.glob("cache/trainings/*/seed*.pt")
    ):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {file: file.stat().st_mtime_ns for file in folder.glob("cache/trainings/*/seed*.json")}
    assert 2 <= len(done) < 4
    assert not (made / "metrics.json").exists()
    assert command(folder, "paper.train", "meld", "cmath").wait() == 0
    assert {file.name: file.read_bytes() for file in made.iterdir() if file.suffix == ".csv"} == whole
    assert {file: file.stat().st_mtime_ns for file in done} == done
    assert len(list(folder.glob("cache/trainings/*/seed*.json"))) == 4
    assert not any(folder.glob("cache/trainings/*/*.pt"))
