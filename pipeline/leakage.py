"""leakage@D: probes whether labels of validation or test were seen when the features were made.

Each modality's features are probed blindly (pipeline/scoring/leakage.py says how, and what is assumed). The result is
results/D/leakage.json, and a line for each modality in the log.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from extractors.features import read_features
from foundation.log import log
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.params import MODALITIES, Params
from pipeline.scoring.leakage import MOST_LIKELY, PERMUTATIONS, RATIO, parts_of, probe, right, words_of
from pipeline.stage import parser, start


def run(args: argparse.Namespace, params: Params) -> None:
    name = args.corpus
    rows = read_index(Path("data") / name / "index.csv")
    order = labels(params.index[name].reader, [row.label for row in rows])
    label = np.array([order.index(row.label) if row.label else -1 for row in rows])
    splits, dialogues = [row.split for row in rows], [row.dialogue_id for row in rows]
    words, got_by_words = words_of([row.text for row in rows]), None
    if words is not None:
        got_by_words = right(words, label, parts_of(splits, dialogues, label >= 0))
    found = {}
    for modality in MODALITIES:
        features = read_features(Path("data") / name / "features" / f"{modality}.safetensors", len(rows))
        usable = features.present & (label >= 0)
        if not usable.any():
            continue
        parts = parts_of(splits, dialogues, usable)
        found[modality] = probe(features.values, label, parts, got_by_words)
        log.info("%s, %s: %s", name, modality, described(found[modality]))
    content = {"rule": {"odds_ratio": RATIO, "p": MOST_LIKELY, "permutations": PERMUTATIONS}, "modalities": found}
    file = Path("results") / name / "leakage.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def described(found: dict) -> str:
    """Verdict in one line, with the error rates that it stands on."""
    if "errors" not in found:
        return str(found["verdict"])
    errors = ", ".join(f"{name} {error:.1f} %" for name, error in found["errors"].items())
    return f"{found['verdict']} (errors of a linear classifier: {errors})"


if __name__ == "__main__":
    start(run, parser(__doc__))
