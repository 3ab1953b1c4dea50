"""Reader of your own corpus: utterances.csv (or .tsv) and the media that it names.

docs/custom.md describes it for users.
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from extractors.utterance import Piece, Utterance, as_text, pieces_of
from foundation.errors import UserError
from foundation.files import is_file
from pipeline.corpora.csv_table import interval, read_table, spellings
from pipeline.corpora.labels import NO_LABELS, plain
from pipeline.corpora.raw_corpus import RawCorpus
from pipeline.corpora.times import seconds, shortened

FILES = ("utterances.csv", "utterances.tsv")
"""Names of the table; the second is read if the first is not there."""
REQUIRED = ("dialogue", "speaker", "label", "split")
OPTIONAL = ("turn", "text", "audio", "video", "start", "end", "pieces")
SPLITS = {"train": "train", "validation": "validation", "dev": "validation", "val": "validation", "test": "test"}
"""Split names that the file may use."""


class TableRow(NamedTuple):
    """A valid row of utterances.csv."""

    number: int
    turn: int
    split: str
    start: float | None
    end: float | None
    pieces: list[Piece]
    """Pieces to join; none if the row names one file, or one for sound and one for pictures."""
    values: dict[str, str]


def read(raw: Path, modalities: Sequence[str]) -> RawCorpus:
    """Read the utterances of each dialogue, in the order of `turn`, or of the lines if there is no such column.

    Raises:
        UserError: there is no utterances.csv, or it has an invalid row; the message names its line.
    """
    file = raw / (FILES[1] if is_file(raw / FILES[1]) and not is_file(raw / FILES[0]) else FILES[0])
    if not is_file(file):
        raise UserError(f"{file}: no such file; the key `raw` of this corpus in params.yaml must "
                        f"name the folder with your {FILES[0]} (docs/custom.md)")  # fmt: skip
    table = read_table(file, REQUIRED, OPTIONAL)
    result = RawCorpus([], [], table.notes)
    for column in ("label", "speaker"):
        for _, values in table.rows:
            values[column] = plain(values[column])
        result.notes += [f"{file.name}: {note}" for note in unite(table.rows, column)]
    dialogues: dict[str, dict[int, TableRow]] = {}
    for number, values in table.rows:
        name = values["dialogue"]
        try:
            if not name:
                raise ValueError("dialogue is empty")
            turns = dialogues.setdefault(name, {})
            line = understood(number, values, len(turns))
            if line.turn in turns:
                raise ValueError(f"a second turn {shortened(str(line.turn))} of dialogue {shortened(name)!r} (the "
                                 f"first: line {turns[line.turn].number})")  # fmt: skip
            first = next(iter(turns.values()), line)
            if line.split != first.split:
                raise ValueError(f"dialogue {shortened(name)!r} is in {first.split} by line {first.number}, and in "
                                 f"{line.split} here; a dialogue belongs to one split")  # fmt: skip
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


def unite(rows: Sequence[tuple[int, dict[str, str]]], column: str) -> list[str]:
    """Give names of `column` that differ in case only the most frequent spelling; the result says which they were."""
    notes = []
    for written in spellings([values[column] for _, values in rows]).values():
        for _, values in rows:
            if values[column] in written:
                values[column] = written[0]
        notes.append(f"{column}s that differ in case only count as one: {', '.join(written)}; "
                     f"all are {written[0]!r} now")  # fmt: skip
    return notes


def repeated(rows: Sequence[Utterance]) -> list[str]:
    """Count the utterances of validation and test whose content is in train too: the same media, or else text.

    Args:
        rows: rows after the inspection of media, so that the same content under two names is found.
    """

    def content(row: Utterance) -> tuple:
        media = (row.audio_hash, row.video_hash, row.pieces_hash)
        cut = (row.start, row.end, row.audio_start, row.audio_end)
        return (*media, *cut) if any(media) else (" ".join(row.text.casefold().split()),)

    of_train = {content(row) for row in rows if row.split == "train"} - {("",)}
    notes = []
    for split in ("validation", "test"):
        members = [row for row in rows if row.split == split]
        again = [row for row in members if content(row) in of_train]
        if again:
            notes.append(f"{len(again)} of {len(members)} utterances of {split} are in train too, by their media or, "
                         f"without any, by their text (the first: {again[0].utterance_id}): scores on them say little "
                         "about new data")  # fmt: skip
    return notes


def understood(number: int, values: dict[str, str], turns_before: int) -> TableRow:
    """Check and convert the `values` of line `number`.

    Raises:
        ValueError: a value is not allowed; the message has the column, its value and what is allowed.
    """
    if not values["speaker"]:
        raise ValueError("speaker is empty")
    if not values["label"]:
        raise ValueError("label is empty; leave out utterances without one, or give them a label such as 'other'")
    if values["label"] in NO_LABELS:
        raise ValueError(f"label = {values['label']!r}: is a column of predictions.csv; take another word")
    if values["split"].lower() not in SPLITS:
        raise ValueError(f"split = {shortened(values['split'])!r}: must be train, validation (or dev, val) or test")
    turn = turns_before
    if "turn" in values:
        try:
            turn = int(values["turn"])
        except ValueError:
            raise ValueError(f"turn = {shortened(values['turn'])!r}: must be a whole number") from None
    start, end = interval(values)
    return TableRow(number, turn, SPLITS[values["split"].lower()], start, end, pieces_in(values), values)


def pieces_in(values: dict[str, str]) -> list[Piece]:
    """The column `pieces` of a row: `a.mp4@0:01.5-3 | b.mp4@0-2.7`.

    Raises:
        ValueError: it is not understood, or the row names its media twice.
    """
    written = values.get("pieces", "")
    if not written:
        return []
    if twice := [column for column in ("audio", "video", "start", "end") if values.get(column)]:
        raise ValueError(
            f"has pieces and {twice[0]} too: pieces name the files of sound and pictures, with their times"
        )
    try:
        return pieces_of(written, seconds)
    except ValueError as error:
        raise ValueError(f"pieces = {shortened(written)!r}: {error}; must be file@start-end, with | between two "
                         "pieces") from None  # fmt: skip


def refuse_unlearnable(file: Path, dialogues: dict[str, dict[int, TableRow]]) -> None:
    """Raise UserError if validation or test has a label that does not occur in train."""
    lines = [line for turns in dialogues.values() for line in turns.values()]
    learnable = sorted({line.values["label"] for line in lines if line.split == "train"})
    for line in lines if learnable else ():
        if line.values["label"] not in learnable:
            raise UserError(
                f"{file}, line {line.number}: label = {shortened(line.values['label'])!r}: no utterance of train has "
                f"it, so that nothing can learn it; train has {shortened(', '.join(learnable), 150)}"
            )


def utterance(
    raw: Path, dialogue: str, place: int, speaker: int, line: TableRow, modalities: Sequence[str]
) -> Utterance:
    """Make the index row of a line; a file that does not exist is a problem and a missing modality."""
    wanted = {"audio": "audio" in modalities, "video": "visual" in modalities}
    first = line.pieces[0].file if line.pieces else ""
    media = {kind: first or line.values.get(kind, "") if wanted[kind] else "" for kind in wanted}
    # Half of what is said would pass for the whole, so all pieces must be there.
    named = dict.fromkeys([*media.values(), *(piece.file for piece in line.pieces if any(media.values()))])
    lacking = [path for path in named if path and not is_file(raw / path)]
    there = not lacking if line.pieces else True
    # An audio file that is given beside a video contains only this utterance, as in IEMOCAP, so it is not cut.
    cut = line.values.get("video", "") in ("", line.values.get("audio"))
    start, end = (line.start, line.end) if len(line.pieces) != 1 else line.pieces[0][1:]
    return Utterance(
        utterance_id=f"{dialogue}_{line.turn}",
        dialogue_id=dialogue,
        turn=place,
        speaker=speaker,
        speaker_name=line.values["speaker"],
        split=line.split,
        text=" ".join(unicodedata.normalize("NFC", line.values.get("text", "")).split()),
        label=line.values["label"],
        audio="" if media["audio"] in lacking or not there else media["audio"],
        video="" if media["video"] in lacking or not there else media["video"],
        start=start,
        end=end,
        audio_start=start if cut else None,
        audio_end=end if cut else None,
        problem="; ".join(f"{path}: no such file" for path in lacking),
        pieces=as_text(line.pieces) if len(line.pieces) > 1 and there and any(media.values()) else "",
    )
