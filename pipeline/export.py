"""Write the features of a corpus in a layout of the field, for the publications' own code.

    python -m pipeline.export meld --layout sdt                      # to exports/meld/sdt
    python -m pipeline.export iemocap --layout mmgcn --out /their/code/data

The index and the features must be there (`dvc repro extract@meld-text extract@meld-audio extract@meld-visual`). The
files are read by the publications' code as it is, on numpy 1 and 2, and by this project's reader `features`
(docs/feature_files.md), which gives the same features, labels, order and splits.
"""

import argparse
import re
from pathlib import Path

import numpy as np

from extractors.features import read_features
from extractors.published.content import MELD_SPLITS
from extractors.published.writing import MODALITIES_OF, WRITERS, ExportedCorpus
from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.files import make_folder
from foundation.log import log
from pipeline.corpora.index_file import dialogues, read_index
from pipeline.corpora.labels import IEMOCAP, MELD, labels
from pipeline.params import MODALITIES, Params
from pipeline.stage import parser, start

NUMBERED = re.compile(r"(?P<split>train|validation|test)_dia(?P<number>\d+)")
KEEPS_UNLABELLED = ("dagerc", "multidag")
FOUR_LAYERS = ("sdt", "m3net", "graphsmile", "cosmic")
OWN_SPLIT = ("cosmic", "dagerc", "multidag")
"""Layouts that have a validation of their own for every corpus."""


def run(args: argparse.Namespace, params: Params) -> None:
    name, layout = args.corpus, args.layout
    rows = read_index(Path("data") / name / "index.csv")
    order = labels(params.index[name].reader, [row.label for row in rows])
    corpus = corpus_of(name, rows, order, layout)
    if layout == "merbench" and corpus.kind == "other":
        raise UserError(f"{name}: the layout merbench is for corpora with the dialogues of MELD or IEMOCAP")
    folder = args.out or Path("exports") / name / layout
    make_folder(folder)
    files = WRITERS[layout](corpus, folder)
    log.info("%s: %d dialogues, %d utterances, as %s: %s", name, len(corpus.splits),
             sum(map(len, corpus.labels.values())), layout, folder)  # fmt: skip
    for file in files[:12]:
        log.info("  %s", file.relative_to(folder))
    for note in notes(corpus, layout):
        log.info("note: %s", note)


def corpus_of(name: str, rows: list[Utterance], order: tuple[str, ...], layout: str) -> ExportedCorpus:
    """Collect a corpus' turns and features by dialogue.

    Raises:
        UserError: a feature file cannot be used, or MELD has more dialogues than its files can number.
    """
    matrices = {
        modality: read_features(Path("data") / name / "features" / f"{modality}.safetensors", len(rows)).values
        for modality in MODALITIES
    }
    for modality in MODALITIES_OF.get(layout, MODALITIES):
        if not matrices[modality].shape[1]:
            log.info("%s: has no %s; zeros of width 1 are written", name, modality)
    for modality, matrix in matrices.items():
        if not matrix.shape[1]:
            matrices[modality] = np.zeros((len(rows), 1), np.float32)
    groups = dialogues(rows)
    if layout not in KEEPS_UNLABELLED:
        groups = [labelled for group in groups if (labelled := [place for place in group if rows[place].label])]
    kind = kind_of([rows[group[0]] for group in groups], order)
    keys = [key_of_dialogue(rows[group[0]], kind) for group in groups]

    def by_key(values: list) -> dict:
        return {key: [values[place] for place in group] for key, group in zip(keys, groups, strict=True)}

    return ExportedCorpus(
        kind=kind,
        order=order,
        splits={key: rows[group[0]].split for key, group in zip(keys, groups, strict=True)},
        ids=by_key([row.utterance_id for row in rows]),
        speakers=by_key([row.speaker for row in rows]),
        labels=by_key([row.label for row in rows]),
        sentences=by_key([row.text for row in rows]),
        vectors={modality: by_key(list(matrix)) for modality, matrix in matrices.items()},
    )


def kind_of(firsts: list[Utterance], order: tuple[str, ...]) -> str:
    """Whose files the corpus can be written as: `meld`, `iemocap`, or `other`.

    Args:
        firsts: the first utterance of each dialogue.
    """
    numbered = [NUMBERED.fullmatch(row.dialogue_id) for row in firsts]
    if order == MELD and all(
        match and match["split"] == row.split and int(match["number"]) < len(MELD_SPLITS[row.split])
        for match, row in zip(numbered, firsts, strict=True)
    ):
        return "meld"
    if set(order) <= set(IEMOCAP) and all(re.match(r"Ses0[1-5]", row.dialogue_id) for row in firsts):
        return "iemocap"
    return "other"


def key_of_dialogue(row: Utterance, kind: str) -> int | str:
    """Key of a dialogue in the field's files: MELD's is a number, counted through train, dev and test."""
    match = NUMBERED.fullmatch(row.dialogue_id)
    if kind == "meld" and match:
        return MELD_SPLITS[row.split].start + int(match["number"])
    return row.dialogue_id


def notes(corpus: ExportedCorpus, layout: str) -> list[str]:
    """What the layout cannot say, or what was written in its place."""
    found = []
    if layout in FOUR_LAYERS:
        found.append("the layout has four layers of a text encoder; each is the same vector")
    if layout in ("graphsmile", "cosmic") and corpus.kind == "meld":
        found.append("sentiments are made of the emotions (surprise: neutral); MELD's own are not in the index")
    if corpus.kind != "meld" and layout not in OWN_SPLIT:
        found.append("the layout has no validation; it stands at the beginning of train. On import, "
                     "`index.D.validation` and `validation_seed` choose it as for the reader iemocap")  # fmt: skip
    if corpus.kind == "other" and layout not in ("dagerc", "multidag"):
        found.append(f"the labels are codes; on import: `-S '+index.D.labels=[{','.join(corpus.order)}]'`")
    return found


def arguments() -> argparse.ArgumentParser:
    result = parser(__doc__)
    result.add_argument("--layout", choices=tuple(WRITERS), required=True)
    result.add_argument("--out", type=Path, help="folder to write to; by default exports/CORPUS/LAYOUT")
    return result


if __name__ == "__main__":
    start(run, arguments())
