"""The second pipeline of a user who does not want it: DVC's everyday commands do not speak of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paper.small import PROJECT

pytestmark = pytest.mark.slow

ROOT = """
stages:
  main:
    cmd: cat params.yaml > main.txt
    params:
    - width
    outs:
    - main.txt
"""
"""A main pipeline that takes no time."""


class Project:
    """A git repository with a main pipeline that has run, and paper/ as it is committed, which never has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "paper").mkdir(parents=True)
        for name in ("paper/dvc.yaml", "paper/params.yaml", ".dvcignore"):
            shutil.copy(PROJECT / name, folder / name)
        (folder / "dvc.yaml").write_text(ROOT)
        (folder / "params.yaml").write_text("width: 1\n")
        self.git("init", "-q")
        self.dvc("init", "-q")
        self.dvc("remote", "add", "-q", "-d", "here", str(folder.with_name("remote")))
        self.dvc("repro")
        self.dvc("push")
        self.commit()

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], cwd=self.folder, check=True)

    def commit(self) -> None:
        self.git("add", ".")
        self.git("commit", "-qm", "all")

    def dvc(self, *arguments: str) -> str:
        """What the command prints; it must end well."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "CMATH_"))}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        names = {f"GIT_{who}_{what}": "t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(["dvc", *arguments], cwd=self.folder, env=environment | names, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("quiet") / "project")


@pytest.mark.parametrize(
    "command",
    [
        "status",
        "checkout",
        "fetch",
        "pull",
        "dag",
        "stage list --all",
        "metrics show",
        "data status",
        "repro",
        "commit",
    ],
)
def test_an_everyday_command_does_not_speak_of_it(project: Project, command: str) -> None:
    said = project.dvc(*command.split())
    assert "paper" not in said
    assert len(said.splitlines()) < 8


def test_neither_do_experiments(project: Project) -> None:
    said = project.dvc("exp", "run", "--name", "wide", "-S", "width=2")
    assert "Running stage 'main'" in said
    assert "paper" not in said
    project.git("checkout", "-q", ".")
    said = project.dvc("exp", "apply", "wide")
    assert "paper" not in said
    assert (project.folder / "main.txt").read_text() == "width: 2\n"


def test_named_it_does_what_the_main_pipeline_does(project: Project) -> None:
    # docs/paper.md says so; should DVC say one day that there is nothing to run, it may be told otherwise there.
    (project.folder / "params.yaml").write_text("width: 3\n")
    said = project.dvc("repro", "paper/dvc.yaml")
    assert "Running stage 'main'" in said
    assert "paper" not in said
