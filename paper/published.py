"""Results that the paper prints, read from paper/published.yaml."""

from pathlib import Path

from pipeline.params import read_yaml

FILE = Path("paper/published.yaml")


def published_scores(corpus: str, file: Path = FILE) -> tuple[int | None, dict[str, dict]]:
    """Number and rows of the table that compares models on `corpus`; None and no rows if the paper lacks the corpus.

    A row has `accuracy`, `weighted_f1` and `f1` by class, in percent; None where the paper prints a dash.
    """
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


def published_statistics(corpus: str, file: Path = FILE) -> list[float] | None:
    """Row of Table 1; None if the paper lacks the corpus.

    It has conversations, utterances, and utterances per conversation, each for train with validation and for test; and
    the number of classes.
    """
    content: dict = read_yaml(file)  # type: ignore[assignment]
    row: list[float] | None = content["statistics"]["rows"].get(corpus)
    return row


def published_study(study: str, corpus: str, file: Path = FILE) -> tuple[int, dict[str, list[float]]]:
    """Number of the table of `ablations` or `modalities`, and accuracy and weighted F1 of each setting.

    There are no rows if the paper lacks the corpus.
    """
    content: dict = read_yaml(file)  # type: ignore[assignment]
    return content[study]["table"], content[study]["rows"].get(corpus, {})


def receipts(file: Path = FILE) -> dict:
    """What is known of published rows: `kinds` of features, and `rows`; see paper/receipts.py."""
    content: dict = read_yaml(file)  # type: ignore[assignment]
    found: dict = content["receipts"]
    return found
