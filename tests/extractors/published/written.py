"""Small feature files in the layouts of the field, written entry by entry, as the publications' code expects them."""

import csv
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WIDTHS = {"text": 24, "text2": 24, "text3": 24, "text4": 24, "audio": 30, "visual": 26}
LAYERS = ("text", "text2", "text3", "text4")
IEMOCAP = {"Ses01F_impro01": "train", "Ses02M_script01_1": "train", "Ses03F_impro02": "train",
           "Ses04F_impro07": "validation", "Ses05M_impro03": "test"}  # fmt: skip
MELD = {0: "train", 1: "train", 61: "train", 1039: "validation", 1153: "test", 1154: "test"}
TURNS = 3
LABELS = (0, 3, 2)
SENTENCES = ("Oh\x92s my.", "Caf\u00e9?", "No ...")
READ = ("Oh\u2019s my.", "Caf\u00e9?", "No ...")
"""The sentences as the index has them."""


def number(field: str, key: Any, place: int) -> float:
    """A number that no other field, dialogue or turn has, exact as float32."""
    fields = (*LAYERS, "audio", "visual")
    dialogues = [*IEMOCAP, *MELD]
    return 1 + fields.index(field) + 8 * place + 64 * dialogues.index(key)


def vector(field: str, key: Any, place: int) -> np.ndarray:
    values = np.zeros(WIDTHS[field], np.float32)
    values[:2] = number(field, key, place), 0.5
    return values


def vectors(field: str, keys: Any) -> dict[Any, list[np.ndarray]]:
    return {key: [vector(field, key, place) for place in range(TURNS)] for key in keys}


def one_hot(place: int) -> list[int]:
    return [int(column == place) for column in range(9)]


def fields(splits: dict[Any, str], sets: bool = False) -> dict[str, Any]:
    """All fields that some layout has, for IEMOCAP's or MELD's dialogues; MELD's train and dev are one list."""
    meld = splits is MELD
    kind: Callable = set if sets else list
    parts = {split: [key for key in splits if splits[key] == split] for split in ("train", "validation", "test")}
    speakers = [one_hot(0), one_hot(1), one_hot(0)] if meld else ["F", "M", "F"]
    return {
        "ids": {key: [f"{key}_{'FMF'[place]}00{place}" if not meld else place for place in range(TURNS)]
                for key in splits},
        "speakers": dict.fromkeys(splits, speakers),
        "labels": {key: list(LABELS) for key in splits},
        "sentiments": {key: [0, 1, 2] for key in splits},
        "sentences": {key: list(SENTENCES) for key in splits},
        **{field: vectors(field, splits) for field in WIDTHS},
        "train": kind(parts["train"]),
        "trainval": kind(parts["train"] + parts["validation"]),
        "validation": kind(parts["validation"]),
        "test": kind(parts["test"]),
        "ignored": {},
    }  # fmt: skip


def save(content: Any, file: Path, protocol: int = 2) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(content, protocol))
    return file


TUPLES = {
    "MMGCN": "ids speakers labels text audio visual sentences trainval test",
    "MMGCN (MELD)": "ids speakers labels text audio visual sentences trainval test ignored",
    "DialogueRNN (MELD)": "ids speakers labels text audio sentences trainval test sentiments",
    "SDT": "ids speakers labels text text2 text3 text4 audio visual sentences trainval test",
    "SDT (MELD)": "ids speakers labels text text2 text3 text4 audio visual sentences trainval test ignored",
    "GraphSmile (MELD)": "ids speakers labels sentiments text text2 text3 text4 audio visual sentences trainval test "
                         "ignored",
    "COSMIC": "speakers labels text text2 text3 text4 sentences train test validation",
    "COSMIC (MELD)": "speakers labels sentiments text text2 text3 text4 sentences train test validation",
    "COSMIC's sentences": "speakers labels sentences train test validation",
    "COSMIC's sentences (MELD)": "speakers labels sentiments sentences train test validation",
}  # fmt: skip
"""Fields of each layout, in order."""


def tuple_of(layout: str, splits: dict[Any, str] | None = None, sets: bool = False) -> tuple:
    there = fields(splits or (MELD if "MELD" in layout else IEMOCAP), sets)
    return tuple(there[name] for name in TUPLES[layout].split())


def write_tuple(layout: str, folder: Path, **options: Any) -> Path:
    return save(tuple_of(layout, **options), folder / "file.pkl")


def write_m3net(folder: Path, meld: bool = False) -> Path:
    first, second = ("MMGCN (MELD)", "COSMIC (MELD)") if meld else ("MMGCN", "COSMIC")
    save(tuple_of(first), folder / "IEMOCAP_features.pkl")
    save(tuple_of(second), folder / "iemocap_features_roberta.pkl")
    return folder


