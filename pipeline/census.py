"""What a corpus consists of: the counts of results/D/corpus.json, and the table of them in the log."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipeline.corpora.reading import Reading
from pipeline.utterances import SPLITS, Utterance

SEEN, ALL = "train+validation", "all"
"""Names of the parts that hold two splits, as the paper's Table 1 does, and every one."""


def census(reading: Reading, seconds: list[float], labels: tuple[str, ...]) -> dict:
    """Counts of each split, of train with validation and of all, the problems by reason, notes and differences.

    Args:
        seconds: of usable sound, a value a row.
        labels: in the order in which they are to stand.
    """
    members = {**{split: (split,) for split in SPLITS}, SEEN: ("train", "validation"), ALL: SPLITS}
    parts = {
        name: [place for place, row in enumerate(reading.rows) if row.split in splits]
        for name, splits in members.items()
    }
    reasons = Counter(reason for row in reading.rows for reason in _reasons(row))
    return {
        "splits": {name: _part(reading, seconds, labels, places) for name, places in parts.items()},
        "problems": {
            "utterances": sum(bool(row.problem) for row in reading.rows),
            "reasons": dict(sorted(reasons.items())),
        },
        "differences": reading.differences,
        "notes": reading.notes,
    }


def _part(reading: Reading, seconds: list[float], labels: tuple[str, ...], places: list[int]) -> dict:
    rows = [reading.rows[place] for place in places]
    turns = Counter(row.dialogue_id for row in rows)
    counted = Counter(row.label for row in rows)
    return {
        "dialogues": len(turns),
        "utterances": len(rows),
        "turns_a_dialogue": {
            "mean": round(len(rows) / len(turns), 2) if turns else 0,
            "min": min(turns.values(), default=0),
            "max": max(turns.values(), default=0),
        },
        "speakers": len({reading.speakers[place] for place in places}),
        "labels": {label: counted[label] for label in labels},
        "with_audio": sum(bool(row.audio) for row in rows),
        "with_video": sum(bool(row.video) for row in rows),
        "seconds_of_audio": round(sum(seconds[place] for place in places), 1),
    }


def _reasons(row: Utterance) -> Iterator[str]:
    """The reasons in `problem`, each without the file that it is about."""
    for problem in row.problem.split("; ") if row.problem else ():
        file, _, reason = problem.partition(": ")
        yield reason or file


def write_census(found: dict, file: Path) -> None:
    """Write `found`; the same counts give the same bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", "utf-8")


def as_table(found: dict) -> Iterator[str]:
    """The counts as lines of two tables: sizes a split, and labels a split."""
    splits = found["splits"]
    yield f"{'':<17}{'dialogues':>11}{'utterances':>12}{'turns a dialogue':>20}{'speakers':>10}{'sound':>10}"
    for name, part in splits.items():
        turns = part["turns_a_dialogue"]
        spread = f"{turns['mean']:.2f} ({turns['min']} to {turns['max']})"
        yield (f"{name:<17}{part['dialogues']:>11,}{part['utterances']:>12,}{spread:>20}{part['speakers']:>10,}"
               f"{clock(part['seconds_of_audio']):>10}")  # fmt: skip
    yield f"{'':<17}" + "".join(f"{name:>{len(name) + 3}}" for name in splits)
    for label in splits[ALL]["labels"]:
        yield f"{label:<17}" + "".join(f"{part['labels'][label]:>{len(name) + 3},}" for name, part in splits.items())


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, as `1:02:03`; a dash for none."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}" if whole else "-"
