"""The store's folders of trainings, and the note in each that says what is trained there."""

from pathlib import Path

import pytest

from foundation.trainings import about, folder_of, write_about


def test_a_training_lies_in_the_work_cache_under_the_hash_of_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMATH_CACHE", str(tmp_path))
    folder = folder_of({"model": "sdt", "batch": 4})
    assert folder.parent == tmp_path / "trainings"
    assert len(folder.name) == 64
    assert folder_of({"batch": 4, "model": "sdt"}) == folder  # in whatever order
    assert folder_of({"model": "sdt", "batch": 5}) != folder


def test_the_note_says_what_is_trained_and_a_folder_without_one_says_nothing(tmp_path: Path) -> None:
    assert about(tmp_path) == {}
    write_about(tmp_path, corpus="meld", model="sdt")
    assert (tmp_path / "about.json").read_bytes() == b'{"corpus": "meld", "model": "sdt"}'
    assert about(tmp_path) == {"corpus": "meld", "model": "sdt"}
