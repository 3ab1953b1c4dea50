"""Folders of pretrained encoders: a local folder, or one of the Hugging Face hub, which is downloaded once.

This module loads neither an encoder nor the libraries for it, so that a run in which nothing changed is fast. Code that
comes with an encoder is never downloaded.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from extractors.result import ExtractorError
from foundation.folders import root

FILES = ["*.json", "*.txt", "model*.safetensors"]
"""Files that are downloaded from the hub and hashed: configuration, vocabulary, weights; never code."""
OLD_WEIGHTS = "pytorch_model*.bin"
"""Weight files of an encoder without safetensors; read with `weights_only`, which runs no code from them."""


@dataclass(frozen=True, slots=True)
class EncoderSetting:
    """The place in params.yaml that names an encoder, for messages."""

    section: str
    key: str
    own: str
    """Encoder that comes with this project."""

    def __str__(self) -> str:
        return f"{self.section}'s `{self.key}`"


def folder_of(name: str, setting: EncoderSetting, fetch: bool = True) -> Path:
    """Find the folder of the encoder `name`: a folder, or a name on the hub (downloaded if `fetch`).

    Raises:
        ExtractorError: there is no such folder, and the hub does not provide it.
    """
    if here := folder_here(name):
        return here
    try:
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(name, allow_patterns=FILES, local_files_only=not fetch))
        if not any(folder.glob("model*.safetensors")):
            patterns = [*FILES, OLD_WEIGHTS]
            folder = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not fetch))
        return folder
    except Exception as error:  # the hub's client raises a dozen types, from bad names to no network
        raise _not_to_be_had(name, setting, error) from None


def require_encoder(name: str, setting: EncoderSetting) -> None:
    """Check that the encoder exists; from the hub only its small configuration file is downloaded.

    Raises:
        ExtractorError: there is no such folder and the hub does not have it.
    """
    if folder_here(name):
        return
    try:
        from huggingface_hub import hf_hub_download, try_to_load_from_cache

        if not isinstance(try_to_load_from_cache(name, "config.json"), str):
            hf_hub_download(name, "config.json")
    except Exception as error:  # as above
        raise _not_to_be_had(name, setting, error) from None


def folder_here(name: str) -> Path | None:
    """The local folder `name` of an encoder; None if there is none."""
    return root() / name if (root() / name / "config.json").is_file() else None


def _not_to_be_had(name: str, setting: EncoderSetting, error: Exception) -> ExtractorError:
    local = f"corpora/encoders/{Path(name).name}"
    key = f"{setting.section}.<corpus>.{setting.key}"
    return ExtractorError(
        f"{setting} in params.yaml is {name!r}, which is no folder with a config.json and cannot be had from "
        f"the hub ({first_line(error)}). On a machine with a network: `hf download {name} --local-dir {local} "
        "--include '*.json' --include '*.txt' --include 'model*.safetensors'`; copy that folder to the same place "
        f"in this project, and `-S {key}={local}`. Or use the encoder that comes with this project: "
        f"`-S {key}={setting.own}`"
    )


def encoder_files(folder: Path, *others: str) -> list[Path]:
    """Files of `folder` that belong to the encoder, `others` too; safetensors are preferred to older weights."""
    files = {file for pattern in (*FILES, *others) for file in folder.glob(pattern)}
    if not any(file.suffix == ".safetensors" for file in files):
        files |= set(folder.glob(OLD_WEIGHTS))
    return sorted(files)


def checksum(folder: Path, *others: str) -> str:
    """SHA-256 over the names and contents of the encoder's files, and of `others`."""
    digest = hashlib.sha256()
    for file in encoder_files(folder, *others):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
