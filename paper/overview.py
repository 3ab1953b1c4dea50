"""The reports in docs/reports side by side: weighted F1 of every model, by corpus and kind of text features.

    python -m paper.overview

It reads `comparison.csv` of each report and trains nothing. From these files it writes two parts of docs/results.md: a
table with a line for each report, and the scores of all models.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from foundation.csv_file import read_csv
from foundation.errors import UserError
from paper.model_table import SIGN
from paper.names import NAMES
from paper.settings import names, read_set
from paper.significance import LEVEL
from paper.words import markdown_table, rewrite
from pipeline.stage import command

REPORTS, PAGE = Path("docs/reports"), Path("docs/results.md")
MARKS = ("<!-- written by python -m paper.overview -->", "<!-- end of the overview -->")
GLANCE = ("<!-- a line for each report, written by python -m paper.overview -->", "<!-- end of the lines -->")
BETTER, WORSE = "▲", "▼"
"""Signs of a model that is better, or worse, than CMATH beyond chance."""
PLAIN = {
    "logistic": "*logistic regression, what the models read*", "logistic_text": "*logistic regression, text alone*",
    "encoder": "*fine-tuned text encoder alone*", "majority": "*majority-class baseline*",
}  # fmt: skip
"""What needs no model of the dialogue, in the order of the table."""
MISSING = "-"
NUMBERS = (
    "weighted_f1", "weighted_f1_std", "validation_weighted_f1", "ensemble_weighted_f1", "cmath_difference",
    "cmath_p_seeds_holm", "cmath_p_utterances_holm",
)  # fmt: skip
COLUMNS = ("model", "source", "seen", *NUMBERS)
"""Columns that are read from comparison.csv."""
REMEDY = "`git restore` brings a committed report back, and `python -m paper.reports` makes it anew"

Rows = dict[str, dict[str, str]]
"""Our rows of one comparison.csv, by model."""


@dataclass(frozen=True, slots=True)
class Column:
    """One report in the table of a corpus."""

    kind: str
    """Kind of text features."""
    rows: Rows | None
    """None if this report was not made."""


def read(file: Path) -> Rows:
    """Read our rows of a comparison.csv, without those that the paper prints.

    Raises:
        UserError: the file is broken or cut short, or lacks CMATH.
    """
    found = read_csv(file, COLUMNS, _checked, REMEDY)
    rows = {row["model"]: row for row in found if row["source"] == "here"}
    for model in ("cmath", "majority"):  # the majority class stands in the last row
        if model not in rows:
            raise UserError(f"{file}: has no row of {model}; {REMEDY}")
    return rows


def _checked(row: dict[str, str]) -> dict[str, str]:
    needed = {"weighted_f1"} if row["source"] == "here" else set[str]()
    if needed and row["model"] in NAMES:
        needed.add("validation_weighted_f1")
    if needed and row["model"] == "cmath":
        needed.add("ensemble_weighted_f1")
    if row["cmath_p_utterances_holm"]:
        needed.add("cmath_difference")
    for name in NUMBERS:
        if row[name] or name in needed:
            if not row[name]:
                raise ValueError(f"{row['model']} has no {name}")
            if not math.isfinite(float(row[name])):
                raise ValueError(f"{name} of {row['model']} is no finite number")
    return row


def cell(row: dict[str, str] | None) -> str:
    """`61.46 ± 0.12 ▼`: mean and standard deviation, and whether it differs from CMATH beyond chance.

    What is trained once has no seeds, so of it the test over utterances decides alone.
    """
    if row is None:
        return MISSING
    score = f"{float(row['weighted_f1']):.2f}"
    tests = ["cmath_p_utterances_holm"]
    if row["weighted_f1_std"]:
        score += f" ± {float(row['weighted_f1_std']):.2f}"
        tests.append("cmath_p_seeds_holm")
    if all(row[test] and float(row[test]) < LEVEL for test in tests):
        score += f" {WORSE if float(row['cmath_difference']) > 0 else BETTER}"
    return f"{score} {SIGN}" if row["seen"] else score


def place(rows: Rows) -> str:
    """`2 of 11`: the place of CMATH among the models by weighted F1 on test."""
    scores = {model: float(rows[model]["weighted_f1"]) for model in NAMES if model in rows}
    return f"{1 + sum(score > scores['cmath'] for score in scores.values())} of {len(scores)}"


def together(rows: Rows) -> str:
    """Weighted F1 of CMATH's seeds as one model."""
    return f"{float(rows['cmath']['ensemble_weighted_f1']):.2f}"


def chosen(rows: Rows) -> str:
    """`MultiDAG: 63.93`: the model with the best score on validation, and what it has on test."""
    scores = {model: float(rows[model]["validation_weighted_f1"]) for model in NAMES if model in rows}
    model = max(scores, key=lambda name: scores[name])
    return f"{NAMES[model]}: {float(rows[model]['weighted_f1']):.2f}"


def best_baseline(rows: Rows) -> str:
    """`MM-DFN: 67.20 ± 1.03`: the baseline with the highest score on test, and whether it differs beyond chance."""
    model = max((name for name in NAMES if name in rows and name != "cmath"), default="",
                key=lambda name: float(rows[name]["weighted_f1"]))  # fmt: skip
    return f"{NAMES[model]}: {cell(rows[model])}" if model else MISSING


def glance(sets: dict[str, list[Column]]) -> list[str]:
    """Lines of the table of all reports that were made, a report a row."""
    head = ["report", "CMATH", "its place", "best baseline on test", "validation would choose",
            "logistic regression", "majority class"]  # fmt: skip
    rows = [
        [f"[{name}, {column.kind}]({_page(name, column.kind)})", cell(one["cmath"]), place(one), best_baseline(one),
         chosen(one), cell(one.get("logistic")), cell(one["majority"])]
        for name, columns in sets.items() for column in columns if (one := column.rows)
    ]  # fmt: skip
    return markdown_table(head, rows)


def _page(name: str, kind: str) -> str:
    return f"reports/{name}_{kind}/README.md"


def table(name: str, columns: list[Column]) -> list[str]:
    """Lines of the table of one set of settings: a model a row, a kind of text features a column."""
    made = [column.rows or {} for column in columns]
    head = [name, *(f"[{column.kind}]({_page(name, column.kind)})" if column.rows else column.kind
                    for column in columns)]  # fmt: skip
    said = {**NAMES, **PLAIN}
    there = [model for model in said if any(model in one for one in made)]
    rows = [[said[model], *(cell(one.get(model)) for one in made)] for model in there]
    last = {"CMATH, its seeds as one model": together, "place of CMATH": place, "validation would choose": chosen}
    rows += [[words, *(function(one) if one else MISSING for one in made)] for words, function in last.items()]
    return markdown_table(head, rows)


def reports() -> dict[str, list[Column]]:
    """The reports of each set in paper/sets that has one."""
    found = {}
    for name in names():
        files = {kind: REPORTS / f"{name}_{kind}" / "comparison.csv" for kind in read_set(name).text}
        columns = [Column(kind, read(file) if file.is_file() else None) for kind, file in files.items()]
        if any(column.rows for column in columns):
            found[name] = columns
    return found


def lines(sets: dict[str, list[Column]]) -> list[str]:
    """Lines of the tables of all sets."""
    return [line for name, columns in sets.items() for line in (*table(name, columns), "")][:-1]


def write_page() -> None:
    sets = reports()
    rewrite(PAGE, {GLANCE: glance(sets), MARKS: lines(sets)})


if __name__ == "__main__":
    argparse.ArgumentParser("python -m paper.overview", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()  # fmt: skip
    command(write_page)
