"""The overview of the reports: what its cells, its last rows and its links say, and that docs/results.md has it."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.errors import UserError
from paper import overview
from paper.overview import glance, lines, read, reports
from tests.paper.small import PROJECT

HEAD = ("model,source,weighted_f1,weighted_f1_std,validation_weighted_f1,cmath_difference,cmath_p_seeds_holm,"
        "cmath_p_utterances_holm,seen,ensemble_weighted_f1\n")  # fmt: skip


def filled(rows: str) -> str:
    """A comparison.csv of rows whose last cells, if empty, are left out."""
    lines = [line + "," * (HEAD.count(",") + 1 - len(next(csv.reader([line])))) for line in rows.splitlines()]
    return HEAD + "\n".join(lines) + "\n"


ONE = """cmath,here,61.654,0.115,59.7,,,,,62.345
cmath,"paper, Table 3",66.93,,,,,,
sdt,here,61.2,0.44,60.5,0.4,0.04,0.051,
ctnet,here,64,0.2,58,-2.35,0.01,0.049,
multidag,here,59.8,1.5,57,1.85,0.001,0.04,
mmgcn,here,61.9,0.3,57,-0.25,,0.001,a published file
logistic,here,61.67,,56.3,-0.02,,0.9,
majority,here,31.27,,,,,,
"""
TWO = "cmath,here,50,1,50,,,,,52.5\nencoder,here,45,,,5,,0.04,\nmajority,here,20,,,,,,\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with two sets, one of which has two of its three reports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("paper.settings.SETS", tmp_path / "sets")
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/a.yaml").write_text("main: {}\nreport: {}\ntext: {frozen: {}, tuned: {}, context: {}}\n")
    (tmp_path / "sets/b.yaml").write_text("main: {}\nreport: {}\ntext: {frozen: {}}\n")
    (tmp_path / "sets/c.yaml").write_text("main: {}\nreport: {}\n")
    for name, rows in (("a_frozen", ONE), ("a_context", TWO)):
        (tmp_path / "docs/reports" / name).mkdir(parents=True)
        (tmp_path / "docs/reports" / name / "comparison.csv").write_text(filled(rows))
    return tmp_path


def test_a_table_has_a_row_for_each_model_and_a_column_for_each_kind_of_text(folder: Path) -> None:
    head, _, *rows = lines(reports())
    assert head == "| a | [frozen](reports/a_frozen/README.md) | tuned | [context](reports/a_context/README.md) |"
    assert rows == [
        "| CMATH | 61.65 ± 0.12 | - | 50.00 ± 1.00 |",
        "| SDT | 61.20 ± 0.44 | - | - |",  # one of the two tests alone does not suffice
        "| MMGCN | 61.90 ± 0.30 † | - | - |",  # without a test over seeds nothing is beyond chance
        "| CTNet | 64.00 ± 0.20 ▲ | - | - |",
        "| MultiDAG | 59.80 ± 1.50 ▼ | - | - |",
        "| *logistic regression, what the models read* | 61.67 | - | - |",
        "| *fine-tuned text encoder alone* | - | - | 45.00 ▼ |",  # trained once
        "| *majority-class baseline* | 31.27 | - | 20.00 |",
        "| CMATH, its seeds as one model | 62.34 | - | 52.50 |",
        "| place of CMATH | 3 of 5 | - | 1 of 1 |",
        "| validation would choose | SDT: 61.20 | - | CMATH: 50.00 |",
    ]


def test_a_report_has_a_line_with_the_first_baseline_and_the_choice_of_validation(folder: Path) -> None:
    head, _, *rows = glance(reports())
    assert head == ("| report | CMATH | its place | best baseline on test | validation would choose | "
                    "logistic regression | majority class |")  # fmt: skip
    assert rows == [
        "| [a, frozen](reports/a_frozen/README.md) | 61.65 ± 0.12 | 3 of 5 | CTNet: 64.00 ± 0.20 ▲ | SDT: 61.20 | "
        "61.67 | 31.27 |",
        "| [a, context](reports/a_context/README.md) | 50.00 ± 1.00 | 1 of 1 | - | CMATH: 50.00 | - | 20.00 |",
    ]


def test_the_best_baseline_may_be_worse_than_cmath(folder: Path) -> None:
    worse = "".join(line for line in ONE.splitlines(keepends=True) if not line.startswith(("ctnet", "mmgcn", "sdt")))
    (folder / "docs/reports/a_frozen/comparison.csv").write_text(filled(worse))
    assert " | 1 of 2 | MultiDAG: 59.80 ± 1.50 ▼ | CMATH: 61.65 | " in glance(reports())[2]


def test_tables_of_two_sets_stand_below_one_another(folder: Path) -> None:
    (folder / "docs/reports/b_frozen").mkdir()
    (folder / "docs/reports/b_frozen/comparison.csv").write_text(filled(TWO))
    found = lines(reports())
    assert found[13:15] == ["", "| b | [frozen](reports/b_frozen/README.md) |"]
    assert found[-1] == "| validation would choose | CMATH: 50.00 |"


@pytest.mark.parametrize(
    ("text", "said"),
    [("", ": has no column model;"),
     (filled(ONE).replace(",seen", ",sign"), ": has no column seen;"),
     (filled("majority,here,31\n"), ": has no row of cmath;"),
     (filled(ONE).rsplit("majority", 1)[0], ": has no row of majority;"),  # cut at the end of a line
     (filled(ONE)[:-20], ", line 9: has more or fewer fields"),  # cut in a line
     (filled(ONE).replace("61.654", "a"), ", line 2: could not convert string to float: 'a';"),
     (filled(ONE).replace("61.654", ""), ", line 2: cmath has no weighted_f1;"),
     (filled(ONE).replace("61.654", "nan"), ", line 2: weighted_f1 of cmath is no finite number;"),
     (filled(ONE).replace("62.345", ""), ", line 2: cmath has no ensemble_weighted_f1;"),
     (filled(ONE).replace("60.5", ""), ", line 4: sdt has no validation_weighted_f1;"),
     (filled(ONE).replace("-2.35", ""), ", line 5: ctnet has no cmath_difference;"),
     (filled(ONE).replace("0.051", "?"), ", line 4: could not convert string to float: '?';")],
)  # fmt: skip
def test_a_file_that_is_no_comparison_is_named(folder: Path, text: str, said: str) -> None:
    file = folder / "docs/reports/a_frozen/comparison.csv"
    file.write_text(text)
    with pytest.raises(UserError, match=re.escape(f"a_frozen/comparison.csv{said}")):
        read(file)


@pytest.mark.parametrize("marks", [overview.MARKS, overview.GLANCE])
def test_a_page_without_its_marks_is_as_it_was(folder: Path, marks: tuple[str, str]) -> None:
    (begin, end), [other] = marks, {overview.MARKS, overview.GLANCE} - {marks}
    rest = "\n".join(other)
    wrong = ["# Results\n", f"{begin}\ntext\n", f"{end}\n{begin}\ntext\n", f"{begin}\n{begin}\n{end}\n",
             f"{begin}\n{end}\n{end}\n", "\xe9"]  # fmt: skip
    for text in (one + rest for one in wrong):
        (folder / overview.PAGE).write_bytes(text.encode("latin-1"))
        with pytest.raises(UserError, match=r"docs/results\.md: .*; `git restore docs/results\.md` brings back"):
            overview.write_page()
        assert (folder / overview.PAGE).read_bytes() == text.encode("latin-1")
    (folder / overview.PAGE).unlink()
    with pytest.raises(UserError, match=r"docs/results\.md: no such file; "):
        overview.write_page()


def test_docs_results_has_the_overview_of_the_reports_that_are_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    page, made = overview.PAGE.read_text("utf-8"), reports()
    for (begin, end), expected in ((overview.MARKS, lines(made)), (overview.GLANCE, glance(made))):
        assert page.partition(begin)[2].partition(end)[0].strip().splitlines() == expected


def test_the_command_writes_the_page(folder: Path) -> None:
    page = folder / overview.PAGE
    parts = ["\nold\n".join(marks) for marks in (overview.GLANCE, overview.MARKS)]
    page.write_text("# Results\n\n" + "\n\nBetween.\n\n".join(parts) + "\n\nMore.\n", "utf-8")
    # The command has the project's sets.
    (folder / "docs/reports/a_frozen").rename(folder / "docs/reports/meld_text_frozen")
    for place in ("paper", "pipeline", "foundation", "extractors", "model"):
        (folder / place).symlink_to(PROJECT / place)
    subprocess.run([sys.executable, "-m", "paper.overview"], cwd=folder, check=True)
    text = page.read_text("utf-8")
    assert "old" not in text
    assert text.endswith("\n\nMore.\n")
    assert "\n\nBetween.\n\n" in text
    assert text.index("| [meld_text, frozen](reports/meld_text_frozen/") < text.index("| CMATH | 61.65")
