"""Statistics of a corpus: the counts in results/D/corpus.json, and their table in the log."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from extractors.utterance import Utterance
from foundation.files import write_whole
from pipeline.corpora.index_file import SPLITS
from pipeline.corpora.raw_corpus import RawCorpus

SEEN, ALL = "train+validation", "all"
"""Names of two combined parts: train and validation (as in the paper's Table 1), and all splits."""


def census(raw_corpus: RawCorpus, seconds: list[float], labels: tuple[str, ...]) -> dict:
    """Count each split, train with validation, and all; add problems by reason, notes and differences.

    Args:
        seconds: seconds of usable sound, one value per row.
        labels: labels in the order of the output.
    """
    members = {**{split: (split,) for split in SPLITS}, SEEN: ("train", "validation"), ALL: SPLITS}
    parts = {
        name: [place for place, row in enumerate(raw_corpus.rows) if row.split in splits]
        for name, splits in members.items()
    }
    reasons = Counter(reason for row in raw_corpus.rows for reason in _reasons(row))
    return {
        "splits": {name: _part(raw_corpus, seconds, labels, places) for name, places in parts.items()},
        "problems": {
            "utterances": sum(bool(row.problem) for row in raw_corpus.rows),
            "reasons": dict(sorted(reasons.items())),
        },
        "differences": raw_corpus.differences,
        "notes": raw_corpus.notes,
        **({"published": raw_corpus.published} if raw_corpus.published else {}),
    }


def _part(raw_corpus: RawCorpus, seconds: list[float], labels: tuple[str, ...], places: list[int]) -> dict:
    rows = [raw_corpus.rows[place] for place in places]
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
        "speakers": len({raw_corpus.speakers[place] for place in places}),
        "labels": {label: counted[label] for label in labels},
        **({"unlabelled": counted[""]} if any(not row.label for row in raw_corpus.rows) else {}),
        "with_audio": sum(bool(row.audio) for row in rows),
        "with_video": sum(bool(row.video) for row in rows),
        "seconds_of_audio": round(sum(seconds[place] for place in places), 1),
    }


def _reasons(row: Utterance) -> Iterator[str]:
    """Reasons in `problem`, without the file names."""
    for problem in row.problem.split("; ") if row.problem else ():
        file, _, reason = problem.partition(": ")
        yield reason or file


def write_census(found: dict, file: Path) -> None:
    """Write `found`; the same counts give the same bytes."""
    write_whole(file, json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def as_table(found: dict) -> Iterator[str]:
    """Format the counts as lines of two tables: sizes of each split, and labels of each split."""
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
    if "unlabelled" in splits[ALL]:
        yield f"{'no label':<17}" + "".join(f"{part['unlabelled']:>{len(name) + 3},}" for name, part in splits.items())


def clock(seconds: float) -> str:
    """Format as hours, minutes and seconds, `1:02:03`; a dash for zero."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}" if whole else "-"
