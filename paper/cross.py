"""Cross-corpus table: trained on one corpus, tested on another, on the labels that both have, by text alone.

    python -m paper.cross                          # the corpora of paper/cross.yaml
    python -m paper.cross meld iemocap_sdt         # others
    python -m paper.cross --write                  # only writes the page anew

It takes the bundles models/D that the stage `train` made, trained on text alone, and computes the text features of the
other corpora's test by each bundle's own encoder and standardisation. Nothing is trained.

- **Labels**: paper/cross.yaml says which labels of different corpora are one class, and why. Test utterances whose
  label is of no class that both corpora have are not scored; as turns of their dialogues they stay in what the model
  reads.
- **Predictions** are restricted to the classes that both have: the calibrated probabilities of the labels of a class
  are added, and divided by the sum over the shared classes; the likeliest class is said. A decision other than
  `likeliest` is not used.
- **Beside it**: the target's own model, on the same utterances, restricted to the same classes; the majority-class
  baseline, which always says the most frequent of these classes in the target's train; and the share of the scored
  utterances whose words stand in the train of the corpus that the model is from (paper/overlap.py), with the score
  without them.

The scores are kept in paper/cross.json, and the tables in docs/cross_corpus.md are written from it.
"""

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from extractors.extraction import as_features, by_key, extract
from extractors.utterance import Utterance
from foundation.device import device
from foundation.errors import UserError
from foundation.f1 import weighted_f1_of
from foundation.files import write_whole
from foundation.log import log
from foundation.torch_setup import prepare_torch
from model.batching import Corpus
from model.training import positions
from paper.names import NAMES
from paper.overlap import spoken
from paper.results_file import LIST, MAP, MODEL, NUMBER, TEXT, read_kept
from paper.words import markdown_table, rewrite
from pipeline.bundle import Bundle, read_bundle
from pipeline.calibration import softmax_of
from pipeline.corpora.index_file import dialogues, read_index
from pipeline.params import load_params, read_yaml
from pipeline.prediction.extractors import make_extractor
from pipeline.stage import command

SETTINGS, SCORES, PAGE = Path("paper/cross.yaml"), Path("paper/cross.json"), Path("docs/cross_corpus.md")
MARKS = ("<!-- written by python -m paper.cross -->", "<!-- end of what is written -->")
EMPTY = "not run"
ENTRY = {
    **dict.fromkeys(("utterances", "of", "seeds", "majority", "known_words", "weighted_f1.mean", "weighted_f1.std",
                     "own.mean", "own.std"), NUMBER),
    "classes": LIST, "model": MODEL, "encoder": TEXT, "other_words": MAP,
}  # fmt: skip
"""What is kept of a pair of corpora."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Which labels of different corpora count as one class."""

    class_of: dict[str, str]
    """Class of each label that has one."""
    alone: set[str]
    """Labels without a counterpart."""

    @staticmethod
    def of(content: dict[str, Any]) -> "LabelMap":
        """Label map of the content of paper/cross.yaml.

        Raises:
            UserError: a label is of two classes, or both of a class and alone.
        """
        class_of: dict[str, str] = {}
        alone = set(content["alone"])
        for name, words in content["classes"].items():
            for label in words:
                if label in class_of or label in alone:
                    raise UserError(f"{SETTINGS}: the label {label!r} stands there twice")
                class_of[label] = name
        return LabelMap(class_of, alone)

    def classes(self, labels: list[str] | tuple[str, ...], corpus: str) -> list[str]:
        """Classes of a corpus' labels, in their order.

        Raises:
            UserError: a label is neither of a class nor alone.
        """
        for label in labels:
            if label not in self.class_of and label not in self.alone:
                raise UserError(f"{SETTINGS}: does not say what the label {label!r} of {corpus} is; put it into one of "
                                "`classes`, or into `alone`, with the reason")  # fmt: skip
        return list(dict.fromkeys(self.class_of[label] for label in labels if label in self.class_of))


@dataclass(frozen=True, slots=True)
class Source:
    """A corpus, and the model that was trained on it."""

    name: str
    bundle: Bundle
    tested: list[Utterance]
    train: list[Utterance]

    @staticmethod
    def of(name: str) -> "Source":
        """Read index and bundle of a corpus.

        Raises:
            UserError: they are missing, or the model is not of text alone.
        """
        folder = Path("models") / name
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no model of {name}; docs/cross_corpus.md has the command")
        bundle = read_bundle(folder)
        if list(bundle.config["dims"]) != ["text"]:
            raise UserError(f"{folder}: is a model of {', '.join(bundle.config['dims'])}, and the table is of text "
                            "alone: train it with `-S 'model.modalities=[text]'`")  # fmt: skip
        rows = read_index(Path("data") / name / "index.csv")
        return Source(name, bundle, *([row for row in rows if row.split == split] for split in ("test", "train")))


