"""A model from a zip: the same model as from its folder, and one line where the zip must not be unpacked."""

import shutil
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile, ZipInfo

import pytest

from pipeline.bundle.places import open_bundle
from tests.pipeline.bundle.places import refused, weights_of, zipped


@pytest.mark.parametrize("place", ["", "bundle/", "small/bundle/", "./"])
def test_a_zip_made_by_hand_has_the_model_of_its_folder(small: Path, tmp_path: Path, place: str) -> None:
    desktop = {f"{place}.DS_Store": b"1", "__MACOSX/._bundle.json": b"2", ".git/config": b"3"}
    file = zipped(tmp_path / "any.zip", small, place, desktop)
    assert weights_of(file) == (small / "seed0.safetensors").read_bytes()
    assert weights_of(shutil.copy(file, tmp_path / "no ending")) == (small / "seed0.safetensors").read_bytes()


def test_what_lies_beside_a_bundle_in_a_zip_is_named_and_not_unpacked(
    small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = zipped(tmp_path / "a.zip", small, "small/bundle/", {"small/test_predictions.safetensors": b"no"})
    folder = open_bundle(file).folder
    assert [path.name for path in folder.parent.rglob("test_*")] == []
    assert "a.zip: not used, because it does not lie in the bundle's folder: small/test_predictions" in caplog.text


def test_a_zip_is_unpacked_once_and_again_if_its_copy_was_damaged(small: Path, tmp_path: Path) -> None:
    file = zipped(tmp_path / "a.zip", small)
    folder = open_bundle(file).folder
    assert folder.parent == tmp_path / "cache/bundles"
    before = (folder / "seed0.safetensors").stat().st_ino
    assert (open_bundle(file).folder / "seed0.safetensors").stat().st_ino == before
    (folder / "seed0.safetensors").write_bytes(b"damaged")
    assert weights_of(file) == (small / "seed0.safetensors").read_bytes()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> ZipInfo:
    info = ZipInfo(name)
    info.external_attr = mode << 16
    info.create_system = 3
    return info


def add(name: str, content: bytes = b"{}", mode: int = stat.S_IFREG | 0o644) -> Callable[[ZipFile], None]:
    return lambda archive: archive.writestr(entry(name, mode), content)


def bomb(archive: ZipFile) -> None:
    archive.writestr("zeros.json", bytes(30_000_000), ZIP_DEFLATED)


def many(archive: ZipFile) -> None:
    for number in range(10_001):
        archive.writestr(entry(f"{number}.json"), b"")


def encrypted(archive: ZipFile) -> None:
    archive.writestr(entry("secret.json"), b"{}")
    archive.filelist[-1].flag_bits |= 1


def other_compression(archive: ZipFile) -> None:
    archive.writestr("a.json", b"{}", ZIP_LZMA)


def said_to_be_small(archive: ZipFile) -> None:
    archive.writestr("zeros.json", bytes(30_000_000), ZIP_DEFLATED)
    archive.filelist[-1].file_size = 10


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (add("../outside.json"), "the entry '../outside.json' leads out of the zip"),
        (add("a/../../outside.json"), "the entry 'a/../../outside.json' leads out of the zip"),
        (add("/elsewhere/outside.json"), "the entry '/elsewhere/outside.json' leads out of the zip"),
        (add("..\\outside.json"), "leads out of the zip"),
        (add("C:/outside.json"), "leads out of the zip"),
        (add("seed9.safetensors", b"/etc/passwd", stat.S_IFLNK | 0o777), "'seed9.safetensors' is a link or a device"),
        (add("pipe.json", b"", stat.S_IFIFO | 0o644), "'pipe.json' is a link or a device"),
        (add("a\nb.json"), r"the entry 'a\\nb.json' has no name that a file can have everywhere"),
        (add("x" * 300 + ".json"), "has no name that a file can have everywhere"),
        (add("seed0.safetensors"), "the entry 'seed0.safetensors' is there twice"),
        (add("seed0.safetensors/more.json"), "cannot be unpacked"),
        (encrypted, "the entry 'secret.json' is encrypted"),
        (other_compression, "the entry 'a.json' is compressed in a way other than `deflate`"),
        (bomb, r"would have 30,0\d\d,\d\d\d bytes when unpacked, and may have at most"),
        (said_to_be_small, "cannot be unpacked"),
        (many, "has more than 10000 files"),
        (add("other/bundle.json"), "has 2 models: make a zip of one"),
    ],
)
def test_a_hostile_zip_is_refused_and_leaves_nothing(
    small: Path, tmp_path: Path, attack: Callable[[ZipFile], None], words: str
) -> None:
    (tmp_path / "work").mkdir()
    file = zipped(tmp_path / "work/a.zip", small)
    with ZipFile(file, "a") as archive, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate name")
        attack(archive)
    before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
    assert refused(file, words).startswith(f"{file}: ")
    assert {path for path in tmp_path.rglob("*") if "cache" not in path.parts} == before
    assert list((tmp_path / "cache").rglob("*.json")) == []


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\5\6" + bytes(18), b"no zip at all"])
def test_what_is_no_zip_of_a_model_is_refused(small: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path / "a.zip", r"a\.zip: (cannot be unpacked|has no bundle.json)")
    refused(tmp_path / "b.zip", r"b\.zip: no such file")
    whole = zipped(tmp_path / "c.zip", small).read_bytes()
    (tmp_path / "c.zip").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "c.zip", r"c\.zip: cannot be unpacked")


@pytest.mark.parametrize("name", ["extra.py", "extra.bin", "encoders/extra.pt", "README.md/extra.py"])
def test_a_file_that_is_not_the_bundles_own_is_refused(small: Path, tmp_path: Path, name: str) -> None:
    (small / name).parent.mkdir(exist_ok=True)
    (small / name).write_bytes(b"print('was run')")
    refused(small, f"{name}: is no file that bundle.json names; remove it")
    refused(zipped(tmp_path / "a.zip", small), f"a.zip: .*{name}: is no file that bundle.json names")
    assert list((tmp_path / "cache/bundles").iterdir()) == []


def test_a_card_that_was_changed_and_hidden_files_break_no_bundle(small: Path) -> None:
    for written in ("a card", "another card"):
        (small / "README.md").write_text(written)
        (small / ".gitattributes").write_text(written)
        assert open_bundle(small).corpus == "small"
