"""report@D of paper/dvc.yaml: all tables and figures of one corpus on one page.

Writes paper/results/D/report.html, which is self-contained and can be printed, and report.md, which has the same
content and its pictures in the folder figures.
"""

import argparse
import base64
import re
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from foundation.files import write_whole
from foundation.log import log
from paper.model_table import RESULTS
from paper.params import load_report
from paper.sections import sections
from paper.words import markdown_table
from pipeline.params import Params
from pipeline.stage import parser, start

TEMPLATES = Path(__file__).parent / "templates"


def run(args: argparse.Namespace, params: Params) -> None:
    folder = RESULTS / args.corpus
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    content = {
        "corpus": args.corpus,
        "parts": list(sections(args.corpus, params.index[args.corpus].reader, load_report(), figures)),
    }
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    environment.filters["emphasised"] = emphasised
    environment.globals["picture"] = lambda name: base64.b64encode((figures / name).read_bytes()).decode()
    html = environment.get_template("report.html.j2").render(content)
    write_whole(folder / "report.html", html)
    # Markdown is plain text: its template escapes nothing.
    plain = environment.overlay(autoescape=False)
    plain.globals["table"] = lambda part: "\n".join(markdown_table(part.head, part.rows))
    write_whole(folder / "report.md", plain.get_template("report.md.j2").render(content))
    log.info("the report is %s", folder / "report.html")


def emphasised(text: str) -> str:
    """Convert a sentence to HTML, with text between asterisks emphasised."""
    return re.sub(r"\*(.+?)\*", r"<em>\1</em>", escape(text))


if __name__ == "__main__":
    start(run, parser(__doc__))
