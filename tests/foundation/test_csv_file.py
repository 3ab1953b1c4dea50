"""CSV files that the project wrote, after somebody or something changed them."""

from pathlib import Path

import pytest

from foundation.csv_file import read_csv
from foundation.errors import UserError


def scores(file: Path) -> list[tuple[str, float]]:
    return read_csv(file, ["name", "score"], lambda row: (row["name"], float(row["score"])), "make it anew")


def test_rows_come_back_with_what_names_of_files_may_hold(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_bytes(b'name,score\n"a, ""b""\nc",1.5\ncaf\xe9.mp4,2\n')
    assert scores(file) == [('a, "b"\nc', 1.5), ("caf\udce9.mp4", 2.0)]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ": has no column name; make it anew"),
        ("name,other\na,1\n", ": has no column score; make it anew"),
        ("name,score,name\na,1,b\n", ": has a column twice; make it anew"),
        ("name,score\na,1\nb\n", ", line 3: has more or fewer fields than the header has columns; make it anew"),
        ("name,score\na,1,2\n", ", line 2: has more or fewer fields than the header has columns; make it anew"),
        ("name,score\na,much\n", ", line 2: could not convert string to float: 'much'; make it anew"),
        ('name,score\n"a,1\n', ", line 1: is not a CSV row (unexpected end of data); make it anew"),
        (f"name,score\n{'a' * 200_000},1\n", ", line 1: is not a CSV row (field larger than field limit (131072))"),
    ],
)
def test_a_broken_file_is_named_with_the_line_and_the_remedy(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "scores.csv"
    file.write_text(content)
    with pytest.raises(UserError) as caught:
        scores(file)
    assert str(caught.value).startswith(f"{file}{said}")


def test_a_file_that_is_not_there_has_the_remedy_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.csv: no such file; make it anew$"):
        scores(tmp_path / "none.csv")
