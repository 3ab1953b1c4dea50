"""Formatting of durations, tables and pages for readers."""


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


def written(page: str, marks: tuple[str, str], lines: list[str]) -> str:
    """The text of a page with `lines` between its two marks, in place of what stood there."""
    begin, end = marks
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return "\n".join([before + begin, "", *lines, "", end]) + after
