"""Reader of MELD.Raw: three CSV files and a folder of clips per split, as unpacked or with all in one folder.

It handles the irregularities of the release: two encodings, two time formats, gaps in Utterance_ID, corrected versions
of test clips, clips without a row, rows without a clip, an utterance that ends before it starts, AppleDouble files; and
texts that lost their apostrophes, as those of several copies did.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from extractors.utterance import Utterance
from foundation.errors import UserError
from pipeline.corpora.csv_table import spellings
from pipeline.corpora.labels import MELD as LABELS
from pipeline.corpora.lost_characters import notes_on, repaired
from pipeline.corpora.raw_corpus import RawCorpus, table

FILES = {  # split: annotations, folder of clips
    "train": ("train_sent_emo.csv", "train_splits"),
    "validation": ("dev_sent_emo.csv", "dev_splits_complete"),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test"),
}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
CLIP = re.compile(r"(?P<corrected>final_videos_test)?(?P<key>dia\d+_utt\d+)\.mp4")
TIME = re.compile(r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})[,.]([0-9]{1,3})")
KNOWN = {"train": (9989, range(1039)), "validation": (1109, range(114)), "test": (2610, range(280))}
"""Number of utterances, and dialogue numbers, of each published file (except dialogue NEVER_PUBLISHED of train)."""
APOSTROPHES = {"train": 5737, "validation": 644, "test": 1554}
"""Number of apostrophes (APOSTROPHE) in the texts of each published file, after repair."""
APOSTROPHE = re.compile("['‘’]")
NEVER_PUBLISHED = 60
"""Dialogue number of train that has no row in any published copy."""
NAMED = 10
"""Largest number of missing dialogues that a message names."""


def read(raw: Path, modalities: Sequence[str]) -> RawCorpus:
    """Read the utterances of all splits in conversation order.

    Raises:
        UserError: a CSV is missing or has an invalid row; the message names file and line.
    """
    result = RawCorpus([], [])
    for split, (annotations, _) in FILES.items():
        file = next((path for path in _found(raw, annotations) if path.is_file()), None)
        if file is None:
            raise UserError(f"{raw}: neither it nor a folder in it has {annotations}; the key `raw` of this corpus "
                            "in params.yaml must name the folder that MELD.Raw unpacks to")  # fmt: skip
        there = clips(raw, split) if set(modalities) & {"audio", "visual"} else {}
        _split(result, raw, split, file, there, modalities)
        unused = [path.relative_to(raw) for path in there.values()]
        result.notes += [f"{path}: a clip without a row in {annotations}" for path in unused]
    _compare_with_release(result, raw)
    return result


def _compare_with_release(result: RawCorpus, raw: Path) -> None:
    """Record where a copy differs from the published files.

    A copy with at most half of their rows is taken for a deliberate selection, and not compared.
    """
    if 2 * len(result.rows) <= sum(utterances for utterances, _ in KNOWN.values()):
        return
    for split, (utterances, numbers) in KNOWN.items():
        file = next(path for path in _found(raw, FILES[split][0]) if path.is_file())
        part = [row for row in result.rows if row.split == split]
        found = {int(row.dialogue_id.removeprefix(f"{split}_dia")) for row in part}
        published = set(numbers) - ({NEVER_PUBLISHED} if split == "train" else set())
        lacking = ", ".join(map(str, sorted(published - found)[:NAMED]))
        if (len(part), found) != (utterances, published):
            result.differences.append(
                f"{file.relative_to(raw)}: {len(part)} utterances in {len(found)} dialogues; the published file has "
                f"{utterances} in {len(published)}" + (f" (lacking: dialogue {lacking})" if lacking else "")
            )
        elif (written := sum(len(APOSTROPHE.findall(row.text)) for row in part)) < APOSTROPHES[split]:
            result.differences.append(
                f"{file.relative_to(raw)}: {written} apostrophes in its texts; those of the published file have "
                f"{APOSTROPHES[split]}: the others are lost, or were written as another character"
            )
        if split == "train" and NEVER_PUBLISHED not in found:
            result.notes.append(
                f"{file.relative_to(raw)}: dialogue {NEVER_PUBLISHED} is missing, as in every copy; counts of 1,153 "
                "dialogues in train and dev, the paper's too, include it: there are 1,152"
            )


def _found(raw: Path, name: str) -> Iterator[Path]:
    """Find `name` in `raw` or at most two folders below: the release has an extra folder for each split."""
    for pattern in (name, f"*/{name}", f"*/*/{name}"):
        yield from sorted(raw.glob(pattern))


def clips(raw: Path, split: str, corrected: bool = True) -> dict[str, Path]:
    """Clips of a split by `diaX_uttY`.

    Args:
        corrected: whether the corrected version of a clip is preferred; else only those with plain names are there.
    """
    folder = next((path for path in _found(raw, FILES[split][1]) if path.is_dir()), None)
    found: dict[str, Path] = {}
    try:
        there = sorted(folder.iterdir()) if folder else []
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); allow it, or leave its modalities out") from None
    for path in there:
        name = CLIP.fullmatch(path.name)
        if name and (corrected if name["corrected"] else name["key"] not in found):
            found[name["key"]] = path
    return found


def _split(
    result: RawCorpus, raw: Path, split: str, file: Path, clips: dict[str, Path], modalities: Sequence[str]
) -> None:
    """Add one split; used clips are removed from `clips`, so that only clips without a row remain."""
    media = set(modalities) & {"audio", "visual"}
    written: list[tuple[int, str, str]] = []
    speakers, emotions = [], []
    for dialogue, utterances in sorted(_dialogues(file).items()):
        numbers: dict[str, int] = {}
        for turn, (utterance, (line, values)) in enumerate(sorted(utterances.items())):
            key = f"dia{dialogue}_utt{utterance}"
            clip = clips.pop(key, None)
            path = clip.relative_to(raw).as_posix() if clip else ""
            speaker, text = repaired(values["Speaker"]).strip(), repaired(values["Utterance"])
            written.append((line, f"{values['Speaker'].strip()}: {values['Utterance']}", f"{speaker}: {text}"))
            result.speakers.append(speaker)
            speakers.append(speaker)
            emotions.append(values["Emotion"].strip())
            result.rows.append(
                Utterance(
                    utterance_id=f"{split}_{key}",
                    dialogue_id=f"{split}_dia{dialogue}",
                    turn=turn,
                    speaker=numbers.setdefault(speaker, len(numbers)),
                    speaker_name=speaker,
                    split=split,
                    text=" ".join(unicodedata.normalize("NFC", text).split()),
                    label=values["Emotion"].strip().lower(),
                    audio=path if "audio" in media else "",
                    video=path if "visual" in media else "",
                    problem=f"{key}.mp4: no such clip" if media and not clip else "",
                    episode=episode(values.get("Season", ""), values.get("Episode", "")),
                )
            )
            start, end = seconds(values["StartTime"]), seconds(values["EndTime"])
            if start is not None and end is not None and end > start:
                result.stated[f"{split}_{key}"] = end - start
            elif start is not None and end is not None:
                result.notes.append(f"{file.relative_to(raw)}, line {line}: {key} ends before it starts")
    name = file.relative_to(raw).as_posix()
    result.notes += notes_on(name, sorted(written))
    for what, spelt, count in (("speakers", speakers, "different people"), ("emotions", emotions, "one")):
        result.notes += [f"{name}: {what} that differ in case only count as {count}: {', '.join(names)}"
                         for names in spellings(spelt).values()]  # fmt: skip


def _dialogues(file: Path) -> dict[int, dict[int, tuple[int, dict[str, str]]]]:
    """Line number and values of each row, by dialogue and utterance number."""
    found: dict[int, dict[int, tuple[int, dict[str, str]]]] = {}
    for line, values in table(file, COLUMNS):
        try:
            dialogue, utterance = int(values["Dialogue_ID"]), int(values["Utterance_ID"])
        except ValueError:
            raise UserError(f"{file}, line {line}: Dialogue_ID and Utterance_ID must be whole numbers, not "
                            f"{values['Dialogue_ID']!r} and {values['Utterance_ID']!r}") from None  # fmt: skip
        if utterance in found.setdefault(dialogue, {}):
            raise UserError(f"{file}, line {line}: a second row for dialogue {dialogue}, utterance {utterance}")
        if values["Emotion"].strip().lower() not in LABELS:
            raise UserError(f"{file}, line {line}: emotion {values['Emotion']!r} is none of {', '.join(LABELS)}")
        found[dialogue][utterance] = line, values
    return found


def episode(season: str, number: str) -> str:
    """Name of an episode, such as s03e19; empty unless both are whole numbers."""
    if not (season.strip().isdecimal() and number.strip().isdecimal()):
        return ""
    return f"s{int(season):02d}e{int(number):02d}"


def seconds(time: str) -> float | None:
    """Convert a time such as `00:16:16,059` or `0:36:59,425` to seconds; None for any other text."""
    match = TIME.fullmatch(time.strip())
    if not match:
        return None
    hours, minutes, whole, fraction = match.groups()
    return int(hours) * 3600 + int(minutes) * 60 + int(whole) + int(fraction) / 10 ** len(fraction)
