"""Layouts that are folders: several pickles side by side, json files by split, or one `.npy` file per utterance."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from extractors.published import tuples
from extractors.published.content import (
    TEST,
    TRAIN,
    UNSAID,
    VALIDATION,
    Published,
    PublishedError,
    PublishedTurn,
    Vectors,
    clean,
    label_of,
    sentence,
    vector,
)
from extractors.published.files import read_file

PICKLES = (".pkl", ".pickle", ".p")

# ---- MultiEMO: the labels' pickle, and a pickle of vectors per modality ----

MULTIEMO = {"text": "TextFeatures.pkl", "audio": "AudioFeatures.pkl", "visual": "VisualFeatures.pkl"}
MULTIEMO_LABELS = "Speakers.pkl"


def multiemo(raw: Path) -> Published:
    """Read MultiEMO's folder: turns of Speakers.pkl, vectors of the three files beside it."""
    file = raw / MULTIEMO_LABELS
    content = read_file(file)
    found = tuples.published(content, tuples.layout_of(content, str(file)), file, raw)
    found.layout, found.vectors = "MultiEMO", {}
    for modality, name in MULTIEMO.items():
        if not (raw / name).is_file():
            found.notes.append(f"{name}: no such file; {modality} is missing")
            continue
        vectors = read_file(raw / name)
        _check_vectors(vectors, found, raw / name)
        found.vectors[modality] = tuples.vectors_of(found, name, [vectors])
        found.files.append(raw / name)
    return found


def _check_vectors(vectors: Any, found: Published, file: Path) -> None:
    """Refuse vectors that lack an utterance."""
    if not isinstance(vectors, dict):
        raise PublishedError(f"{file}: is {tuples.seen(vectors)}, where a dict of dialogues is expected")
    for key, place in found.keys:
        if key not in vectors or not isinstance(vectors[key], (list, np.ndarray)) or len(vectors[key]) <= place:
            raise PublishedError(f"{file}: has no vector {place} of the dialogue {key!r}")


# ---- M3Net: MMGCN's pickle with COSMIC's beside it ----


def m3net(raw: Path, pickles: Mapping[Path, Any]) -> Published | None:
    """Read one of MMGCN's and one of COSMIC's pickles; None unless `pickles` are exactly one of each."""
    layouts = {file: fitting[0] for file, content in pickles.items() if (fitting := _fitting(content))}
    first = [file for file, layout in layouts.items() if layout.name.startswith("MMGCN")]
    second = [file for file, layout in layouts.items() if "text2" in layout.fields and "audio" not in layout.fields]
    if len(first) != 1 or len(second) != 1:
        return None
    [labels], [text] = first, second
    found = tuples.published(pickles[labels], layouts[labels], labels, raw)
    layers = [pickles[text][layouts[text].fields.index(name)] for name in tuples.SEVERAL]
    for part in layers:
        _check_vectors(part, found, text)
    found.layout = "M3Net"
    found.files.append(text)
    found.vectors["text"] = tuples.vectors_of(found, text.name, layers)
    return found


def _fitting(content: Any) -> list[tuples.Layout]:
    if not isinstance(content, (list, tuple)):
        return []
    return [layout for layout in tuples.LAYOUTS if tuples.fits(content, layout)]


# ---- DAG-ERC and MultiDAG: json files by split ----

DAG_ERC = re.compile(r"(train|dev|test)_data_roberta(_mm)?\.json\.feature")
SPLIT_NAMES = {"train": TRAIN, "dev": VALIDATION, "val": VALIDATION, "test": TEST}


def dag_erc(raw: Path) -> Published | None:
    """Read the three json files of DAG-ERC, or of MultiDAG (`_mm`), which has three vectors in `cls`; None without."""
    matches = {file: DAG_ERC.fullmatch(file.name) for file in sorted(raw.iterdir())}
    kinds = {match[2] or "" for match in matches.values() if match}
    if not kinds:
        return None
    if len(kinds) > 1:
        raise PublishedError(
            f"{raw}: has files of DAG-ERC and of MultiDAG (`_mm`); put those to read alone in a folder"
        )
    several = kinds == {"_mm"}
    found = Published("MultiDAG" if several else "DAG-ERC", "words", [], {}, [])
    entries: list[tuple[Path, dict]] = []
    places: list[str] = []
    for name in ("train", "dev", "test"):
        file = raw / f"{name}_data_roberta{'_mm' if several else ''}.json.feature"
        content = read_file(file)
        if not isinstance(content, list) or not all(isinstance(dialogue, list) for dialogue in content):
            raise PublishedError(f"{file}: is {tuples.seen(content)}, where a list of dialogues is expected")
        found.files.append(file)
        for number, dialogue in enumerate(content):
            for place, entry in enumerate(dialogue):
                if not isinstance(entry, dict) or not {"text", "speaker", "cls"} <= entry.keys():
                    raise PublishedError(f"{file}: dialogue {number}, utterance {place}: has no text, speaker or cls")
                named = f"{SPLIT_NAMES[name]}_{number}"
                label = label_of(entry.get("label"), f"{file}, dialogue {number}, utterance {place}")
                found.turns.append(PublishedTurn(named, f"{named}_{place}", clean(entry["speaker"]), label,
                                        SPLIT_NAMES[name], sentence(entry["text"])))  # fmt: skip
                entries.append((file, entry))
                places.append(f"{number} {place}")
    for part, modality in enumerate(tuples.MODALITIES if several else tuples.MODALITIES[:1]):
        take = partial(_taken_of_json, entries, part if several else None)
        found.vectors[modality] = Vectors([file.name for file, _ in entries], places, take)
    return found


