"""leakage@D: probes whether labels of validation or test were seen when the features were made.

Each modality's features are probed blindly (pipeline/scoring/leakage.py says how, and what is assumed). What is known
beforehand of an encoder (pipeline/corpora/seen.py) or of a published file is written beside it. The result is
results/D/leakage.json, a line for each modality in the log, and a mark on every score that is no fair one.
"""

import argparse
import json
from pathlib import Path

from threadpoolctl import threadpool_limits

from extractors.features import read_features
from foundation.errors import UserError
from foundation.files import is_file, read_file, write_whole
from foundation.log import log
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.corpora.seen import seen_by
from pipeline.params import MODALITIES, Params
from pipeline.scoring.leakage import MOST_LIKELY, PERMUTATIONS, RATIO, probed, truth_of
from pipeline.scoring.marks import leakage_file
from pipeline.stage import parser, start


def run(args: argparse.Namespace, params: Params) -> None:
    name = args.corpus
    rows = read_index(Path("data") / name / "index.csv")
    told = known(name, params)
    found = {}
    with threadpool_limits(limits=1):  # the last bits of a matrix product depend on the number of threads
        truth = truth_of(rows, labels(params.index[name].reader, [row.label for row in rows]))
        for modality in MODALITIES:
            features = read_features(Path("data") / name / "features" / f"{modality}.safetensors", len(rows))
            if (said := probed(features, truth, modality)) is not None:
                found[modality] = {**said, "known": told.get(modality, [])}
                log.info("%s, %s: %s", name, modality, described(said))
    content = {"rule": {"odds_ratio": RATIO, "p": MOST_LIKELY, "permutations": PERMUTATIONS}, "modalities": found}
    write_whole(leakage_file(name), json.dumps(content, indent=2) + "\n")


def known(name: str, params: Params) -> dict[str, list[str]]:
    """What is known beforehand of labels of test that were seen in making the features, by modality."""
    reader = params.index[name].reader
    encoders = {"text": params.text[name].model, "audio": params.audio[name].encoder,
                "visual": params.visual[name].encoder}  # fmt: skip
    published: dict = {}
    if reader == "features":
        file = Path("results") / name / "corpus.json"
        if not is_file(file):
            raise UserError(f"{file}: no such file; `dvc repro` makes it")
        published = json.loads(read_file(file))["published"]
    taken = published.get("taken", [])
    found = {modality: [why] for modality, why in published.get("warnings", {}).items() if modality in taken}
    for modality, encoder in encoders.items():
        if modality not in taken and (why := seen_by(encoder, reader)):
            found[modality] = [f"the encoder {encoder} has seen labels of the corpus: {why}"]
    return found


def described(found: dict) -> str:
    """Verdict in one line, with the numbers that it stands on."""
    if "errors" not in found:
        return str(found["verdict"])
    errors = ", ".join(f"{name} {error:.1f} %" for name, error in found["errors"].items())
    test = found["test"]
    return (f"{found['verdict']} (test against validation: odds ratio {test['odds_ratio']:.2f}, p = {test['p']:.4f}, "
            f"false alarms {100 * test['false_alarms']:.1f} %; errors of a linear classifier: {errors})")  # fmt: skip


if __name__ == "__main__":
    start(run, parser(__doc__))
