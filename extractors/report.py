"""Outcome of an extraction for all utterances: a table in the log, and M.report.json."""

import json
from collections import Counter
from pathlib import Path

from extractors.result import Result
from extractors.utterance import Utterance
from foundation.files import write_whole
from foundation.log import log

MISSING = {"silent": "silent", "no face": "without a face"}
"""Reasons that are not failures, up to a colon, and their names in the table."""


def write_report(
    results: dict[str, Result], rows: list[Utterance], keys: list[str | None], file: Path, known: set[str]
) -> None:
    """Report in the log and in M.report.json how many utterances have the modality, and why it is missing in others.

    The number of results from the work cache appears only in the log: the file must depend on the inputs alone.
    """
    missing: dict[str, list[str]] = {}
    outcomes = Counter(dict.fromkeys(("present", *MISSING.values(), "failed", "no input"), 0))
    reasons: Counter[str] = Counter()
    chosen_by: Counter[str] = Counter()
    used = 0
    for row, key in zip(rows, keys, strict=True):
        if key and results[key].vector is not None:
            outcomes["present"] += 1
            used += results[key].used
            chosen_by[results[key].chosen_by] += 1
            continue
        if key:
            reason = results[key].reason
        else:
            reason = "cannot be used: see `problem` in the index" if row.problem else "empty"
        outcome = "no input" if reason == "empty" else MISSING.get(reason.partition(":")[0], "failed")
        outcomes[outcome] += 1
        reasons[reason] += outcome == "failed"
        missing.setdefault(reason, []).append(row.utterance_id)
    del chosen_by[""]
    content = {
        "utterances": len(rows),
        "pieces": used,
        "outcomes": outcomes,
        **({"face chosen by": dict(sorted(chosen_by.items()))} if chosen_by else {}),
        "missing": dict(sorted(missing.items())),
    }
    write_whole(file.with_suffix(".report.json"), json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    from_cache = sum(key in known for key in keys)
    log.info("%s: %d utterances, %d extracted now, %d from the work cache",
             file.stem, len(rows), sum(key is not None for key in keys) - from_cache, from_cache)  # fmt: skip
    for outcome, count in outcomes.items():
        log.info("  %6d %s", count, outcome)
    for reason, count in reasons.most_common():
        if count:
            log.info("  %13d: %s", count, reason)
    for what, count in chosen_by.most_common():
        log.info("  %6d %s", count, "speaker chosen by lips" if what == "lips" else f"largest face taken: {what}")
