"""raw@D: data/D/source/note.txt, a word on where the raw corpus of D lies. The corpus `demo` is made if need be.

The corpus itself stays where it is: nothing is copied, and DVC does not look at it, so that a colleague without it can
work with the features that were made of it. `index` needs it. To have DVC notice its changes: pipeline/watch.py.
"""

import argparse
import shutil
from pathlib import Path

from pipeline.params import Params
from pipeline.stage import StageError, log, parser, raw_folder, start

NOTE = """The raw corpus is the folder that `index.{0}.raw` in params.yaml names. Only the stage `index@{0}` reads it.
"""


def run(args: argparse.Namespace, params: Params) -> None:
    if args.corpus == "demo":
        make_demo_corpus(raw_folder(args.corpus, params))
    note = Path("data") / args.corpus / "source" / "note.txt"
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(NOTE.format(args.corpus), "utf-8")


def make_demo_corpus(folder: Path) -> None:
    """Make the synthetic corpus in `folder` unless it is there; the README in it, written last, says it is whole."""
    # Here, not at the top: the makers of pictures and sound take a second to import, which a note does not need.
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
