"""Publishing of a bundle: check it, write its card, and put both into a folder, a zip, or a repository of the hub."""

import os
import shutil
from fnmatch import fnmatch
from pathlib import Path

from foundation.errors import UserError
from foundation.files import read_file, whole_folder
from foundation.log import log
from pipeline.bundle import FILE
from pipeline.bundle.archive import write_zip
from pipeline.bundle.card import CardOptions, card_of, results_of
from pipeline.bundle.hub import FILES, PREFIX, parts_of, push
from pipeline.bundle.places import ENDING, open_bundle
from pipeline.sealed import CARD, read_description

LARGEST_CARD = 2**20


def publish(model: str, to: str, options: CardOptions, private: bool = False) -> None:
    """Put the bundle that `model` names into `to`, with a card.

    Args:
        model: as for `open_bundle`.
        to: a new folder, a new zip, or `hf:org/name`, with `@revision` for a branch.
        private: whether a new repository of the hub is private.

    Raises:
        UserError: the bundle cannot be used, or cannot be put there.
    """
    _require_free(to)
    bundle = open_bundle(model)
    for seed in bundle.seeds:
        bundle.network(seed)
    names = [FILE, *read_description(bundle.folder / FILE)["files"]]
    if unknown := [name for name in names if not any(fnmatch(name, kind) for kind in FILES)]:
        raise UserError(f"{bundle.folder / unknown[0]}: is of no kind that others download ({', '.join(FILES)}); train "
                        "anew with `dvc repro`")  # fmt: skip
    scores, census, lacking = results_of(bundle)
    for reason in lacking:
        log.warning("the card lacks numbers: %s", reason)
    if not options.licence:
        log.warning("the card names no licence: say --license NAME, such as mit or cc-by-nc-4.0")
    address = to if to.startswith(PREFIX) else Path(to).name  # the folders above it are of this machine alone
    card = card_of(bundle, address, scores, census, options)
    contents: dict[str, Path | bytes] = {name: bundle.folder / name for name in names}
    contents[CARD] = card.encode()
    if to.startswith(PREFIX):
        log.info("%s: %s", to, push(to, contents, private))
    elif to.endswith(ENDING):
        write_zip(Path(to), contents)
    else:
        _write_folder(Path(to), contents)
    log.info("%s: %d files of the model, and its card %s: read it before others do", to, len(names), CARD)
    log.info("whether weights that were learned from %s may be passed on, its licence says, and not this command",
             bundle.corpus)  # fmt: skip


def text_of_card(file: Path | None) -> str:
    """The user's own text for the card; empty without one.

    Raises:
        UserError: the file cannot be read as UTF-8.
    """
    if file is None:
        return ""
    try:
        return read_file(file, LARGEST_CARD).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{file}: is no text in UTF-8; save it as such") from None


def _require_free(to: str) -> None:
    """Raise UserError if `to` is no name on the hub, or there is something already. A repository may be there."""
    if to.startswith(PREFIX):
        parts_of(to)
    elif os.path.lexists(to):
        raise UserError(f"{to}: is there already; give another name, or remove it first")


def _write_folder(folder: Path, contents: dict[str, Path | bytes]) -> None:
    with whole_folder(folder) as half:
        for name, content in contents.items():
            target = half / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                shutil.copyfile(content, target)
