"""raw@D: data/D/raw, by which DVC watches the raw corpus: a link to the folder that index.D.raw names.

The corpus itself stays where it is: nothing is copied, and DVC never deletes what the link points to. Where
index.D.watch is false, a small file takes the link's place, and DVC does not look at the corpus. The corpus `demo` is
made first if it is not there.
"""

import argparse
import shutil
from pathlib import Path

from pipeline.params import Params
from pipeline.stage import StageError, log, parser, raw_folder, require_raw_folder, start

UNWATCHED = "index.{0}.watch is false: DVC does not look at the raw corpus; `dvc repro -f index@{0}` indexes it anew.\n"


def run(args: argparse.Namespace, params: Params) -> None:
    folder = raw_folder(args.corpus, params)
    if args.corpus == "demo":
        make_demo_corpus(folder)
    link = Path("data") / args.corpus / "raw"
    watch = params.index[args.corpus].watch
    if watch:
        folder = require_raw_folder(args.corpus, params)
    if link.is_dir() and not link.is_symlink():
        if watch and link.resolve() == folder.resolve():
            return
        instead = f"a link to {folder}" if watch else f"a file (index.{args.corpus}.watch is false)"
        raise StageError(f"{link}: is a folder where {instead} should be; move it away, or set "
                         f"index.{args.corpus}.raw={link} and index.{args.corpus}.watch=true")  # fmt: skip
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    if watch:
        link.symlink_to(folder.resolve(), target_is_directory=True)
        log.info("%s -> %s", link, folder)
    else:
        link.write_text(UNWATCHED.format(args.corpus), "utf-8")
        log.info("%s: %s is not watched", link, folder)


def make_demo_corpus(folder: Path) -> None:
    """Make the synthetic corpus in `folder` unless it is there; the README in it, written last, says it is whole."""
    # Here, not at the top: the makers of pictures and sound take a second to import, which a link does not need.
    from pipeline.corpora import demo

    made = folder / "README.txt"
    if made.is_file() and made.read_text(encoding="utf-8") == demo.README:
        return
    if folder.exists():
        if any(folder.iterdir()) and not (folder / demo.MARK).exists():
            raise StageError(f"{folder}: is not empty and not a demo corpus; set index.demo.raw to another folder")
        shutil.rmtree(folder)
    log.info("making the synthetic corpus in %s", folder)
    demo.make_demo(folder)


if __name__ == "__main__":
    start(run, parser(__doc__))
