"""Conversion of a recording and its transcript to utterances for the extractors, with messages about any problem."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from extractors.media import MediaInfo, no_file
from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.files import is_file, resolved
from pipeline.corpora.media_files import inspected, without_unusable_media
from pipeline.prediction.transcripts import Transcript, TranscriptLine

MEDIA = (
    ".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".f4v", ".mpg", ".mpeg",
    ".vob", ".ts", ".mts", ".m2ts", ".mxf", ".dv", ".ogv",
    ".wav", ".mp3", ".m4a", ".m4b", ".aac", ".flac", ".ogg", ".oga", ".opus", ".weba", ".mka", ".wma", ".aif", ".aiff",
    ".amr", ".caf", ".ac3", ".mp2", ".au", ".w64",
)  # fmt: skip
"""Endings of the files that are used in a folder; a file given by name may have any ending."""
LONGEST = 600.0
"""Largest number of seconds read per utterance, because its sound is in memory; MELD's longest clip has 305 s."""
SLACK = 0.5
"""Seconds by which a subtitle may end after the recording without a note, because codecs and subtitles round."""


@dataclass(slots=True)
class Recording:
    """A conversation whose emotions are to be predicted."""

    name: str
    """Name of its file, made safe; its results lie in a folder of this name."""
    lines: list[TranscriptLine]
    rows: list[Utterance]
    """One utterance per line; media are absolute paths, and `problem` says why some cannot be used."""
    notes: list[str]
    files: list[Path]
    """Media files with the pictures and the sound, in order."""
    seconds: float
    """Total duration of `files` in seconds."""
    films: list[str] = field(default_factory=list)
    """Path of the film that each row is a part of, also where its pictures or sound cannot be used; or empty."""


def read_recording(name: str, media: Path | None, transcript: Transcript, folder: Path) -> Recording:
    """Make the utterances of a conversation; `media` is None for text only, or if a table in `folder` names the files.

    Raises:
        UserError: the recording cannot be read, or the transcript has no times for an utterance.
    """
    shared = str(resolved(media)) if media else ""
    lines, notes = transcript.lines, list(transcript.notes)
    rows = []
    numbers: dict[str, int] = {}
    for turn, line in enumerate(lines):
        film = "" if line.problem else str(resolved(folder / line.file)) if line.file else shared
        if film and not line.file and line.start is None and len(lines) > 1:
            raise UserError(f"{media}: the transcript's {line.place} has no start: of a recording that several "
                            "utterances share, each must say where it is")  # fmt: skip
        end = line.end
        if film and end is not None and end - (line.start or 0.0) > LONGEST:
            end = (line.start or 0.0) + LONGEST
            notes.append(f"{line.place} is longer than {LONGEST:g} s: only its beginning is looked at")
        sound = str(resolved(folder / line.audio)) if line.audio and not line.problem else film
        cut = not line.audio
        rows.append(
            Utterance(
                utterance_id=f"{name}_{turn}",
                dialogue_id=name,
                turn=turn,
                speaker=numbers.setdefault(line.speaker.casefold(), len(numbers)),
                speaker_name=line.speaker,
                split="test",
                text=line.text,
                label="",
                audio=sound,
                video=film,
                start=line.start if film else None,
                end=end if film else None,
                audio_start=line.start if cut and film else None,
                audio_end=end if cut and film else None,
                region=line.region,
                problem=line.problem,
            )
        )
    used = [path for row in rows for path in (row.video, row.audio)]
    paths = list(dict.fromkeys(path for path in (shared, *used) if path))
    there = [path for path in paths if is_file(Path(path))]
    known = dict(zip(there, inspected([Path(path) for path in there]), strict=True))
    if media:
        _require_readable(media, known.get(shared))
    films = [row.video for row in rows]
    notes += [f"{Path(path).name}: {found.note}" for path, (_, found) in known.items() if found.note]
    rows = [_usable(row, known) for row in rows]
    whole, rows = rows, [_shortened(row, known) for row in rows]
    if long := sum(new != old for new, old in zip(rows, whole, strict=True)):
        notes.append(f"{long} utterances are longer than {LONGEST:g} s: only their beginning is looked at")
    outlasting = sum(
        row.end is not None and 0 < known[row.video][1].seconds + SLACK < row.end for row in rows if row.video
    )
    if outlasting:
        notes.append(
            f"{outlasting} utterances end after the recording does: only the part inside the recording is used"
        )
    for kind, what in (("audio", "sound"), ("video", "picture")):
        if there and not any(getattr(row, kind) for row in rows):
            notes.append(f"no {what} can be used: all utterances are predicted without it")
    files = [Path(path) for path in dict.fromkeys(row for row in (row.video for row in rows)) if path in known]
    files = files or [Path(path) for path in there]
    return Recording(name, lines, rows, notes, files, sum(known[str(file)][1].seconds for file in files), films)


def _require_readable(media: Path, found: tuple[str, MediaInfo] | None) -> None:
    if found is None:
        raise UserError(f"{media}: {no_file(media) or 'cannot be read'}; give a recording")
    probe = found[1]
    if probe.audio_problem and probe.video_problem:
        reason = dict.fromkeys((probe.audio_problem, probe.video_problem))
        raise UserError(f"{media}: is no recording that can be read: it {', and it '.join(reason)}; give a file with "
                        "sound or pictures (mp4, avi, mkv, flv, mpg, wav, …)")  # fmt: skip


def _usable(row: Utterance, known: dict[str, tuple[str, MediaInfo]]) -> Utterance:
    """Remove media from `row` that do not exist, cannot be decoded or end before the utterance begins.

    `problem` names files without their folders.
    """
    problems = []
    for kind, start in (("audio", row.audio_start), ("video", row.start)):
        path = getattr(row, kind)
        if not path:
            continue
        ends = known[path][1].seconds if path in known else 0.0
        if path not in known:
            problems.append(f"{Path(path).name}: no such file")
        elif start is not None and 0 < ends <= start:
            problems.append(f"{Path(path).name}: begins at {start:g} s, and the recording ends at {ends:.1f} s")
        else:
            continue
        row = replace(row, audio="") if kind == "audio" else replace(row, video="")
    row = without_unusable_media(row, known)
    found = row.problem
    for path in known:
        found = found.replace(path, Path(path).name)
    problems += [found] if found else []
    return replace(row, problem="; ".join(dict.fromkeys(problems)))


def _shortened(row: Utterance, known: dict[str, tuple[str, MediaInfo]]) -> Utterance:
    """End an utterance that would last until the end of a long file after LONGEST seconds."""
    end, audio_end = (row.start or 0.0) + LONGEST, (row.audio_start or 0.0) + LONGEST
    if row.video and row.end is None and known[row.video][1].seconds > end:
        row = replace(row, end=end)
    if row.audio and row.audio_end is None and known[row.audio][1].seconds > audio_end:
        row = replace(row, audio_end=audio_end)
    return row
