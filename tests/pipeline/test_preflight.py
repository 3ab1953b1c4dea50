"""A checkout without git history: `dvc repro` works, and why `dvc exp` does not is said in our words."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    """The project as an archive would unpack it."""
    folder = tmp_path / "archive"
    ignored = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
    for name in ("foundation", "pipeline", "extractors", "model", ".dvc"):
        shutil.copytree(PROJECT / name, folder / name, ignore=ignored)
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(PROJECT / name, folder / name)
    return folder


def run(folder: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "GIT_CEILING_DIRECTORIES": str(folder.parent), **more}
    return subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)


def test_an_archive_is_told_what_it_lacks_and_works_all_the_same(downloaded: Path) -> None:
    assert run(downloaded, "dvc", "status").returncode != 0  # or this test would show nothing
    said = run(downloaded, sys.executable, "-m", "pipeline.preflight")
    assert said.returncode == 0
    assert "this folder is not a git repository" in said.stdout
    assert "git clone" in said.stdout
    assert "git init" in said.stdout
    assert run(downloaded, "dvc", "status").returncode == 0


def test_a_repository_without_a_commit_is_told_so_and_one_with_history_nothing(downloaded: Path) -> None:
    run(downloaded, "git", "init", "-q")
    assert "has no commit yet" in run(downloaded, sys.executable, "-m", "pipeline.preflight").stdout
    run(downloaded, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "start")
    said = run(downloaded, sys.executable, "-m", "pipeline.preflight", HOME=str(downloaded)).stdout
    assert "git does not know who you are" in said
    assert "git config --global user.email" in said
    for key in ("user.name", "user.email"):
        run(downloaded, "git", "config", key, "t")
    assert run(downloaded, sys.executable, "-m", "pipeline.preflight", HOME=str(downloaded)).stdout == ""


def test_a_wrong_parameter_is_refused_before_anything_runs(downloaded: Path) -> None:
    file = downloaded / "params.yaml"
    file.write_text(file.read_text().replace("heads: 10", "heads: 7"))
    said = run(downloaded, sys.executable, "-m", "pipeline.preflight")
    assert said.returncode == 1
    assert said.stderr == "error: params.yaml: model.dim = 200: must be a multiple of model.heads = 7\n"


def test_a_device_that_there_is_not_is_refused_before_anything_runs(downloaded: Path) -> None:
    said = run(downloaded, sys.executable, "-m", "pipeline.preflight", CMATH_DEVICE="gpu")
    assert said.returncode == 1
    assert said.stderr.startswith("error: CMATH_DEVICE = 'gpu': must be cpu, cuda, or cuda:1 for the second card")
    assert said.stderr.count("\n") == 1
