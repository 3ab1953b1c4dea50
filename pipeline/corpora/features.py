"""Reader of published feature files: their turns, labels, splits and sentences become an index.

The vectors stay in the file. The index names it, with the hash of its content, and `extract` takes each vector from
there (extractors/published/extractor.py). docs/feature_files.md describes all this for users.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from extractors.published import known
from extractors.published.content import TEST, TRAIN, VALIDATION, Published, PublishedTurn, understood, vector
from extractors.published.files import checksums, digest
from extractors.published.reading import base_of, read_published
from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.log import log
from pipeline.corpora.iemocap import with_validation
from pipeline.corpora.labels import EMORYNLP, IEMOCAP, MELD, POLARITY, SIGN, plain
from pipeline.corpora.meld import episode
from pipeline.corpora.raw_corpus import RawCorpus
from pipeline.corpora.settings import FeaturesSettings

CODES: dict[str, Sequence[str]] = {
    "iemocap": IEMOCAP,
    "meld": MELD,
    "merbench_meld": ("anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise"),
    "emorynlp": EMORYNLP,
}
"""Labels of the codes 0, 1, … in each coding."""
WORDS = {
    "hap": "happy", "happiness": "happy", "sadness": "sad", "neu": "neutral", "ang": "angry", "anger": "angry",
    "exc": "excited", "excitement": "excited", "fru": "frustrated", "frustration": "frustrated",
}  # fmt: skip
"""Words for IEMOCAP's labels beside those of the index."""
SESSION = re.compile(r"Ses0(?P<session>[1-5])")
SCENE = re.compile(r"(?P<season>\d{1,2})_(?P<episode>\d{1,2})_\d{1,2}", re.ASCII)
"""Name of a dialogue of EmoryNLP."""
PROTOCOLS = {
    ((120, 31), (5810, 1623)): "MMGCN's (120 and 31 dialogues; validation is ours to choose)",
    ((108, 12, 31), (5163, 647, 1623)): "COSMIC's (108, 12 and 31 dialogues)",
    ((100, 20, 31), (4778, 980, 1622)): "DAG-ERC's (100, 20 and 31 dialogues)",
}
"""IEMOCAP's protocols by dialogues and labelled utterances of the file's own splits. Scores by different ones cannot
be compared."""
BY_SESSION = "MERBench's (five folds by session; here Session {} is test)"
FIELDS = {"text": ("text_file", "text_hash"), "audio": ("audio", "audio_hash"), "visual": ("video", "video_hash")}
"""Fields of an utterance with the file of each modality's vector, and the hash of its content."""


def read(raw: Path, settings: FeaturesSettings) -> RawCorpus:
    """Read the utterances of a published file or folder.

    Raises:
        UserError: it cannot be read, is of no known layout, or lacks what `settings` ask for.
    """
    with understood(raw):
        return _read(raw, settings)


def _read(raw: Path, settings: FeaturesSettings) -> RawCorpus:
    found = read_published(raw, settings.folders)
    found.turns = [replace(turn, speaker=plain(turn.speaker)) for turn in found.turns]
    log.info("%s: has the layout of %s", raw.name, found.layout)
    labels = labels_of(found, settings.labels, raw)
    splits = splits_of(found, settings)
    sources = sources_of(found, settings, raw)
    result = RawCorpus([], [], list(found.notes))
    result.published = about(found, labels, settings, sources, raw)
    warned = [f"{file['name']}: {file['warning']}" for file in result.published["files"] if "warning" in file]
    if not any(known.TAUGHT in note for note in warned):
        warned += [f"{raw.name}: {warning}" for warning in result.published["warnings"].values()]
    if found.layout == "MultiEMO" and result.published["vectors"].get("text", {}).get("width") == known.WIDTH_SUSPECTED:
        warned.append(f"{raw.name}: {known.SUSPECTED}")
    result.notes += warned
    unlabelled = sum(not label for label in labels)
    if unlabelled:
        what = "left out" if settings.context == "labelled" else "context only"
        result.notes.append(f"{raw.name}: {unlabelled} turns have no label, and are {what}")
    numbers: dict[str, dict[str, int]] = {}
    turns: Counter[str] = Counter()
    for place, turn in enumerate(found.turns):
        if not labels[place] and settings.context == "labelled":
            continue
        speakers = numbers.setdefault(turn.dialogue, {})
        files: dict[str, Any] = {field: values[place] for field, values in sources.items()}
        result.speakers.append(speaker_of(turn, found.coding))
        result.rows.append(
            Utterance(
                utterance_id=turn.utterance,
                dialogue_id=turn.dialogue,
                turn=turns[turn.dialogue],
                speaker=speakers.setdefault(turn.speaker, len(speakers)),
                speaker_name=turn.speaker,
                split=splits[place],
                text=turn.text,
                label=labels[place],
                episode=episode_of(turn, found.coding),
                **files,
            )
        )
        turns[turn.dialogue] += 1
    result.rows = validated(result.rows, settings, found, raw)
    return result


