"""watch@D: lists the raw files of the corpora in `watch` of params.yaml, so that DVC notices a changed clip.

data/D/watched is a link to the raw corpus. In every command, DVC compares the linked files with their recorded state,
and runs this stage if they differ. Then data/D/source/files.txt has new sizes or times, so `index@D` runs next.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from foundation.errors import UserError
from foundation.files import resolved, whole
from foundation.log import log
from pipeline.params import Params
from pipeline.stage import parser, require_raw_folder, start


def run(args: argparse.Namespace, params: Params) -> None:
    folder = require_raw_folder(args.corpus, params)
    link, listing = Path("data") / args.corpus / "watched", Path("data") / args.corpus / "source" / "files.txt"
    if link.is_dir() and not link.is_symlink():
        raise UserError(f"{link}: is a folder where a link to {folder} should be; move it away")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(resolved(folder), target_is_directory=True)
    with whole(listing) as half:
        half.write_text("".join(files(folder)), "utf-8", "surrogateescape")
    log.info("DVC watches %s by the link %s", folder, link)


def files(folder: Path) -> Iterator[str]:
    """Yield one line per file below `folder`, sorted by name: size in bytes, modification time in ns, name.

    The raw corpus of the reader `features` may be a single file.
    """
    if folder.is_file():
        yield f"{folder.stat().st_size} {folder.stat().st_mtime_ns} {folder.name}\n"
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            file = Path(parent) / name
            try:
                status = file.stat()
            except OSError:  # a link that is broken, leads to itself, or leads where nobody may look
                status = file.lstat()
            yield f"{status.st_size} {status.st_mtime_ns} {file.relative_to(folder).as_posix()}\n"


if __name__ == "__main__":
    start(run, parser(__doc__))
