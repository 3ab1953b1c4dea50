"""The raw and watch stages: a note and a link, never a copy, and never something else's removal."""

import argparse
from pathlib import Path

import pytest

from foundation.errors import UserError
from pipeline import raw, watch
from pipeline.corpora.material import Material, assemble
from pipeline.params import Params, load_params

PROJECT = Path(__file__).parents[2]
LINK, LISTING = Path("data/meld/watched"), Path("data/meld/source/files.txt")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))


def run(stage: object, folder: str) -> None:
    loaded = load_params(PROJECT / "params.yaml").model_dump()
    loaded["index"]["meld"]["raw"] = folder
    stage.run(argparse.Namespace(corpus="meld"), Params.model_validate(loaded))  # type: ignore[attr-defined]


def test_the_note_is_the_same_wherever_the_corpus_lies_and_needs_none() -> None:
    notes = []
    for folder in ("/nowhere", "elsewhere"):
        run(raw, folder)
        notes.append(Path("data/meld/source/note.txt").read_bytes())
    assert notes[0] == notes[1]
    assert b"index.meld.raw" in notes[0]


def test_the_link_follows_the_parameter(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(watch, name)
        assert LINK.resolve() == (tmp_path / name).resolve()
    run(watch, str(tmp_path / "one"))
    assert LINK.resolve() == (tmp_path / "one").resolve()


def test_the_listing_tells_a_changed_file_and_a_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "corpus" / "train"
    folder.mkdir(parents=True)
    (folder / "a.mp4").write_bytes(b"one")
    (folder.parent / "lost.mp4").symlink_to("/nowhere/at/all")
    seen = []
    for change in (lambda: None, lambda: None, lambda: (folder / "a.mp4").write_bytes(b"two"),
                   lambda: (folder / "b.mp4").touch()):  # fmt: skip
        change()
        run(watch, "corpus")
        seen.append(LISTING.read_text())
    assert seen[0] == seen[1]
    assert len(set(seen)) == 3
    assert [line.split(maxsplit=2)[2] for line in seen[-1].splitlines()] == ["lost.mp4", "train/a.mp4", "train/b.mp4"]


def test_a_watched_folder_that_does_not_exist_is_named_with_its_key() -> None:
    with pytest.raises(UserError, match=r"index\.meld\.raw = '/nowhere': there is no such folder"):
        run(watch, "/nowhere")


def test_a_real_folder_in_the_links_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    LINK.mkdir(parents=True)
    (LINK / "precious.mp4").touch()
    with pytest.raises(UserError, match="is a folder where a link"):
        run(watch, "corpus")
    assert (LINK / "precious.mp4").exists()


def test_the_demo_corpus_is_not_made_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").touch()
    with pytest.raises(UserError, match="is not empty and not a demo corpus"):
        raw.make_demo_corpus(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.tex").exists()
    (tmp_path / "thesis" / "README.txt").write_bytes("Prüfung".encode("latin-1"))
    with pytest.raises(UserError, match="is not empty and not a demo corpus"):
        raw.make_demo_corpus(tmp_path / "thesis")
    with pytest.raises(UserError, match=r"chapter1\.tex: is no folder, .*set index\.demo\.raw to another place"):
        raw.make_demo_corpus(tmp_path / "thesis" / "chapter1.tex")
    material = Material(**dict.fromkeys(("meld", "voices", "faces"), tmp_path), held_out=0.1, seed=0)
    with pytest.raises(UserError, match=r"chapter1\.tex: is no folder, .*name another place as the key `raw`"):
        assemble(material, tmp_path / "thesis" / "chapter1.tex")
