"""raw@D: writes data/D/source/note.txt, a note on where the raw corpus D is; makes what is not there as released.

The synthetic corpus `demo` is generated, and `starter` is put together from public material.

The corpus itself stays where it is. It is not copied, and DVC does not track it, so that a colleague without the corpus
can work with features extracted from it. Only `index` needs it. pipeline/watch.py lets DVC notice changed files.
"""

import argparse
import shutil
from pathlib import Path

from foundation.errors import UserError
from foundation.files import is_file, is_folder, read_file, write_whole
from foundation.log import log
from foundation.named_folders import from_root
from pipeline.params import Params
from pipeline.stage import parser, raw_folder, start

NOTE = """The raw corpus is the folder that `index.{0}.raw` in params.yaml names. Only the stage `index@{0}` reads it.
"""


def run(args: argparse.Namespace, params: Params) -> None:
    if params.index[args.corpus].reader == "demo":
        make_demo_corpus(raw_folder(args.corpus, params))
    if params.index[args.corpus].reader == "assembled":
        # Imported here, because the libraries for pictures and sound take a second to load and are rarely needed.
        from pipeline.corpora import material

        folders = {key: from_root(folder, f"material.{key}") for key, folder in params.material.model_dump().items()}
        there = material.Material(**folders, held_out=params.face.held_out, seed=params.face.seed)
        material.assemble(there, raw_folder(args.corpus, params))
    note = Path("data") / args.corpus / "source" / "note.txt"
    write_whole(note, NOTE.format(args.corpus))


def make_demo_corpus(folder: Path) -> None:
    """Make the synthetic corpus in `folder` unless it exists; its README is written last and marks it as complete."""
    # Imported here, because the libraries for pictures and sound take a second to load and are rarely needed.
    from pipeline.synthetic import demo

    made = folder / "README.txt"
    if is_file(made) and read_file(made) == demo.README.encode():
        return
    if folder.exists() and not is_folder(folder):
        raise UserError(f"{folder}: is no folder, and the demo corpus becomes one; set index.demo.raw to another place")
    if folder.exists():
        if any(folder.iterdir()) and not (folder / demo.MARK).exists():
            raise UserError(f"{folder}: is not empty and not a demo corpus; set index.demo.raw to another folder")
        shutil.rmtree(folder)
    log.info("making the synthetic corpus in %s", folder)
    demo.make_demo(folder)


if __name__ == "__main__":
    start(run, parser(__doc__))
