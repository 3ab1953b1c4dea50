"""The file results/D/history.csv, one row per epoch and seed."""

import csv
from pathlib import Path

from foundation.files import open_whole


def write_history(rows: list[dict[str, float]], file: Path) -> None:
    """Write loss terms and validation scores; a concurrent reader sees the complete earlier file."""
    with open_whole(file) as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: round(value, 6) for name, value in row.items()})
