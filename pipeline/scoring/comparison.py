"""Comparison of two sets of predictions of the same utterances: is A better than B?"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.stats import ttest_ind, ttest_rel

from foundation.csv_file import MOST_BYTES, parsed
from foundation.errors import UserError
from foundation.f1 import confusion, weighted_f1
from foundation.files import is_file, read_file
from pipeline.scoring.scores import resampled_f1

SAME = 1e-9
"""Difference of two scores, in points, that is rounding alone."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Content of predictions.csv: utterances in order, their labels, and the predictions of each seed."""

    utterances: list[str]
    labels: list[str]
    by_seed: dict[int, list[str]]
    seen: list[str] = field(default_factory=list)
    """What is known of labels of test that were seen in making the features (pipeline/scoring/marks.py)."""


def load(name: str, corpus: str | None) -> Predictions:
    """Load the predictions of a result folder, or of an experiment, branch or commit.

    Raises:
        UserError: there are none, or the file is not one that `evaluate` writes.
    """
    folder = Path(name)
    if is_file(folder / "predictions.csv"):
        text = read_file(folder / "predictions.csv", MOST_BYTES).decode("utf-8", "replace")
        # Of the paper's runs, metrics.json has all scores.
        files = [file for file in (folder / "scores.json", folder / "metrics.json") if is_file(file)]
        scores = read_file(files[0], MOST_BYTES).decode("utf-8", "replace") if files else "{}"
    elif corpus:
        import dvc.api  # takes half a second, and is needed only for an experiment
        from dvc.exceptions import DvcException

        try:
            text = dvc.api.read(f"results/{corpus}/predictions.csv", rev=name)
        except (DvcException, OSError) as error:
            raise UserError(f"{name}: neither a folder with predictions.csv nor an experiment or commit that has "
                            f"results/{corpus}/predictions.csv ({error})") from None  # fmt: skip
        try:
            scores = dvc.api.read(f"results/{corpus}/scores.json", rev=name)
        except (DvcException, OSError):
            scores = "{}"  # only the predictions were fetched; they can be compared without
    else:
        raise UserError(f"{name}: has no predictions.csv; to name an experiment, say which corpus: --corpus")
    return replace(_parsed(text, name), seen=_seen(scores, name))


def _seen(scores: str, name: str) -> list[str]:
    """Entry `seen` of a scores.json; empty if it has none."""
    try:
        found = json.loads(scores).get("seen", [])
    except (ValueError, RecursionError, AttributeError):
        raise UserError(
            f"{name}: its scores are not ones that `evaluate` writes; `dvc repro` makes them anew"
        ) from None
    return [str(one) for one in found] if isinstance(found, list) else []


def _parsed(text: str, name: str) -> Predictions:
    def row_of(values: dict[str, str]) -> tuple[int, str, str, str]:
        return int(values["seed"]), values["utterance_id"], values["label"], values["prediction"]

    written = "it is not one that `evaluate` writes"
    columns = ["utterance_id", "seed", "label", "prediction"]
    rows = parsed(text, f"{name}: its predictions.csv", columns, row_of, written)
    by_seed: dict[int, list[tuple[str, str, str]]] = {}
    for seed, *row in rows:
        if row[1]:  # without a label it is context, and not scored
            by_seed.setdefault(seed, []).append((row[0], row[1], row[2]))
    if not by_seed:
        raise UserError(f"{name}: its predictions.csv is not one that `evaluate` writes")
    first = next(iter(by_seed.values()))
    said = {seed: [row[:2] for row in part] for seed, part in by_seed.items()}
    if any(part != said[next(iter(by_seed))] for part in said.values()):
        raise UserError(f"{name}: its predictions.csv has other utterances or labels for another seed; {written}")
    return Predictions([row[0] for row in first], [row[1] for row in first],
                       {seed: [row[2] for row in part] for seed, part in by_seed.items()})  # fmt: skip


