"""MELD.Raw: three CSV files and a folder of clips a split, as the release unpacks or with the folders beside the CSVs.

What the release has of irregularities is met here: two encodings, two ways of writing a time, gaps in Utterance_ID,
corrected twins of test clips, clips without a row, rows without a clip, AppleDouble files.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.corpora.labels import MELD as LABELS
from pipeline.stage import StageError
from pipeline.utterances import Utterance

FILES = {  # split: annotations, folder of clips
    "train": ("train_sent_emo.csv", "train_splits"),
    "validation": ("dev_sent_emo.csv", "dev_splits_complete"),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test"),
}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
CLIP = re.compile(r"(?P<corrected>final_videos_test)?(?P<key>dia\d+_utt\d+)\.mp4")
TIME = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})[,.](\d{1,3})")


def read(raw: Path, modalities: Sequence[str]) -> tuple[list[Utterance], list[str]]:
    """Rows of all splits in conversation order, and what a reader of the log should know.

    Only names are looked at; whether a clip can be used, the index finds out.

    Raises:
        StageError: a CSV is missing or has a row that cannot be understood, named by file and line.
    """
    rows: list[Utterance] = []
    notes: list[str] = []
    for split, (annotations, folder) in FILES.items():
        file = _find(raw, annotations)
        if file is None:
            raise StageError(f"{raw}: neither it nor a folder in it has {annotations}; the key `raw` of this corpus "
                             "in params.yaml must name the folder that MELD.Raw unpacks to")  # fmt: skip
        clips = _clips(_find(raw, folder)) if set(modalities) & {"audio", "visual"} else {}
        rows += _split(raw, split, file, clips, modalities)
        notes += [f"{path.relative_to(raw)}: a clip without a row in {annotations}" for path in clips.values()]
    return rows, notes


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


def _split(raw: Path, split: str, file: Path, clips: dict[str, Path], modalities: Sequence[str]) -> Iterator[Utterance]:
    """Rows of one split; takes the clips that it uses out of `clips`, so that those without a row are left."""
    dialogues: dict[int, dict[int, dict[str, str]]] = {}
    for line, values in _csv(file):
        try:
            dialogue, utterance = int(values["Dialogue_ID"]), int(values["Utterance_ID"])
        except ValueError:
            raise StageError(f"{file}, line {line}: Dialogue_ID and Utterance_ID must be whole numbers, not "
                             f"{values['Dialogue_ID']!r} and {values['Utterance_ID']!r}") from None  # fmt: skip
        if utterance in dialogues.setdefault(dialogue, {}):
            raise StageError(f"{file}, line {line}: a second row for dialogue {dialogue}, utterance {utterance}")
        if values["Emotion"].strip().lower() not in LABELS:
            raise StageError(f"{file}, line {line}: emotion {values['Emotion']!r} is none of {', '.join(LABELS)}")
        dialogues[dialogue][utterance] = values

    for dialogue, utterances in sorted(dialogues.items()):
        speakers: dict[str, int] = {}
        for turn, (utterance, values) in enumerate(sorted(utterances.items())):
            key = f"dia{dialogue}_utt{utterance}"
            clip = clips.pop(key, None)
            path = clip.relative_to(raw).as_posix() if clip else ""
            media = set(modalities) & {"audio", "visual"}
            yield Utterance(
                utterance_id=f"{split}_{key}",
                dialogue_id=f"{split}_dia{dialogue}",
                turn=turn,
                speaker=speakers.setdefault(values["Speaker"].strip(), len(speakers)),
                split=split,
                text=" ".join(unicodedata.normalize("NFC", values["Utterance"]).split()),
                label=values["Emotion"].strip().lower(),
                audio=path if "audio" in media else "",
                video=path if "visual" in media else "",
                problem=f"{key}.mp4: no such clip" if media and not clip else "",
            )


def _csv(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and rows of an annotation file: UTF-8 as on GitHub, or cp1252 as inside MELD.Raw."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
    if missing:
        raise StageError(f"{file}, line 1: no column {', '.join(missing)}")
    for values in reader:
        if any(values[name] is None for name in COLUMNS):
            raise StageError(f"{file}, line {reader.line_num}: fewer fields than the header has columns")
        yield reader.line_num, values


def seconds(time: str) -> float | None:
    """Seconds of a time written `00:16:16,059` or `0:36:59,425`; None for anything else."""
    match = TIME.fullmatch(time.strip())
    if not match:
        return None
    hours, minutes, whole, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + int(fraction) / 10 ** len(fraction)
