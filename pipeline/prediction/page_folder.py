"""The folder of a running page: its uploads, temporary files and results, all of which go when the page ends.

A page that was killed leaves its folder behind. The next page removes it: a folder whose page runs is locked.
"""

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from foundation.log import log

PREFIX = "cmath-page-"
UPLOADS = "uploads"


@contextmanager
def page_folder() -> Iterator[Path]:
    """Give a new folder that only this user can read, and remove it with all that is in it at the end.

    The end may be SIGTERM or SIGHUP too. All that this process and gradio write for a time goes into the folder, if
    gradio is imported later.
    """
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)
    base = Path(tempfile.gettempdir())
    _remove_abandoned(base)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base)).resolve()
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        (folder / UPLOADS).mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(folder / UPLOADS)
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _remove_abandoned(base: Path) -> None:
    """Remove the folders of this user's pages that were killed."""
    for folder in base.glob(f"{PREFIX}*"):
        try:
            # No link is followed: what another user puts here must not lead elsewhere.
            found = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if os.fstat(found).st_uid == os.getuid():
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                log.info("%s: was left by a page that was killed; removed", folder)
        except BlockingIOError:  # its page runs
            continue
        finally:
            os.close(found)
