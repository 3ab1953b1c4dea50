"""Bundles on the Hugging Face hub, `hf:org/name` or `hf:org/name@revision`: download and upload.

What is downloaded is a bundle's kinds of files and nothing else: no code, and no pickle. It stays in the hub's own
cache, so that a second use needs no network. HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME and the token of `hf auth login`
count as for all of huggingface_hub.
"""

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from extractors.hub import first_line
from foundation.disk import disk_error
from foundation.errors import UserError
from pipeline.bundle import FILE, require_format
from pipeline.sealed import CARD, read_description

PREFIX = "hf:"
NAME = re.compile(r"hf:(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)
FILES = ["*.json", "*.safetensors", "*.txt", "*.model", CARD]
"""What is downloaded: description, weights and encoders, vocabularies of tokenizers, and the card; never code."""
T = TypeVar("T")


def downloaded(name: str) -> Path:
    """Download the bundle `name`, where it is not in the hub's cache yet, and return its folder.

    Its description comes first: what is no bundle, or one of another format, costs no further download.

    Raises:
        UserError: there is no such model, the hub cannot be reached, or what it has is no bundle that is read here.
    """
    from huggingface_hub import snapshot_download

    repository, revision = parts_of(name)
    # The second download is of the commit of the first one, whatever is published between them.
    folder = Path(_asked(name, lambda: snapshot_download(repository, revision=revision, allow_patterns=[FILE])))
    if not (folder / FILE).is_file():
        raise UserError(f"{name}: has no {FILE} on the hub: it is no trained model of this project")
    try:
        require_format(folder / FILE, read_description(folder / FILE))
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return Path(_asked(name, lambda: snapshot_download(repository, revision=folder.name, allow_patterns=FILES)))


def push(name: str, contents: Mapping[str, Path | bytes], private: bool) -> str:
    """Make `contents`, by path, the bundle that `name` has on the hub, and return the address of the commit.

    Files of an earlier bundle that this one does not have are removed; other files stay.

    Raises:
        UserError: the hub cannot be reached, or does not let this user write there.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    repository, revision = parts_of(name)
    api = HfApi()

    def work() -> str:
        api.create_repo(repository, private=private or None, exist_ok=True)
        if private and not api.repo_info(repository).private:
            raise UserError(f"{name}: is there already, and public: make it private in its settings on the hub, or "
                            "publish without --private")  # fmt: skip
        if revision:
            api.create_branch(repository, branch=revision, exist_ok=True)
        there = api.list_repo_files(repository, revision=revision)
        gone = [file for file in there if file not in contents and any(fnmatch(file, kind) for kind in FILES)]
        changes: list[CommitOperationAdd | CommitOperationDelete] = [CommitOperationDelete(file) for file in gone]
        for file, content in contents.items():
            changes.append(CommitOperationAdd(file, str(content) if isinstance(content, Path) else content))
        return str(api.create_commit(repository, changes, commit_message="A bundle", revision=revision).commit_url)

    return _asked(name, work, writing=True)


def parts_of(name: str) -> tuple[str, str | None]:
    """Repository and revision of `hf:org/name` or `hf:org/name@revision`; raises UserError if it is neither."""
    match = NAME.fullmatch(name)
    if not match:
        raise UserError(f"{name}: is no name on the hub: {PREFIX}org/name, or {PREFIX}org/name@revision")
    return match["repository"], match["revision"]


def _asked(name: str, work: Callable[[], T], writing: bool = False) -> T:
    try:
        return work()
    except UserError:
        raise
    except Exception as error:  # the hub's client raises a dozen types, from bad names to no network
        raise disk_error(error) or UserError(f"{name}: {_reason(error, writing)}") from None


def _reason(error: Exception, writing: bool) -> str:
    """What an error of the hub's client says, and the remedy, in one line."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, RevisionNotFoundError):
        return "the hub has no such revision of it"
    if writing and status in (401, 403, 404):
        return ("the hub does not let you write there: check the name, and log in with a token that may write "
                "(`hf auth login`)")  # fmt: skip
    if isinstance(error, GatedRepoError) or status == 403:
        return "the hub does not let you read it: ask for access on its page, and log in (`hf auth login`)"
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        return "the hub has no such model, or shows it only to some: check the name, or log in (`hf auth login`)"
    if status is not None:
        return f"the hub answers {status} ({first_line(error)}); try again later"
    if isinstance(error, ValueError):  # of what was given, before anything was asked
        return first_line(error)
    return (f"the hub cannot be reached ({first_line(error)}); try again with a network, or give a folder or a zip of "
            "the model")  # fmt: skip
