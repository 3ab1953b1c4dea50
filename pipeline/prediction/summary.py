"""Summary of a whole recording: emotions by speaker, and their probabilities over time."""

from collections.abc import Sequence

WIDTH, HEIGHT = 1000, 40
"""Size of a curve in its own units."""


def by_speaker(utterances: Sequence[dict], labels: Sequence[str]) -> list[dict]:
    """Count the emotions that are said for sure of each speaker, in the order of their first utterances.

    Names that differ in case only are one speaker, spelt as the first time.

    Args:
        utterances: entries of predictions.json.

    Returns for each speaker: `speaker`, `utterances` (their number), `predicted` (utterances by emotion), `not_sure`
    (the other utterances) and `mean` (mean probability by emotion).
    """
    found = []
    for speaker in dict.fromkeys(entry["speaker"].casefold() for entry in utterances):
        own = [entry for entry in utterances if entry["speaker"].casefold() == speaker]
        found.append({
            "speaker": own[0]["speaker"],
            "utterances": len(own),
            "predicted": {
                label: sum(entry["sure"] and entry["prediction"] == label for entry in own) for label in labels
            },
            "not_sure": sum(not entry["sure"] for entry in own),
            "mean": {
                label: round(sum(entry["probabilities"][label] for entry in own) / len(own), 6) for label in labels
            },
        })  # fmt: skip
    return found


def curves(utterances: Sequence[dict], labels: Sequence[str], length: float) -> dict[str, dict]:
    """Paths of the probability of each emotion over time: a point in the middle of each utterance, joined by lines.

    Args:
        utterances: entries of predictions.json with `begin` and `until`, in seconds on the page's time line.
        length: of the time line, in seconds.

    Returns by label the SVG paths `line` and `area`, and the largest probability `most`.
    """
    ordered = sorted(utterances, key=lambda entry: (entry["begin"] + entry["until"], entry["begin"]))
    found = {}
    for label in labels:
        points = [(0.5 * (entry["begin"] + entry["until"]), entry["probabilities"][label]) for entry in ordered]
        first, last = ordered[0]["begin"], max(entry["until"] for entry in ordered)
        points = [(first, points[0][1]), *points, (last, points[-1][1])]
        places = [f"{WIDTH * time / length:.1f} {HEIGHT * (1 - share):.1f}" for time, share in points]
        line = f"M{'L'.join(places)}"
        ends = f"L{WIDTH * last / length:.1f} {HEIGHT}L{WIDTH * first / length:.1f} {HEIGHT}Z"
        found[label] = {"line": line, "area": line + ends, "most": max(share for _, share in points)}
    return found
