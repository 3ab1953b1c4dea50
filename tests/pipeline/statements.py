"""Scores stated once more, in plain Python: nothing of the code that they are compared with."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement
from math import factorial, prod

Pairs = Sequence[tuple[str, str]]
"""(annotated, predicted) of each utterance."""


def f1(pairs: Pairs, name: str) -> float:
    """Of one class, percent, from precision and recall as the textbook has them."""
    hits = sum(label == predicted == name for label, predicted in pairs)
    if not hits:
        return 0.0
    precision = hits / sum(predicted == name for _, predicted in pairs)
    recall = hits / sum(label == name for label, _ in pairs)
    return 100 * 2 * precision * recall / (precision + recall)


def weighted_f1(pairs: Pairs) -> float:
    """Each utterance counts the F1 of its own class."""
    return sum(f1(pairs, label) for label, _ in pairs) / len(pairs)


def accuracy(pairs: Pairs) -> float:
    return 100 * sum(label == predicted for label, predicted in pairs) / len(pairs)


def draws(number: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every outcome of drawing `number` of as many utterances with replacement, with its probability."""
    for draw in combinations_with_replacement(range(number), number):
        ways = factorial(number) / prod(map(factorial, Counter(draw).values()))
        yield draw, ways / number**number


def quantile(outcomes: list[tuple[float, float]], share: float) -> float:
    """The value below which a `share` of the probability lies; refuses one that a finite sample may miss."""
    so_far = 0.0
    for value, probability in sorted(outcomes):
        so_far += probability
        if so_far >= share:
            assert so_far - share > 1e-9
            return value
    raise AssertionError
