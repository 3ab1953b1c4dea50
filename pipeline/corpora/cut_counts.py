"""What a cut list changes of a corpus: counts for results/D/corpus.json, and their table."""

from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import median

from pipeline.corpora.index_file import SPLITS
from pipeline.corpora.raw_corpus import Cut, RawCorpus

SAME = 0.1
"""Seconds by which the sound of one's own clip may change without counting as other sound: a tenth, for the list has
times of the sound, and containers add some hundredths."""
SHORT = 0.3
"""Seconds below which an utterance's pieces are short enough to be doubted."""
WHERE = ("own clip", "own clip and others", "other clips", "none")
ALL = "all"


def told(raw_corpus: RawCorpus) -> dict:
    """Counts by split and for all. Sound is compared if any could be used; the media must have been inspected."""
    of_split: dict[str, list[Cut]] = {split: [] for split in SPLITS}
    for row in raw_corpus.rows:
        of_split[row.split].append(raw_corpus.cuts[row.utterance_id])
    everything = list(raw_corpus.cuts.values())
    with_media = any(cut.before or cut.after for cut in everything)
    return {name: _part(cuts, with_media) for name, cuts in {**of_split, ALL: everything}.items()}


def _part(cuts: list[Cut], with_media: bool) -> dict:
    where = Counter(cut.where for cut in cuts)
    listed = [cut for cut in cuts if cut.pieces]
    short = [cut for cut in listed if cut.seconds < SHORT]
    with_boxes = [cut for cut in listed if cut.boxes]
    return {
        "utterances": len(cuts),
        "where": {name: where[name] for name in WHERE},
        "of_several_pieces": sum(cut.pieces > 1 for cut in cuts),
        "under_0.3_s": {"utterances": len(short), "of three words or more": sum(cut.words > 2 for cut in short)},
        **(_sound(cuts) if with_media else {}),
        **({"boxes": {
            "utterances": len(with_boxes),
            "utterances without": len(listed) - len(with_boxes),
            "frames": sum(cut.boxes for cut in with_boxes),
            "frames without": sum(max(0, cut.frames - cut.boxes) for cut in with_boxes),
        }} if with_boxes else {}),
    }  # fmt: skip


def _sound(cuts: list[Cut]) -> dict:
    both = [cut for cut in cuts if cut.before and cut.after]
    other = [cut for cut in both if not _is_same(cut)]
    longer = [cut.after - cut.before for cut in other if cut.after > cut.before]
    shorter = [cut.before - cut.after for cut in other if cut.after < cut.before]
    return {
        "sound": {
            "as released": len(both) - len(other),
            "other": len(other),
            "only released": sum(bool(cut.before and not cut.after) for cut in cuts),
            "only by the list": sum(bool(cut.after and not cut.before) for cut in cuts),
            "none": sum(not cut.after and not cut.before for cut in cuts),
        },
        "longer": {"utterances": len(longer), "seconds": _sum(longer)},
        "shorter": {"utterances": len(shorter), "seconds": _sum(shorter)},
        "seconds": {"released": _sum(cut.before for cut in cuts), "by the list": _sum(cut.after for cut in cuts)},
        "median_seconds": {
            "released": _median([cut.before for cut in cuts if cut.before]),
            "by the list": _median([cut.after for cut in cuts if cut.after]),
        },
    }


def _is_same(cut: Cut) -> bool:
    return cut.where == "own clip" and cut.pieces == 1 and abs(cut.before - cut.after) <= SAME


def _sum(seconds: Iterable[float]) -> float:
    return round(sum(seconds, 0.0), 1)


def _median(seconds: list[float]) -> float:
    return round(median(seconds), 2) if seconds else 0.0


def as_table(found: dict) -> Iterator[str]:
    """Format the counts of `told` as lines, one column a split."""
    yield f"{'':<38}" + "".join(f"{name:>13}" for name in found)
    first = found[ALL]
    for key, value in first.items():
        if not isinstance(value, dict):
            yield f"{key.replace('_', ' '):<38}" + _cells(part[key] for part in found.values())
            continue
        for name in value:
            what = f"{key.replace('_', ' ')}: {name}"
            yield f"{what:<38}" + _cells(part.get(key, {}).get(name, 0) for part in found.values())


def _cells(values: Iterable[float]) -> str:
    return "".join(f"{value:>13,}" for value in values)
