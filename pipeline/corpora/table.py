"""Reader of your own corpus: utterances.csv and the media that it names. docs/custom.md describes it for users."""

import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from extractors.utterance import Utterance
from foundation.errors import UserError
from pipeline.corpora.raw_corpus import RawCorpus, table

FILE = "utterances.csv"
REQUIRED = ("dialogue", "speaker", "label", "split")
OPTIONAL = ("turn", "text", "audio", "video", "start", "end")
SPLITS = {"train": "train", "validation": "validation", "dev": "validation", "val": "validation", "test": "test"}
"""Split names that the file may use."""
COLUMNS_OF_PREDICTIONS = ("utterance_id", "seed", "label", "prediction")
"""Words that cannot be labels, because predictions.csv has these columns and one column per label."""


class TableRow(NamedTuple):
    """A valid row of utterances.csv."""

    number: int
    turn: int
    split: str
    start: float | None
    end: float | None
    values: dict[str, str]


def read(raw: Path, modalities: Sequence[str]) -> RawCorpus:
    """Read the utterances of each dialogue, in the order of `turn`, or of the lines if there is no such column.

    Raises:
        UserError: there is no utterances.csv, or it has an invalid row; the message names its line.
    """
    file = raw / FILE
    if not file.is_file():
        raise UserError(f"{file}: no such file; the key `raw` of this corpus in params.yaml must "
                        f"name the folder with your {FILE} (docs/custom.md)")  # fmt: skip
    result = RawCorpus([], [])
    dialogues: dict[str, dict[int, TableRow]] = {}
    for number, values in table(file, REQUIRED):
        if not dialogues:
            unknown = [name for name in values if name not in REQUIRED + OPTIONAL]
            result.notes += [f"{FILE}: the column {name!r} is none that is read" for name in unknown]
        name = values["dialogue"].strip()
        try:
            if not name:
                raise ValueError("dialogue is empty")
            turns = dialogues.setdefault(name, {})
            line = understood(number, {key: value.strip() for key, value in values.items()}, len(turns))
            if line.turn in turns:
                raise ValueError(f"a second turn {line.turn} of dialogue {name!r} (the first: line "
                                 f"{turns[line.turn].number})")  # fmt: skip
            first = next(iter(turns.values()), line)
            if line.split != first.split:
                raise ValueError(f"dialogue {name!r} is in {first.split} by line {first.number}, and in {line.split} "
                                 "here; a dialogue belongs to one split")  # fmt: skip
        except ValueError as error:
            raise UserError(f"{file}, line {number}: {error}") from None
        turns[line.turn] = line
    refuse_unlearnable(file, dialogues)
    for name, turns in dialogues.items():
        numbers: dict[str, int] = {}
        for place, (_, line) in enumerate(sorted(turns.items())):
            speaker = line.values["speaker"]
            result.speakers.append(speaker)
            result.rows.append(utterance(raw, name, place, numbers.setdefault(speaker, len(numbers)), line, modalities))
    return result


def understood(number: int, values: dict[str, str], turns_before: int) -> TableRow:
    """Check and convert the `values` of line `number`.

    Raises:
        ValueError: a value is not allowed; the message has the column, its value and what is allowed.
    """
    if not values["speaker"]:
        raise ValueError("speaker is empty")
    if not values["label"]:
        raise ValueError("label is empty; leave out utterances without one, or give them a label such as 'other'")
    if values["label"] in COLUMNS_OF_PREDICTIONS:
        raise ValueError(f"label = {values['label']!r}: is a column of predictions.csv; take another word")
    if values["split"].lower() not in SPLITS:
        raise ValueError(f"split = {values['split']!r}: must be train, validation (or dev, val) or test")
    turn = turns_before
    if "turn" in values:
        try:
            turn = int(values["turn"])
        except ValueError:
            raise ValueError(f"turn = {values['turn']!r}: must be a whole number") from None
    start, end = (_seconds(name, values.get(name, "")) for name in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"end = {end:g}: must be after start = {start or 0.0:g}")
    return TableRow(number, turn, SPLITS[values["split"].lower()], start, end, values)


def _seconds(column: str, written: str) -> float | None:
    if not written:
        return None
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{column} = {written!r}: must be a number of seconds, or empty")
    return value


def refuse_unlearnable(file: Path, dialogues: dict[str, dict[int, TableRow]]) -> None:
    """Raise UserError if validation or test has a label that does not occur in train."""
    lines = [line for turns in dialogues.values() for line in turns.values()]
    learnable = sorted({line.values["label"] for line in lines if line.split == "train"})
    for line in lines if learnable else ():
        if line.values["label"] not in learnable:
            raise UserError(
                f"{file}, line {line.number}: label = {line.values['label']!r}: no utterance of train has it, so that "
                f"nothing can learn it; train has {', '.join(learnable)}"
            )


def utterance(
    raw: Path, dialogue: str, place: int, speaker: int, line: TableRow, modalities: Sequence[str]
) -> Utterance:
    """Make the index row of a line; a file that does not exist is a problem and a missing modality."""
    wanted = {"audio": "audio" in modalities, "video": "visual" in modalities}
    media = {kind: line.values.get(kind, "") if wanted[kind] else "" for kind in wanted}
    lacking = [path for path in dict.fromkeys(media.values()) if path and not (raw / path).is_file()]
    # An audio file that is given beside a video contains only this utterance, as in IEMOCAP, so it is not cut.
    cut = line.values.get("video", "") in ("", line.values.get("audio"))
    return Utterance(
        utterance_id=f"{dialogue}_{line.turn}",
        dialogue_id=dialogue,
        turn=place,
        speaker=speaker,
        split=line.split,
        text=" ".join(unicodedata.normalize("NFC", line.values.get("text", "")).split()),
        label=line.values["label"],
        audio="" if media["audio"] in lacking else media["audio"],
        video="" if media["video"] in lacking else media["video"],
        start=line.start,
        end=line.end,
        audio_start=line.start if cut else None,
        audio_end=line.end if cut else None,
        problem="; ".join(f"{path}: no such file" for path in lacking),
    )
