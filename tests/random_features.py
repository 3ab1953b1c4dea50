"""Features of a small corpus without media: what training needs, made within a moment."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from extractors.features import Features, write_features
from extractors.utterance import Utterance
from pipeline.corpora.index_file import write_index
from pipeline.corpora.labels import MELD


def write_features_of_meld(folder: Path) -> list[Utterance]:
    """An index of eight dialogues a split, and features of which text tells the label, more or less."""
    draw = np.random.default_rng(0)
    rows = [
        Utterance(utterance_id=f"{split}{d}_{turn}", dialogue_id=f"{split}{d}", turn=turn, speaker=turn % 2,
                  split=split, text="x", label=MELD[draw.integers(7)])
        for split in ("train", "validation", "test") for d in range(8) for turn in range(1 + d)
    ]  # fmt: skip
    data = folder / "data" / "meld"
    write_index(rows, data / "index.csv")
    for modality, width in (("text", 12), ("audio", 6), ("visual", 4)):
        values = draw.normal(size=(len(rows), width)).astype(np.float32)
        if modality == "text":
            values[np.arange(len(rows)), [MELD.index(row.label) for row in rows]] += 2
        features = Features(values, np.ones(len(rows), bool), {"weights": "random"})
        write_features(features, data / "features" / f"{modality}.safetensors")
    write_leakage(folder)
    return rows


def write_leakage(folder: Path, corpus: str = "meld", known: Sequence[str] = (), suspected: Sequence[str] = ()) -> None:
    """What the stage `leakage` says of text, where `known` and `suspected` are as given, and of honest modalities."""
    honest = {"verdict": "no sign of leakage", "suspected": [], "known": []}
    verdict = f"labels of {' and '.join(suspected)} were probably seen" if suspected else honest["verdict"]
    text = {"verdict": verdict, "suspected": list(suspected), "known": list(known)}
    file = folder / "results" / corpus / "leakage.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"modalities": {"text": text, "audio": honest, "visual": honest}}))
