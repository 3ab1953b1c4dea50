"""Numbers as a person would say them."""


def duration(seconds: float) -> str:
    """`seconds` in the unit that a person would use."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
