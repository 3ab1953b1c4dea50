"""Files that are written whole: an error or a kill leaves the earlier one, and nothing beside it for ever."""

import os
import time
from pathlib import Path

import pytest
import torch

from foundation.checkpoint import load_checkpoint, save_checkpoint
from foundation.files import ABANDONED_SECONDS, HALVES, whole, write_whole
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
