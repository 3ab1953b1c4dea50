"""The validation scores of a search that was made before, read from its search.csv.

A search is more than half of a report's trainings. `report.search.given` of paper/params.yaml has the scores of points
that need no training, because they were tried elsewhere: `python -m paper.reports … --search FILE` takes them from the
search.csv of a report, as in docs/reports.
"""

from pathlib import Path

from foundation.csv_file import read_csv
from foundation.errors import UserError
from foundation.settings import Settings
from paper.params import Given
from pipeline.params import ModelName, checked

COLUMNS = ("corpus", "model", "learning_rate", "dropout", "batch", "seeds", "validation_weighted_f1")
REMEDY = "give the search.csv of a report (docs/reports), as it was written"


class Tried(Settings):
    """What a search.csv has."""

    points: dict[ModelName, list[Given]]


def read_given(file: Path, corpus: str, seeds: int) -> dict[str, list[dict[str, object]]]:
    """Read the points of a search.csv in their order, by model, as `report.search.given` has them for a corpus.

    Args:
        seeds: number of seeds that each point must have been trained with.

    Raises:
        UserError: there is no such file, it is broken, or it is of another corpus or number of seeds.
    """
    lines = read_csv(file, COLUMNS, _line, REMEDY)
    points: dict[str, list[dict[str, object]]] = {}
    for of_corpus, model, of_seeds, point in lines:
        if of_corpus != corpus:
            raise UserError(f"{file}: is a search on {of_corpus}, and not on {corpus}; {REMEDY} on {corpus}")
        if of_seeds != seeds:
            raise UserError(f"{file}: its points have {of_seeds} seed(s), and those of this report have {seeds} "
                            "(report.search.seeds)")  # fmt: skip
        points.setdefault(model, []).append(point)
    if not points:
        raise UserError(f"{file}: has no rows; {REMEDY}")
    return checked({"points": points}, Tried, file).model_dump()["points"]


def _line(line: dict[str, str]) -> tuple[str, str, int, dict[str, object]]:
    score = line["validation_weighted_f1"]
    return line["corpus"], line["model"], int(line["seeds"]), {
        "learning_rate": float(line["learning_rate"]),
        "dropout": float(line["dropout"]),
        "batch": int(line["batch"]),
        "score": float(score) if score else None,  # a training whose loss was not finite
    }  # fmt: skip