def probabilities(bundle: Bundle, rows: list[Utterance]) -> dict[int, np.ndarray]:
    """Calibrated probabilities [utterances, labels] of the dialogues `rows`, in their order, by seed.

    As in any prediction, a dialogue that is longer than all that the model knows is predicted in equal parts, and
    the speakers beyond those that it knows count as one.

    Raises:
        UserError: the bundle's text encoder is missing or another one.
    """
    # The bundle was trained in this folder, so its encoder is looked for wherever params.yaml had it.
    extractor = make_extractor("text", bundle, bundle.text_encoder)
    keys = extractor.keys(rows)
    made = as_features(extractor, keys, extract(extractor, by_key(keys, rows), "text")[0])
    present = torch.from_numpy(made.present)
    values = bundle.scalers["text"](torch.from_numpy(made.values), present)
    speaker = torch.tensor([min(row.speaker, bundle.config["speakers"] - 1) for row in rows])
    parts = [torch.from_numpy(part) for turns in dialogues(rows)
             for part in np.array_split(np.array(turns), -(-len(turns) // bundle.turns))]  # fmt: skip
    corpus = Corpus({"text": values}, {"text": present}, speaker, torch.zeros(len(rows), dtype=torch.int64),
                    {"test": parts})  # fmt: skip
    place = positions(corpus, "test").argsort().numpy()
    found = {}
    for seed in bundle.seeds:
        shares = softmax_of(bundle.network(seed).to(device()), corpus, "test")
        found[seed] = bundle.calibration.of_seed(seed, shares).calibrated[place]
    return found


def restricted(shares: np.ndarray, labels: tuple[str, ...], classes: list[str], labelled: LabelMap) -> np.ndarray:
    """Number of the likeliest of some `classes`, int [utterances], from probabilities [utterances, labels]."""
    columns = [[place for place, label in enumerate(labels) if labelled.class_of.get(label) == name]
               for name in classes]  # fmt: skip
    summed = np.stack([shares[:, places].sum(axis=1) for places in columns], axis=1)
    # Divided by their sum, they are the softmax over these classes alone; the likeliest one stays the likeliest.
    found: np.ndarray = summed.argmax(axis=1)
    return found


def cell(
    source: Source, target: Source, labelled: LabelMap, said: dict[int, np.ndarray], own: dict[int, np.ndarray]
) -> dict[str, Any]:
    """Scores of the source's model on the target's test.

    Args:
        said: probabilities of the source's model on the target's test, by seed; `own`: of the target's model.

    Raises:
        UserError: the corpora share fewer than two classes, or test has no utterance of them.
    """
    theirs = labelled.classes(target.bundle.labels, target.name)
    classes = [name for name in theirs if name in labelled.classes(source.bundle.labels, source.name)]
    kept = [place for place, row in enumerate(target.tested) if labelled.class_of.get(row.label) in classes]
    if len(classes) < 2 or not kept:
        raise UserError(f"{source.name} and {target.name}: share {len(classes)} classes, of which {target.name} has "
                        f"{len(kept)} test utterances: there is nothing to compare")  # fmt: skip
    label = np.array([classes.index(labelled.class_of[target.tested[place].label]) for place in kept])
    of_train = Counter(labelled.class_of.get(row.label) for row in target.train)
    majority = max(range(len(classes)), key=lambda place: of_train[classes[place]])
    words = {spoken(row.text) for row in source.train} - {""}
    known = np.array([spoken(target.tested[place].text) in words for place in kept])

    def scores(bundle: Bundle, by_seed: dict[int, np.ndarray], inside: np.ndarray) -> dict[str, float]:
        if not inside.any():
            return {}
        values = [
            weighted_f1_of(label[inside], restricted(shares[kept], bundle.labels, classes, labelled)[inside])
            for shares in by_seed.values()
        ]
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return {"mean": round(float(np.mean(values)), 2), "std": round(deviation, 2)}

    everything = np.ones(len(kept), bool)
    return {
        "classes": classes,
        "utterances": len(kept),
        "of": sum(bool(row.label) for row in target.tested),
        "seeds": len(said),
        "model": source.bundle.model,
        "encoder": source.bundle.text_encoder + (", fine-tuned" if source.bundle.fine_tuned else ""),
        "weighted_f1": scores(source.bundle, said, everything),
        "own": scores(target.bundle, own, everything),
        "majority": round(weighted_f1_of(label, np.full(len(label), majority)), 2),
        "known_words": int(known.sum()),
        "other_words": scores(source.bundle, said, ~known),
    }


def run(corpora: list[str]) -> None:
    """Score every pair of corpora, keep the scores and write the page."""
    params, content = load_params(), read_settings()
    names = corpora or content["corpora"]
    if unknown := [name for name in names if name not in params.index]:
        raise UserError(f"{unknown[0]}: is no corpus; `index` of params.yaml has {', '.join(params.index)}")
    prepare_torch(threads=1)
    labelled = LabelMap.of(content)
    sources = [Source.of(name) for name in names]
    for one in sources:
        labelled.classes(one.bundle.labels, one.name)  # all labels are known before anything is computed
    kept = read_scores(adding=True)
    for target in sources:
        own = probabilities(target.bundle, target.tested)
        for source in sources:
            said = own if source is target else probabilities(source.bundle, target.tested)
            found = cell(source, target, labelled, said, own)
            kept.setdefault(source.name, {})[target.name] = found
            log.info("trained on %s, tested on %s: weighted F1 %.2f on %s", source.name, target.name,
                     found["weighted_f1"]["mean"], ", ".join(found["classes"]))  # fmt: skip
            write_whole(SCORES, json.dumps(kept, indent=2, sort_keys=True) + "\n")
    write_page(kept)


def read_settings() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(SETTINGS)  # type: ignore[assignment]
    return found


def read_scores(*, adding: bool = False) -> dict[str, dict[str, Any]]:
    """The scores that are kept, by source and target; see `read_kept`."""
    return read_kept(SCORES, 2, ENTRY, adding=adding)


def lines(content: dict[str, Any], scores: dict[str, dict[str, Any]]) -> list[str]:
    """Lines of the page that are written: the square table, its details, and the label map with its reasons."""
    names = [*content["corpora"], *(name for name in scores if name not in content["corpora"])]
    square = [[f"**{source}**", *(_short(scores.get(source, {}).get(target)) for target in names)] for source in names]
    details = [_detailed(source, target, found) for source in names for target, found in
               sorted(scores.get(source, {}).items(), key=lambda pair: names.index(pair[0]))]  # fmt: skip
    reasons = [[label, name, why] for name, words in content["classes"].items() for label, why in words.items()]
    reasons += [[label, "-", why] for label, why in content["alone"].items()]
    head = ["trained on", "tested on", "classes", "utterances", "weighted F1", "own model", "majority",
            "lines in its train, %", "F1 without these", "model, encoder, seeds"]  # fmt: skip
    return [
        *markdown_table(["trained on, tested on", *names], square),
        "",
        "In brackets: the tested corpus' own model on the same utterances and classes; the majority-class baseline.",
        "",
        *markdown_table(head, details),
        "",
        *markdown_table(["label", "class", "why"], reasons),
    ]


def _short(found: dict[str, Any] | None) -> str:
    if found is None:
        return EMPTY
    return f"{_spread(found['weighted_f1'])} ({found['own']['mean']:.1f}; {found['majority']:.1f})"


def _spread(found: dict[str, float]) -> str:
    return f"{found['mean']:.2f} ± {found['std']:.2f}" if found else "-"


def _detailed(source: str, target: str, found: dict[str, Any]) -> list[str]:
    return [
        source,
        target,
        ", ".join(found["classes"]),
        f"{found['utterances']} of {found['of']}",
        _spread(found["weighted_f1"]),
        _spread(found["own"]),
        f"{found['majority']:.2f}",
        f"{100 * found['known_words'] / found['utterances']:.1f}",
        _spread(found["other_words"]),
        f"{NAMES[found['model']]}, {found['encoder']}, {found['seeds']}",
    ]


def write_page(scores: dict[str, dict[str, Any]]) -> None:
    rewrite(PAGE, {MARKS: lines(read_settings(), scores)})


def main() -> None:
    arguments = argparse.ArgumentParser("python -m paper.cross", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    arguments.add_argument("corpora", nargs="*", help=f"corpora of params.yaml ({SETTINGS}: corpora)")
    arguments.add_argument(
        "--write", action="store_true", help="only write the page anew, from the scores that are kept"
    )
    args = arguments.parse_args()
    command(lambda: write_page(read_scores()) if args.write else run(args.corpora))


if __name__ == "__main__":
    main()
