"""Common start of all stages and commands: arguments, parameters, logging and error messages."""

import argparse
import gc
import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from foundation.disk import disk_error
from foundation.errors import UserError
from foundation.files import is_folder
from foundation.named_folders import from_root
from pipeline.params import Params, load_params

NO_BRANCH = (
    "git is on no branch (a detached HEAD), as a `dvc exp run` that was killed leaves it: what you commit now is on no "
    "branch either. `git switch %s` goes back, and changes no file"
)
NO_MEMORY = (
    "the card's memory is used up; what was finished is kept, and the same command goes on from there. A smaller "
    "`batch` in params.yaml (train.D, or a recipe with more `accumulation`) needs less; `nvidia-smi` names what else "
    "is on it; CMATH_DEVICE=cpu needs none"
)

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
"""Values of `CMATH_LOG`."""

NO_MEMORY_HERE = (
    "this machine's memory is used up; what was finished is kept, and the same command goes on from there. A smaller "
    "model (`dim`) or `batch` in params.yaml, and fewer processes (CMATH_WORKERS=1), need less"
)
UNALLOCATED = ("DefaultCPUAllocator", "not enough memory")
"""What torch says in a RuntimeError where the memory of the machine is used up."""


def raw_folder(corpus: str, params: Params) -> Path:
    """Folder that index.D.raw names; relative to the project's root, even if DVC uses a temporary folder.

    Raises:
        UserError: it begins with `~` and the name of a user who is not there.
    """
    return from_root(params.index[corpus].raw, f"index.{corpus}.raw")


def require_raw_folder(corpus: str, params: Params) -> Path:
    """Return `raw_folder`, or raise UserError if it does not exist; for the reader `features` it may be a file."""
    folder, key, value = raw_folder(corpus, params), f"index.{corpus}.raw", params.index[corpus].raw
    if params.index[corpus].reader == "features":
        if not os.path.exists(folder):  # noqa: PTH110 - Path.exists raises where a name is too long
            raise UserError(f"params.yaml: {key} = {value!r}: there is no such file or folder ({folder}); set it to a "
                            f"feature file, e.g. `dvc exp run -S {key}=/downloads/{Path(value).name}`; where such "
                            "files lie: docs/feature_files.md")  # fmt: skip
    elif not is_folder(folder):
        if params.index[corpus].reader == "demo":
            raise UserError(f"params.yaml: {key} = {value!r}: there is no such folder ({folder}); "
                            f"`python -m pipeline.raw {corpus}` makes the synthetic corpus there")  # fmt: skip
        raise UserError(f"params.yaml: {key} = {value!r}: there is no such folder ({folder}); set it to the folder "
                        f"of the raw corpus, e.g. `dvc exp run -S {key}=/corpora/{Path(value).name}`")  # fmt: skip
    return folder


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Make a parser with the argument `corpus` that every stage has; `doc` is the module's docstring."""
    result = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("corpus", help="a name in `index` of params.yaml")
    return result


def start(stage: Callable[[argparse.Namespace, Params], None], arguments: argparse.ArgumentParser) -> None:
    """Run `stage` with the command-line arguments and params.yaml; a UserError ends as one line with status 1."""
    args = arguments.parse_args()

    def work() -> None:
        params = load_params()
        corpus = getattr(args, "corpus", None)
        if corpus is not None and corpus not in params.index:
            raise UserError(f"{corpus}: is no corpus; `index` of params.yaml has {', '.join(params.index)}")
        stage(args, params)

    command(work)


def branch_left() -> str:
    """The branch that git was on before a `dvc exp run` that was killed; empty if git is on one, or none was killed.

    While an experiment runs, DVC has git on no branch (a detached HEAD), and goes back to it at the end.
    """
    if os.environ.get("DVC_EXP_NAME") or _git("symbolic-ref", "--quiet", "HEAD"):
        return ""
    before = _git("rev-parse", "--abbrev-ref", "@{-1}")
    return before if _git("for-each-ref", "--count=1", "refs/exps/exec") else ""


def _git(*arguments: str) -> str:
    """What git says to `arguments`; empty if it refuses, or is not there."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def start_logging() -> None:
    """Log to the terminal at the level in `CMATH_LOG`: INFO (default), or WARNING for fewer messages.

    Raises:
        UserError: there is no such level.
    """
    level = (os.environ.get("CMATH_LOG") or "INFO").upper()
    if level not in LEVELS:
        raise UserError(
            f"CMATH_LOG = {os.environ['CMATH_LOG']!r}: must be one of {', '.join(LEVELS)}; unset it for INFO"
        )
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names of files that are no UTF-8, as stderr has it
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)


def command(work: Callable[[], None]) -> None:
    """Run `work` as a command: log to the terminal; a UserError, or a full disk, is one line, with status 1."""
    # Torch and similar libraries create a million permanent objects. Garbage collection over them, while they load and
    # at the end, would take a third of a short command's time.
    gc.set_threshold(100_000, 50, 100)
    try:
        start_logging()
        work()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    except Exception as error:
        if of_disk := disk_error(error):
            raise SystemExit(f"error: {of_disk}") from None
        said = " ".join(str(error).partition("\n")[0].partition(". ")[0].split())[:200]
        if type(error).__name__ == "OutOfMemoryError":  # torch's, known by its name so that torch need not be loaded
            raise SystemExit(f"error: {NO_MEMORY} ({said})") from None
        if isinstance(error, MemoryError) or any(word in str(error) for word in UNALLOCATED):
            raise SystemExit(f"error: {NO_MEMORY_HERE} ({said or 'MemoryError'})") from None
        raise
    except KeyboardInterrupt:
        raise SystemExit("interrupted; what was finished is kept: the same command goes on from there") from None
    finally:
        gc.freeze()
