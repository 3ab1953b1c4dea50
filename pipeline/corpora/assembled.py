"""Reader of a corpus that is put together from public material of one modality each (pipeline/corpora/material.py).

Nobody has published free recordings in which text, voice and face are labelled together. So each modality teaches its
own labels, and how far to trust it beside the others is an assumption that can be read here: `agreement`.

- Each dialogue of MELD is there as text alone.
- Each dialogue is there once more, with the modalities of one of MIXTURES, drawn by dialogue. Each of its speakers has
  one actor's voice. A turn's recording and face show the turn's label with the probability `agreement`; the others are
  neutral with half of the rest, and any of the seven emotions with the other half.
- Each recording and each face is there alone, as a dialogue of one turn, with its own label.

A turn of train whose words also stand in validation or test has neither text nor label, so that no text of train is in
another split.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from extractors.utterance import Utterance
from foundation.errors import UserError
from pipeline.corpora import meld
from pipeline.corpora.labels import MELD as LABELS
from pipeline.corpora.raw_corpus import RawCorpus
from pipeline.corpora.settings import AssembledSettings

TEXT, VOICES, FACES = "text", "voices", "faces"
"""Folders of the three modalities."""
RECORDING = re.compile(r"03-01-(?P<emotion>0\d)-\d\d-\d\d-\d\d-(?P<actor>\d\d)\.(?:wav|ogg|flac)", re.IGNORECASE)
"""Name of RAVDESS's recordings of speech without pictures: modality 03, vocal channel 01."""
MIXTURES = {("text", "audio", "visual"): 0.4, ("text", "audio"): 0.2, ("text", "visual"): 0.2, ("audio", "visual"): 0.2}
"""Share of the dialogues that have these modalities in their second appearance."""
WORD = re.compile(r"\w+")


def words(text: str) -> str:
    """The words of `text`, without capitals and punctuation: how texts of two splits are compared."""
    return " ".join(WORD.findall(text.casefold()))


@dataclass(frozen=True, slots=True)
class Stock:
    """Files of a split, by emotion; paths are relative to the corpus' folder."""

    voices: dict[str, dict[str, list[str]]]
    """By actor, then by emotion."""
    faces: dict[str, list[str]]

    def shown(self, label: str, agreement: float, draw: random.Random) -> str:
        """The emotion that a voice or a face shows in a turn with this label."""
        chance = draw.random()
        if chance < agreement:
            return label
        return "neutral" if chance < (1 + agreement) / 2 else draw.choice(LABELS)


def read(raw: Path, settings: AssembledSettings) -> RawCorpus:
    """Draw who speaks with which voice and which face; the same seed gives the same corpus.

    Raises:
        UserError: the folder is not what the stage `raw` makes.
    """
    result = meld.read(raw / TEXT, ["text"])
    held = {words(row.text) for row in result.rows if row.split != "train"}
    silent = [row.split == "train" and words(row.text) in held for row in result.rows]
    result.notes.append(f"{sum(silent)} turns of train have no text and no label, because their words are those of a "
                        "turn of validation or test")  # fmt: skip
    texts = [replace(row, text="", label="") if drop else row for row, drop in zip(result.rows, silent, strict=True)]
    draw = random.Random(settings.seed)
    stocks = {split: stock(raw, split) for split in ("train", "validation", "test")}
    whole = [row for dialogue in _dialogues(texts)
             for row in second_appearance(dialogue, stocks[dialogue[0].split], settings.agreement, draw)]  # fmt: skip
    single = [row for split, of_split in stocks.items() for row in alone(split, of_split)]
    result.rows = [keeping(row, settings.modalities) for row in (*texts, *whole, *single)]
    result.speakers = [row.speaker_name for row in result.rows]
    return result


def keeping(row: Utterance, modalities: Sequence[str]) -> Utterance:
    """The row without the modalities that the corpus is not to have."""
    return replace(row, text=row.text if "text" in modalities else "", audio=row.audio if "audio" in modalities else "",
                   video=row.video if "visual" in modalities else "")  # fmt: skip


def stock(raw: Path, split: str) -> Stock:
    """List the voices and faces of a split.

    Raises:
        UserError: an emotion has none.
    """
    voices: dict[str, dict[str, list[str]]] = defaultdict(dict)
    faces: dict[str, list[str]] = {}
    for emotion in LABELS:
        for file in sorted((raw / VOICES / split / emotion).glob("*")):
            match = RECORDING.fullmatch(file.name)
            if match:
                voices[match["actor"]].setdefault(emotion, []).append(str(file.relative_to(raw)))
        faces[emotion] = sorted(str(file.relative_to(raw)) for file in (raw / FACES / split / emotion).glob("*.mkv"))
        if not faces[emotion] or any(emotion not in of_actor for of_actor in voices.values()) or not voices:
            raise UserError(f"{raw}: a voice or a face of {split} for {emotion} is missing; remove the folder, and "
                            "`dvc repro` puts it together anew")  # fmt: skip
    return Stock(dict(voices), faces)


def _dialogues(rows: Sequence[Utterance]) -> Iterator[list[Utterance]]:
    by_name: dict[str, list[Utterance]] = {}
    for row in rows:
        by_name.setdefault(row.dialogue_id, []).append(row)
    yield from by_name.values()


def second_appearance(
    dialogue: Sequence[Utterance], of_split: Stock, agreement: float, draw: random.Random
) -> Iterator[Utterance]:
    """Yield the turns of a dialogue with drawn voices and faces."""
    (mixture,) = draw.choices(list(MIXTURES), list(MIXTURES.values()))
    names = list(dict.fromkeys(row.speaker for row in dialogue))
    actors = dict(zip(names, draw.choices(sorted(of_split.voices), k=len(names)), strict=True))
    for row in dialogue:
        label = row.label or "neutral"
        voice = draw.choice(of_split.voices[actors[row.speaker]][of_split.shown(label, agreement, draw)])
        face = draw.choice(of_split.faces[of_split.shown(label, agreement, draw)])
        yield replace(
            row,
            utterance_id=f"with_{'_'.join(mixture)}_{row.utterance_id}",
            dialogue_id=f"with_{'_'.join(mixture)}_{row.dialogue_id}",
            text=row.text if "text" in mixture else "",
            audio=voice if "audio" in mixture else "",
            video=face if "visual" in mixture else "",
        )


def alone(split: str, of_split: Stock) -> Iterator[Utterance]:
    """Yield every voice and every face as a dialogue of one turn."""
    for actor, by_emotion in of_split.voices.items():
        for emotion, files in by_emotion.items():
            for file in files:
                yield _single(split, f"voice_{Path(file).stem}", f"actor {actor}", emotion, audio=file)
    for emotion, files in of_split.faces.items():
        for file in files:
            yield _single(split, Path(file).stem, "a face", emotion, video=file)


def _single(split: str, name: str, speaker: str, label: str, audio: str = "", video: str = "") -> Utterance:
    return Utterance(utterance_id=name, dialogue_id=name, turn=0, speaker=0, speaker_name=speaker, split=split, text="",
                     label=label, audio=audio, video=video)  # fmt: skip
