"""Layouts that are one pickled tuple or list: dicts by dialogue, each with a list that has an entry per utterance.

Which layout a file has is found by looking at it: by the number of its fields, and by what kind each field is.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
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
    coding_of,
    dialogue_name,
    label_of,
    length,
    meld_split,
    sentence,
    speaker_name,
    utterance_names,
    vector,
)

SEVERAL = ("text", "text2", "text3", "text4")
"""Fields with the vectors of an encoder's last layer, and of the three layers below it."""
MODALITIES = ("text", "audio", "visual")
MOST_SPEAKERS = 20
"""Width up to which a list of numbers can be a speaker, one place for each; the narrowest vectors are wider."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A tuple of fields."""

    name: str
    fields: tuple[str, ...]


def _layout(name: str, fields: str) -> Layout:
    return Layout(name, tuple(fields.split()))


GCNET = "GCNet's labels"
LAYOUTS = (
    _layout("MMGCN", "ids speakers labels text audio visual sentences train test"),
    _layout("MMGCN (MELD)", "ids speakers labels text audio visual sentences train test ignored"),
    _layout("DialogueRNN (MELD)", "ids speakers labels text audio sentences train test sentiments"),
    _layout("SDT", "ids speakers labels text text2 text3 text4 audio visual sentences train test"),
    _layout("SDT (MELD)", "ids speakers labels text text2 text3 text4 audio visual sentences train test ignored"),
    _layout("GraphSmile (MELD)",
            "ids speakers labels sentiments text text2 text3 text4 audio visual sentences train test ignored"),
    _layout("COSMIC", "speakers labels text text2 text3 text4 sentences train test validation"),
    _layout("COSMIC (MELD)", "speakers labels sentiments text text2 text3 text4 sentences train test validation"),
    _layout("COSMIC's sentences", "speakers labels sentences train test validation"),
    _layout("COSMIC's sentences (MELD)", "speakers labels sentiments sentences train test validation"),
    _layout(GCNET, "ids labels speakers sentences train test"),
)  # fmt: skip
COMMONSENSE = 9
"""Number of dicts of vectors in COSMIC's file of commonsense features, which has neither labels nor splits."""


def layout_of(content: Any, name: str) -> Layout:
    """Find the layout of a pickled tuple or list.

    Raises:
        PublishedError: none fits, with what was seen.
    """
    if not isinstance(content, (tuple, list)):
        raise PublishedError(f"{name}: is none of the layouts that are read: it is {seen(content)}")
    fitting = [layout for layout in LAYOUTS if fits(content, layout)]
    if len(fitting) != 1:
        if len(content) == COMMONSENSE and all(map(_is_vectors, content)):
            raise PublishedError(f"{name}: is COSMIC's file of commonsense features, without labels and splits; the "
                                 "file to read is the one beside it, with `roberta` in its name")  # fmt: skip
        fields = "; ".join(f"{place} {seen(part)}" for place, part in enumerate(content[:20]))
        raise PublishedError(f"{name}: is none of the layouts that are read: it has {len(content)} fields: {fields}")
    return fitting[0]


def fits(content: Sequence[Any], layout: Layout) -> bool:
    """Whether each field of `content` is of the kind that `layout` has at its place."""
    return len(content) == len(layout.fields) and all(
        KINDS[field](part) for field, part in zip(layout.fields, content, strict=True)
    )


def seen(part: Any) -> str:
    """Describe a field for a message: its type, and what is in it."""
    if isinstance(part, dict):
        return f"a dict of {len(part)}, with {seen(_first(part))}" if part else "an empty dict"
    if isinstance(part, np.ndarray):
        return f"an array {list(part.shape)}"
    if isinstance(part, (list, tuple, set)):
        inside = next(iter(part), None)
        return f"a {type(part).__name__} of {len(part)} {type(inside).__name__}" if part else "an empty list"
    return f"a {type(part).__name__}"


def _first(part: dict) -> Any:
    """The first list or array that is not empty."""
    return next((value for value in part.values() if length(value)), None)


def _entry(part: Any) -> Any:
    """The first entry of the first dialogue, or None if `part` is no dict of lists."""
    value = _first(part) if isinstance(part, dict) else None
    return None if value is None else value[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating))


def _width(value: Any) -> int:
    """Number of numbers in a list or an array of numbers; 0 for everything else."""
    if isinstance(value, np.ndarray):
        return int(value.size) if value.ndim == 1 and value.dtype.kind in "fiu" else 0
    return len(value) if isinstance(value, (list, tuple)) and value and all(map(_is_number, value)) else 0


def _is_vectors(part: Any) -> bool:
    return _width(_entry(part)) > MOST_SPEAKERS or (_width(_entry(part)) > 0 and isinstance(_entry(part), np.ndarray))


def _is_speakers(part: Any) -> bool:
    return isinstance(_entry(part), str) or 0 < _width(_entry(part)) <= MOST_SPEAKERS


def _is_keys(part: Any) -> bool:
    return isinstance(part, (list, tuple, set)) and all(isinstance(key, (str, int)) for key in part)


