"""report of paper/dvc.yaml: all tables and figures as one page, for every corpus of the report.

Writes paper/results/report.html, which needs no other file and prints well, and report.md, which says
the same with its pictures in the folder figures.
"""

import argparse
import base64
import re
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from paper.comparison import RESULTS, markdown_table
from paper.params import load_report
from paper.sections import sections
from pipeline.params import Params
from pipeline.stage import log, start

TEMPLATES = Path(__file__).parent / "templates"


def run(args: argparse.Namespace, params: Params) -> None:
    report = load_report()
    figures = RESULTS / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    corpora = {corpus: list(sections(corpus, report, figures)) for corpus in report.corpora}
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, autoescape=True,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    environment.filters["emphasised"] = emphasised
    environment.globals["picture"] = lambda name: base64.b64encode((figures / name).read_bytes()).decode()
    html = environment.get_template("report.html.j2").render(corpora=corpora, report=report)
    (RESULTS / "report.html").write_text(html, "utf-8")
    # Markdown is plain text: its template escapes nothing.
    plain = environment.overlay(autoescape=False)
    plain.globals["table"] = lambda part: "\n".join(markdown_table(part.head, part.rows))
    (RESULTS / "report.md").write_text(
        plain.get_template("report.md.j2").render(corpora=corpora, report=report), "utf-8"
    )
    log.info("the report is %s", RESULTS / "report.html")


def emphasised(text: str) -> str:
    """A sentence as HTML, what stands between asterisks emphasised."""
    return re.sub(r"\*(.+?)\*", r"<em>\1</em>", escape(text))


if __name__ == "__main__":
    start(run, argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter))
