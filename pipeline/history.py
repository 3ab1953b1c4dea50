"""results/D/history.csv: a row an epoch and seed."""

import csv
from pathlib import Path


def write_history(rows: list[dict[str, float]], file: Path) -> None:
    """The loss terms and the validation score; whoever reads meanwhile sees the whole file of before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(".half")
    with half.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: round(value, 6) for name, value in row.items()})
    half.replace(file)
