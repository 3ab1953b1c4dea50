"""The raw stage: a link to where the corpus lies, never a copy, and never something else's removal."""

import argparse
from pathlib import Path

import pytest

from pipeline import raw
from pipeline.params import Params, load_params
from pipeline.stage import StageError

PROJECT = Path(__file__).parents[2]


def params(folder: str, watch: bool = True) -> Params:
    loaded = load_params(PROJECT / "params.yaml").model_dump()
    loaded["index"]["meld"] |= {"raw": folder, "watch": watch}
    return Params.model_validate(loaded)


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def link(folder: str, watch: bool = True) -> Path:
    raw.run(argparse.Namespace(corpus="meld"), params(folder, watch))
    return Path("data/meld/raw")


def test_the_link_follows_the_parameter(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert link(name).resolve() == (tmp_path / name).resolve()
    assert link(str(tmp_path / "one")).resolve() == (tmp_path / "one").resolve()


def test_a_corpus_that_is_not_watched_has_a_file_in_the_links_place(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "precious.mp4").touch()
    link("one")
    assert link("one", watch=False).is_file()
    assert not link("nowhere", watch=False).is_symlink()  # what is not looked at need not be there
    assert "index.meld.watch is false" in link("one", watch=False).read_text()
    assert link("one").resolve() == tmp_path / "one"
    assert (tmp_path / "one" / "precious.mp4").exists()


def test_a_folder_that_does_not_exist_is_named_with_its_key(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"index\.meld\.raw = '/nowhere': there is no such folder"):
        link("/nowhere")


def test_a_real_folder_in_the_links_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    inside = tmp_path / "data" / "meld" / "raw"
    inside.mkdir(parents=True)
    (inside / "precious.mp4").touch()
    with pytest.raises(StageError, match="is a folder where a link"):
        link("corpus")
    with pytest.raises(StageError, match=r"is a folder where a file .index\.meld\.watch is false. should be"):
        link("data/meld/raw", watch=False)
    assert link("data/meld/raw").is_dir()
    assert (inside / "precious.mp4").exists()


def test_the_demo_corpus_is_not_made_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").touch()
    with pytest.raises(StageError, match="is not empty and not a demo corpus"):
        raw.make_demo_corpus(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").exists()
