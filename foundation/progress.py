"""Progress of long work: a bar on a terminal, or one line per minute in a log file."""

import sys
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

QUIET_SECONDS = 60.0
"""Seconds between two progress lines if the output is not a terminal."""


class Progress(tqdm):
    """tqdm bar that writes at most one line per minute to a log file, and nothing for work of less than a minute."""

    def __init__(self, total: int, initial: int, what: str, unit: str) -> None:
        wait = 0.0 if sys.stderr.isatty() else QUIET_SECONDS
        super().__init__(total=total, initial=initial, desc=what, unit=unit, mininterval=max(0.1, wait), delay=wait)

    @staticmethod
    def status_printer(file: Any) -> Callable[[str], None]:
        if file.isatty():
            return tqdm.status_printer(file)

        def line(text: str) -> None:
            if text.strip():
                print(text, file=file, flush=True)

        return line
