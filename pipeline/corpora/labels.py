"""Labels of each corpus, in the order that all scores, pictures and probabilities use, and roles of its speakers."""

import unicodedata
from collections.abc import Iterable

from pipeline.corpora.settings import MODALITIES

MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
EMORYNLP = ("joyful", "mad", "peaceful", "neutral", "sad", "powerful", "scared")
POLARITY = (
    "strongly negative", "negative", "weakly negative", "neutral", "weakly positive", "positive", "strongly positive",
)  # fmt: skip
SIGN = ("negative", "neutral", "positive")
FOUR = ("happy", "sad", "neutral", "angry")
"""The four classes of IEMOCAP, where `happy` contains `excited`."""

LITERATURE = {"demo": MELD, "meld": MELD, "assembled": MELD, "iemocap": IEMOCAP}
"""Labels of each reader in the order of the publications; complete even if a small copy of the corpus lacks one."""
ROLES = {"iemocap": ("M", "F")}
"""Speakers of a reader whose dialogues have fixed roles, in the order of their numbers, as all public code has them.

Speakers of other corpora are numbered by first appearance in their dialogue.
"""
NO_LABELS = frozenset(
    ("utterance_id", "seed", "label", "prediction", "speaker", "start", "end", "text", "sure", "missing", "trained_on",
     *(f"{word}_{modality}" for word in ("has", "without") for modality in MODALITIES))
)  # fmt: skip
"""Words that cannot be labels: the tables of predictions have a column of each label beside these columns."""
UNSEEN = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff"))
"""Marks that nobody sees, which spreadsheets and web pages leave in a cell. Those that join or part letters stay: they
belong to the spelling of Persian and of Indian languages."""

OF_FILES = (MELD, IEMOCAP, EMORYNLP, SIGN, POLARITY)
"""Labels of the corpora that the field shares as feature files; the first that have all labels of the index count."""


def labels(reader: str, found: Iterable[str]) -> tuple[str, ...]:
    """Labels of a corpus that `reader` reads; for the reader `table`, the labels `found` in the index, sorted.

    For the reader `features` it is the order of the corpus that has all the labels `found`, if there is one.
    """
    there = set(found) - {""}  # turns without a label, which are context
    if reader in LITERATURE:
        return LITERATURE[reader]
    if reader == "features":
        orders = [FOUR] if there == set(FOUR) else [order for order in OF_FILES if there <= set(order)]
        if orders:
            return orders[0]
    return tuple(sorted(there))


def plain(name: str) -> str:
    """A label or a speaker's name in the one form of all that look like it: NFC, single blanks, no unseen marks."""
    return " ".join(unicodedata.normalize("NFC", name.translate(UNSEEN)).split())
