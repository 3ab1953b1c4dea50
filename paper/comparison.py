"""comparison@D of paper/dvc.yaml: Table 2 or 3, with our result and the paper's published row for each model.

Reads paper/runs/D/M. Writes paper/results/D/comparison.csv (rows for each model, its published result, and the
majority-class baseline), comparison.md (the same as a readable table), comparison.png, and search.csv (all points of
the searches).
"""

import argparse

from foundation.files import write_whole
from foundation.log import log
from paper.model_table import RESULTS, markdown, read, verdict, write_csv, write_search
from paper.params import load_report
from paper.pictures import draw_comparison
from pipeline.params import Params
from pipeline.stage import parser, start


def run(args: argparse.Namespace, params: Params) -> None:
    report = load_report()
    one = read(args.corpus, list(report.models), report.printed(args.corpus))
    folder = RESULTS / args.corpus
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(one, folder / "comparison.csv")
    write_whole(folder / "comparison.md", "\n".join(markdown(one)) + "\n")
    write_search(one, folder / "search.csv")
    draw_comparison(one, folder / "comparison.png")
    log.info("%s: %s", one.corpus, verdict(one))


if __name__ == "__main__":
    start(run, parser(__doc__))
