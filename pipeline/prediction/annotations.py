"""Predictions as subtitles (SubRip, WebVTT) and as annotations (ELAN, Praat), by the option --also."""

import mimetypes
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pympi.Elan import Eaf, to_string
from pympi.Praat import TextGrid

from foundation.files import write_whole
from foundation.log import log
from pipeline.prediction.predictor import Prediction
from pipeline.prediction.recordings import Recording
from pipeline.prediction.transcripts.cues import ends

NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
UNKNOWN = 1.0
"""Length in seconds of an utterance whose end is not known, at the end of a text without a recording."""
SHOWN = 3000
"""Milliseconds that a warning is shown."""
BEGINNING = "1970-01-01T00:00:00+00:00"
"""Date in ELAN's files, which must have one; today's would make other bytes every day."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """A predicted utterance on the time line of the recording."""

    start: int
    """Milliseconds."""
    end: int
    """Milliseconds, larger than `start`."""
    speaker: str
    label: str
    text: str

    @property
    def line(self) -> str:
        return f"[{self.label}] {self.speaker}: {self.text}".strip()


class Tier(NamedTuple):
    """Annotations of one speaker that do not overlap; words and emotions have a tier each."""

    speaker: str
    words: str
    """Name of the tier with the texts; no two tiers have the same name."""
    emotions: str
    """Name of the tier with the predicted labels."""
    lines: list[Annotation]


def write_annotations(
    recording: Recording,
    found: Sequence[Prediction],
    labels: Sequence[str],
    formats: Sequence[str],
    out: Path,
    warning: str = "",
) -> None:
    """Write predictions.srt, .vtt, .eaf and .TextGrid, as `formats` says; without times there is nothing to write.

    A `warning` about the model stands at the beginning, as if somebody called NOTE said it.
    """
    if not formats:
        return
    lines = annotations(recording, found, labels)
    if lines and warning:
        lines.insert(0, Annotation(0, SHOWN, "NOTE", "warning", warning))
    for name in formats:
        file = out / f"predictions.{name}"
        if lines:
            FORMATS[name](lines, recording, file)
        else:
            log.warning("%s: not written, because the utterances have no times of one common recording; a transcript "
                        "with times, such as SRT, has them", file)  # fmt: skip


def annotations(recording: Recording, found: Sequence[Prediction], labels: Sequence[str]) -> list[Annotation]:
    """Put the predictions on one time line, in order of time; the result is empty if there is none.

    An utterance whose end is not known, or not after its start, lasts until the next one or the recording's end.
    """
    starts = [0.0 if len(found) == 1 and line.start is None else line.start for line in recording.lines]
    if any(start is None or line.file for start, line in zip(starts, recording.lines, strict=True)):
        return []
    known = sorted(zip([start or 0.0 for start in starts], recording.lines, found, strict=True), key=lambda one: one[0])
    given = [line.end if line.end and line.end > start else None for start, line, _ in known]
    result = []
    for (start, line, prediction), end in zip(known, ends([one[0] for one in known], given), strict=True):
        if end is None:
            end = recording.seconds if recording.seconds > start else start + UNKNOWN
        said = (prediction.speaker, prediction.said(labels), line.text)
        # In one line each: an empty line would end a subtitle, and what follows would be read as another.
        speaker, label, text = (" ".join(NOT_IN_XML.sub("", written).split()) for written in said)
        begin = round(1000 * start)
        result.append(Annotation(begin, max(round(1000 * end), begin + 1), speaker or "speaker", label, text))
    return result


def tiers(lines: Sequence[Annotation]) -> list[Tier]:
    """Sort annotations into tiers: one per speaker, and further ones (`Ann (2)`) for what overlaps within it."""
    spelt: dict[str, str] = {}
    found: dict[tuple[str, int], list[Annotation]] = {}
    for line in lines:
        speaker, number = line.speaker.casefold(), 1
        spelt.setdefault(speaker, line.speaker)
        while (speaker, number) in found and found[speaker, number][-1].end > line.start:
            number += 1
        found.setdefault((speaker, number), []).append(line)
    taken: set[str] = set()

    def free(name: str) -> str:
        while name in taken:
            name += "'"
        taken.add(name)
        return name

    result = []
    for (speaker, number), of_tier in found.items():
        name = spelt[speaker] if number == 1 else f"{spelt[speaker]} ({number})"
        result.append(Tier(spelt[speaker], free(name), free(f"{name}: emotion"), of_tier))
    return result


def _clock(milliseconds: int, point: str) -> str:
    seconds, part = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{part:03d}"


def _write_srt(lines: Sequence[Annotation], recording: Recording, file: Path) -> None:
    blocks = [f"{number}\n{_clock(line.start, ',')} --> {_clock(line.end, ',')}\n{line.line}\n"
              for number, line in enumerate(lines, 1)]  # fmt: skip
    write_whole(file, "\n".join(blocks))


def _write_vtt(lines: Sequence[Annotation], recording: Recording, file: Path) -> None:
    def escaped(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    blocks = [f"{_clock(line.start, '.')} --> {_clock(line.end, '.')}\n{escaped(line.line)}\n" for line in lines]
    write_whole(file, "\n".join(["WEBVTT\n", *blocks]))


def _write_eaf(lines: Sequence[Annotation], recording: Recording, file: Path) -> None:
    eaf = Eaf(author="")
    eaf.adocument["DATE"] = BEGINNING
    eaf.remove_tier("default")
    if len(recording.files) == 1:
        media = Path(os.path.relpath(recording.files[0], file.parent.resolve())).as_posix()
        eaf.add_linked_file(media, media, mimetypes.guess_type(media)[0] or "unknown")
    for tier in tiers(lines):
        for name in (tier.words, tier.emotions):
            eaf.add_tier(name, part=tier.speaker)
        for line in tier.lines:
            eaf.add_annotation(tier.words, line.start, line.end, line.text)
            eaf.add_annotation(tier.emotions, line.start, line.end, line.label)
    write_whole(file, f'<?xml version="1.0" encoding="UTF-8"?>\n{to_string(eaf)}\n')


def _write_textgrid(lines: Sequence[Annotation], recording: Recording, file: Path) -> None:
    grid = TextGrid(xmin=0, xmax=max(*(line.end / 1000 for line in lines), recording.seconds))
    for tier in tiers(lines):
        words, emotions = (grid.add_tier(name.replace('"', '""')) for name in (tier.words, tier.emotions))
        for line in tier.lines:
            words.add_interval(line.start / 1000, line.end / 1000, line.text, check=False)
            emotions.add_interval(line.start / 1000, line.end / 1000, line.label, check=False)
    grid.to_file(file)


FORMATS: dict[str, Callable[[Sequence[Annotation], Recording, Path], None]] = {
    "srt": _write_srt,
    "vtt": _write_vtt,
    "eaf": _write_eaf,
    "TextGrid": _write_textgrid,
}
