"""How a stage starts and how it fails: the one entrance that every module of the graph shares."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pipeline.arithmetic  # noqa: F401 (every stage's numbers depend on it)
from pipeline.params import CORPORA, Params, ParamsError, load_params

log = logging.getLogger("cmath")


class StageError(Exception):
    """What the user can mend; the message names the file or key and the remedy, and is shown without a traceback."""


def root() -> Path:
    """The project's root: DVC names it also where it runs an experiment in a folder of its own."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def cache_folder() -> Path:
    """The work cache: `$CMATH_CACHE`, or `.cache` in the project's root."""
    return Path(os.environ.get("CMATH_CACHE") or root() / ".cache")


def raw_folder(corpus: str, params: Params) -> Path:
    """The folder that index.D.raw names: the same one where DVC runs an experiment in a folder of its own."""
    return root() / Path(params.index[corpus].raw).expanduser()


def require_raw_folder(corpus: str, params: Params) -> Path:
    """`raw_folder`, or StageError where there is none."""
    folder, key, value = raw_folder(corpus, params), f"index.{corpus}.raw", params.index[corpus].raw
    if not folder.is_dir():
        if corpus == "demo":
            raise StageError(f"params.yaml: {key} = {value!r}: there is no such folder ({folder}); "
                             "`python -m pipeline.raw demo` makes the synthetic corpus there")  # fmt: skip
        raise StageError(f"params.yaml: {key} = {value!r}: there is no such folder ({folder}); set it to the folder "
                         f"of the raw corpus, e.g. `dvc exp run -S {key}=/corpora/{Path(value).name}`")  # fmt: skip
    return folder


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the argument that every stage has, the corpus; `doc` is the module's docstring."""
    result = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("corpus", choices=CORPORA)
    return result


def start(stage: Callable[[argparse.Namespace, Params], None], arguments: argparse.ArgumentParser) -> None:
    """Run `stage` on the command line's arguments and params.yaml; the user's errors end as one line and status 1."""
    args = arguments.parse_args()
    command(lambda: stage(args, load_params()))


def start_logging() -> None:
    """Say on the terminal what `CMATH_LOG` asks for: INFO, or WARNING for less."""
    level = os.environ.get("CMATH_LOG", "INFO").upper()
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)


def command(work: Callable[[], None]) -> None:
    """Do `work` as a command does: log to the terminal; the user's errors end as one line and status 1."""
    start_logging()
    # Torch and its like are a million objects that never go: searching them for garbage while they load, and once more
    # at the end, takes a third of a short command's time.
    gc.set_threshold(100_000, 50, 100)
    try:
        work()
    except (StageError, ParamsError) as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("interrupted; what was finished is kept: the same command goes on from there") from None
    finally:
        gc.freeze()
