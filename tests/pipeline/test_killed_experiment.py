"""A `dvc exp run` that was killed leaves git on no branch: that is said, with the way back."""

import subprocess
from pathlib import Path

import pytest

from pipeline import preflight
from pipeline.stage import NO_BRANCH, branch_left


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert branch_left() == ""  # no repository
    git("init", "--initial-branch", "mine")
    assert branch_left() == ""  # no commit
    git("commit", "--allow-empty", "-m", "start")
    return tmp_path


def test_a_killed_experiment_is_said_and_a_running_one_or_an_old_version_is_not(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert branch_left() == ""
    git("checkout", "--detach")
    assert branch_left() == ""  # somebody looks at an older version
    git("update-ref", "refs/exps/exec/EXEC_HEAD", "HEAD")
    assert branch_left() == "mine"
    monkeypatch.setenv("DVC_EXP_NAME", "some-experiment")
    assert branch_left() == ""  # it runs
    monkeypatch.delenv("DVC_EXP_NAME")
    monkeypatch.setattr(preflight, "load_params", lambda: None)
    monkeypatch.setattr(preflight, "device_type", lambda: "cpu")
    monkeypatch.setattr(preflight, "git_advice", lambda: "")
    monkeypatch.setattr(preflight.subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(preflight, "branch_left", lambda: "mine")
    preflight.main()
    said = capsys.readouterr().out
    assert "git is on no branch (a detached HEAD), as a `dvc exp run` that was killed leaves it" in said
    assert "`git switch mine` goes back, and changes no file" in said
    monkeypatch.undo()


def test_the_way_back_that_is_said_leaves_changed_files_as_they_are(repository: Path) -> None:
    Path("params.yaml").write_text("a: 1\n")
    git("add", "params.yaml")
    git("commit", "-m", "values")
    git("checkout", "--detach")
    git("update-ref", "refs/exps/exec/EXEC_HEAD", "HEAD")
    Path("params.yaml").write_text("a: 2\n")
    branch = branch_left()
    assert f"`git switch {branch}`" in NO_BRANCH % branch
    git("switch", branch)
    assert Path("params.yaml").read_text() == "a: 2\n"
    assert branch_left() == ""
