"""What the paper prints, from paper/published.yaml."""

from pathlib import Path

from pipeline.params import read_yaml

FILE = Path("paper/published.yaml")


def published_scores(corpus: str, file: Path = FILE) -> tuple[int | None, dict[str, dict]]:
    """Number of the table that compares models on `corpus`, and its rows by model: `accuracy`, `weighted_f1` and `f1`
    by class, percent, None where the paper prints a dash. Nothing for a corpus that the paper does not have."""
    content: dict = read_yaml(file)  # type: ignore[assignment]
    table = content["comparison"].get(corpus)
    if table is None:
        return None, {}
    rows = {}
    for model, values in table["rows"].items():
        *f1, accuracy, weighted_f1 = values
        by_class = dict(zip(table["classes"], f1, strict=True))
        rows[model] = {"accuracy": accuracy, "weighted_f1": weighted_f1, "f1": by_class}
    return table["table"], rows


def utterances_of_test(corpus: str, file: Path = FILE) -> int:
    """Utterances in test of a corpus that the paper has (Table 1)."""
    content: dict = read_yaml(file)  # type: ignore[assignment]
    return int(content["statistics"]["rows"][corpus][3])
