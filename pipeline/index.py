"""index@D: from the raw tree to data/D/index.csv, a row an utterance in conversation order, and results/D/corpus.json.

The only stage that looks at the raw tree. Every clip is opened once to learn that it can be, and hashed, so that later
stages depend on content and not on names; both are remembered by path, size and times of change.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from extractors.cache import WorkCache
from extractors.media import Probe, probe, state
from pipeline.census import as_table, census, write_census
from pipeline.corpora import custom, iemocap, meld
from pipeline.corpora.labels import labels
from pipeline.corpora.reading import Reading
from pipeline.params import IemocapIndexOf, Params
from pipeline.stage import StageError, cache_folder, log, parser, require_raw_folder, start
from pipeline.utterances import SPLITS, Utterance, write_index

VERSION = 1
"""To be raised with every change of media.probe that changes what it says."""
KEPT_TOGETHER = 256
"""Clips looked at between two writes to the work cache."""
SHOWN = 20
"""Problems, and notes, named in the log; all of them are in the index and in corpus.json."""
WRONG_CUT = 20
"""Seconds by which a clip may last longer than its utterance: MELD has clips of minutes around one of seconds."""


def run(args: argparse.Namespace, params: Params) -> None:
    corpus, settings = args.corpus, params.index[args.corpus]
    raw = require_raw_folder(corpus, params)
    if isinstance(settings, IemocapIndexOf):
        reading = iemocap.read(raw, settings.modalities, settings.validation, settings.validation_seed)
    elif corpus == "custom":
        reading = custom.read(raw, settings.modalities)
    else:  # the demo corpus has MELD's layout
        reading = meld.read(raw, settings.modalities)
    if not reading.rows:
        raise StageError(f"{raw}: has no utterance; set index.{corpus}.raw to the folder of the raw corpus")
    missing = [split for split in SPLITS if all(row.split != split for row in reading.rows)]
    if missing:
        raise StageError(
            f"{raw}: the split {missing[0]} is empty; without it nothing can be fitted, chosen and reported"
        )
    if "text" not in settings.modalities:
        reading.rows = [replace(row, text="") for row in reading.rows]
    seconds = look_at_media(reading, raw)
    counts = census(reading, seconds, labels(corpus, [row.label for row in reading.rows]))
    report(reading, counts)
    refuse_problems(reading.rows, params.index.max_problem_share, corpus)
    write_index(reading.rows, Path("data") / corpus / "index.csv")
    write_census(counts, Path("results") / corpus / "corpus.json")
    write_encoder_notes(Path("data") / corpus / "encoder")


def look_at_media(reading: Reading, raw: Path) -> list[float]:
    """Give the rows the hashes of their media, take out the media that cannot be used, note clips that are cut wrong.

    Returns:
        Seconds of usable sound, a value a row.
    """
    paths = sorted({path for row in reading.rows for path in (row.audio, row.video) if path})
    known = dict(zip(paths, looked_at([raw / path for path in paths]), strict=True))
    reading.rows = [checked(row, known) for row in reading.rows]
    for row in reading.rows:
        stated, lasts = reading.stated.get(row.utterance_id), seconds_of(row, known, row.audio or row.video)
        if stated and lasts > stated + WRONG_CUT:
            reading.notes.append(f"{row.audio or row.video}: lasts {lasts:.0f} s, the utterance {stated:.1f} s by its "
                                 "annotation; probably cut wrong, but used as it is")  # fmt: skip
    return [seconds_of(row, known, row.audio) for row in reading.rows]


def seconds_of(row: Utterance, known: dict[str, tuple[str, Probe]], path: str) -> float:
    """Seconds of the utterance in the file `path`: its interval, or what of the file is left from its start on."""
    if not path:
        return 0.0
    start, end = (row.audio_start, row.audio_end) if path == row.audio else (row.start, row.end)
    return max(0.0, (known[path][1].seconds if end is None else end) - (start or 0.0))


def checked(row: Utterance, known: dict[str, tuple[str, Probe]]) -> Utterance:
    """`row` with the hashes of its media and without those that cannot be used, by what is `known` of each path."""
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
    name = cache.maker(memory_identity())
    known = cache.get(name, keys)
    new = {key: file for key, file in zip(keys, files, strict=True) if key not in known}
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(desc="looking at clips", total=len(new), unit="clip", disable=None) as progress,
    ):
        for keys_of_part in batched(new, KEPT_TOGETHER):
            part = dict(zip(keys_of_part, pool.map(_look, (new[key] for key in keys_of_part)), strict=True))
            cache.put(name, part)
            known |= part
            progress.update(len(part))
    cache.close()
    for key in keys:
        digest, result = json.loads(known[key])
        yield digest, Probe(**result)


def memory_identity() -> dict[str, object]:
    """Of what is remembered of a clip: its hash, and whether it can be decoded, which FFmpeg decides."""
    return {"what": "probe", "version": VERSION, "av": version("av")}


def batched(items: Iterable[str], number: int) -> Iterator[list[str]]:
    """`items`, `number` at a time (itertools has it from Python 3.12 on)."""
    rest = iter(items)
    while part := list(islice(rest, number)):
        yield part


def _memory_key(file: Path) -> str:
    return "|".join(map(str, (file.resolve(), *state(file))))


def _look(file: Path) -> bytes:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return json.dumps([digest, asdict(probe(file))]).encode()


def report(reading: Reading, counts: dict) -> None:
    """Say what was found, what cannot be used and why."""
    for line in as_table(counts):
        log.info("%s", line)
    for note in reading.notes[:SHOWN]:
        log.info("note: %s", note)
    if len(reading.notes) > SHOWN:
        log.info("… and %d more notes: results/…/corpus.json", len(reading.notes) - SHOWN)
    problems = [row for row in reading.rows if row.problem]
    for row in problems[:SHOWN]:
        log.warning("cannot be used: %s: %s", row.utterance_id, row.problem)
    if len(problems) > SHOWN:
        log.warning("… and %d more: column `problem` of the index", len(problems) - SHOWN)
    log.info("%d of %d utterances have media that cannot be used", len(problems), len(reading.rows))
    for reason, count in counts["problems"]["reasons"].items():
        log.info("  %5d: %s", count, reason)
    for difference in reading.differences:
        log.warning("NOT THE FULL RELEASE: %s", difference)


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


def write_encoder_notes(folder: Path) -> None:
    """Say of audio and visual that their encoders are not fine-tuned: in DVC's matrix, what extract@D-text depends on
    (the text encoder of finetune_text) needs a counterpart of every modality."""
    folder.mkdir(parents=True, exist_ok=True)
    for modality in ("audio", "visual"):
        (folder / modality).write_text("not fine-tuned\n", "utf-8")


if __name__ == "__main__":
    start(run, parser(__doc__))