def _taken_of_json(entries: Sequence[tuple[Path, dict]], part: int | None, turn: int, which: str) -> Any:
    written = entries[turn][1]["cls"]
    if part is None:
        return written
    if not isinstance(written, list) or len(written) != len(tuples.MODALITIES):
        raise PublishedError(f"{entries[turn][0]}: cls is {tuples.seen(written)}; a list of three vectors is expected")
    return written[part]


# ---- GCNet and MERBench: a file, or a folder of frames, per utterance ----

MERBENCH = re.compile(r"label\w*\.npz|label-\w*\.npz")
CORPORA = {"train_corpus": TRAIN, "val_corpus": VALIDATION, "test_corpus": TEST, "whole_corpus": UNSAID}
NAMES = re.compile(r"(?:(train|val|dev|test)_)?(.+?)_((?:utt|[FM])?\d+)")
"""Name of an utterance in MERBench: split, dialogue, and place in it."""
WORDS = {
    "text": ("bert", "xlnet", "llama", "t5-", "opt-", "bloom", "glm", "gpt", "electra", "mpnet", "vicuna", "text"),
    "audio": ("wav", "hubert", "data2vec-audio", "whisper", "vggish", "is09", "is10", "is13", "egemaps", "emotion2vec",
              "audio"),
    "visual": ("clip", "vit", "manet", "emonet", "dinov2", "videomae", "eva02", "resnet", "senet", "msceleb",
               "imagenet", "data2vec-vision", "face", "video", "visual"),
}  # fmt: skip
"""Parts of the names of folders that tell the modality of the vectors in them."""


def merbench(raw: Path, folders: Mapping[str, str]) -> Published | None:
    """Read MERBench's folder: an archive of labels, transcriptions, and folders of vectors; None without the labels."""
    archives = sorted(file for file in raw.iterdir() if MERBENCH.fullmatch(file.name))
    if not archives:
        return None
    if len(archives) > 1:
        there = ", ".join(file.name for file in archives)
        raise PublishedError(f"{raw}: has several archives of labels ({there}); leave one of them in the folder")
    content = read_file(archives[0])
    if not isinstance(content, dict) or not content or not content.keys() <= CORPORA.keys():
        raise PublishedError(f"{archives[0]}: has {', '.join(content)[:100]}; expected are {', '.join(CORPORA)}")
    found = Published("MERBench", "", [], {}, [archives[0]])
    transcriptions = raw / "transcription-engchi-polish.csv"
    texts = {}
    if transcriptions.is_file():
        with transcriptions.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            # Strict, because otherwise an unclosed quote would silently swallow the rows after it.
            reader = csv.DictReader(stream, strict=True)
            try:
                texts = {row.get("name", ""): row.get("english") or "" for row in reader}
            except csv.Error as error:
                raise PublishedError(f"{transcriptions}, line {reader.line_num}: is not a CSV row ({error})") from None
    else:
        found.notes.append(f"{transcriptions.name}: no such file; there are no sentences")
    named = _grouped([row for part in CORPORA if part in content for row in _labels(content, part, raw)])
    names = [row.name for row in named]
    iemocap = all(name.startswith("Ses0") for name in names)
    meld = all(re.fullmatch(r"(train|val|test)_dia\d+_utt\d+", name) for name in names)
    found.coding = "iemocap" if iemocap else "merbench_meld" if meld else "polarity"
    found.folds = "whole_corpus" in content
    for row in named:
        label = label_of(row.value["val" if found.coding == "polarity" else "emo"], f"{archives[0]}, {row.name}")
        speaker = row.place[:1] if iemocap else "?"
        found.turns.append(PublishedTurn(row.dialogue, f"{row.dialogue}_{row.place}", speaker, label, CORPORA[row.part],
                                clean(texts.get(row.name, ""))))  # fmt: skip
    if not iemocap:
        found.notes.append("MERBench has no speakers: all turns of a dialogue count as one speaker's")
    _add_vectors(found, raw, folders, names, names_of_faces=None)
    return found


class _Labelled(NamedTuple):
    """An entry of MERBench's labels."""

    part: str
    name: str
    dialogue: str
    place: str
    """What stands behind the dialogue in the name: `utt3`, `F000`."""
    value: dict


