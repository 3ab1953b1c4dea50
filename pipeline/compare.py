"""Is A better than B? Two result folders, or two experiments, compared on the same utterances of test.

    python -m pipeline.compare results/meld /another/checkout/results/meld
    python -m pipeline.compare --corpus meld lumpy-yeti HEAD

Says the difference of weighted F1, a paired t-test over the seeds and a paired bootstrap over the utterances.
"""

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import ttest_ind, ttest_rel

from pipeline.params import CORPORA
from pipeline.scores import confusion, resampled_f1, weighted_f1
from pipeline.stage import StageError


@dataclass(frozen=True, slots=True)
class Predictions:
    """What predictions.csv holds: utterances in order, their labels, and each seed's predictions by seed."""

    utterances: list[str]
    labels: list[str]
    by_seed: dict[int, list[str]]


def load(name: str, corpus: str | None) -> Predictions:
    """Predictions of a result folder, or of an experiment, branch or commit.

    Raises:
        StageError: there are none, or they are not what `evaluate` writes.
    """
    folder = Path(name)
    if (folder / "predictions.csv").is_file():
        text = (folder / "predictions.csv").read_text(encoding="utf-8")
    elif corpus:
        import dvc.api  # half a second, and only where an experiment is asked for
        from dvc.exceptions import DvcException

        try:
            text = dvc.api.read(f"results/{corpus}/predictions.csv", rev=name)
        except (DvcException, OSError) as error:
            raise StageError(f"{name}: neither a folder with predictions.csv nor an experiment or commit that has "
                             f"results/{corpus}/predictions.csv ({error})") from None  # fmt: skip
    else:
        raise StageError(f"{name}: has no predictions.csv; to name an experiment, say which corpus: --corpus")
    return _parsed(text, name)


def _parsed(text: str, name: str) -> Predictions:
    rows = list(csv.DictReader(io.StringIO(text)))
    if not rows or not {"utterance_id", "seed", "label", "prediction"} <= set(rows[0]):
        raise StageError(f"{name}: its predictions.csv is not one that `evaluate` writes")
    by_seed: dict[int, list[str]] = {}
    for row in rows:
        by_seed.setdefault(int(row["seed"]), []).append(row["prediction"])
    first = [row for row in rows if row["seed"] == rows[0]["seed"]]
    return Predictions([row["utterance_id"] for row in first], [row["label"] for row in first], by_seed)


def compare(a: Predictions, b: Predictions) -> dict[str, float | int | bool | None]:
    """The difference A - B of weighted F1 in points, and how sure it is.

    Raises:
        StageError: A and B are not of the same utterances.
    """
    if a.utterances != b.utterances or a.labels != b.labels:
        raise StageError("A and B are predictions of different utterances or labels: there is nothing to compare")
    names = sorted({*a.labels, *(guess for seeds in (a, b) for part in seeds.by_seed.values() for guess in part)})
    number = {name: place for place, name in enumerate(names)}
    label = np.array([number[name] for name in a.labels])
    guesses = [[np.array([number[name] for name in part]) for part in p.by_seed.values()] for p in (a, b)]
    scores = [[weighted_f1(confusion(label, guess, len(names))) for guess in part] for part in guesses]
    paired = list(a.by_seed) == list(b.by_seed)
    enough = min(map(len, scores)) > 1
    test = (ttest_rel if paired else ttest_ind)(*scores) if enough else None
    drawn = resampled_f1(label, guesses[0], len(names)) - resampled_f1(label, guesses[1], len(names))
    low, high = np.percentile(drawn, [2.5, 97.5])
    tail = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return {
        "a": round(float(np.mean(scores[0])), 2),
        "b": round(float(np.mean(scores[1])), 2),
        "difference": round(float(np.mean(scores[0]) - np.mean(scores[1])), 2),
        "seeds_a": len(scores[0]),
        "seeds_b": len(scores[1]),
        "paired_seeds": paired,
        "p_seeds": None if test is None or np.isnan(test.pvalue) else round(float(test.pvalue), 4),
        "low": round(float(low), 2),
        "high": round(float(high), 2),
        "p_utterances": round(float(min(1.0, max(2 * tail, 1 / len(drawn)))), 4),
        "utterances": len(label),
    }


def in_words(found: dict) -> Iterator[str]:
    """The comparison as a person would say it."""
    direction = "better" if found["difference"] > 0 else "worse" if found["difference"] < 0 else "the same"
    yield f"A {found['a']:.2f}, B {found['b']:.2f} weighted F1 on {found['utterances']} utterances of test."
    yield f"A is {abs(found['difference']):.2f} points {direction}." if found["difference"] else "They are the same."
    if found["p_seeds"] is None:
        yield "Over the seeds nothing can be said: each side needs two or more that differ."
    else:
        kind = "paired t-test" if found["paired_seeds"] else "t-test of unlike seeds"
        yield f"Over {found['seeds_a']} and {found['seeds_b']} seeds: p = {found['p_seeds']:.4f} ({kind})."
    sure = "leaves out" if found["low"] > 0 or found["high"] < 0 else "includes"
    yield (f"Over the utterances: 95 % of the resampled differences lie between {found['low']:.2f} and "
           f"{found['high']:.2f}, which {sure} zero; p = {found['p_utterances']:.4f} (paired bootstrap).")  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("a", help="result folder, or experiment, branch or commit")
    arguments.add_argument("b", help="the same")
    arguments.add_argument("--corpus", choices=CORPORA, help="which corpus' results of an experiment")
    arguments.add_argument("--json", action="store_true", help="numbers instead of words")
    args = arguments.parse_args()
    try:
        found = compare(load(args.a, args.corpus), load(args.b, args.corpus))
    except StageError as error:
        raise SystemExit(f"error: {error}") from None
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if args.json else "\n".join(in_words(found)) + "\n")


if __name__ == "__main__":
    main()
