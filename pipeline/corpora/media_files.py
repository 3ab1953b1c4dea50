"""Media files of a raw corpus: each is opened once to check that it can be decoded, and hashed; results are cached."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from extractors.cache import WorkCache
from extractors.media import MediaError, MediaInfo, OverBudgetError, media_info, no_file, state
from extractors.utterance import Piece, Utterance, as_text, pieces_of
from foundation.errors import UserError
from foundation.folders import cache_folder
from foundation.workers import TaskLost, spread_here
from pipeline.corpora.raw_corpus import RawCorpus

Item = TypeVar("Item")
Inspect = Callable[[Path], tuple[bytes, bool]]
Inspected = dict[str, tuple[str, MediaInfo]]
"""SHA-256 and inspection of each file, by its path."""
VERSION = 3
"""Version of the inspection; raise it with every change of media.media_info that changes its results."""
KEPT_TOGETHER = 256
"""Number of clips inspected between two writes to the work cache."""
MANY = 64
"""Number of new clips from which on processes look at them: a decoder that crashes then takes no other clip with it.
For fewer, threads do, because starting a process takes longer than a look."""
WRONG_CUT = 20
"""Seconds by which a clip may be longer than its utterance; some MELD clips last minutes for seconds of speech."""

SLACK = 0.1
"""Seconds by which an utterance may end, or begin, after its file without a word, because codecs round."""
ENDS_BEFORE = "ends before the piece that is cut from it begins"
BEGINS_AFTER = "begins after the end of its file (times are in seconds)"


def inspect_media(raw_corpus: RawCorpus, raw: Path) -> list[float]:
    """Add media hashes to the rows, remove media that cannot be used, and note clips that seem to be cut wrongly.

    Returns:
        Seconds of usable sound, one value per row.
    """
    own = {cut.own for cut in raw_corpus.cuts.values()}
    paths = sorted({path for row in raw_corpus.rows for path in files_of(row)} | own - {""})
    known = dict(zip(paths, inspected([raw / path for path in paths]), strict=True))
    cut = [row for row in raw_corpus.rows if row.pieces or row.utterance_id in raw_corpus.cuts]
    raw_corpus.notes += notes_on_ends(cut, known, "have a piece that ends after its file does")
    whole = [row for row in raw_corpus.rows if not row.pieces and row.utterance_id not in raw_corpus.cuts]
    raw_corpus.notes += notes_on_ends(whole, known, "end after their file does")
    raw_corpus.rows = [without_unusable_media(row, known, row.utterance_id in raw_corpus.cuts)
                       for row in raw_corpus.rows]  # fmt: skip
    for row in raw_corpus.rows:
        stated, seconds = raw_corpus.stated.get(row.utterance_id), seconds_of(row, known, row.audio or row.video)
        if stated and seconds > stated + WRONG_CUT:
            raw_corpus.notes.append(f"{row.audio or row.video}: lasts {seconds:.0f} s, the utterance {stated:.1f} s by "
                                 "its annotation; probably cut wrong, but used as it is")  # fmt: skip
    raw_corpus.notes += notes(known)
    for row in raw_corpus.rows:
        if cut_of := raw_corpus.cuts.get(row.utterance_id):
            there = bool(cut_of.own) and not known[cut_of.own][1].audio_problem
            cut_of.before = known[cut_of.own][1].seconds if there else 0.0
            cut_of.after = sum(lasts(piece, known) for piece in pieces_read(row, "audio")) if row.audio else 0.0
    return [seconds_of(row, known, row.audio) for row in raw_corpus.rows]


def files_of(row: Utterance) -> list[str]:
    """Paths of all files that have sound or pictures of the utterance."""
    pieces = [piece.file for piece in pieces_of(row.pieces)] if row.pieces else []
    return [path for path in (row.audio, row.video, *pieces) if path]


def pieces_read(row: Utterance, kind: str) -> list[Piece]:
    """The pieces of the utterance's sound (`audio`) or pictures (`video`), mostly one; there must be some."""
    if row.pieces:
        return pieces_of(row.pieces)
    if kind == "audio":
        return [Piece(row.audio, row.audio_start, row.audio_end)]
    return [Piece(row.video, row.start, row.end)]


def lasts(piece: Piece, known: Inspected) -> float:
    """Seconds of the piece that are there."""
    ends = known[piece.file][1].seconds
    return max(0.0, (ends if piece.end is None else min(piece.end, ends)) - (piece.start or 0.0))


def notes_on_ends(rows: list[Utterance], known: Inspected, what: str) -> list[str]:
    """A note that counts the utterances that end, or of which a piece ends, after the file does; `what` says it."""
    late = [
        (piece.end - known[piece.file][1].seconds, row.utterance_id)
        for row in rows
        for piece in (pieces_read(row, "audio" if row.audio else "video") if row.audio or row.video else [])
        if piece.end is not None and (piece.start or 0.0) < known[piece.file][1].seconds < piece.end - SLACK
    ]
    if not late:
        return []
    many, (most, first) = len({name for _, name in late}), max(late)
    return [f"{many} utterances {what}, by up to {most:.1f} s ({first}): what there is of it is used"]


def notes(known: Inspected) -> list[str]:
    """Notes on usable files; files with the same note share one, which names the first."""
    files: dict[str, list[str]] = {}
    for path, (_, found) in known.items():
        if found.note:
            files.setdefault(found.note, []).append(path)
    return [f"{paths[0]}{f' and {len(paths) - 1} more files' if len(paths) > 1 else ''}: {note}"
            for note, paths in files.items()]  # fmt: skip


