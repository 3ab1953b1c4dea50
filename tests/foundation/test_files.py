"""Files that are written whole: an error or a kill leaves the earlier one, and nothing beside it for ever."""

import os
import time
from pathlib import Path

import pytest
import torch

from foundation.checkpoint import checkpoint_seconds, load_checkpoint, save_checkpoint
from foundation.errors import UserError
from foundation.files import ABANDONED_SECONDS, HALVES, is_file, read_file, whole, whole_folder, write_whole
from foundation.trainings import about, write_about


def break_off(file: Path) -> None:
    with whole(file) as half:
        half.write_text("aft")
        assert file.read_text() == "before"
        raise ZeroDivisionError


def test_an_error_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a" / "scores.json"
    write_whole(file, "before")
    with pytest.raises(ZeroDivisionError):
        break_off(file)
    assert file.read_text() == "before"
    assert list(file.parent.iterdir()) == [file]


def test_whoever_reads_meanwhile_sees_the_whole_file_of_before(tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    write_whole(file, "before")
    with file.open() as reader:
        write_whole(file, "after it")
        assert reader.read() == "before"
    assert file.read_text() == "after it"
    assert list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_left_goes_once_it_is_old(tmp_path: Path) -> None:
    file = tmp_path / "state[1].pt"
    killed, running, other = (tmp_path / name for name in (".state[1].7.half.pt", ".state[1].8.half.pt",
                                                           ".state[2].7.half.pt"))  # fmt: skip
    for half in (killed, running, other):
        half.touch()
    old = time.time() - ABANDONED_SECONDS - 60
    for half in (killed, other):
        os.utime(half, (old, old))
    write_whole(file, "new")
    assert set(tmp_path.iterdir()) == {file, running, other}
    assert {half for half in tmp_path.iterdir() if half.match(HALVES)} == {running, other}


def test_a_checkpoint_comes_back_and_none_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none.pt") is None
    save_checkpoint(tmp_path / "some.pt", model={"w": torch.tensor([1.5, -2.0])}, state={"epoch": 3, "best": []})
    found = load_checkpoint(tmp_path / "some.pt")
    assert found
    assert found["state"] == {"epoch": 3, "best": []}
    assert torch.equal(found["model"]["w"], torch.tensor([1.5, -2.0]))


def test_a_training_says_what_it_is_of(tmp_path: Path) -> None:
    assert about(tmp_path) == {}
    write_about(tmp_path, corpus="meld", model="sdt")
    assert about(tmp_path) == {"corpus": "meld", "model": "sdt"}


def test_a_broken_checkpoint_is_set_aside_and_counts_as_none(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    for damage in (lambda content: content[:200], lambda content: b"x" + content[1:], lambda content: b""):
        save_checkpoint(file, step=3)
        file.write_bytes(damage(file.read_bytes()))
        assert load_checkpoint(file) is None
        assert [one.name for one in tmp_path.iterdir()] == ["state.broken"]
    save_checkpoint(file, step=4)
    assert load_checkpoint(file) == {"step": 4}


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    with whole_folder(folder) as half:
        (half / "a").write_text("before")

    def write_half() -> None:
        with whole_folder(folder) as half:
            (half / "a").write_text("aft")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert (folder / "a").read_text() == "before"
    with whole_folder(folder) as half:
        (half / "b").write_text("after")
    assert [file.name for file in folder.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [folder]
    killed, running = (tmp_path / f".bundle.{pid}.half" for pid in (2**22 + 1, os.getppid()))
    for half in (killed, running):
        half.mkdir()
    with whole_folder(folder):
        pass
    assert set(tmp_path.iterdir()) == {folder, running}


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(11))
    (tmp_path / "loop").symlink_to("loop")
    for name, said in (
        ("pipe", "is a pipe or a device and no file"),
        ("", "is a folder; give a file"),
        ("none", "no such file; look elsewhere"),
        ("loop", "cannot be read (Too many levels of symbolic links); look elsewhere"),
        ("a" * 300, "cannot be read (File name too long)"),
        ("nul\0", "cannot be read (embedded null byte)"),
        ("large", "has more than 0 MiB: too much for such a file"),
    ):
        with pytest.raises(UserError) as caught:
            read_file(tmp_path / name, 10, "look elsewhere")
        assert said in str(caught.value)
        assert not is_file(tmp_path / name) or name == "large"
    (tmp_path / "large").write_bytes(bytes(10))
    assert read_file(tmp_path / "large", 10) == bytes(10)


def test_a_name_of_255_bytes_can_be_written_too(tmp_path: Path) -> None:
    for name in (f"{'a' * 250}.json", f"{'ü' * 125}.json"):
        write_whole(tmp_path / name, "caf\udce9")
        assert (tmp_path / name).read_text() == "caf\\udce9"
    assert len(list(tmp_path.iterdir())) == 2


def test_the_environment_says_how_often_a_checkpoint_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, seconds in (("", 20.0), ("0", 0.0), (" 1.5 ", 1.5)):
        monkeypatch.setenv("CMATH_CHECKPOINT_SECONDS", value)
        assert checkpoint_seconds(20.0) == seconds
    for value in ("abc", "-1", "nan", "inf"):
        monkeypatch.setenv("CMATH_CHECKPOINT_SECONDS", value)
        with pytest.raises(UserError, match=f"^CMATH_CHECKPOINT_SECONDS = '{value}': must be a number of seconds"):
            checkpoint_seconds(20.0)
