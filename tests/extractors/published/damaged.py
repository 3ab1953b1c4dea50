"""Damage to the values inside a feature file: an entry is missing, added, or something else than the layout has."""

import copy
import random
from typing import Any

import numpy as np

RUBBISH = [
    None, 0, -1, 3.5, float("nan"), float("inf"), "x", "", [], {}, (), [[]], {"a": 1}, np.zeros(0), np.zeros((2, 2)),
    np.zeros(3), np.array(["a"]), True, 2**40, [None], ["a", 1], "Ses01F_impro01", 1153, [1.5] * 30,
    np.full(30, np.nan),
]  # fmt: skip


def damaged(value: Any, draw: random.Random, depth: int = 0) -> Any:
    """`value` with one change somewhere in it; what is not changed is shared."""
    if not isinstance(value, (list, tuple, dict)) or not value or depth > 5 or draw.random() < 0.15:
        return copy.deepcopy(draw.choice(RUBBISH))
    if isinstance(value, dict):
        key, changed = draw.choice(list(value)), dict(value)
        match draw.randrange(8):
            case 0:
                del changed[key]
            case 1:
                changed[draw.choice(["zz", 77, 5])] = changed[key]
            case _:
                changed[key] = damaged(changed[key], draw, depth + 1)
        return changed
    place, items = draw.randrange(len(value)), list(value)
    match draw.randrange(8):
        case 0:
            del items[place]
        case 1:
            items.insert(place, copy.deepcopy(draw.choice(RUBBISH)))
        case _:
            items[place] = damaged(items[place], draw, depth + 1)
    return type(value)(items)
