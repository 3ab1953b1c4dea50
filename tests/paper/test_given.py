"""A search.csv that was made before, as `report.search.given` has it: read as it was written, refused if it is not."""

import csv
from pathlib import Path

import pytest

from foundation.errors import UserError
from paper.given import read_given
from tests.paper.small import PROJECT

HEAD = "corpus,model,learning_rate,dropout,batch,seeds,validation_weighted_f1,chosen,edge,given"
LINES = (
    "meld,cmath,3e-05,0.5,4,1,59.6768,yes,batch,",
    "meld,cmath,0.03,0.5,4,1,,,,",
    "meld,sdt,0.0001,0.0,16,1,0.0,,,yes",
)


def write(folder: Path, *lines: str) -> Path:
    (folder / "search.csv").write_text("\n".join([HEAD, *lines, ""]))
    return folder / "search.csv"


def test_points_stand_by_model_in_their_order(tmp_path: Path) -> None:
    assert read_given(write(tmp_path, *LINES), "meld", 1) == {
        "cmath": [
            {"learning_rate": 3e-05, "dropout": 0.5, "batch": 4, "score": 59.6768},
            {"learning_rate": 0.03, "dropout": 0.5, "batch": 4, "score": None},
        ],
        "sdt": [{"learning_rate": 0.0001, "dropout": 0.0, "batch": 16, "score": 0.0}],
    }


@pytest.mark.parametrize(
    "file", sorted((PROJECT / "docs/reports").glob("*/search.csv")), ids=lambda file: file.parent.name
)
def test_the_searches_of_the_committed_reports_are_read(file: Path) -> None:
    with file.open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    found = read_given(file, lines[0]["corpus"], 1)
    assert [(model, one["learning_rate"], one["batch"]) for model, points in found.items() for one in points] == [
        (line["model"], float(line["learning_rate"]), int(line["batch"])) for line in lines
    ]


@pytest.mark.parametrize(
    ("lines", "said"),
    [((), r"search\.csv: has no rows; give the search\.csv of a report"),
     (("iemocap,cmath,0.1,0.5,4,1,50,,,",), r"search\.csv: is a search on iemocap, and not on meld; give"),
     (("meld,cmath,0.1,0.5,4,3,50,,,",), r"search\.csv: its points have 3 seed\(s\), and those of this report have 1 "),
     ((LINES[0], "meld,cmath,a,0.5,4,1,50,,,"), r"search\.csv, line 3: could not convert string to float: 'a'; give"),
     (("meld,cmath,0.1,0.5,4.5,1,50,,,",), r"search\.csv, line 2: invalid literal"),
     (("meld,cmath,0.1,0.5,4",), r"search\.csv, line 2: has more or fewer fields"),
     (("meld,nobody,0.1,0.5,4,1,50,,,",), r"search\.csv: points\.nobody"),
     (("meld,cmath,-0.1,0.5,4,1,50,,,",), r"search\.csv: points\.cmath.*learning_rate = -0\.1"),
     (("meld,cmath,nan,0.5,4,1,50,,,",), r"search\.csv: points\.cmath.*learning_rate = nan"),
     (("meld,cmath,0.1,1.5,4,1,50,,,",), r"search\.csv: points\.cmath.*dropout = 1\.5"),
     (("meld,cmath,0.1,0.5,0,1,50,,,",), r"search\.csv: points\.cmath.*batch = 0"),
     (("meld,cmath,0.1,0.5,4,1,101,,,",), r"search\.csv: points\.cmath.*score = 101")],
)  # fmt: skip
def test_a_search_of_something_else_or_a_broken_one_is_refused(
    lines: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        read_given(write(tmp_path, *lines), "meld", 1)


def test_a_file_that_is_missing_or_has_no_scores_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"search\.csv: no such file; give the search\.csv of a report"):
        read_given(tmp_path / "search.csv", "meld", 1)
    (tmp_path / "search.csv").write_text("corpus,model\n")
    with pytest.raises(UserError, match=r"search\.csv: has no column learning_rate"):
        read_given(tmp_path / "search.csv", "meld", 1)
