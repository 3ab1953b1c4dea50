"""Paired tests of whether a difference between two runs is beyond chance, corrected for the number of comparisons."""

from pathlib import Path
from typing import Any

from scipy.stats import ttest_ind, ttest_rel

from foundation.f1 import weighted_f1_of
from pipeline.scoring.comparison import Predictions, compare, load, testable

LEVEL = 0.05


def differences(ours: Path, others: dict[str, Path]) -> dict[str, dict]:
    """Compare the run `ours` with each of the `others`, as `pipeline.compare` does, with p-values `corrected`.

    Each run is a folder with predictions.csv.
    """
    a = load(str(ours), None)
    return corrected({name: compare(a, load(str(folder), None)) for name, folder in others.items()})


def differences_by_group(ours: Path, other: Path, groups: dict[str, set[str]]) -> dict[str, dict]:
    """Compare two runs on each group of utterances, with p-values `corrected`."""
    a, b = load(str(ours), None), load(str(other), None)
    return corrected({name: compare(part_of(a, group), part_of(b, group)) for name, group in groups.items()})


def interval(a: Predictions, b: Predictions) -> dict[str, Any]:
    """Difference A - B of weighted F1 in points, with the interval in which it lies by both kinds of chance.

    `low` and `high` are the outer ends of two 95 % intervals: of the paired bootstrap over the utterances (another test
    set), and of the t-test over the seeds (other trainings). So the interval leaves out zero only if both do. They are
    None if a side has one seed, for then nothing is known of other trainings, and if there are at most five utterances.

    Raises:
        UserError: A and B have different utterances or labels.
    """
    found: dict[str, Any] = compare(a, b)
    scores = [_by_seed(one) for one in (a, b)]
    low, high = found["low"], found["high"]
    paired = list(a.by_seed) == list(b.by_seed)
    # So few utterances could not tell chance from certainty, whatever they say (see `compare`).
    if min(map(len, scores)) < 2 or 2.0 ** (1 - len(a.utterances)) >= LEVEL:
        low = high = None
    elif testable(*scores, paired=paired):  # otherwise no seed differs from another, and there is nothing to widen
        test = ttest_rel(*scores) if paired else ttest_ind(*scores, equal_var=False)
        over_seeds = test.confidence_interval(0.95)
        low = round(float(min(low, over_seeds.low)), 2)
        high = round(float(max(high, over_seeds.high)), 2)
    return {"difference": found["difference"], "low": low, "high": high, "seeds": min(map(len, scores)),
            "utterances": found["utterances"]}  # fmt: skip


def _by_seed(run: Predictions) -> list[float]:
    """Weighted F1 of each seed of a run."""
    numbers = {name: place for place, name in enumerate(dict.fromkeys(run.labels))}
    label = [numbers[name] for name in run.labels]
    # What is no label of these utterances is wrong, whatever it is.
    return [weighted_f1_of(label, [numbers.get(said, len(numbers)) for said in part]) for part in run.by_seed.values()]


def part_of(run: Predictions, utterances: set[str]) -> Predictions:
    """The predictions of some of the utterances."""
    kept = [place for place, name in enumerate(run.utterances) if name in utterances]
    return Predictions([run.utterances[place] for place in kept], [run.labels[place] for place in kept],
                       {seed: [said[place] for place in kept] for seed, said in run.by_seed.items()})  # fmt: skip


def corrected(found: dict[str, dict]) -> dict[str, dict]:
    """Add `p_seeds_holm` and `p_utterances_holm`, the p-values corrected for the number of comparisons in `found`."""
    for key in ("p_seeds", "p_utterances"):
        for one, value in zip(found.values(), holm([one[key] for one in found.values()]), strict=True):
            one[f"{key}_holm"] = value
    return found


def holm(values: list[float | None]) -> list[float | None]:
    """Holm's correction of p-values; None (no test was possible) stays None and is not counted."""
    ranked = sorted((value, place) for place, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, place) in enumerate(ranked):
        highest = max(highest, min(1.0, (len(ranked) - rank) * value))
        corrected[place] = highest
    return corrected


def beyond_chance(found: dict) -> bool:
    """Whether both corrected p-values, over seeds and over utterances, are below LEVEL."""
    values = (found["p_seeds_holm"], found["p_utterances_holm"])
    return all(value is not None and value < LEVEL for value in values)


def once_in_words(found: dict) -> str:
    """Format the difference from what was trained once, of which no test over seeds is possible."""
    return (f"{found['difference']:+.2f} points (95 % of the resampled differences: {found['low']:.2f} to "
            f"{found['high']:.2f}; p = {found['p_utterances_holm']:.4f} over utterances)")  # fmt: skip


def in_words(found: dict) -> str:
    """Format as `+1.20 points (95 % of the resampled differences: 0.31 to 2.09; …), beyond chance`."""
    p_seeds, p_utterances = found["p_seeds_holm"], f"p = {found['p_utterances_holm']:.4f} over utterances"
    seeds = "no t-test over these seeds" if p_seeds is None else f"p = {p_seeds:.4f} over seeds"
    between = f"95 % of the resampled differences: {found['low']:.2f} to {found['high']:.2f}"
    verdict = "beyond chance" if beyond_chance(found) else "not beyond chance"
    return f"{found['difference']:+.2f} points ({between}; {seeds}, {p_utterances}), {verdict}"