def compare(a: Predictions, b: Predictions) -> dict[str, float | int | bool | list[str] | None]:
    """Compute the difference A - B of weighted F1 in points, with tests and a bootstrap interval.

    p over utterances is at least 2^(1-d), where d utterances were predicted differently: so small is the p-value of a
    sign test if all d speak for one side. A bootstrap of a handful of utterances would find certainty in them.

    Raises:
        UserError: A and B have different utterances or labels.
    """
    if a.utterances != b.utterances or a.labels != b.labels:
        raise UserError("A and B are predictions of different utterances or labels: there is nothing to compare")
    names = sorted(
        {*a.labels, *(predicted for seeds in (a, b) for part in seeds.by_seed.values() for predicted in part)}
    )
    number = {name: place for place, name in enumerate(names)}
    label = np.array([number[name] for name in a.labels])
    predictions = [[np.array([number[name] for name in part]) for part in p.by_seed.values()] for p in (a, b)]
    scores = [[weighted_f1(confusion(label, predicted, len(names))) for predicted in part] for part in predictions]
    paired = list(a.by_seed) == list(b.by_seed)
    test = (ttest_rel if paired else ttest_ind)(*scores) if testable(*scores, paired=paired) else None
    drawn = resampled_f1(label, predictions[0], len(names)) - resampled_f1(label, predictions[1], len(names))
    low, high = np.percentile(drawn, [2.5, 97.5])
    tail = min((drawn <= 0).mean(), (drawn >= 0).mean())
    said = [np.stack(part) for part in predictions]
    differing = (said[0] != said[1]).any(0) if paired else np.ones(len(label), bool)
    least = max(1 / len(drawn), 2.0 ** (1 - int(differing.sum())))
    return {
        "a": round(float(np.mean(scores[0])), 2),
        "b": round(float(np.mean(scores[1])), 2),
        "difference": round(float(np.mean(scores[0]) - np.mean(scores[1])), 2),
        "seeds_a": len(scores[0]),
        "seeds_b": len(scores[1]),
        "paired_seeds": paired,
        "p_seeds": None if test is None else float(test.pvalue),
        "low": round(float(low), 2),
        "high": round(float(high), 2),
        "p_utterances": float(min(1.0, max(2 * tail, least))),
        "utterances": len(label),
        **({"seen_a": a.seen} if a.seen else {}),
        **({"seen_b": b.seen} if b.seen else {}),
    }


def testable(a: list[float], b: list[float], *, paired: bool) -> bool:
    """Whether a t-test over the seeds is possible: two seeds a side, and not all differences (or scores) the same."""
    if min(len(a), len(b)) < 2:
        return False
    parts = [np.subtract(a, b)] if paired else [np.array(a), np.array(b)]
    return any(np.ptp(part) > SAME for part in parts)


def in_words(found: dict) -> Iterator[str]:
    """Format the comparison as sentences."""
    direction = "better" if found["difference"] > 0 else "worse"
    yield f"A {found['a']:.2f}, B {found['b']:.2f} weighted F1 on {found['utterances']} utterances of test."
    yield f"A is {abs(found['difference']):.2f} points {direction}." if found["difference"] else "They are the same."
    if found["p_seeds"] is None:
        yield "No t-test over the seeds: it needs two or more seeds a side, and differences that are not all the same."
    else:
        kind = "paired t-test" if found["paired_seeds"] else "unpaired t-test"
        yield f"Over {found['seeds_a']} and {found['seeds_b']} seeds: p = {found['p_seeds']:.4f} ({kind})."
    sure = "leaves out" if found["low"] > 0 or found["high"] < 0 else "includes"
    yield (f"Over the utterances: 95 % of the resampled differences lie between {found['low']:.2f} and "
           f"{found['high']:.2f}, which {sure} zero; p = {found['p_utterances']:.4f} (paired bootstrap).")  # fmt: skip
    for side in ("a", "b"):
        for mark in found.get(f"seen_{side}", []):
            yield f"{side.upper()} is not a fair score: {mark}."
