"""check: validate params.yaml, and check that the files it names exist, before any other stage runs.

DVC removes the outputs of a stage before it runs the stage again, and the outputs of corpora that are no longer in
`datasets`. So a mistake must be found by a stage without valuable outputs, on which all other stages depend: this one.
It also restores what DVC removed: of corpora that are not processed now, or of all corpora if the parameters are
refused.

It looks for the raw corpora, encoders (a folder, or a name on the hub) and face weights, but only if their stage has
to run: with features made by a colleague, none of them is needed.
"""

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from extractors.settings import AudioSettings, VisualSettings
from foundation.errors import UserError
from foundation.files import is_file, is_folder, read_file, write_whole
from foundation.folders import root
from foundation.log import log
from foundation.named_folders import from_root
from foundation.settings import Settings
from pipeline.corpora.settings import MeldSettings
from pipeline.params import MODALITIES, Params, load_params
from pipeline.stage import NO_BRANCH, branch_left, command, raw_folder, require_raw_folder

PARAMS = Path("params.yaml")
MADE = ("demo", "assembled")
"""Readers of the corpora that the stage `raw` makes."""
DONE = Path("data/checked.txt")
"""Output on which the other stages depend. Its content never changes, so a changed parameter does not re-run them."""


def run() -> None:
    let_git_look(PARAMS)
    if branch := branch_left():
        log.warning(NO_BRANCH, branch)
    locked = read_lock()
    try:
        params = load_params()
        refuse_what_is_not_there(params, locked)
    except BaseException:  # also what nobody foresaw, and Ctrl-C while the hub is asked: DVC has removed by now
        put_back(locked, corpora_of(locked))
        raise
    put_back(locked, [corpus for corpus in corpora_of(locked) if corpus not in params.datasets])
    stop_watching([folder.name for folder in Path("data").glob("*/") if folder.name not in params.watch])
    write_whole(DONE, "params.yaml can be used\n")


def let_git_look(file: Path) -> None:
    """Move the modification time of the file by one second.

    After `-S` the file can have the same size and modification second as git recorded. Git then believes that it is
    unchanged, and `git checkout HEAD -- params.yaml` would not restore it.
    """
    if file.is_file():
        status = file.stat()
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


