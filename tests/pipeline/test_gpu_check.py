"""The check of a card, with the CPU in the card's place."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from foundation.errors import UserError
from model.registry import make_model
from pipeline import gpu_check
from pipeline.gpu import models
from pipeline.gpu.rows import CheckRow, interrupt, kill, same
from pipeline.gpu_check import ALLOWED, COLUMNS, QUICK, main
from tests.model.networks import SMALL

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[[], tuple]:
    """Runs the command on two small models; its exit code, what it printed of the models, and what it wrote."""
    rows = gpu_check.checks
    form = {"dims": models.DIMS, "speakers": models.SPEAKERS, "classes": models.CLASSES, "dropout": 0.1}
    monkeypatch.setattr(gpu_check, "checks", lambda *given: list(rows(*given))[: len(QUICK)])
    monkeypatch.setattr(models, "TIMED", 2)
    monkeypatch.setattr(models, "LENGTHS", {"train": [2, 1, 3, 2, 1, 2], "validation": [2, 3], "test": [2]})
    monkeypatch.setattr(models, "TURNS", {"train": [10] * 24, "validation": [1], "test": [1]})
    monkeypatch.setattr(models, "configuration", lambda _, name, __: form | SMALL[name])

    def run() -> tuple:
        code = 0
        try:
            main(["--device", "cpu", "--quick", "--out", str(tmp_path / "found.json")])
        except SystemExit as ended:
            code = ended.code
        lines = capsys.readouterr().out.splitlines()
        head = next(place for place, line in enumerate(lines) if line.startswith("model "))
        return code, lines[head + 1 : head + 1 + len(QUICK)], json.loads((tmp_path / "found.json").read_text())

    return run


@pytest.mark.slow
def test_a_cpu_agrees_with_itself_in_every_row(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "pipeline.gpu_check", "--device", "cpu", "--quick", "--out", str(file)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"torch: {torch.__version__}"
    head = next(place for place, line in enumerate(lines) if line.startswith("model "))
    assert lines[head].split() == [name for name in COLUMNS if name]
    told = json.loads(file.read_text())
    names = [row["what"] for row in told["rows"]]
    assert names == [
        *QUICK, "text: roberta", "text: minilm", "text: fine-tuning", "face", "sound: wavlm", "pictures: clip",
        "face: training",
    ]  # fmt: skip
    assert all(line.startswith(f"{name} ") for name, line in zip(names, lines[head + 1 :], strict=False))
    assert lines[-1] == f"all {len(names)} rows are good"
    assert told["good"]
    for row in told["rows"]:
        assert row["good"]
        assert row["difference"] == 0
        assert row["repeats"]
        assert row["resumes"] is (
            None if row["what"] in ("text: roberta", "text: minilm", "face", "sound: wavlm", "pictures: clip") else True
        )
        assert (row["kernels"], row["megabytes"]) == (None, None)
    assert all(row["milliseconds"] > 0 for row in told["rows"][: len(QUICK)])


def test_good_rows_are_exit_code_0(table: Callable[[], tuple]) -> None:
    code, lines, told = table()
    assert code == 0
    assert [line.split()[0] for line in lines] == list(QUICK)
    assert told["good"]


def test_a_row_that_is_too_far_from_the_cpu_is_exit_code_1(
    table: Callable[[], tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ALLOWED, "float32", -1.0)
    code, lines, told = table()
    assert code == 1
    assert all(line.endswith("NOT GOOD") for line in lines)
    assert not told["good"]


def test_a_model_that_fails_is_a_row_with_its_error_and_the_others_go_on(
    table: Callable[[], tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str, config: dict) -> object:
        if name == QUICK[0]:
            raise RuntimeError("no kernel image is available\nand more")
        return make_model(name, config)

    monkeypatch.setattr(models, "make_model", broken)
    code, lines, told = table()
    assert code == 1
    assert lines[0].endswith("RuntimeError: no kernel image is available")
    assert [row["good"] for row in told["rows"]] == [False, True]


def test_runs_that_differ_and_kills_that_cost_bytes_are_seen(
    table: Callable[[], tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = iter(range(1000))

    def restless(name: str, config: dict) -> object:
        model = make_model(name, config)
        if name == QUICK[0]:
            with torch.no_grad():
                next(model.parameters()).add_(next(random))
        return model

    monkeypatch.setattr(models, "make_model", restless)
    code, _, told = table()
    assert code == 1
    assert [(row["repeats"], row["resumes"]) for row in told["rows"]] == [(False, False), (True, True)]


def test_same_is_to_the_last_bit() -> None:
    one = {"a": [torch.tensor([1.0, 2.0]), 3], "b": b"c"}
    assert same(one, {"a": [torch.tensor([1.0, 2.0]), 3], "b": b"c"})
    for other in (
        {"a": [torch.tensor([1.0, 2.0000002]), 3], "b": b"c"},
        {"a": [torch.tensor([1.0, 2.0], dtype=torch.float64), 3], "b": b"c"},
        {"a": [torch.tensor([1.0, 2.0])], "b": b"c"},
        {"a": one["a"]},
    ):
        assert not same(one, other)


def test_a_kill_that_leaves_no_checkpoint_is_an_error(tmp_path: Path) -> None:
    def training() -> None:
        kill(1)("epoch 1")

    with pytest.raises(RuntimeError, match="no checkpoint"):
        interrupt(training, tmp_path / "c")


def test_a_difference_that_is_no_number_is_not_good() -> None:
    assert CheckRow("cmath", "float32", 0.1, difference=0.1).good
    assert not CheckRow("cmath", "float32", 0.1, difference=float("nan")).good
    assert not CheckRow("cmath", "float32", 0.1).good


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_it_says_so() -> None:
    with pytest.raises(UserError, match="sees no CUDA device"):
        main([])
