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


def published_margins(corpus: str, file: Path = FILE) -> dict[str, float]:
    """Differences of weighted F1, in points, that the paper's claims rest on; empty if the paper lacks the corpus.

    The names are those of paper/claims.py. `C1`, `C2` and `C3` are percent of MultiDAG's score.
    """
    content: dict = read_yaml(file)  # type: ignore[assignment]
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
    content: dict = read_yaml(file)  # type: ignore[assignment]
    if corpus not in content["widths"]:
        return None
    first, second = content["gammas"][corpus]
    return content["widths"][corpus], (first, second)
