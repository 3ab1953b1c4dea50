"""MMSA's layout of the sentiment corpora: a dict of train, valid and test, each with arrays over all its clips."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from extractors.published.content import (
    TEST,
    TRAIN,
    VALIDATION,
    Published,
    PublishedError,
    PublishedTurn,
    Vectors,
    clean,
    length,
    sentence,
)

PARTS = {"train": TRAIN, "valid": VALIDATION, "test": TEST}
FIELDS = {"text": "text", "audio": "audio", "visual": "vision"}
NEEDED = ("raw_text", "id", "regression_labels")
BETWEEN = "$_$"
"""Stands in an id between the video and the number of the clip."""


def is_mmsa(content: Any) -> bool:
    return isinstance(content, dict) and bool(content) and content.keys() <= PARTS.keys()


def mmsa(content: dict[str, Any], file: Path, raw: Path) -> Published:
    """Turns and vectors of a file of MMSA; a clip's vector is the mean over its steps that are not all zero.

    A dialogue is the video, inside its split: the clips of some corpora were drawn into the splits one by one.
    """
    found = Published("MMSA", "polarity", [], {}, [file])
    rows: list[tuple[str, int]] = []
    for name, split in PARTS.items():
        part = content.get(name)
        if not isinstance(part, dict) or any(field not in part for field in NEEDED):
            raise PublishedError(f"{file}: {name} has no {', '.join(NEEDED)}")
        number = length(part["id"])
        for field in (*NEEDED, *FIELDS.values()):
            if field in part and length(part[field]) != number:
                raise PublishedError(f"{file}: {name} has {number} ids, and not as many {field}")
        clips: dict[str, list[tuple[int, int]]] = {}
        for place, written in enumerate(part["id"]):
            video, _, clip = clean(written).rpartition(BETWEEN)
            clips.setdefault(video or clean(written), []).append((int(clip) if clip.isdecimal() else place, place))
        for video, places in clips.items():
            for clip_number, place in sorted(places):
                label, text = _label(part, place, file), sentence(part["raw_text"][place])
                found.turns.append(
                    PublishedTurn(f"{split}_{video}", f"{split}_{video}_{clip_number}", "?", label, split, text)
                )
                rows.append((name, place))
    if len({turn.utterance for turn in found.turns}) != len(found.turns):
        raise PublishedError(f"{file}: an id occurs twice in one split")
    for modality, field in FIELDS.items():
        if all(field in content[name] for name in PARTS):
            files = [file.relative_to(raw).as_posix()] * len(rows)
            where = [f"{name} {place}" for name, place in rows]
            found.vectors[modality] = Vectors(files, where, partial(_taken, content, rows, field, file))
    found.notes.append("MMSA has no speakers: all clips of a video count as one speaker's")
    return found


def _label(part: dict[str, Any], place: int, file: Path) -> float:
    try:
        return float(np.ravel(part["regression_labels"][place])[0])
    except (ValueError, TypeError, IndexError):
        raise PublishedError(f"{file}: {part['id'][place]}: its regression label is no number") from None


def _taken(
    content: dict[str, Any], rows: list[tuple[str, int]], field: str, file: Path, turn: int, which: str
) -> np.ndarray:
    part, place = rows[turn]
    try:
        steps = np.asarray(content[part][field][place], dtype=np.float64)
    except (ValueError, TypeError):
        raise PublishedError(f"{file}: {part} {place}: its {field} is no array of numbers") from None
    if steps.ndim not in (1, 2):
        raise PublishedError(
            f"{file}: {part} {place}: its {field} has the shape {steps.shape}; steps of vectors are expected"
        )
    steps = np.where(np.isfinite(steps), steps, 0.0)  # the logarithm of silence, in the audio of some corpora
    if steps.ndim == 1:
        return steps
    real = steps.any(axis=1)
    mean: np.ndarray = steps[real].mean(axis=0) if real.any() else np.zeros(steps.shape[1])
    return mean
