"""Test whether A is better than B: compare two result folders or two experiments on the same test utterances.

    python -m pipeline.compare results/meld /another/checkout/results/meld
    python -m pipeline.compare --corpus meld lumpy-yeti HEAD

Prints the difference in weighted F1, a paired t-test over the seeds and a paired bootstrap over the utterances.
"""

import argparse
import json
import sys

from foundation.errors import UserError
from pipeline.scoring.comparison import compare, in_words, load


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("a", help="result folder, or experiment, branch or commit")
    arguments.add_argument("b", help="the same")
    arguments.add_argument("--corpus", help="which corpus' results of an experiment")
    arguments.add_argument("--json", action="store_true", help="numbers instead of words")
    args = arguments.parse_args()
    try:
        found = compare(load(args.a, args.corpus), load(args.b, args.corpus))
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if args.json else "\n".join(in_words(found)) + "\n")


if __name__ == "__main__":
    main()
