"""A section of the report: a table or a figure, the paper's claim on it, and sentences about our results."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    claim: str
    """Claim of the paper; empty if the section is not from the paper."""
    seen: list[str]
    """Sentences about our results."""
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    """Names of PNG files in the report's folder `figures`."""
