"""Work that kills its process, for the tests of foundation.workers: spawned processes import it from here."""

import os
import signal
import time
from pathlib import Path

_folder: list[Path] = []


def prepare(folder: Path) -> None:
    _folder[:] = [folder]


def work(item: str) -> str:
    """The item in capitals, unless it is one of those that kill; each leaves its process' id behind."""
    (_folder[0] / f"{os.getpid()}.pid").touch()
    if item.startswith("kills always") or (item == "kills once" and not (_folder[0] / "once").exists()):
        (_folder[0] / "once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "eats":
        raise MemoryError
    if item == "fails":
        raise ValueError("of the item's own")
    if item == "sleeps":
        time.sleep(600)
    if item.startswith("device"):
        time.sleep(0.2)  # so that the other process gets some, too
        return os.environ["CMATH_DEVICE"]
    return item.upper()


def look(file: Path) -> tuple[bytes, bool]:
    """As an inspection of a clip, whose decoder crashes for one of them."""
    if file.stem == "kills":
        os.kill(os.getpid(), signal.SIGSEGV)
    return file.name.encode(), True


if __name__ == "__main__":
    import sys

    from foundation.spread import spread

    list(spread(work, ["sleeps", "sleeps"], prepare, Path(sys.argv[1])))
