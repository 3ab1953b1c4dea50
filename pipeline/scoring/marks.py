"""Marks of results whose features are known to tell labels of test."""

import json
from pathlib import Path

from pipeline.corpora.seen import seen_by
from pipeline.params import Params


def seen_labels(name: str, params: Params) -> list[str]:
    """What is known of labels of test that were seen when the features of the corpus `name` were made.

    It is empty for fair features. What nobody knows yet is for the probe (pipeline/scoring/leakage.py).
    """
    found = []
    text, index = params.text[name], params.index[name]
    published: dict = {}
    if index.reader == "features":
        published = json.loads((Path("results") / name / "corpus.json").read_text("utf-8"))["published"]
    spoken = "text" in params.model.modalities and "text" not in published.get("taken", [])
    if spoken and (why := seen_by(text.model, index.reader)):
        found.append(f"the text encoder {text.model} has seen labels of the corpus: {why}")
    for modality, warning in published.get("warnings", {}).items():
        if modality in published["taken"] and modality in params.model.modalities:
            found.append(f"{modality} of the file: {warning}")
    return found