def write_multiemo(folder: Path, meld: bool = False) -> Path:
    save(tuple_of("MMGCN (MELD)" if meld else "MMGCN"), folder / "Speakers.pkl")
    for field, name in (("text4", "Text"), ("audio", "Audio"), ("visual", "Visual")):
        save(vectors(field, MELD if meld else IEMOCAP), folder / f"{name}Features.pkl", 4)
    return folder


def write_dag_erc(folder: Path, several: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in (("train", "train"), ("dev", "validation"), ("test", "test")):
        dialogues = []
        for key in [key for key in IEMOCAP if IEMOCAP[key] == split]:
            turns = []
            for place, label in enumerate(("happiness", None, "frustrated")):
                cls = vector("text", key, place).tolist()
                if several:
                    cls = [cls, vector("audio", key, place).tolist(), vector("visual", key, place).tolist()]
                turn = {"text": SENTENCES[place], "speaker": "FMF"[place], "label": label, "cls": cls}
                turns.append({name: value for name, value in turn.items() if value is not None})
            dialogues.append(turns)
        (folder / f"{name}_data_roberta{'_mm' if several else ''}.json.feature").write_text(json.dumps(dialogues))
    return folder


def write_gcnet(folder: Path) -> Path:
    there = fields(IEMOCAP)
    labels = ("ids", "labels", "speakers", "sentences")
    splits = set(there["trainval"]), set(there["test"])
    save((*(there[name] for name in labels), *splits), folder / "labels.pkl")
    for key in IEMOCAP:
        for place, name in enumerate(there["ids"][key]):
            save_array(vector("text", key, place)[None], folder / "features" / "deberta-large-4-UTT" / f"{name}.npy")
            save_array(vector("audio", key, place), folder / "features" / "wav2vec-large-c-UTT" / f"{name}.npy")
            for frame, letter, factor in ((0, "FMF"[place], 0.5), (1, "FMF"[place], 1.5), (2, "MFM"[place], 9.0)):
                face = folder / "features" / "manet_UTT" / name / f"{letter}_{frame:04}.npy"
                save_array(factor * vector("visual", key, place), face)
    return folder


def write_merbench(folder: Path, meld: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    corpora: dict[str, dict] = {}
    for key, split in (MELD if meld else IEMOCAP).items():
        begin = {"train": 0, "validation": 1039, "test": 1153}[split]
        short = {"validation": "val"}.get(split, split)
        for place in range(TURNS):
            name = f"{short}_dia{key - begin}_utt{place}" if meld else f"{key}_{'FMF'[place]}00{place}"
            part = corpora.setdefault(f"{short}_corpus" if meld else "whole_corpus", {})
            part[name] = {"emo": LABELS[place], "val": -10}
            for field, model in (("text", "roberta-large-UTT"), ("audio", "hubert-large-FRA"), ("visual", "manet-UTT")):
                values = vector(field, key, place)
                if field == "audio":  # frames, whose mean it is
                    values = np.stack([0.5 * values, 1.5 * values])
                save_array(values, folder / "features" / model / f"{name}.npy")
    arrays = {name: np.array(part, dtype=object) for name, part in corpora.items()}
    np.savez_compressed(folder / ("label.npz" if meld else "label_6way.npz"), **arrays)  # type: ignore[arg-type]
    with (folder / "transcription-engchi-polish.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["name", "english", "chinese"])
        writer.writerows([name, "Oh\u2019s my.", ""] for part in corpora.values() for name in part)
    return folder


def write_mmsa(folder: Path) -> Path:
    parts = {}
    for split, videos in (("train", ("aa", "b_b")), ("valid", ("cc",)), ("test", ("dd",))):
        ids = [f"{video}$_${clip}" for clip in (10, 2) for video in videos]
        number = len(ids)
        steps = np.zeros((number, 4, 21), np.float32)
        for place in range(number):
            steps[place, 2] = place + 1  # before them there is padding, of zeros
            steps[place, 3] = place + 3
        audio = steps.copy()
        audio[:, 2, 0] = -np.inf
        parts[split] = {
            "id": ids, "raw_text": np.array([f"Words of {name}" for name in ids]), "text": steps, "audio": audio,
            "vision": steps, "text_bert": np.zeros((number, 3, 4)), "annotations": np.array(["Positive"] * number),
            "regression_labels": np.linspace(-2.5, 2.5, number, dtype=np.float32),
            "classification_labels": np.zeros(number),
        }  # fmt: skip
    return save(parts, folder / "unaligned_50.pkl", 4)


def save_array(values: np.ndarray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, values)
