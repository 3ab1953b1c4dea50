"""What libraries raise where a disk is full, read-only or broken, and what is no such thing."""

import errno
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from foundation.disk import DiskError, disk_error
from foundation.files import make_folder, whole, whole_folder


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "cannot be written, because the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "cannot be written, because the disk is full"),
        (sqlite3.OperationalError("database or disk is full"), "cannot be written, because the disk is full"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "because the disk is full"),
        (
            RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
            "because the disk is full",
        ),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "because the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "may not be read or written (Read-only file system)"),
        (PermissionError(errno.EACCES, "Permission denied"), "may not be read or written (Permission denied)"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "may not be read or written"),
        (SafetensorError("I/O error: Permission denied (os error 13)"), "may not be read or written"),
        (OSError(errno.EIO, "Input/output error"), "a fault of the disk"),
    ],
)
def test_every_library_is_understood(error: Exception, said: str, tmp_path: Path) -> None:
    found = disk_error(error, tmp_path / "scores.json")
    assert found
    assert str(found).startswith(f"{tmp_path / 'scores.json'}: ")
    assert said in str(found)
    assert "\n" not in str(found)
    assert "same command again" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        RuntimeError("CUDA out of memory"),
        ValueError("the disk is full of surprises: no space left"),
        sqlite3.OperationalError("no such table: result"),
        SafetensorError("header too large"),
        torch.OutOfMemoryError("no space left"),
    ],
)
def test_other_errors_are_none_of_a_disk(error: Exception) -> None:
    assert disk_error(error) is None


def test_a_place_that_takes_no_file_is_named_and_a_missing_input_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / "taken/scores.json").mkdir(parents=True)
    (tmp_path / "loop").symlink_to("loop")
    for place in ("file", "file/sub", "loop", "n" * 300, "taken"):
        for target in (tmp_path / place / "scores.json", tmp_path / place / "sub/scores.json"):
            if place == "taken" and target.parent.name == "sub":
                continue
            with pytest.raises(DiskError, match=r"cannot be written there .*Give another place") as said, whole(target):
                target.with_name(f".scores.{os.getpid()}.half.json").write_text("after")
            assert str(said.value).startswith(f"{target}: ")
            assert "\n" not in str(said.value)
    with pytest.raises(DiskError, match="cannot be written there"), whole_folder(tmp_path / "file/bundle"):
        pass
    with pytest.raises(DiskError, match="cannot be written there"):
        make_folder(tmp_path / "file")
    assert str(disk_error(OSError(errno.ELOOP, "Too many links", "given"))) == (
        "given: cannot be opened (Too many links); give another name"
    )
    with pytest.raises(FileNotFoundError), whole(tmp_path / "scores.json"):
        (tmp_path / "input.json").read_text()
    assert (tmp_path / "file").read_text() == "before"


def test_without_a_file_the_disks_with_little_room_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    error = OSError(errno.ENOSPC, "No space left on device")
    assert "it is none of this folder's, the work cache's and the temporary files'" in str(disk_error(error))
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    said = str(disk_error(error))
    assert said.startswith("a disk is full (")
    assert f"{tmp_path} has 1.0 MiB free" in said


def test_a_file_or_folder_that_finds_no_room_leaves_the_one_of_before(tmp_path: Path) -> None:
    file, folder = tmp_path / "scores.json", tmp_path / "bundle"
    file.write_text("before")
    folder.mkdir()
    (folder / "a").write_text("before")

    def write_file() -> None:
        with whole(file) as half:
            half.write_text("aft")
            no_space()

    def write_folder() -> None:
        with whole_folder(folder) as half:
            (half / "a").write_text("aft")
            no_space()

    with pytest.raises(DiskError, match=r"scores\.json: cannot be written, because the disk is full"):
        write_file()
    with pytest.raises(DiskError, match=r"bundle: cannot be written, because the disk is full"):
        write_folder()
    assert (file.read_text(), (folder / "a").read_text()) == ("before", "before")
    assert {one.name for one in tmp_path.iterdir()} == {"scores.json", "bundle"}


def test_a_copy_that_finds_no_room_names_the_target(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder/a.json").write_text("{}")

    def fails(source: str, target: str, **_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", source, None, target)

    def copy() -> None:
        with whole_folder(tmp_path / "bundle") as half:
            shutil.copytree(tmp_path / "encoder", half / "text", copy_function=fails)

    with pytest.raises(DiskError, match=r"bundle: cannot be written, because the disk is full"):
        copy()
    assert {one.name for one in tmp_path.iterdir()} == {"encoder"}
