"""Results that the paper prints, read from paper/published.yaml."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from foundation.errors import UserError
from foundation.settings import KeyedError, Settings
from pipeline.params import ParamsError, checked, read_yaml

FILE = Path("paper/published.yaml")
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]
"""Two numbers, as accuracy and weighted F1."""


class Statistics(Settings):
    """Table 1."""

    table: int
    rows: dict[str, Annotated[list[int | float], Field(min_length=7, max_length=7)]]


class Models(Settings):
    """Table 2 or 3: of each model the F1 of each class, accuracy and weighted F1; null where the paper has a dash."""

    table: int
    classes: list[str]
    rows: dict[str, list[float | None]]

    @model_validator(mode="after")
    def _whole(self) -> "Models":
        if "cmath" not in self.rows or len(self.rows) < 2:
            raise KeyedError("rows", list(self.rows), "must have cmath and a baseline")
        for model, row in self.rows.items():
            if len(row) != len(self.classes) + 2 or row[-1] is None:
                raise KeyedError(f"rows.{model}", row, "must have a value for each class, accuracy and weighted F1")
        return self


class Study(Settings):
    """Table 4 or 5: accuracy and weighted F1 of each setting, by corpus."""

    table: int
    rows: dict[str, dict[str, Pair]]


class Published(Settings):
    """paper/published.yaml."""

    statistics: Statistics
    comparison: dict[str, Models]
    ablations: Study
    modalities: Study
    widths: dict[str, int]
    lengths: dict[str, Annotated[list[float], Field(min_length=3, max_length=3)]]
    gammas: dict[str, Pair]
    receipts: dict[str, Any]


def _read(file: Path) -> dict[str, Any]:
    """Content of the file, of which every part is there.

    Raises:
        UserError: there is no such file, or it is broken.
    """
    restored = f"`git restore {file}` brings back the committed one"
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: has no numbers; {restored}")
    try:
        return checked(content, Published, file).model_dump()
    except ParamsError as error:
        raise UserError(f"{error}; {restored}") from None


def published_scores(corpus: str, file: Path = FILE) -> tuple[int | None, dict[str, dict]]:
    """Number and rows of the table that compares models on `corpus`; None and no rows if the paper lacks the corpus.

    A row has `accuracy`, `weighted_f1` and `f1` by class, in percent; None where the paper prints a dash.
    """
    content = _read(file)
    table = content["comparison"].get(corpus)
    if table is None:
        return None, {}
    rows = {}
    for model, values in table["rows"].items():
        *f1, accuracy, weighted_f1 = values
        by_class = dict(zip(table["classes"], f1, strict=True))
        rows[model] = {"accuracy": accuracy, "weighted_f1": weighted_f1, "f1": by_class}
    return table["table"], rows


def published_statistics(corpus: str, file: Path = FILE) -> list[int | float] | None:
    """Row of Table 1; None if the paper lacks the corpus.

    It has conversations, utterances, and utterances per conversation, each for train with validation and for test; and
    the number of classes.
    """
    content = _read(file)
    row: list[int | float] | None = content["statistics"]["rows"].get(corpus)
    return row


def published_study(study: str, corpus: str, file: Path = FILE) -> tuple[int, dict[str, list[float]]]:
    """Number of the table of `ablations` or `modalities`, and accuracy and weighted F1 of each setting.

    There are no rows if the paper lacks the corpus.
    """
    content = _read(file)
    return content[study]["table"], content[study]["rows"].get(corpus, {})


def receipts(file: Path = FILE) -> dict:
    """What is known of published rows: `kinds` of features, and `rows`; see paper/receipts.py."""
    content = _read(file)
    found: dict = content["receipts"]
    return found


def published_margins(corpus: str, file: Path = FILE) -> dict[str, float]:
    """Differences of weighted F1, in points, that the paper's claims rest on; empty if the paper lacks the corpus.

    The names are those of paper/claims.py. `C1`, `C2` and `C3` are percent of MultiDAG's score.
    """
    content = _read(file)
    rows = content["comparison"].get(corpus, {}).get("rows")
    if rows is None:
        return {}
    models = {model: values[-1] for model, values in rows.items()}
    whole = models.pop("cmath")
    without = {name: values[1] for name, values in content["ablations"]["rows"][corpus].items()}
    sets = {name: values[1] for name, values in content["modalities"]["rows"][corpus].items()}
    found = {
        "best": whole - max(models.values()),
        **{name: whole - score for name, score in without.items()},
        "high_low": without["lld"] - without["hld"],
        "whole": whole - max(sets.values()),
        "audio_helps": sets["text+audio"] - sets["text"],
        "visual_helps": sets["text+visual"] - sets["text"],
        "text_audio": sets["text"] - sets["audio"],
        "audio_visual": sets["audio"] - sets["visual"],
        **dict(zip(("C1", "C2", "C3"), content["lengths"][corpus], strict=True)),
    }
    return {name: round(value, 2) for name, value in found.items()}


def published_best(corpus: str, file: Path = FILE) -> tuple[int, tuple[float, float]] | None:
    """Best width, and best weights of both distillations; None if the paper lacks the corpus."""
    content = _read(file)
    if corpus not in content["widths"]:
        return None
    first, second = content["gammas"][corpus]
    return content["widths"][corpus], (first, second)
