"""Reader of TTML and DFXP.

It is our own, because pysubs2 1.8.1 knows neither `dur`, nor frames and ticks, nor nested divisions, nor who speaks
(`ttm:agent`), nor files of the older namespaces.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from foundation.errors import UserError
from pipeline.corpora.times import MOST, seconds, shortened
from pipeline.prediction.transcripts.cues import Cue, Part, ends

OFFSET = re.compile(r"(?P<count>\d{1,12}(?:\.\d{1,12})?)(?P<unit>h|ms|m|s|f|t)", re.ASCII)
FRAMES = re.compile(r"(?P<clock>\d{1,4}:\d\d:\d\d):(?P<frames>\d{1,4})(?:\.\d+)?", re.ASCII)
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
FRAME_RATE = 30.0
"""Frames per second, unless the file says otherwise (TTML's own default)."""


def read_ttml(file: Path, text: str) -> tuple[list[Cue], list[str]]:
    """Read the paragraphs of TTML, in the order of the file, with the agent as the speaker, and notes.

    Raises:
        UserError: it is no TTML, or a time cannot be understood.
    """
    if not text.strip():
        return [], []
    try:
        root = ET.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))  # its encoding was decoded already
    except (ET.ParseError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: is no TTML ({error})") from None
    rates = _frame_rate(root), float(_number(_attribute(root, "tickRate")) or 1.0)
    agents = {_attribute(agent, "id"): _text(agent) for agent in root.iter() if _name(agent) == "agent"}
    try:
        cues = list(_cues(file, root, rates, agents))
    except RecursionError:
        raise UserError(f"{file}: its divisions or spans are nested too deeply; export it anew, or as SRT") from None
    if not cues:
        raise UserError(f"{file}: has no paragraph of TTML (an element `p`)")
    filled = ends([cue.start for cue in cues], [cue.end for cue in cues])
    return [replace(cue, end=end) for cue, end in zip(cues, filled, strict=True)], []


def _cues(file: Path, root: ET.Element, rates: tuple[float, float], agents: dict[str, str]) -> Iterator[Cue]:
    """Yield a cue for each paragraph; its end is None where the file gives none."""
    for number, (begin, agent, paragraph) in enumerate(_paragraphs(root, 0.0, "", rates, file), 1):
        start = begin + (_time(file, number, _attribute(paragraph, "begin"), rates) or 0.0)
        length = _time(file, number, _attribute(paragraph, "dur"), rates)
        end = _time(file, number, _attribute(paragraph, "end"), rates)
        stop = start + length if length is not None else None if end is None else begin + end
        parts = tuple(Part(agents.get(who, who).strip(), spoken) for who, spoken in _spans(paragraph, agent))
        if (latest := max(start, stop or 0.0)) > MOST:
            raise UserError(f"{file}, subtitle {number}: lies at {latest:g} s, and no recording is so long; correct "
                            "its times, or export it anew")  # fmt: skip
        yield Cue(f"subtitle {number}", parts, round(start, 3), None if stop is None else round(stop, 3))


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _attribute(element: ET.Element, name: str) -> str:
    """Value of an attribute, whatever its namespace."""
    return next((value.strip() for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def _text(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _number(written: str) -> float | None:
    return float(written) if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", written, re.ASCII) and float(written) > 0 else None


def _frame_rate(root: ET.Element) -> float:
    rate = _number(_attribute(root, "frameRate")) or FRAME_RATE
    factors = [_number(part) for part in _attribute(root, "frameRateMultiplier").replace(":", " ").split()]
    return rate * factors[0] / factors[1] if len(factors) == 2 and factors[0] and factors[1] else rate


def _paragraphs(
    element: ET.Element, begin: float, agent: str, rates: tuple[float, float], file: Path
) -> Iterator[tuple[float, str, ET.Element]]:
    """Yield the paragraphs below `element`, each with the begin and the agent of what it stands in."""
    for child in element:
        who = _attribute(child, "agent") or agent
        if _name(child) == "p":
            yield begin, who, child
        elif _name(child) in ("body", "div"):
            inner = begin + (_time(file, 0, _attribute(child, "begin"), rates) or 0.0)
            yield from _paragraphs(child, inner, who, rates, file)


def _spans(element: ET.Element, agent: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a paragraph, joined as long as the agent stays the same."""
    runs: list[tuple[str, str]] = []
    for who, piece in _runs(element, agent):
        if runs and runs[-1][0] == who:
            runs[-1] = (who, runs[-1][1] + piece)
        else:
            runs.append((who, piece))
    spoken = [(who, text) for who, text in runs if text.strip()]
    yield from spoken or [(agent, "")]


def _runs(element: ET.Element, agent: str) -> Iterator[tuple[str, str]]:
    yield agent, re.sub(r"\s+", " ", element.text or "")
    for child in element:
        if _name(child) == "br":
            yield agent, "\n"
        elif _name(child) == "span":
            yield from _runs(child, _attribute(child, "agent") or agent)
        yield agent, re.sub(r"\s+", " ", child.tail or "")


def _time(file: Path, number: int, written: str, rates: tuple[float, float]) -> float | None:
    """Convert a time expression; `rates` are frames and ticks per second."""
    if not written:
        return None
    if found := OFFSET.fullmatch(written):
        factor = {**UNITS, "f": 1 / rates[0], "t": 1 / rates[1]}[found["unit"]]
        return float(found["count"]) * factor
    try:
        if found := FRAMES.fullmatch(written):
            return seconds(found["clock"]) + int(found["frames"]) / rates[0]
        return seconds(written)
    except ValueError:
        place = f"{file}, subtitle {number}" if number else str(file)
        raise UserError(f"{place}: {shortened(written)!r} is no time of TTML (such as 00:00:12.5 or 12.5s)") from None
