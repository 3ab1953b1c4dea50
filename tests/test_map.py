"""The map of the rooms in CONTRIBUTING.md is true: it names every module, and what it names is there."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
TEXT = (PROJECT / "CONTRIBUTING.md").read_text("utf-8")
ROOMS = dict(re.findall(r"^\| `([\w/]+)/` \| (.*)$", TEXT, re.MULTILINE))
"""Row of each room that is a folder."""
CODE = ("foundation", "extractors", "model", "pipeline", "paper", "bench")
OF_ONE_KIND = {"model/baselines", "bench", "tests", "paper"}
"""Rooms whose files are all of one kind, or, as those of paper/, are in a table of their own."""


def modules(room: str) -> set[str]:
    return {file.stem for file in (PROJECT / room).glob("*.py")} - {"__init__", "settings"}


@pytest.mark.parametrize("room", sorted(ROOMS.keys() - OF_ONE_KIND))
def test_the_map_names_every_module_of_a_room(room: str) -> None:
    named = {Path(name).stem for name in re.findall(r"`([\w.]+)`", ROOMS[room])}
    assert modules(room) <= named
    files = {name.removesuffix(".py") for name in re.findall(r"`(\w+\.py)`", ROOMS[room])}
    assert files <= modules(room) | {"settings"}


def test_every_package_is_a_room() -> None:
    for top in CODE:
        folders = {str(file.parent.relative_to(PROJECT)) for file in (PROJECT / top).rglob("*.py")}
        assert folders - {"pipeline"} <= ROOMS.keys()  # whose own scripts have the row pipeline/*.py


def test_every_library_of_the_second_pipeline_is_named() -> None:
    section = TEXT.partition("## The second pipeline")[2].partition("\n## ")[0]
    stages = re.findall(r"`(\w+)`", ROOMS["paper"])
    assert modules("paper") <= {*re.findall(r"`(?:paper/)?(\w+)\.py`", section), *stages}


@pytest.mark.parametrize(("file", "name"), re.findall(r"`([\w/]+\.py): (\w+)[\w.]*`", TEXT.replace(":\n   ", ": ")))
def test_what_the_way_of_an_utterance_names_is_there(file: str, name: str) -> None:
    files = (path for room in CODE for path in (PROJECT / room).rglob(Path(file).name))
    found = [path for path in files if path.as_posix().endswith(f"/{file}")]
    assert any(re.search(rf"^(class|def|async def) {name}\b|^    def {name}\b|^{name} = ", path.read_text("utf-8"),
                         re.MULTILINE) for path in found)  # fmt: skip