def labels_of(found: Published, names: Sequence[str], raw: Path) -> list[str]:
    """Label of each turn as a word; empty where the file has none.

    Args:
        names: `index.D.labels`, words for the codes 0, 1, …; empty: those of the field.
    """
    written = [turn.label for turn in found.turns]
    codes = [plain(name) for name in names] or CODES.get(found.coding, ())
    polarity = found.coding == "polarity" and not names
    strong = polarity and any(abs(value) > 1 for value in written if isinstance(value, (int, float)))
    words = {plain(value).lower() for value in written if isinstance(value, str)}
    of_iemocap = not words <= set(MELD) and {WORDS.get(word, word) for word in words} <= set(IEMOCAP)
    labels = []
    for turn, value in zip(found.turns, written, strict=True):
        if value is None or value == "" or (value == -1 and not polarity):
            labels.append("")
        elif isinstance(value, str):
            word = plain(value).lower()
            labels.append(WORDS.get(word, word) if of_iemocap else word)
        elif not isinstance(value, (int, float)) or not np.isfinite(value):
            raise UserError(f"{raw}: {turn.utterance} has the label {value!r}, which is neither a code nor a word")
        elif polarity:
            labels.append(polarity_of(value) if strong else SIGN[int(np.sign(value)) + 1])
        elif codes and (value != int(value) or not 0 <= value < len(codes)):
            raise UserError(f"{raw}: {turn.utterance} has the label {value!r}; the codes of {', '.join(codes)} are 0 "
                            f"to {len(codes) - 1} (index.<corpus>.labels names other labels)")  # fmt: skip
        else:
            labels.append(codes[int(value)] if codes else f"class {int(value) if value == int(value) else value}")
    return labels


def polarity_of(value: float) -> str:
    """One of seven labels for a polarity from -3 to 3, with the limits that GraphSmile has."""
    below = int(np.searchsorted([-2, -1, 0], value, side="right"))
    return POLARITY[below + int(np.searchsorted([0, 1, 2], value, side="left"))]


def splits_of(found: Published, settings: FeaturesSettings) -> list[str]:
    """Split of each turn: the file's own, or by session where the protocol has folds."""
    if not found.folds:
        return [turn.split for turn in found.turns]
    return [TEST if session_of(turn) == str(settings.fold) else TRAIN for turn in found.turns]


def episode_of(turn: PublishedTurn, coding: str) -> str:
    """Session of IEMOCAP, or episode of EmoryNLP, as the name of the dialogue says it; MELD's numbers do not."""
    if session := session_of(turn):
        return f"Ses0{session}"
    scene = SCENE.fullmatch(turn.dialogue) if coding == "emorynlp" else None
    return episode(scene["season"], scene["episode"]) if scene else ""


def session_of(turn: PublishedTurn) -> str:
    """Session of IEMOCAP that a turn belongs to; empty for other corpora."""
    match = SESSION.match(turn.dialogue)
    return match["session"] if match else ""


def validated(rows: list[Utterance], settings: FeaturesSettings, found: Published, raw: Path) -> list[Utterance]:
    """Choose the validation dialogues: the file's own, otherwise those of `index.D.validation`, drawn from train."""
    chosen = settings.validation
    if chosen == "file":
        if any(row.split == VALIDATION for row in rows):
            return rows
        chosen = "random20"
        log.info("%s: has no validation; a fifth of the train dialogues is drawn (index.<corpus>.validation)", raw.name)
    if chosen != "random20" and not all(map(session_of, found.turns)):
        raise UserError(f"params.yaml: index.<corpus>.validation = {chosen!r}: is for IEMOCAP, and {raw} is another "
                        "corpus; choose file or random20")  # fmt: skip
    rows = [replace(row, split=TRAIN) if row.split == VALIDATION else row for row in rows]
    return with_validation(rows, chosen, settings.validation_seed)


