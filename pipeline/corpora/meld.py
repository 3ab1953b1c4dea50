"""MELD.Raw: three CSV files and a folder of clips a split, as the release unpacks or with the folders beside the CSVs.

What the release has of irregularities is met here: two encodings, two ways of writing a time, gaps in Utterance_ID,
corrected twins of test clips, clips without a row, rows without a clip, an utterance that ends before it starts,
AppleDouble files.
"""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from pipeline.corpora.labels import MELD as LABELS
from pipeline.corpora.reading import Reading, table
from pipeline.stage import StageError
from pipeline.utterances import Utterance

FILES = {  # split: annotations, folder of clips
    "train": ("train_sent_emo.csv", "train_splits"),
    "validation": ("dev_sent_emo.csv", "dev_splits_complete"),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test"),
}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
CLIP = re.compile(r"(?P<corrected>final_videos_test)?(?P<key>dia\d+_utt\d+)\.mp4")
TIME = re.compile(r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})[,.]([0-9]{1,3})")
KNOWN = {"train": (9989, range(1039)), "validation": (1109, range(114)), "test": (2610, range(280))}
"""Of the published files: utterances, and the numbers of the dialogues (train has one less, see below)."""
NEVER_PUBLISHED = 60
"""Dialogue of train that has no row in any copy."""
NAMED = 10
"""Lacking dialogues named at most."""


def read(raw: Path, modalities: Sequence[str]) -> Reading:
    """Utterances of all splits in conversation order.

    Raises:
        StageError: a CSV is missing or has a row that cannot be understood, named by file and line.
    """
    result = Reading([], [])
    for split, (annotations, folder) in FILES.items():
        file = _find(raw, annotations)
        if file is None:
            raise StageError(f"{raw}: neither it nor a folder in it has {annotations}; the key `raw` of this corpus "
                             "in params.yaml must name the folder that MELD.Raw unpacks to")  # fmt: skip
        clips = _clips(_find(raw, folder)) if set(modalities) & {"audio", "visual"} else {}
        _split(result, raw, split, file, clips, modalities)
        unused = [path.relative_to(raw) for path in clips.values()]
        result.notes += [f"{path}: a clip without a row in {annotations}" for path in unused]
    _compare_with_release(result, raw)
    return result


def _compare_with_release(result: Reading, raw: Path) -> None:
    """Say where a copy differs from the published files. A copy with less than half of their rows is a part that
    someone cut out, not a full release that lacks something."""
    if 2 * len(result.rows) <= sum(utterances for utterances, _ in KNOWN.values()):
        return
    for split, (utterances, numbers) in KNOWN.items():
        file = _find(raw, FILES[split][0])
        assert file
        part = [row for row in result.rows if row.split == split]
        found = {int(row.dialogue_id.removeprefix(f"{split}_dia")) for row in part}
        published = set(numbers) - ({NEVER_PUBLISHED} if split == "train" else set())
        lacking = ", ".join(map(str, sorted(published - found)[:NAMED]))
        if (len(part), found) != (utterances, published):
            result.differences.append(
                f"{file.relative_to(raw)}: {len(part)} utterances in {len(found)} dialogues; the published file has "
                f"{utterances} in {len(published)}" + (f" (lacking: dialogue {lacking})" if lacking else "")
            )
        if split == "train" and NEVER_PUBLISHED not in found:
            result.notes.append(
                f"{file.relative_to(raw)}: dialogue {NEVER_PUBLISHED} is missing, as in every copy; counts of 1,153 "
                "dialogues in train and dev, the paper's too, include it: there are 1,152"
            )


def _find(raw: Path, name: str) -> Path | None:
    """`name` in `raw` or at most two folders down: the release unpacks with a folder a split around."""
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        for path in sorted(raw.glob(pattern)):
            return path
    return None


def _clips(folder: Path | None) -> dict[str, Path]:
    """Clips by `diaX_uttY`; of a clip and its corrected twin, the twin."""
    clips: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder else []:
        name = CLIP.fullmatch(path.name)
        if name and (name["corrected"] or name["key"] not in clips):
            clips[name["key"]] = path
    return clips


def _split(
    result: Reading, raw: Path, split: str, file: Path, clips: dict[str, Path], modalities: Sequence[str]
) -> None:
    """Add one split; takes the clips that it uses out of `clips`, so that those without a row are left."""
    media = set(modalities) & {"audio", "visual"}
    for dialogue, utterances in sorted(_dialogues(file).items()):
        numbers: dict[str, int] = {}
        for turn, (utterance, (line, values)) in enumerate(sorted(utterances.items())):
            key = f"dia{dialogue}_utt{utterance}"
            clip = clips.pop(key, None)
            path = clip.relative_to(raw).as_posix() if clip else ""
            speaker = values["Speaker"].strip()
            result.speakers.append(speaker)
            result.rows.append(
                Utterance(
                    utterance_id=f"{split}_{key}",
                    dialogue_id=f"{split}_dia{dialogue}",
                    turn=turn,
                    speaker=numbers.setdefault(speaker, len(numbers)),
                    split=split,
                    text=" ".join(unicodedata.normalize("NFC", values["Utterance"]).split()),
                    label=values["Emotion"].strip().lower(),
                    audio=path if "audio" in media else "",
                    video=path if "visual" in media else "",
                    problem=f"{key}.mp4: no such clip" if media and not clip else "",
                )
            )
            start, end = seconds(values["StartTime"]), seconds(values["EndTime"])
            if start is not None and end is not None and end > start:
                result.stated[f"{split}_{key}"] = end - start
            elif start is not None and end is not None:
                result.notes.append(f"{file.relative_to(raw)}, line {line}: {key} ends before it starts")


def _dialogues(file: Path) -> dict[int, dict[int, tuple[int, dict[str, str]]]]:
    """Line and row of each utterance, by dialogue and utterance."""
    found: dict[int, dict[int, tuple[int, dict[str, str]]]] = {}
    for line, values in table(file, COLUMNS):
        try:
            dialogue, utterance = int(values["Dialogue_ID"]), int(values["Utterance_ID"])
        except ValueError:
            raise StageError(f"{file}, line {line}: Dialogue_ID and Utterance_ID must be whole numbers, not "
                             f"{values['Dialogue_ID']!r} and {values['Utterance_ID']!r}") from None  # fmt: skip
        if utterance in found.setdefault(dialogue, {}):
            raise StageError(f"{file}, line {line}: a second row for dialogue {dialogue}, utterance {utterance}")
        if values["Emotion"].strip().lower() not in LABELS:
            raise StageError(f"{file}, line {line}: emotion {values['Emotion']!r} is none of {', '.join(LABELS)}")
        found[dialogue][utterance] = line, values
    return found


def seconds(time: str) -> float | None:
    """Seconds of a time written `00:16:16,059` or `0:36:59,425`; None for anything else."""
    match = TIME.fullmatch(time.strip())
    if not match:
        return None
    hours, minutes, whole, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + int(fraction) / 10 ** len(fraction)
