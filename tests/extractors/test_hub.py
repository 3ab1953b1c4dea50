"""Folders of pretrained encoders: what is asked of the hub, and when; it is a stand-in here."""

from pathlib import Path
from typing import Any

import pytest

from extractors.hub import EncoderSetting, checksum, encoder_files, folder_of, require_encoder
from extractors.result import ExtractorError

SETTING = EncoderSetting("audio", "encoder", "opensmile")


class Hub:
    """Stand-in of huggingface_hub: a folder in which what was asked for lies, and a list of what that was."""

    def __init__(self, folder: Path, *files: str) -> None:
        self.folder, self.files, self.asked = folder, files, list[tuple[list[str], bool]]()
        folder.mkdir()

    def snapshot_download(self, name: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        self.asked.append((allow_patterns, local_files_only))
        for file in self.files:
            if any(Path(file).match(pattern) for pattern in allow_patterns):
                (self.folder / file).write_text(file)
        return str(self.folder)


def hub(monkeypatch: pytest.MonkeyPatch, folder: Path, *files: str) -> Hub:
    made = Hub(folder / "hub", *files)
    monkeypatch.setattr("huggingface_hub.snapshot_download", made.snapshot_download)
    return made


@pytest.mark.parametrize("fetch", [True, False])
def test_code_is_never_asked_for_and_nothing_is_fetched_unless_it_may_be(
    fetch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = hub(monkeypatch, tmp_path, "config.json", "model.safetensors", "pytorch_model.bin", "model.py", "x.pkl")
    found = folder_of("some/encoder", SETTING, fetch)
    assert {file.name for file in found.iterdir()} == {"config.json", "model.safetensors"}
    assert [local for _, local in there.asked] == [not fetch]


@pytest.mark.parametrize("fetch", [True, False])
def test_older_weights_are_asked_for_where_there_are_no_others(
    fetch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = hub(monkeypatch, tmp_path, "config.json", "pytorch_model.bin", "model.py")
    found = folder_of("some/encoder", SETTING, fetch)
    assert {file.name for file in found.iterdir()} == {"config.json", "pytorch_model.bin"}
    assert [local for _, local in there.asked] == [not fetch] * 2
    assert [file.name for file in encoder_files(found)] == ["config.json", "pytorch_model.bin"]


def test_a_folder_of_this_machine_is_taken_and_the_hub_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = hub(monkeypatch, tmp_path, "config.json")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    assert folder_of(str(tmp_path / "mine"), SETTING) == tmp_path / "mine"
    require_encoder(str(tmp_path / "mine"), SETTING)
    assert there.asked == []


def test_of_an_encoder_that_is_required_one_small_file_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    there = hub(monkeypatch, tmp_path, "config.json")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *file: asked.append(file))
    require_encoder("some/encoder", SETTING)
    assert asked == [("some/encoder", "config.json")]
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: "/cached/config.json")
    require_encoder("some/encoder", SETTING)
    assert len(asked) == 1
    assert there.asked == []


def test_what_the_hub_does_not_give_is_said_in_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> str:
        raise RuntimeError("404: no such repository\nmore lines")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refused)
    with pytest.raises(ExtractorError) as error:
        folder_of("some/encoder", SETTING)
    for said in ("audio's `encoder` in params.yaml is 'some/encoder'", "(404: no such repository)",
                 "`-S audio.<corpus>.encoder=opensmile`"):  # fmt: skip
        assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checksum_is_of_names_and_contents_and_of_the_weights_that_are_used(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_text("a")
    before = checksum(tmp_path)
    for unused in ("pytorch_model.bin", "model.py", "README.md"):
        (tmp_path / unused).write_text("b")
        assert checksum(tmp_path) == before
    (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
    assert checksum(tmp_path) != before
    (tmp_path / "model-1.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_text("c")
    other = checksum(tmp_path)
    (tmp_path / "pytorch_model.bin").write_text("d")
    assert checksum(tmp_path) != other
