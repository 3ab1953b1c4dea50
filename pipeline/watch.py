"""watch@D: for corpora of `watch` in params.yaml, a list of the raw files, so that a changed clip is noticed.

data/D/watched is a link to the raw corpus. DVC compares what it points to with what it saw before, each time it is
asked anything, and runs this stage when they differ. data/D/source/files.txt then has new sizes or times, and `index@D`
runs after it.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.params import Params
from pipeline.stage import StageError, log, parser, require_raw_folder, start


def run(args: argparse.Namespace, params: Params) -> None:
    folder = require_raw_folder(args.corpus, params)
    link, listing = Path("data") / args.corpus / "watched", Path("data") / args.corpus / "source" / "files.txt"
    if link.is_dir() and not link.is_symlink():
        raise StageError(f"{link}: is a folder where a link to {folder} should be; move it away")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder.resolve(), target_is_directory=True)
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("".join(files(folder)), "utf-8", "surrogateescape")
    log.info("%s -> %s", link, folder)


def files(folder: Path) -> Iterator[str]:
    """A line a file below `folder`, in order of the names: size in bytes, time of its last change in ns, name."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(parent) / name
            status = file.stat() if file.exists() else file.lstat()  # a link may lead nowhere
            yield f"{status.st_size} {status.st_mtime_ns} {file.relative_to(folder).as_posix()}\n"


if __name__ == "__main__":
    start(run, parser(__doc__))
