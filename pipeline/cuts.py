"""Count what MELD-FAIR's cut list changes of MELD: the utterances with other sound, and how much longer or shorter.

    python -m pipeline.cuts /corpora/MELD.Raw /corpora/MELD-FAIR

MELD's annotations are enough to compare the list with them; with its clips, their sound is compared too. Nothing is
written. `index.D.cuts: fair` puts the same counts into results/D/corpus.json: docs/meld_fair.md.
"""

import argparse
import json
import sys
from pathlib import Path

from foundation.errors import UserError
from foundation.files import is_folder
from pipeline.corpora import meld, meld_fair
from pipeline.corpora.cut_counts import as_table, told
from pipeline.corpora.media_files import inspect_media
from pipeline.stage import command

SOUND = ("audio",)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("raw", type=Path, help="folder that MELD.Raw unpacks to")
    arguments.add_argument("fair", type=Path, help="folder of MELD-FAIR, or of its csvs")
    arguments.add_argument("--json", action="store_true", help="numbers as in corpus.json")
    args = arguments.parse_args()
    command(lambda: show(args.raw, args.fair, args.json))


def show(raw: Path, fair: Path, as_json: bool) -> None:
    if not is_folder(raw):
        raise UserError(f"{raw}: there is no such folder; give the folder that MELD.Raw unpacks to")
    corpus = meld.read(raw, SOUND)
    meld_fair.recut(corpus, raw, fair, SOUND)
    inspect_media(corpus, raw)
    counts = told(corpus)
    sys.stdout.write(json.dumps(counts, indent=2) + "\n" if as_json else "\n".join(as_table(counts)) + "\n")


if __name__ == "__main__":
    main()
