"""Formatting of durations, tables and pages for readers."""

from collections.abc import Mapping
from pathlib import Path

from foundation.errors import UserError
from foundation.files import MOST_BYTES, read_file, write_whole


def duration(seconds: float) -> str:
    """Format `seconds` in hours, minutes or seconds, whichever fits best."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def markdown_table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table in Markdown. A bar in a cell, of a label `happy|excited` for example, does not end the cell."""
    lines = [[cell.replace("|", "\\|") for cell in cells] for cells in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return [f"| {' | '.join(cells)} |" for cells in lines]


def rewrite(file: Path, parts: Mapping[tuple[str, str], list[str]]) -> None:
    """Write lines into a page between two marks, in place of what stood there; a page may have several such parts.

    Raises:
        UserError: there is no such page, or it does not have each mark once, one behind the other. The page is as it
            was.
    """
    remedy = f"`git restore {file}` brings back the committed page; run this in the project's folder"
    try:
        page = read_file(file, MOST_BYTES, remedy).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{file}: is no UTF-8; {remedy}") from None
    for (begin, end), lines in parts.items():
        if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
            raise UserError(f"{file}: must have the line `{begin}` once, and behind it `{end}` once; {remedy}")
        before, after = page[: page.index(begin)], page[page.index(end) :]
        page = "\n".join([before + begin, "", *lines, "", after])
    write_whole(file, page)
