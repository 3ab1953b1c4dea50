"""Writing of feature files in the layouts of the field, for the publications' own code.

Their code runs on numpy 1 and on numpy 2, and numpy 2 pickles an array under a name that numpy 1 does not know. So
arrays are written under the older name, which both know.
"""

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from extractors.published.content import TEST, TRAIN, VALIDATION
from extractors.published.tuples import LAYOUTS, MODALITIES, SEVERAL
from foundation.files import make_folder, open_whole, whole, write_whole
from foundation.safe_names import distinct

PROTOCOL = 3
"""Protocol of pickle: the newest that frames nothing, so that a name can be written as it should be read."""
MELD_PARTIES = 9
"""Places in a speaker's list in MELD's files."""
PARTIES = ("M", "F")
"""Names of the first two speakers of other corpora: the publications' code tells M from all others."""
NO_POLARITY, POSITIVE, NEGATIVE = 0, 1, 2
SENTIMENTS = {"joy": POSITIVE, "fear": NEGATIVE, "sadness": NEGATIVE, "disgust": NEGATIVE, "anger": NEGATIVE}
"""Sentiment of an emotion of MELD in the files; surprise, which MELD annotates as either, is written as neutral."""


@dataclass(frozen=True, slots=True)
class ExportedCorpus:
    """A corpus with its features, dialogue by dialogue under the keys of the field."""

    kind: str
    """`meld`, `iemocap`, or `other`, which is written like IEMOCAP."""
    order: Sequence[str]
    """Labels in the order of their codes."""
    splits: dict[Any, str]
    """Split of each dialogue, dialogues in the order of the index."""
    ids: dict[Any, list[str]]
    speakers: dict[Any, list[int]]
    labels: dict[Any, list[str]]
    """Labels as words; empty for an unlabelled turn."""
    sentences: dict[Any, list[str]]
    vectors: dict[str, dict[Any, list[np.ndarray]]]
    """Vectors by modality, float32 [F]; zeros where the modality is missing."""

    def of(self, *splits: str) -> list[Any]:
        """Keys of the dialogues of `splits`, one split after another."""
        return [key for wanted in splits for key, split in self.splits.items() if split == wanted]

    def parties(self, key: Any) -> list[Any]:
        """Speakers of a dialogue as its files have them: a list with a one for MELD, a letter for others."""
        if self.kind == "meld":
            width = max(MELD_PARTIES, 1 + max(self.speakers[key]))
            return [[int(place == speaker) for place in range(width)] for speaker in self.speakers[key]]
        letters = [name.rpartition("_")[2][:1] for name in self.ids[key]]
        if self.kind == "iemocap" and set(letters) <= set(PARTIES):
            return letters
        return [PARTIES[number] if number < len(PARTIES) else f"P{number}" for number in self.speakers[key]]

    def fields(self) -> dict[str, Any]:
        """Every field that a tuple of some layout has."""
        keys = list(self.splits)
        numbered = self.kind == "meld"
        return {
            "ids": {key: [int(name.rpartition("utt")[2]) if numbered else name for name in self.ids[key]]
                    for key in keys},
            "speakers": {key: self.parties(key) for key in keys},
            "labels": {key: [self.order.index(label) for label in self.labels[key]] for key in keys},
            "sentiments": {key: [SENTIMENTS.get(label, NO_POLARITY) for label in self.labels[key]] for key in keys},
            "sentences": self.sentences,
            **dict.fromkeys(SEVERAL, self.vectors["text"]),
            "audio": self.vectors["audio"],
            "visual": self.vectors["visual"],
            "ignored": {},
        }  # fmt: skip


