"""Times as people write them: 62.5, 62,5, 1:02, 0:01:02,5."""

import re

TIME = re.compile(
    r"(?:(?:(?P<hours>\d{1,4}):)?(?P<minutes>\d{1,6}):)?(?=[.,]?\d)(?P<seconds>\d{0,8})(?:[.,](?P<part>\d{0,30}))?",
    re.ASCII,
)
SMALL = re.compile(r"\d{1,8}(\.\d{1,30})?[eE][-+]?\d{1,2}", re.ASCII)
"""A number as programs write very small ones: 5e-05."""
MOST = 36_000_000.0
"""Largest time in seconds: ten thousand hours."""


def seconds(written: str) -> float:
    """Convert a time to seconds: seconds (62.5) or a clock's (1:02.5, 0:01:02.5), with a point or a comma.

    Raises:
        ValueError: it is no such time.
    """
    written = written.strip()
    if SMALL.fullmatch(written):
        return _limited(float(written), written)
    found = TIME.fullmatch(written)
    if not found:
        raise ValueError(f"{shortened(written)!r} is no time")
    hours, minutes, whole = (int(found[name] or 0) for name in ("hours", "minutes", "seconds"))
    if (found["hours"] and minutes >= 60) or (found["minutes"] and whole >= 60):
        raise ValueError(f"{written!r} is no time, because it has more than 59 minutes or seconds")
    # Put together as a decimal number, so that 3.1 + 0.2 is not 3.3000000000000003.
    return _limited(float(f"{hours * 3600 + minutes * 60 + whole}.{found['part'] or 0}"), written)


def _limited(value: float, written: str) -> float:
    if value > MOST:
        raise ValueError(f"{written!r} is longer than any recording")
    return value


def shortened(written: str, most: int = 60) -> str:
    """Cut a text that is to stand in a message."""
    return written if len(written) <= most else written[:most] + "…"