def read_lock(file: Path = Path("dvc.lock")) -> dict[str, dict]:
    """Read the stages that DVC has recorded, by name; empty if there is no lock file.

    Raises:
        UserError: it is broken, for example by the marks of a merge.
    """
    if not is_file(file):
        return {}
    try:
        content = YAML(typ="safe").load(read_file(file).decode("utf-8")) or {}
        if not isinstance(content, dict):
            raise ValueError("it is no section")
        stages: dict[str, dict] = content.get("stages") or {}
        if not isinstance(stages, dict) or not all(map(_is_recorded, stages, stages.values())):
            raise ValueError("its stages are not as DVC writes them")
    except (YAMLError, ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise UserError(f"{file}: is no lock file of DVC ({' '.join(str(error).split())[:200]}); `git checkout HEAD -- "
                        f"{file}` brings back the committed one, and without any all stages run again"
                        ) from None  # fmt: skip
    return stages


def _is_recorded(name: object, stage: object) -> bool:
    """Whether `stage` has the form in which DVC records one."""
    if not isinstance(name, str) or not isinstance(stage, dict):
        return False
    params, outs = stage.get("params", {}), stage.get("outs", [])
    return (
        isinstance(params, dict)
        and isinstance(params.get("params.yaml", {}), dict)
        and isinstance(outs, list)
        and all(isinstance(out, dict) and isinstance(out.get("path"), str) for out in outs)
    )


def refuse_what_is_not_there(params: Params, locked: dict[str, dict]) -> None:
    """Check that the folders and encoders exist that the stages will need with these parameters.

    Raises:
        UserError: one is missing; the message names its key.
    """
    for corpus in params.datasets:
        index = params.index[corpus]
        if index.reader not in MADE and not is_made(locked, f"index@{corpus}", f"index.{corpus}", index):
            require_raw_folder(corpus, params)
            if isinstance(index, MeldSettings) and index.cuts == "fair" and not is_folder(index.fair_folder):
                raise UserError(f"params.yaml: index.{corpus}.fair = {index.fair!r}: there is no such folder; set it "
                                f"to the folder of MELD-FAIR, or index.{corpus}.cuts to released: docs/meld_fair.md"
                                )  # fmt: skip
        text, visual = params.text[corpus], params.visual[corpus]
        made = is_made(locked, f"extract@{corpus}-text", f"text.{corpus}", text)
        given = index.reader == "features" and "text" in index.vectors  # no encoder is needed, if the file has vectors
        if "text" in index.modalities and not made and not given:
            require_text_encoder(text.model)
        require_extractors(corpus, params, locked)
        denseface = visual.encoder == "denseface"
        if denseface and visual.weights != "random" and not is_file(root() / visual.weights):
            raise UserError(f"params.yaml: visual.{corpus}.weights = {visual.weights!r}: there is no such file; "
                            "`git restore extractors/visual/weights` brings back the weights that come with the "
                            "project, and `random` needs none")  # fmt: skip
    refuse_lacking_material(params, locked)
    if params.face.datasets and not is_folder((root() / params.face.data).expanduser()):
        raise UserError(f"params.yaml: face.data = {params.face.data!r}: there is no such folder; set it to the "
                        "folder of FER-2013, or face.datasets to []: docs/faces.md")  # fmt: skip


def refuse_lacking_material(params: Params, locked: dict[str, dict]) -> None:
    """Raise UserError if a folder of `material` is missing and the corpus of it is still to be put together."""
    for corpus in params.datasets:
        index = params.index[corpus]
        there = is_made(locked, f"index@{corpus}", f"index.{corpus}", index) or is_folder(raw_folder(corpus, params))
        if index.reader == "assembled" and not there:
            for key, folder in params.material.model_dump().items():
                if not is_folder(from_root(folder, f"material.{key}")):
                    raise UserError(f"params.yaml: material.{key} = {folder!r}: there is no such folder; {corpus} is "
                                    "put together of public material: docs/starter.md says where it comes from"
                                    )  # fmt: skip


def is_made(locked: dict[str, dict], stage: str, key: str, settings: Settings) -> bool:
    """Whether `stage` has already run with these `settings` for the parameter `key`."""
    parameters = locked.get(stage, {}).get("params", {}).get("params.yaml", {})
    try:
        return type(settings).model_validate(parameters[key]) == settings
    except (KeyError, ValidationError):
        return False


def require_text_encoder(model: str) -> None:
    """Raise UserError if the text encoder `model` is neither a folder nor on the hub (one small file is requested)."""
    from extractors.text.folders import require_encoder

    require_encoder(model)


def require_extractors(corpus: str, params: Params, locked: dict[str, dict]) -> None:
    """Raise UserError if an extractor of sound or pictures that will run is unknown, or its encoder cannot be had."""
    from extractors.registry import require

    index = params.index[corpus]
    if index.reader == "features":  # whose vectors come from a file
        return
    sections: dict[str, AudioSettings | VisualSettings] = {
        "audio": params.audio[corpus], "visual": params.visual[corpus]
    }  # fmt: skip
    for modality, settings in sections.items():
        made = is_made(locked, f"extract@{corpus}-{modality}", f"{modality}.{corpus}", settings)
        if modality in index.modalities and not made:
            require(modality, settings)


def put_back(locked: dict[str, dict], corpora: tuple[str, ...] | list[str]) -> None:
    """Restore the missing outputs of these corpora from DVC's cache."""
    if Path.cwd() != root():  # a separate folder of an experiment, which DVC creates and removes
        return
    missing = {
        out["path"]: out["md5"]
        for corpus in corpora
        for out in outputs_of(locked, corpus)
        if "md5" in out and not Path(out["path"]).exists()
    }
    if not missing:
        return
    from dvc.repo import Repo  # takes half a second
    from dvc_data.hashfile import load
    from dvc_data.hashfile.checkout import checkout
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_objects.fs.local import LocalFileSystem

    with Repo() as repo:
        for path, checksum in missing.items():
            try:
                content = load(repo.cache.local, HashInfo("md5", checksum))
                checkout(str(Path(path).resolve()), LocalFileSystem(), content, repo.cache.local)
            except Exception as error:  # DVC raises many types; a user who needs the file can ask DVC itself
                log.debug("%s: is not in DVC's cache (%s)", path, error)


def stop_watching(corpora: list[str]) -> None:
    """Remove the outputs of the stage `watch` for these corpora; otherwise `index` would still depend on them."""
    for corpus in corpora:
        for name in ("source/files.txt", "watched"):
            (Path("data") / corpus / name).unlink(missing_ok=True)


def corpora_of(locked: dict[str, dict]) -> list[str]:
    """Corpora for which some stage has run."""
    items = [name.partition("@")[2] for name in locked if "@" in name and not name.startswith("train_face@")]
    return list(dict.fromkeys(re.sub(f"-({'|'.join(MODALITIES)})$", "", item) for item in items))


def outputs_of(locked: dict[str, dict], corpus: str) -> Iterator[dict]:
    """Outputs of the stages of `corpus`, except `watch`, whose outputs describe only the current state."""
    of_corpus = (corpus, *(f"{corpus}-{modality}" for modality in MODALITIES))
    for name, stage in locked.items():
        kind, _, item = name.partition("@")
        if item in of_corpus and kind != "watch":
            yield from stage.get("outs", [])


if __name__ == "__main__":
    argparse.ArgumentParser("python -m pipeline.check", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()  # fmt: skip
    command(run)
