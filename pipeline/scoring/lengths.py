"""Groups of conversations by length, as in the paper (section 5.9)."""

from collections import Counter

from extractors.utterance import Utterance

LENGTHS = {"iemocap": (39, 69)}
"""Largest number of turns in the paper's groups C1 and C2 (section 5.9), by reader. The paper assigns 70 turns to no
group; we put them into C3."""
OTHER_LENGTHS = (9, 20)
"""Largest number of turns in C1 and C2 for MELD, also used for all other corpora."""


def length_groups(rows: list[Utterance], reader: str) -> list[str]:
    """Length group (C1, C2, C3; section 5.9) of each utterance's conversation."""
    turns = Counter(row.dialogue_id for row in rows)
    first, second = LENGTHS.get(reader, OTHER_LENGTHS)
    names = (f"C1: 1-{first}", f"C2: {first + 1}-{second}", f"C3: {second + 1} and more")
    return [names[(turns[row.dialogue_id] > first) + (turns[row.dialogue_id] > second)] for row in rows]
