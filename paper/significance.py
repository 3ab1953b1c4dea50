"""Paired tests of whether a difference between two runs is beyond chance, corrected for the number of comparisons."""

from pathlib import Path

from pipeline.scoring.comparison import Predictions, compare, load

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
    return corrected({name: compare(_part(a, group), _part(b, group)) for name, group in groups.items()})


def _part(run: Predictions, utterances: set[str]) -> Predictions:
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
        corrected[place] = round(highest, 4)
    return corrected


def beyond_chance(found: dict) -> bool:
    """Whether both corrected p-values, over seeds and over utterances, are below LEVEL."""
    values = (found["p_seeds_holm"], found["p_utterances_holm"])
    return all(value is not None and value < LEVEL for value in values)


def in_words(found: dict) -> str:
    """Format as `+1.20 points (95 % of the resampled differences: 0.31 to 2.09; …), beyond chance`."""
    p_seeds, p_utterances = found["p_seeds_holm"], f"p = {found['p_utterances_holm']:.4f} over utterances"
    seeds = "no t-test of so few seeds" if p_seeds is None else f"p = {p_seeds:.4f} over seeds"
    between = f"95 % of the resampled differences: {found['low']:.2f} to {found['high']:.2f}"
    verdict = "beyond chance" if beyond_chance(found) else "not beyond chance"
    return f"{found['difference']:+.2f} points ({between}; {seeds}, {p_utterances}), {verdict}"
