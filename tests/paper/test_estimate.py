"""The estimate of the whole report, on small models."""

import re
from pathlib import Path

import pytest

from paper import estimate, plan
from tests.paper.small import write_params
from tests.random_features import write_features_of_meld

pytestmark = pytest.mark.slow


def test_it_counts_the_trainings_of_the_plan_and_knows_when_a_gpu_would_only_wait_for_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(tmp_path, models=["cmath", "ctnet"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper/published.yaml").write_bytes((Path(estimate.__file__).parent / "published.yaml").read_bytes())

    def said(*options: str) -> list[str]:
        monkeypatch.setattr("sys.argv", ["estimate", *options])
        estimate.main()
        return capsys.readouterr().out.splitlines()

    def minutes(line: str) -> float:
        [[number, unit]] = re.findall(r": ([0-9.]+) (s|min|h)(?=,)", line)
        return float(number) * {"s": 1 / 60, "min": 1, "h": 60}[unit]

    usual, slow = said(), said("--call", "100")
    assert [line.partition(":")[0] for line in usual] == ["meld, cmath", "meld, ctnet", "meld, studies", "meld"]
    assert minutes(slow[0]) == pytest.approx(10 * minutes(usual[0]), rel=0.05)  # small models only wait
    busy = said("--teraflops", "0.001", "--call", "0")
    assert minutes(said("--teraflops", "0.001", "--call", "0", "--share", "0.03")[0]) == pytest.approx(
        10 * minutes(busy[0]), rel=0.05
    )
    write_features_of_meld(tmp_path)
    plan.main()
    planned = re.findall(r"meld, (?:ablations|modalities|widths|gammas): (\d+) trainings", capsys.readouterr().out)
    own = 2  # of the widths one is the comparison's
    assert f"meld, studies: {sum(map(int, planned)) - own} trainings of CMATH" in usual[2]
