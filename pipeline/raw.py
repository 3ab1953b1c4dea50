"""raw@D: put the raw corpus within reach, as the link data/D/raw to the folder that index.D.raw names.

The corpus itself stays where it is: nothing is copied, and DVC never deletes what the link points to. The corpus `demo`
is made first if it is not there.
"""

import argparse
import shutil
from pathlib import Path

from pipeline.params import Params
from pipeline.stage import StageError, log, parser, root, start


def run(args: argparse.Namespace, params: Params) -> None:
    key = f"index.{args.corpus}.raw"
    value = params.index[args.corpus].raw
    folder = root() / Path(value).expanduser()
    if args.corpus == "demo":
        make_demo_corpus(folder)
    if not folder.is_dir():
        raise StageError(f"params.yaml: {key} = {value!r}: there is no such folder ({folder}); set it to the folder "
                         f"of the raw corpus, e.g. `dvc exp run -S {key}=/corpora/{Path(value).name}`")  # fmt: skip
    link = Path("data") / args.corpus / "raw"
    if link.is_dir() and not link.is_symlink():
        if link.resolve() == folder.resolve():
            return
        raise StageError(f"{link}: is a folder where a link to {folder} should be; move it away, or set {key}={link}")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(folder.resolve(), target_is_directory=True)
    log.info("%s -> %s", link, folder)


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
