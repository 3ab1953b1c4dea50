"""Publish a trained model, so that others can use it.

    python -m pipeline.bundle publish models/meld --to meld.zip --license cc-by-nc-4.0
    python -m pipeline.bundle publish models/meld --to hf:org/name --license cc-by-nc-4.0 --language en

The model is checked as a whole, gets a model card (README.md), and goes into a folder, a zip, or a repository of the
Hugging Face hub (`hf auth login` first). Its new name is what others give as --model. The card's numbers come from
results/D beside models/D; nothing of the corpus goes into it. docs/predict.md says what a card has.
"""

import argparse
from pathlib import Path

from foundation.errors import UserError
from pipeline.stage import command


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m pipeline.bundle", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True, metavar="publish")
    publish = commands.add_parser("publish", description=__doc__, help="check a model, write its card, and put both "
                                  "somewhere", formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    publish.add_argument("model", metavar="MODEL", help="models/D, or whatever else --model of pipeline.predict takes")
    publish.add_argument("--to", required=True, metavar="DEST", help="a new folder, a new file that ends in .zip, or "
                         "hf:org/name on the hub")  # fmt: skip
    publish.add_argument("--license", default="", metavar="NAME", help="the licence of the weights, by its name on the "
                         "hub: mit, cc-by-nc-4.0, other …")  # fmt: skip
    publish.add_argument("--language", action="append", default=[], metavar="CODE", help="a language of the corpus "
                         "(en, de …); may be given more than once")  # fmt: skip
    publish.add_argument("--card", type=Path, metavar="FILE", help="your own text in Markdown for the card, in the "
                         "place of what the model is, its limits, and what it must not be used for; with metadata at "
                         "its head (---), the whole card")  # fmt: skip
    publish.add_argument("--private", action="store_true", help="on the hub: a repository that only you see")
    publish.add_argument("--revision", default="", metavar="BRANCH", help="on the hub: a branch other than main; the "
                         "same as hf:org/name@BRANCH")  # fmt: skip
    return parser


def main() -> None:
    given = arguments().parse_args()

    def work() -> None:
        from pipeline.bundle.card import CardOptions
        from pipeline.bundle.hub import PREFIX
        from pipeline.bundle.publishing import publish, text_of_card

        if (given.private or given.revision) and not given.to.startswith(PREFIX):
            raise UserError(f"--to {given.to}: --private and --revision are for the hub, {PREFIX}org/name")
        to = f"{given.to}@{given.revision}" if given.revision else given.to
        options = CardOptions(licence=given.license, languages=tuple(given.language), words=text_of_card(given.card))
        publish(given.model, to, options, given.private)

    command(work)


if __name__ == "__main__":
    main()
