"""The second pipeline as a user runs it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paper.small import PROJECT, write_params
from tests.random_features import write_features_of_meld

pytestmark = pytest.mark.slow


def test_dvc_runs_it_when_it_is_named_and_not_otherwise(tmp_path: Path) -> None:
    for name in ("extractors", "foundation", "model", "paper", "pipeline"):
        ignored = shutil.ignore_patterns("__pycache__", "dvc.lock", "results", "robustness", "runs", "studies")
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=ignored)
    for name in ("dvc.yaml", ".gitignore", ".dvcignore"):
        shutil.copy(PROJECT / name, tmp_path / name)
    write_features_of_meld(tmp_path)  # as if copied from elsewhere: the main pipeline's `datasets` does not name meld
    write_params(tmp_path, models=["ctnet"])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "CMATH_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    def dvc(*arguments: str) -> str:
        done = subprocess.run(["dvc", *arguments], cwd=tmp_path, env=environment, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        return done.stdout

    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    dvc("init", "-q")
    said = dvc("repro", "--dry")
    assert "Running stage 'check'" in said
    assert "paper" not in said
    said = dvc("repro", "paper/dvc.yaml:comparison")
    assert "Running stage 'paper/dvc.yaml:train@meld-ctnet'" in said
    assert "4 trainings, 4 of them done" in said
    assert (tmp_path / "paper/results/meld/comparison.md").is_file()
    assert not (tmp_path / "dvc.lock").exists()
    assert "Data and pipelines are up to date" in dvc("repro", "paper/dvc.yaml:comparison")
    assert "paper/dvc.yaml:report@meld" in dvc("status")
    write_params(tmp_path, corpora=[])
    assert "paper" not in dvc("status") + dvc("dag")
    dvc("checkout")  # takes away what belongs to no stage
    assert not list((tmp_path / "paper/results").rglob("*.md"))
    write_params(tmp_path, models=["ctnet"])
    dvc("checkout", "paper/dvc.yaml:comparison")
    assert (tmp_path / "paper/results/meld/comparison.md").is_file()