def sources_of(found: Published, settings: FeaturesSettings, raw: Path) -> dict[str, list[str]]:
    """Values of the fields that name the vectors' files, one per turn.

    Raises:
        UserError: the file has neither vectors nor sentences for the modalities of `settings`.
    """
    wanted = [modality for modality in settings.modalities if modality in settings.vectors]
    taken = [modality for modality in wanted if modality in found.vectors]
    lacking = [modality for modality in settings.modalities if modality not in taken and modality != "text"]
    found.notes += [f"{raw.name}: has no {modality} vectors" for modality in lacking if modality not in found.vectors]
    spoken = "text" in settings.modalities and any(turn.text for turn in found.turns)
    if not taken and not spoken:
        raise UserError(f"{raw}: has neither vectors of {', '.join(settings.modalities)} nor sentences; it has vectors "
                        f"of {', '.join(found.vectors) or 'none'} (index.<corpus>.modalities, index.<corpus>.vectors)"
                        )  # fmt: skip
    hashes: dict[str, str] = {"": ""}
    fields = {name: [""] * len(found.turns) for names in FIELDS.values() for name in names}
    for modality in taken:
        files = list(found.vectors[modality].files)
        for file in dict.fromkeys(files):
            if file not in hashes:
                hashes[file] = digest(base_of(raw) / file)
        named, hashed = FIELDS[modality]
        fields[named] = files
        fields[hashed] = [found.vectors[modality].content(place, hashes[file]) if file else ""
                          for place, file in enumerate(files)]  # fmt: skip
    return fields


def about(
    found: Published, labels: list[str], settings: FeaturesSettings, sources: dict[str, list[str]], raw: Path
) -> dict:
    """What the file is, for corpus.json: layout, protocol, vectors, and what is known of it."""
    vectors = {}
    for modality, values in found.vectors.items():
        place = next((place for place, file in enumerate(values.files) if file), None)
        width = 0
        if place is not None and (taken := values.take(place, "last")) is not None:
            what = f"{base_of(raw) / values.files[place]}, {found.turns[place].utterance}, {modality}"
            width = len(vector(taken, what))
        vectors[modality] = {"width": width, "layers": values.layers}
    files = [described(file) for file in found.files]
    taught = found.coding == "meld" and vectors.get("audio", {}).get("width") == known.WIDTH_TAUGHT
    return {
        "layout": found.layout,
        "protocol": protocol_of(found, labels, settings),
        "files": files,
        "warnings": {"audio": known.TAUGHT} if taught else {},
        "vectors": vectors,
        "taken": [modality for modality, (named, _) in FIELDS.items() if any(sources[named])],
    }


def described(file: Path) -> dict[str, str]:
    """Name, checksums, and what is known of a file by its content."""
    sha256, blob = checksums(file)
    entry = {"name": file.name, "sha256": sha256, "git_blob": blob}
    one = known.recognised(sha256, blob)
    if one is None:
        return entry
    log.info("%s: is %s; used by %s", file.name, one.what, one.used_by)
    return entry | {"known": one.what, "used_by": one.used_by} | ({"warning": one.warning} if one.warning else {})


def protocol_of(found: Published, labels: list[str], settings: FeaturesSettings) -> str:
    """Name of the protocol: which dialogues are train, validation and test; four of IEMOCAP's are in use."""
    if found.folds:
        return BY_SESSION.format(settings.fold)
    if found.coding in ("meld", "merbench_meld"):
        return "MELD's own split"
    splits = [split for split in (TRAIN, VALIDATION, TEST) if any(turn.split == split for turn in found.turns)]
    dialogues = [len({turn.dialogue for turn in found.turns if turn.split == split}) for split in splits]
    counted = Counter(turn.split for turn, label in zip(found.turns, labels, strict=True) if label)
    utterances = [counted[split] for split in splits]
    named = PROTOCOLS.get((tuple(dialogues), tuple(utterances)))
    return named or "the file's own ({} dialogues, {} labelled utterances)".format(
        " / ".join(map(str, dialogues)), " / ".join(map(str, utterances))
    )


def speaker_of(turn: PublishedTurn, coding: str) -> str:
    """Name of a turn's speaker, unique in the corpus; of most files only the place inside the dialogue is known."""
    if coding == "iemocap" and turn.speaker in ("F", "M"):
        return f"{turn.dialogue[:5]}{turn.speaker}"
    return turn.speaker if coding == "words" else f"{turn.dialogue}:{turn.speaker}"
