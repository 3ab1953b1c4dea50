"""Reading of what the field publishes: a file or a folder, whose layout is found by looking at it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from extractors.published import folders as of_folders
from extractors.published import tuples
from extractors.published.content import Published, PublishedError, understood
from extractors.published.files import read_file
from extractors.published.sentiment import is_mmsa, mmsa

SHOWN = 12
"""Largest number of files that a message names."""


def base_of(raw: Path) -> Path:
    """Folder to which the paths of files are relative: `raw`, or the folder of the file `raw`."""
    return raw.parent if raw.is_file() else raw


def read_published(raw: Path, folders: Mapping[str, str]) -> Published:
    """Read the file or folder `raw`.

    Args:
        folders: for layouts with a file per utterance, the folder of each modality, where its name does not tell it.

    Raises:
        UserError: a file cannot be read, or no layout fits; the message says what was seen.
    """
    with understood(raw):
        found = _read(raw, folders)
        require_names(found, raw)
    return found


def require_names(found: Published, raw: Path) -> None:
    """Raise PublishedError if two utterances have one id, by which `extract` finds their vectors again."""
    seen: set[str] = set()
    for turn in found.turns:
        if turn.utterance in seen:
            raise PublishedError(f"{raw}: the utterance {turn.utterance!r} of the dialogue {turn.dialogue!r} occurs "
                                 "twice; give its dialogues names of which none begins another")  # fmt: skip
        seen.add(turn.utterance)


def _read(raw: Path, folders: Mapping[str, str]) -> Published:
    if raw.is_file():
        return of_content(read_file(raw), raw, raw.parent)
    if not raw.is_dir():
        raise PublishedError(f"{raw}: is neither a file nor a folder; set `raw` to the feature file, or to the folder "
                             "with it")  # fmt: skip
    if (raw / of_folders.MULTIEMO_LABELS).is_file():
        return of_folders.multiemo(raw)
    if found := of_folders.dag_erc(raw) or of_folders.merbench(raw, folders):
        return found
    files = sorted(path for path in raw.iterdir() if path.is_file() and not path.name.startswith("."))
    pickles = {file: read_file(file) for file in files if file.suffix in of_folders.PICKLES}
    if found := of_folders.gcnet(raw, folders, pickles) or of_folders.m3net(raw, pickles):
        return found
    if len(pickles) == 1:
        [(file, content)] = pickles.items()
        return of_content(content, file, raw)
    names = ", ".join(file.name for file in files[:SHOWN]) or "no file"
    raise PublishedError(f"{raw}: is none of the folders that are read (docs/feature_files.md); it has {names}; "
                         "to read one file of several, set `raw` to the file")  # fmt: skip


def of_content(content: Any, file: Path, raw: Path) -> Published:
    """Turns and vectors of one file that was read."""
    if is_mmsa(content):
        return mmsa(content, file, raw)
    return tuples.published(content, tuples.layout_of(content, str(file)), file, raw)
