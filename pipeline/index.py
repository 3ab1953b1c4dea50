"""index@D: from the raw tree to data/D/index.csv, a row an utterance in conversation order.

The only stage that looks at the raw tree. Every clip is opened once to learn that it can be, and hashed, so that later
stages depend on content and not on names; both are remembered by path, size and time of change.
"""

import argparse
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from extractors.cache import WorkCache, fingerprint
from extractors.media import Probe, probe
from pipeline.corpora import iemocap, meld
from pipeline.params import IemocapIndexOf, Params
from pipeline.stage import StageError, cache_folder, log, parser, start
from pipeline.utterances import SPLITS, Utterance, write_index

PROBE = fingerprint({"what": "probe", "version": 1})
KEPT_TOGETHER = 256
"""Clips looked at between two writes to the work cache."""
SHOWN = 20
"""Problems named in the log; all of them are in the index."""


def run(args: argparse.Namespace, params: Params) -> None:
    corpus, settings = args.corpus, params.index[args.corpus]
    raw = Path("data") / corpus / "raw"
    if not raw.is_dir():
        raise StageError(f"{raw}: no such folder; `dvc repro raw@{corpus}` links it")
    if isinstance(settings, IemocapIndexOf):
        rows, notes = iemocap.read(raw, settings.modalities, settings.validation, settings.validation_seed)
    else:  # the demo corpus has MELD's layout
        rows, notes = meld.read(raw, settings.modalities)
    if not rows:
        raise StageError(f"{raw}: has no utterance; set index.{corpus}.raw to the folder of the raw corpus")
    missing = [split for split in SPLITS if all(row.split != split for row in rows)]
    if missing:
        raise StageError(
            f"{raw}: the split {missing[0]} is empty; without it nothing can be fitted, chosen and reported"
        )
    if "text" not in settings.modalities:
        rows = [replace(row, text="") for row in rows]
    rows = with_content(rows, raw)
    report(rows, notes)
    refuse_problems(rows, params.index.max_problem_share, corpus)
    write_index(rows, Path("data") / corpus / "index.csv")


def with_content(rows: list[Utterance], raw: Path) -> list[Utterance]:
    """`rows` with the hashes of their media, and without the media that cannot be used."""
    paths = sorted({path for row in rows for path in (row.audio, row.video) if path})
    known = dict(zip(paths, looked_at([raw / path for path in paths]), strict=True))
    return [_checked(row, known) for row in rows]


def _checked(row: Utterance, known: dict[str, tuple[str, Probe]]) -> Utterance:
    problems = [row.problem] if row.problem else []
    media: dict = {}
    for kind in ("audio", "video"):
        path = getattr(row, kind)
        if not path:
            continue
        digest, found = known[path]
        problem = found.audio_problem if kind == "audio" else found.video_problem
        if problem:
            problems.append(f"{path}: {problem}")
        media[kind] = "" if problem else path
        media[f"{kind}_hash"] = "" if problem else digest
    return replace(row, problem="; ".join(dict.fromkeys(problems)), **media)


def looked_at(files: list[Path]) -> Iterator[tuple[str, Probe]]:
    """SHA-256 and probe of each file, opened only if it is new or was changed since it was last looked at."""
    cache = WorkCache(cache_folder())
    keys = [_memory_key(file) for file in files]
    known = cache.get(PROBE, keys)
    new = {key: file for key, file in zip(keys, files, strict=True) if key not in known}
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(desc="looking at clips", total=len(new), unit="clip", disable=None) as progress,
    ):
        for keys_of_part in batched(new, KEPT_TOGETHER):
            part = dict(zip(keys_of_part, pool.map(_look, (new[key] for key in keys_of_part)), strict=True))
            cache.put(PROBE, part)
            known |= part
            progress.update(len(part))
    cache.close()
    for key in keys:
        digest, result = json.loads(known[key])
        yield digest, Probe(**result)


def batched(items: Iterable[str], number: int) -> Iterator[list[str]]:
    """`items`, `number` at a time (itertools has it from Python 3.12 on)."""
    rest = iter(items)
    while part := list(islice(rest, number)):
        yield part


def _memory_key(file: Path) -> str:
    status = file.stat()
    return f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}"


def _look(file: Path) -> bytes:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return json.dumps([digest, asdict(probe(file))]).encode()


def report(rows: list[Utterance], notes: list[str]) -> None:
    """Say what was found, what cannot be used and why."""
    for split in SPLITS:
        part = [row for row in rows if row.split == split]
        labels = ", ".join(f"{label} {count}" for label, count in Counter(row.label for row in part).most_common())
        log.info(
            "%-10s %5d utterances in %4d dialogues: %s", split, len(part), len({r.dialogue_id for r in part}), labels
        )
    for note in notes:
        log.info("note: %s", note)
    problems = [row for row in rows if row.problem]
    for row in problems[:SHOWN]:
        log.warning("cannot be used: %s: %s", row.utterance_id, row.problem)
    if len(problems) > SHOWN:
        log.warning("… and %d more: column `problem` of the index", len(problems) - SHOWN)
    log.info("%d of %d utterances have media that cannot be used", len(problems), len(rows))


def refuse_problems(rows: list[Utterance], allowed: float, corpus: str) -> None:
    """Raise StageError when more than `allowed` of the utterances have a problem."""
    problems = sum(bool(row.problem) for row in rows)
    if problems > allowed * len(rows):
        first = next(row.problem for row in rows if row.problem)
        raise StageError(
            f"{problems} of {len(rows)} utterances have media that cannot be used, more than "
            f"index.max_problem_share = {allowed:g} (the first: {first}). Check that index.{corpus}.raw names the "
            f"whole release, with its folders of clips unpacked; to use the corpus without them, leave media out: "
            f"`-S 'index.{corpus}.modalities=[text]'`"
        )


if __name__ == "__main__":
    start(run, parser(__doc__))
