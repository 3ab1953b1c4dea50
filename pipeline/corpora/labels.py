"""The emotions of each corpus, in the order that every score, picture and probability keeps."""

from collections.abc import Iterable

MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")

LITERATURE = {"demo": MELD, "meld": MELD, "iemocap": IEMOCAP}
"""The order in which publications list them, also where a small copy of a corpus lacks one."""


def labels(corpus: str, found: Iterable[str]) -> tuple[str, ...]:
    """The emotions of `corpus`; those of a corpus of one's own are the ones `found` in its index, sorted."""
    return LITERATURE.get(corpus) or tuple(sorted(set(found)))