def _labels(content: Mapping[str, Any], part: str, raw: Path) -> Iterator[_Labelled]:
    if not isinstance(content[part], dict):
        raise PublishedError(f"{raw}: {part} of the labels is {tuples.seen(content[part])}, where a dict is expected")
    for written, value in content[part].items():
        name = clean(written)
        if not isinstance(value, dict) or not {"emo", "val"} <= value.keys():
            raise PublishedError(f"{raw}: the label of {name!r} has no `emo` and `val`")
        split, dialogue, place = ("", name, "0") if not (match := NAMES.fullmatch(name)) else match.groups()
        yield _Labelled(part, name, f"{SPLIT_NAMES[split]}_{dialogue}" if split else dialogue, place, value)


def _grouped(rows: Sequence[_Labelled]) -> list[_Labelled]:
    """Order by dialogue, as each first occurs; inside a dialogue the order of the file, which is the conversation's."""
    first: dict[str, int] = {}
    for place, row in enumerate(rows):
        first.setdefault(row.dialogue, place)
    return sorted(rows, key=lambda row: first[row.dialogue])


def gcnet(raw: Path, folders: Mapping[str, str], pickles: Mapping[Path, Any]) -> Published | None:
    """Read GCNet's folder: a pickle of labels, and folders of vectors; None if no pickle has this layout."""
    for file, content in pickles.items():
        for layout in _fitting(content):
            if layout.name == tuples.GCNET:
                found = tuples.published(content, layout, file, raw)
                found.layout = "GCNet"
                names = [turn.utterance for turn in found.turns]
                _add_vectors(found, raw, folders, names, [turn.speaker for turn in found.turns])
                return found
    return None


def _add_vectors(
    found: Published, raw: Path, folders: Mapping[str, str], names: Sequence[str], names_of_faces: Sequence[str] | None
) -> None:
    """Add the vectors of the folders that `folders` name, or whose names tell their modality.

    Args:
        names: names of the turns' files.
        names_of_faces: speaker (F or M) of each turn, whose letter the names of its frames have; None: all frames.
    """
    if not names:
        raise PublishedError(f"{raw}: its labels have no utterance")
    for modality, folder in chosen_folders(raw, folders).items():
        there = {path.name: path for path in folder.iterdir()}
        paths = [there.get(f"{name}.npy") or there.get(name) for name in names]
        if not any(paths):
            raise PublishedError(f"{folder}: has no vector of any utterance, such as {names[0]}.npy")
        lacking = sum(path is None for path in paths)
        if lacking:
            found.notes.append(f"{folder.relative_to(raw)}: lacks {lacking} of {len(names)} utterances")
        files = [path.relative_to(raw).as_posix() if path else "" for path in paths]
        places = list(names_of_faces) if names_of_faces is not None else [""] * len(names)
        found.vectors[modality] = Vectors(files, places, partial(_taken_of_files, paths, names_of_faces))


def chosen_folders(raw: Path, folders: Mapping[str, str]) -> dict[str, Path]:
    """Folder of each modality's vectors: the one that `folders` names, otherwise the only one whose name tells it.

    Raises:
        PublishedError: there is none, or more than one; the message names them and the key of params.yaml.
    """
    parents = [raw, raw / "features"]
    there = {
        path.relative_to(raw).as_posix(): path
        for parent in parents if parent.is_dir()
        for path in sorted(parent.iterdir()) if path.is_dir() and path.name != "features"
    }  # fmt: skip
    found: dict[str, Path] = {}
    for modality, name in folders.items():
        if not (raw / name).is_dir():
            raise PublishedError(f"{raw}: index's folders.{modality} is {name!r}, and there is no such folder")
        found[modality] = raw / name
    for modality in tuples.MODALITIES:
        if modality in found:
            continue
        fitting = [name for name in there if modality_of(name) == modality]
        if len(fitting) > 1:
            raise PublishedError(f"{raw}: has several folders of {modality} vectors ({', '.join(fitting)}); name one: "
                                 f"`-S +index.<corpus>.folders.{modality}={fitting[0]}`")  # fmt: skip
        if fitting:
            found[modality] = there[fitting[0]]
    if not found:
        raise PublishedError(f"{raw}: has no folder whose name tells the modality of its vectors (there are: "
                             f"{', '.join(there) or 'none'}); name them in index's `folders`")  # fmt: skip
    return found


def modality_of(name: str) -> str:
    """Modality that the name of a folder tells, by the longest of its words; empty if it tells none."""
    lower = name.rpartition("/")[2].lower()
    found = {word: modality for modality, words in WORDS.items() for word in words if word in lower}
    return found[max(found, key=len)] if found else ""


def _taken_of_files(
    paths: Sequence[Path | None], names_of_faces: Sequence[str] | None, turn: int, which: str
) -> np.ndarray | None:
    """Vector of an utterance's file, or the mean over a folder of frames."""
    path = paths[turn]
    if path is None:
        return None
    if path.is_file():
        return vector(read_file(path), str(path))
    frames = [frame for frame in sorted(path.glob("*.npy")) if not frame.is_dir()]
    if names_of_faces is not None:
        frames = [frame for frame in frames if names_of_faces[turn][:1] in frame.stem]
    if not frames:
        return None
    return np.stack([vector(read_file(frame), str(frame)) for frame in frames]).mean(axis=0, dtype=np.float64)