KINDS: dict[str, Callable[[Any], bool]] = {
    "ids": lambda part: isinstance(_entry(part), (str, int)),
    "speakers": _is_speakers,
    "labels": lambda part: _is_number(_entry(part)),
    "sentiments": lambda part: _is_number(_entry(part)),
    "sentences": lambda part: isinstance(_entry(part), str),
    **dict.fromkeys((*SEVERAL, "audio", "visual"), _is_vectors),
    **dict.fromkeys((TRAIN, TEST, VALIDATION), _is_keys),
    "ignored": lambda _: True,
}
"""What a field of each name looks like."""


def published(content: Sequence[Any], layout: Layout, file: Path, raw: Path) -> Published:
    """Turns and vectors of a tuple with the fields of `layout`.

    Raises:
        PublishedError: fields contradict each other; the message names the file, the dialogue and the fields.
    """
    fields = dict(zip(layout.fields, content, strict=True))
    splits = splits_of(fields, file)
    keys = [key for key in fields["labels"] if key in splits]
    train = [key for key, split in splits.items() if split != TEST]
    test = [key for key, split in splits.items() if split == TEST]
    numbers = {key: turns_of(fields, key, file) for key in keys}
    labels = {key: [label_of(one, f"{file}, dialogue {key!r}") for one in fields["labels"][key]] for key in keys}
    coding = coding_of(keys, train, test, [label for key in keys for label in labels[key]])
    found = Published(layout.name, coding, [], {}, [file])
    if coding == "meld" and "validation" not in fields:
        splits = {key: meld_split(key) for key in splits}
        found.notes.append(f"{file.name}: MELD's dev is found inside its train by the dialogues' numbers")
    named: dict[str, Any] = {}
    for key, number in numbers.items():
        name, ids = dialogue_name(key, coding), fields.get("ids", {}).get(key)
        names = utterance_names(name, list(ids) if length(ids) else None, number, coding)
        if name in named:  # such as the number 1 and the word
            raise PublishedError(f"{file}: the dialogues {named[name]!r} and {key!r} have one name, {name!r}; give one "
                                 "of them another")  # fmt: skip
        named[name] = key
        for place in range(number):
            speaker = speaker_name(fields["speakers"][key][place], f"{file}, {names[place]}")
            text = sentence(fields["sentences"][key][place])
            found.turns.append(PublishedTurn(name, names[place], speaker, labels[key][place], splits[key], text))
            found.keys.append((key, place))
    left_out = len(fields["labels"]) - len(keys)
    if left_out:
        found.notes.append(f"{file.name}: {left_out} dialogues are in no split, and left out")
    for modality in MODALITIES:
        if modality in fields:
            layers = [fields[name] for name in SEVERAL if name in fields] if modality == "text" else [fields[modality]]
            found.vectors[modality] = vectors_of(found, file.relative_to(raw).as_posix(), layers)
    return found


def vectors_of(found: Published, file: str, layers: Sequence[dict]) -> Vectors:
    """Vectors of one modality, from dicts by dialogue: one for each layer of the encoder, the last layer first."""
    places = [f"{key!r} {place}" for key, place in found.keys]
    return Vectors([file] * len(found.turns), places, partial(taken, layers, found.keys, file), len(layers))


def taken(layers: Sequence[dict], places: Sequence[tuple[Any, int]], file: str, turn: int, which: str) -> Any:
    """Vector of a turn: of the last layer, which is the first field, or the mean of the four."""
    key, place = places[turn]
    if which == "last" or len(layers) == 1:
        return layers[0][key][place]
    return np.mean(
        [vector(layer[key][place], f"{file}, dialogue {key!r}, utterance {place}") for layer in layers],
        axis=0,
        dtype=np.float64,
    )


def splits_of(fields: dict[str, Any], file: Path) -> dict[Any, str]:
    """Split of each dialogue, train before validation before test; sets are sorted, so that their order is fixed."""
    splits: dict[Any, str] = {}
    for split in (TRAIN, VALIDATION, TEST):
        for key in in_fixed_order(fields.get(split, [])):
            if key in splits:
                raise PublishedError(f"{file}: the dialogue {key!r} is in {splits[key]} and in {split}")
            if key not in fields["labels"]:
                raise PublishedError(f"{file}: the dialogue {key!r} of {split} has no labels")
            splits[key] = split
    return splits


def in_fixed_order(keys: Collection[Any]) -> list[Any]:
    return sorted(keys, key=lambda key: (str(type(key)), key)) if isinstance(keys, set) else list(keys)


def turns_of(fields: dict[str, Any], key: Any, file: Path) -> int:
    """Number of turns of a dialogue; all fields must have as many entries for it."""
    written = fields["labels"][key]
    if not isinstance(written, (list, tuple)) and getattr(written, "ndim", 0) != 1:
        raise PublishedError(f"{file}: the dialogue {key!r} has {seen(written)} instead of labels")
    number = len(written)
    for name, part in fields.items():
        if name in (TRAIN, TEST, VALIDATION, "ignored", "ids", "sentiments"):
            continue
        if key not in part:
            raise PublishedError(f"{file}: the dialogue {key!r} has labels and no {name}")
        if length(part[key]) != number:
            raise PublishedError(f"{file}: the dialogue {key!r} has {number} labels and {length(part[key])} {name}")
    return number
