"""Names from outside as names of files: in their folder, on every file system, and no two of them one file."""

import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.safe_names import LONGEST, distinct, safe_name

NASTY = (
    "", ".", "..", "...", "../../etc/passwd", "/etc/passwd", "..\\..\\x", "C:\\x", "C:x", "a/b", "a\0b", "a\nb",
    "\x1b[2J", "\u202egpj.exe", "CON", "nul.txt", "com1.tar.gz", "LPT9 ", "aux .mp4", "talk.", "talk ", "talk. . ",
    ".hidden", "..srt", "a" * 300, "語" * 100, "a" * 300 + ".mp4", "\udcff\udce9.mp4", "con" + "x" * 300, "." * 300,
    "a." + "b" * 300, "\ufeff", " ", "nul\n.mp4", "*?\"<>|:",
)  # fmt: skip


def is_safe(made: str) -> bool:
    """Whether a name is one file in its folder, by Python's own rules of both systems, and one that is short enough."""
    windows = PureWindowsPath("folder") / made
    return (
        (PurePosixPath("folder") / made).parts == windows.parts == ("folder", made)
        and made not in (".", "..")
        and not windows.is_reserved()
        and made[-1] not in ". "
        and not made.startswith(".")
        and all(unicodedata.category(sign) not in ("Cc", "Cs") for sign in made)
        and len(made.encode()) <= LONGEST
    )


@pytest.mark.parametrize(
    "name", ["talk", "talk #2, 50 %", "dia1_utt0.mp4", "会议 3", "été", "e\u0301", "a.b.c", "~x", "-x"]
)
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert safe_name(name) == name


def test_no_name_leaves_its_folder_and_no_two_become_one(tmp_path: Path) -> None:
    made = [safe_name(name) for name in NASTY]
    assert [name for name in made if not is_safe(name)] == []
    assert len(set(made)) == len(NASTY)
    for name in made:
        (tmp_path / name).mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(made)


def test_the_ending_of_a_file_stays() -> None:
    assert [Path(safe_name(name)).suffix for name in ("a" * 300 + ".mp4", "a/b.TextGrid", "..x:y.srt")] == [
        ".mp4", ".TextGrid", ".srt"
    ]  # fmt: skip
    assert safe_name("a:b.mp4").startswith("a_b-")


@given(st.text(st.characters(codec=None), max_size=400))
def test_any_text_becomes_a_safe_name_that_stays_one(name: str) -> None:
    made = safe_name(name)
    assert is_safe(made)
    assert safe_name(made) == made


@given(st.lists(st.text("aAéÉ/\\. ()2", max_size=3), max_size=8))
def test_names_of_one_folder_are_distinct_where_case_makes_no_difference(names: list[str]) -> None:
    made = distinct(names)
    assert len({unicodedata.normalize("NFC", name.casefold()) for name in made}) == len(names)
    assert all(map(is_safe, made))


def test_the_first_of_several_keeps_its_name() -> None:
    assert distinct(["a", "A", "a", "b"]) == ["a", "A (2)", "a (3)", "b"]
    assert distinct(["e\u0301", "\xe9"]) == ["e\u0301", "\xe9 (2)"]
