"""check: all of params.yaml, and that what it names is there, before any other stage runs.

DVC removes the outputs of a stage before it runs the stage again, and those of corpora that `datasets` no longer names.
So a slip must be refused by a stage that has nothing to lose, on which all others depend: this one. It also puts back
what DVC removed of corpora that are not processed now, or of any corpus if the parameters are refused.

Looked for are the raw corpora, text encoders (a folder, or a name of the hub) and weights of faces, each only where its
stage would run: who works with features that a colleague made needs none of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.params import CORPORA, MODALITIES, Params, ParamsError, load_params
from pipeline.stage import StageError, command, log, require_raw_folder, root

PARAMS = Path("params.yaml")
DONE = Path("data/checked.txt")
"""What the other stages depend on. Its content never changes, so that they do not run for a new value elsewhere."""


def run() -> None:
    let_git_look(PARAMS)
    locked = read_lock()
    try:
        params = load_params()
        refuse_what_is_not_there(params, locked)
    except (ParamsError, StageError):
        put_back(locked, CORPORA)
        raise
    put_back(locked, [corpus for corpus in CORPORA if corpus not in params.datasets])
    stop_watching([corpus for corpus in CORPORA if corpus not in params.watch])
    DONE.parent.mkdir(exist_ok=True)
    DONE.write_text("params.yaml can be used\n", "utf-8")


def let_git_look(file: Path) -> None:
    """Give the file another second of change.

    `-S` can leave it with the size and the second that git has noted of it; git then believes it unchanged, and
    `git checkout HEAD -- params.yaml` would not bring it back.
    """
    if file.is_file():
        status = file.stat()
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def read_lock(file: Path = Path("dvc.lock")) -> dict[str, dict]:
    """The stages that have run, by their names, as DVC recorded them; none where there is no lock file."""
    if not file.is_file():
        return {}
    stages: dict[str, dict] = (YAML(typ="safe").load(file.read_text("utf-8")) or {}).get("stages", {})
    return stages


def refuse_what_is_not_there(params: Params, locked: dict[str, dict]) -> None:
    """Look for the folders and encoders that stages with these parameters will need.

    Raises:
        StageError: one is not there; the message names its key.
    """
    for corpus in params.datasets:
        index = params.index[corpus]
        if corpus != "demo" and not is_made(locked, f"index@{corpus}", f"index.{corpus}", index.model_dump()):
            require_raw_folder(corpus, params)
        text, visual = params.text[corpus], params.visual[corpus]
        made = is_made(locked, f"extract@{corpus}-text", f"text.{corpus}", text.model_dump())
        if "text" in index.modalities and not made:
            require_text_encoder(text.model)
        if visual.weights != "random" and not (root() / visual.weights).is_file():
            raise StageError(f"params.yaml: visual.{corpus}.weights = {visual.weights!r}: there is no such file; "
                             "`git restore extractors/weights` brings back the weights that come with the project, and "
                             "`random` needs none")  # fmt: skip
    if params.face.datasets and not (root() / params.face.data).expanduser().is_dir():
        raise StageError(f"params.yaml: face.data = {params.face.data!r}: there is no such folder; set it to the "
                         "folder of FER-2013, or face.datasets to []: docs/faces.md")  # fmt: skip


def is_made(locked: dict[str, dict], stage: str, key: str, value: object) -> bool:
    """Whether `stage` has run with this `value` of the parameter `key`: then it need not run again for it."""
    parameters = locked.get(stage, {}).get("params", {}).get("params.yaml", {})
    return key in parameters and parameters[key] == value


def require_text_encoder(model: str) -> None:
    """StageError where neither a folder nor the hub (asked for one small file) has the text encoder `model`."""
    from extractors.encoder_folders import require_encoder
    from extractors.result import ExtractorError

    try:
        require_encoder(model)
    except ExtractorError as error:
        raise StageError(str(error)) from None


def put_back(locked: dict[str, dict], corpora: tuple[str, ...] | list[str]) -> None:
    """Copy the outputs of these corpora that are missing here, and are in DVC's cache, to where they were."""
    if Path.cwd() != root():  # the folder of an experiment apart, which DVC makes and removes
        return
    missing = {
        out["path"]: out["md5"]
        for corpus in corpora
        for out in outputs_of(locked, corpus)
        if "md5" in out and not Path(out["path"]).exists()
    }
    if not missing:
        return
    from dvc.repo import Repo  # half a second
    from dvc_data.hashfile import load
    from dvc_data.hashfile.checkout import checkout
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_objects.fs.local import LocalFileSystem

    with Repo() as repo:
        for path, checksum in missing.items():
            try:
                content = load(repo.cache.local, HashInfo("md5", checksum))
                checkout(str(Path(path).resolve()), LocalFileSystem(), content, repo.cache.local)
            except Exception as error:  # another program's many kinds; whoever wants it back asks DVC itself
                log.debug("%s: is not in DVC's cache (%s)", path, error)


def stop_watching(corpora: list[str]) -> None:
    """Remove what the stage `watch` left of these corpora, on which `index` would depend for ever."""
    for corpus in corpora:
        for name in ("source/files.txt", "watched"):
            (Path("data") / corpus / name).unlink(missing_ok=True)


def outputs_of(locked: dict[str, dict], corpus: str) -> Iterator[dict]:
    """What the stages of `corpus` made, but for `watch`, whose outputs tell of this moment alone."""
    of_corpus = (corpus, *(f"{corpus}-{modality}" for modality in MODALITIES))
    for name, stage in locked.items():
        kind, _, item = name.partition("@")
        if item in of_corpus and kind != "watch":
            yield from stage.get("outs", [])


if __name__ == "__main__":
    command(run)
