"""Labels of each corpus, in the order that all scores, pictures and probabilities use, and roles of its speakers."""

from collections.abc import Iterable

MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")

LITERATURE = {"demo": MELD, "meld": MELD, "iemocap": IEMOCAP}
"""Labels of each reader in the order of the publications; complete even if a small copy of the corpus lacks one."""
ROLES = {"iemocap": ("M", "F")}
"""Speakers of a reader whose dialogues have fixed roles, in the order of their numbers, as all public code has them.

Speakers of other corpora are numbered by first appearance in their dialogue.
"""


def labels(reader: str, found: Iterable[str]) -> tuple[str, ...]:
    """Labels of a corpus that `reader` reads; for the reader `table`, the labels `found` in the index, sorted."""
    return LITERATURE.get(reader) or tuple(sorted(set(found)))