def seconds_of(row: Utterance, known: Inspected, path: str) -> float:
    """Duration of the utterance in the file `path`: its interval, or from its start to the end of the file; or that of
    its pieces."""
    if not path:
        return 0.0
    if row.pieces:
        return sum(lasts(piece, known) for piece in pieces_of(row.pieces))
    start, end = (row.audio_start, row.audio_end) if path == row.audio else (row.start, row.end)
    ends = known[path][1].seconds
    if end is not None:
        ends = min(end, ends) if ends else end  # of a file whose length is not known, the annotation is believed
    return max(0.0, ends - (start or 0.0))


def without_unusable_media(row: Utterance, known: Inspected, cut: bool = False) -> Utterance:
    """Add media hashes to `row` and remove unusable media; `known` has hash and inspection of each path.

    Of several pieces all must be usable, for a part of what is said would pass for the whole.

    Args:
        cut: whether the times are of a cut list, and a piece may begin after its file's end.
    """
    problems = [row.problem] if row.problem else []
    media: dict = {}
    for kind in ("audio", "video"):
        path = getattr(row, kind)
        if not path:
            continue
        found: list[str] = []
        for piece in pieces_read(row, kind):
            info = known[piece.file][1]
            if problem := info.audio_problem if kind == "audio" else info.video_problem:
                found.append(f"{piece.file}: {problem}")
            elif (cut or row.pieces) and (piece.start or 0.0) >= info.seconds:
                found.append(f"{piece.file}: {ENDS_BEFORE}")
            elif 0 < info.seconds < (piece.start or 0.0) - SLACK:
                # The numbers stand before the colon, so that the census counts one reason for all.
                found.append(f"{piece.file} of {info.seconds:.1f} s, from {piece.start:g} s on: {BEGINS_AFTER}")
        problems += found
        media[kind] = "" if found else path
        if not row.pieces:
            media[f"{kind}_hash"] = "" if found else known[path][0]
    if row.pieces:
        pieces = pieces_of(row.pieces) if any(media.values()) else []
        media["pieces"] = row.pieces if pieces else ""
        media["pieces_hash"] = as_text([piece._replace(file=known[piece.file][0]) for piece in pieces])
    return replace(row, problem="; ".join(dict.fromkeys(problems)), **media)


def inspected(files: list[Path]) -> Iterator[tuple[str, MediaInfo]]:
    """Yield SHA-256 and inspection of each file; a file is opened only if it is new or was changed."""
    cache = WorkCache(cache_folder())
    keys = [_memory_key(file) for file in files]
    name = cache.maker(memory_identity())
    known = cache.get(name, filter(None, keys))
    new = {key: file for key, file in zip(keys, files, strict=True) if key and key not in known}
    with tqdm(desc="looking at clips", total=len(new), unit="clip", disable=None) as progress:
        for part in batched(inspected_now(new), KEPT_TOGETHER):
            cache.put(name, {key: found for key, found, lasting in part if lasting})
            known |= {key: found for key, found, _ in part}
            progress.update(len(part))
    cache.close()
    for key, file in zip(keys, files, strict=True):
        digest, result = json.loads(known[key] if key else _inspect(file)[0])
        yield digest, MediaInfo(**result)


def memory_identity() -> dict[str, object]:
    """Identity of cached inspections (hash, and whether FFmpeg can decode the file)."""
    return {"what": "probe", "version": VERSION, "av": version("av")}


def inspected_now(files: dict[str, Path], inspect: Inspect | None = None) -> Iterator[tuple[str, bytes, bool]]:
    """Yield key, hash and inspection of each of `files`, and whether a repetition would give the same, in any order."""
    inspect = inspect or _inspect
    if len(files) < MANY:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            yield from ((key, *found) for key, found in zip(files, pool.map(inspect, files.values()), strict=True))
        return
    keys: dict[Path, list[str]] = {}
    for key, file in files.items():
        keys.setdefault(file, []).append(key)
    for file, found in spread_here(inspect, keys, _nothing):
        if isinstance(found, TaskLost):
            found = _unusable(found.reason), False
        yield from ((key, *found) for key in keys[file])


def _nothing() -> None:
    """What a process does before it looks at files."""


def _unusable(reason: str) -> bytes:
    return json.dumps(["", asdict(MediaInfo(reason, reason, 0.0))]).encode()


def batched(items: Iterable[Item], number: int) -> Iterator[list[Item]]:
    """Yield lists of `number` items, as itertools.batched does from Python 3.12 on."""
    rest = iter(items)
    while part := list(islice(rest, number)):
        yield part


def _memory_key(file: Path) -> str:
    """Key of a file by its path and state; empty for what is no file, such as a folder, a pipe or a broken link."""
    if no_file(file):
        return ""
    path = os.fsencode(file.resolve()).decode("utf-8", "backslashreplace")  # the name may be no UTF-8
    return "|".join(map(str, (path, *state(file))))


def _inspect(file: Path) -> tuple[bytes, bool]:
    """Hash and inspection of a file, and whether a repetition would give the same."""
    lasting = True
    try:
        if lacking := no_file(file):
            raise MediaError(lacking)
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found = media_info(file)
    except OverBudgetError as error:
        digest, found, lasting = "", MediaInfo(str(error), str(error), 0.0), False
    except MediaError as error:
        digest, found = "", MediaInfo(str(error), str(error), 0.0)
    except UserError:  # such as a wrong CMATH_CLIP_SECONDS, which is no fault of the file
        raise
    except Exception as error:  # one file must not stop the others
        reason = f"cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"
        digest, found, lasting = "", MediaInfo(reason, reason, 0.0), False  # a disk that failed once may work again
    return json.dumps([digest, asdict(found)]).encode(), lasting
