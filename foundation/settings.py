"""Base class of all settings, strict and frozen, and types for their constraints.

A settings class is defined next to the code that uses it, but imports none of the libraries of this code, so that a
mistake in params.yaml is found at once.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST = 1_000_000
"""Largest count of anything, beyond all sizes of networks: what libraries say of larger ones is no sentence."""
Count = Annotated[int, Field(ge=1, le=MOST)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Even = Annotated[int, Field(ge=2, le=MOST, multiple_of=2)]


class Settings(BaseModel):
    """A section of params.yaml: no unknown keys, no type conversion, no change after loading."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class KeyedError(ValueError):
    """A value has the right type, but contradicts other values; `key` is relative to the section that reports it."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(allowed)
        self.key, self.value, self.allowed = key, value, allowed


def refuse_repetition(section: Settings, key: str) -> None:
    """Raise KeyedError if the list `key` of `section` has a value twice."""
    values = getattr(section, key)
    if len(set(values)) != len(values):
        raise KeyedError(key, values, "must not name anything twice")