class _Pickler(pickle._Pickler):
    """Writes numpy's names as numpy 1 has them."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = getattr(obj, "__module__", None) or ""
        if not module.startswith("numpy._core"):
            super().save_global(obj, name)  # type: ignore[misc]
            return
        written = f"{module.replace('numpy._core', 'numpy.core')}\n{obj.__qualname__}\n"
        self.write(pickle.GLOBAL + written.encode())  # type: ignore[attr-defined]
        self.memoize(obj)  # type: ignore[attr-defined]


def pickled(content: Any) -> bytes:
    """Pickle `content` for numpy 1 and 2."""
    stream = io.BytesIO()
    _Pickler(stream, PROTOCOL).dump(content)
    return stream.getvalue()


def _save(content: Any, file: Path) -> Path:
    with whole(file) as half:
        half.write_bytes(pickled(content))
    return file


def _tuple(corpus: ExportedCorpus, name: str) -> tuple:
    """The tuple of a layout. Train and validation are one list where the layout has no third: validation stands first,
    so that code that takes the first of them as its validation takes dialogues of ours."""
    layout = next(layout for layout in LAYOUTS if layout.name == name)
    apart = VALIDATION in layout.fields
    fields = corpus.fields() | {
        TRAIN: corpus.of(TRAIN) if apart else corpus.of(VALIDATION, TRAIN),
        VALIDATION: corpus.of(VALIDATION),
        TEST: corpus.of(TEST),
    }
    return tuple(fields[field] for field in layout.fields)


def mmgcn(corpus: ExportedCorpus, folder: Path) -> list[Path]:
    if corpus.kind == "meld":
        return [_save(_tuple(corpus, "MMGCN (MELD)"), folder / "MELD_features_raw1.pkl")]
    return [_save(_tuple(corpus, "MMGCN"), folder / "IEMOCAP_features.pkl")]


def sdt(corpus: ExportedCorpus, folder: Path) -> list[Path]:
    if corpus.kind == "meld":
        return [_save(_tuple(corpus, "SDT (MELD)"), folder / "meld_multimodal_features.pkl")]
    return [_save(_tuple(corpus, "SDT"), folder / "iemocap_multimodal_features.pkl")]


def graphsmile(corpus: ExportedCorpus, folder: Path) -> list[Path]:
    if corpus.kind == "meld":
        return [_save(_tuple(corpus, "GraphSmile (MELD)"), folder / "meld_multimodal_features.pkl")]
    return sdt(corpus, folder)


def cosmic(corpus: ExportedCorpus, folder: Path) -> list[Path]:
    if corpus.kind == "meld":
        return [_save(_tuple(corpus, "COSMIC (MELD)"), folder / "meld_features_roberta.pkl")]
    return [_save(_tuple(corpus, "COSMIC"), folder / "iemocap_features_roberta.pkl")]


def m3net(corpus: ExportedCorpus, folder: Path) -> list[Path]:
    return mmgcn(corpus, folder) + cosmic(corpus, folder)


def multiemo(corpus: ExportedCorpus, folder: Path) -> list[Path]:
    layout = "MMGCN (MELD)" if corpus.kind == "meld" else "MMGCN"
    names = {"text": "TextFeatures.pkl", "audio": "AudioFeatures.pkl", "visual": "VisualFeatures.pkl"}
    files = [_save(corpus.vectors[modality], folder / name) for modality, name in names.items()]
    return [_save(_tuple(corpus, layout), folder / "Speakers.pkl"), *files]


def dag_erc(corpus: ExportedCorpus, folder: Path, several: bool = False) -> list[Path]:
    """Write DAG-ERC's json files and vocabularies; with `several`, MultiDAG's, which have all three modalities."""
    files = []
    for name, split in (("train", TRAIN), ("dev", VALIDATION), ("test", TEST)):
        file = folder / f"{name}_data_roberta{'_mm' if several else ''}.json.feature"
        with open_whole(file) as stream:
            json.dump([_dialogue(corpus, key, several) for key in corpus.of(split)], stream, ensure_ascii=False)
        files.append(file)
    speakers = sorted({str(name) for key in corpus.splits for name in _names(corpus, key)})
    for name, words in (("speaker", speakers), ("label", list(corpus.order))):
        vocabulary = {"stoi": {word: place for place, word in enumerate(words)}, "itos": words}
        files.append(_save(vocabulary, folder / f"{name}_vocab.pkl"))
    return files


def _names(corpus: ExportedCorpus, key: Any) -> list[str]:
    if corpus.kind == "meld":
        return [f"speaker {number}" for number in corpus.speakers[key]]
    return [str(party) for party in corpus.parties(key)]


def _dialogue(corpus: ExportedCorpus, key: Any, several: bool) -> list[dict]:
    turns = []
    for place, (text, speaker) in enumerate(zip(corpus.sentences[key], _names(corpus, key), strict=True)):
        vectors = [corpus.vectors[modality][key][place].tolist() for modality in MODALITIES]
        label = corpus.labels[key][place]
        turns.append({"text": text, "speaker": speaker} | ({"label": label} if label else {})
                     | {"cls": vectors if several else vectors[0]})  # fmt: skip
    return turns


MERBENCH_MELD = ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise")
"""Labels of MELD in the order of MERBench's codes, which is not the field's."""
MERBENCH_SPLITS = {TRAIN: "train", VALIDATION: "val", TEST: "test"}
MERBENCH_FOLDERS = {"text": "text-UTT", "audio": "audio-UTT", "visual": "video-UTT"}


def merbench(corpus: ExportedCorpus, folder: Path) -> list[Path]:
    """Write MERBench's folder; IEMOCAP is one corpus there, to be split by session."""
    meld = corpus.kind == "meld"
    order = MERBENCH_MELD if meld else corpus.order
    written = [(split, name) for key, split in corpus.splits.items() for name in corpus.ids[key]]
    named = [f"{MERBENCH_SPLITS[split]}_{name.partition('_')[2]}" if meld else name for split, name in written]
    names = iter(distinct(named))  # an utterance's id names its files
    corpora: dict[str, dict[str, dict]] = {}
    rows: list[tuple[str, str]] = []
    files = []
    for key, split in corpus.splits.items():
        short = MERBENCH_SPLITS[split]
        for place in range(len(corpus.ids[key])):
            name = next(names)
            part = corpora.setdefault(f"{short}_corpus" if meld else "whole_corpus", {})
            part[name] = {"emo": order.index(corpus.labels[key][place]), "val": -10}
            rows.append((name, corpus.sentences[key][place]))
            for modality, where in MERBENCH_FOLDERS.items():
                file = folder / "features" / where / f"{name}.npy"
                make_folder(file.parent)
                np.save(file, corpus.vectors[modality][key][place])
                files.append(file)
    labels = folder / ("label.npz" if meld else "label_6way.npz")
    with whole(labels) as half, zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in corpora.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), _array_of_objects(content))
    transcription = folder / "transcription-engchi-polish.csv"
    quoted = [",".join(f'"{part.replace(chr(34), chr(34) * 2)}"' for part in (*row, "")) for row in rows]
    write_whole(transcription, "\n".join(["name,english,chinese", *quoted]) + "\n")
    return [labels, transcription, *files]


def _array_of_objects(content: Any) -> bytes:
    """An .npy file with an array that holds one object, its pickle readable by numpy 1 and 2."""
    array = np.array(content, dtype=object)
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    return stream.getvalue() + pickled(array)


WRITERS: Mapping[str, Callable[[ExportedCorpus, Path], list[Path]]] = {
    "mmgcn": mmgcn,
    "sdt": sdt,
    "m3net": m3net,
    "graphsmile": graphsmile,
    "multiemo": multiemo,
    "cosmic": cosmic,
    "dagerc": dag_erc,
    "multidag": lambda corpus, folder: dag_erc(corpus, folder, several=True),
    "merbench": merbench,
}
"""What writes each layout into a folder; it returns the files."""
MODALITIES_OF = {"cosmic": ("text",), "dagerc": ("text",)}
"""Modalities that a layout holds, where it does not hold all."""
