"""Checks before `dvc repro`, with clearer messages than DVC's own.

python -m pipeline.preflight
"""

import argparse
import subprocess

from foundation.device import device_type
from foundation.errors import UserError
from pipeline.params import load_params
from pipeline.stage import NO_BRANCH, branch_left, start_logging

UNKNOWN_USER = "git does not know who you are"


def git_advice() -> str:
    """Describe what `dvc exp` lacks, or return an empty string."""
    try:
        found = subprocess.run(["git", "rev-parse", "--verify", "--quiet", "HEAD"], capture_output=True, check=False)
    except FileNotFoundError:
        return "git is not installed"
    if found.returncode == 0:
        known = [subprocess.run(["git", "config", key], capture_output=True, check=False).returncode == 0
                 for key in ("user.name", "user.email")]  # fmt: skip
        return "" if all(known) else UNKNOWN_USER
    inside = subprocess.run(["git", "rev-parse", "--is-inside-work-tree"], capture_output=True, check=False)
    return "this repository has no commit yet" if inside.returncode == 0 else "this folder is not a git repository"


def main() -> None:
    try:
        start_logging()
        load_params()
        device_type()  # a card that cannot be used is said before anything runs
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    if branch := branch_left():
        print(f"note: {NO_BRANCH % branch}")
    lacking = git_advice()
    # Without a git repository, DVC refuses every command, even `repro`, unless core.no_scm is set.
    no_scm = "true" if lacking and "commit" not in lacking and lacking != UNKNOWN_USER else "false"
    subprocess.run(["dvc", "config", "--local", "core.no_scm", no_scm], check=True)
    if lacking == UNKNOWN_USER:
        print(
            f"note: {lacking}. `dvc repro` works all the same; `dvc exp run` does not, for it keeps an experiment as "
            "a commit. Say `git config --global user.name 'Your Name'` and `git config --global user.email "
            "you@example.org`."
        )
    elif lacking:
        print(
            f"note: {lacking}. `dvc repro` works all the same; `dvc exp run` and `dvc metrics diff` do not, for they "
            "keep every experiment as a commit. Get the project with `git clone` instead of as an archive, or run "
            "`git init && git add . && git commit -m start` here."
        )


if __name__ == "__main__":
    argparse.ArgumentParser("python -m pipeline.preflight", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()  # fmt: skip
    main()
