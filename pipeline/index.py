"""index@D: reads the raw tree and writes data/D/index.csv, one row per utterance, and results/D/corpus.json.

Only this stage reads the annotations of the raw tree. Every clip is opened once to check that it can be decoded, and
hashed, so that later stages depend on its content and not on its name; both results are cached by path, size and times
of change.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.files import write_whole
from foundation.log import log
from pipeline.corpora import cut_counts
from pipeline.corpora.census import as_table, census, write_census
from pipeline.corpora.index_file import SPLITS, write_index
from pipeline.corpora.labels import NO_LABELS, labels
from pipeline.corpora.media_files import inspect_media
from pipeline.corpora.raw_corpus import RawCorpus
from pipeline.corpora.readers import read
from pipeline.corpora.table import repeated
from pipeline.params import Params
from pipeline.stage import parser, require_raw_folder, start

SHOWN = 20
"""Largest number of problems and of notes in the log; all of them are in the index and in corpus.json."""


def run(args: argparse.Namespace, params: Params) -> None:
    corpus, settings = args.corpus, params.index[args.corpus]
    raw = require_raw_folder(corpus, params)
    raw_corpus = read(raw, settings)
    if not raw_corpus.rows:
        raise UserError(f"{raw}: has no utterance; set index.{corpus}.raw to the folder of the raw corpus")
    refuse_columns(raw_corpus.rows, raw, corpus)
    missing = [split for split in SPLITS if not any(row.split == split and row.label for row in raw_corpus.rows)]
    if missing:
        raise UserError(
            f"{raw}: the split {missing[0]} is empty; without it nothing can be fitted, chosen and reported"
        )
    if "text" not in settings.modalities:
        raw_corpus.rows = [replace(row, text="") for row in raw_corpus.rows]
    seconds = [0.0] * len(raw_corpus.rows) if raw_corpus.published else inspect_media(raw_corpus, raw)
    if settings.reader == "table":
        raw_corpus.notes += repeated(raw_corpus.rows)
    counts = census(raw_corpus, seconds, labels(settings.reader, [row.label for row in raw_corpus.rows]))
    if raw_corpus.cuts:
        counts["cuts"] = cut_counts.told(raw_corpus)
    report(raw_corpus, counts)
    refuse_problems(raw_corpus.rows, settings.max_problem_share, corpus)
    write_index(raw_corpus.rows, Path("data") / corpus / "index.csv")
    write_census(counts, Path("results") / corpus / "corpus.json")
    write_encoder_notes(Path("data") / corpus / "encoder")


def report(raw_corpus: RawCorpus, counts: dict) -> None:
    """Log the counts, and what cannot be used and why."""
    for line in as_table(counts):
        log.info("%s", line)
    if "cuts" in counts:
        log.info("what the cut list changes:")
        for line in cut_counts.as_table(counts["cuts"]):
            log.info("%s", line)
    for note in raw_corpus.notes[:SHOWN]:
        log.info("note: %s", note)
    if len(raw_corpus.notes) > SHOWN:
        log.info("… and %d more notes: results/…/corpus.json", len(raw_corpus.notes) - SHOWN)
    problems = [row for row in raw_corpus.rows if row.problem]
    for row in problems[:SHOWN]:
        log.warning("cannot be used: %s: %s", row.utterance_id, row.problem)
    if len(problems) > SHOWN:
        log.warning("… and %d more: column `problem` of the index", len(problems) - SHOWN)
    log.info("%d of %d utterances have media that cannot be used", len(problems), len(raw_corpus.rows))
    for reason, count in counts["problems"]["reasons"].items():
        log.info("  %5d: %s", count, reason)
    for difference in raw_corpus.differences:
        log.warning("NOT THE FULL RELEASE: %s", difference)


def refuse_columns(rows: list[Utterance], raw: Path, corpus: str) -> None:
    """Raise UserError if a label is called as another column of predictions.csv, which it would overwrite."""
    for row in rows:
        if row.label in NO_LABELS:
            raise UserError(f"{raw}: {row.utterance_id} has the label {row.label!r}, which is a column of "
                            "predictions.csv; take another word (the reader `features` takes the words for codes "
                            f"from index.{corpus}.labels)")  # fmt: skip


def refuse_problems(rows: list[Utterance], allowed: float, corpus: str) -> None:
    """Raise UserError if more than the fraction `allowed` of the utterances have a problem."""
    problems = sum(bool(row.problem) for row in rows)
    if problems > allowed * len(rows):
        first = next(row.problem for row in rows if row.problem)
        raise UserError(
            f"{problems} of {len(rows)} utterances have media that cannot be used, more than "
            f"index.{corpus}.max_problem_share = {allowed:g} (the first: {first}). Check that index.{corpus}.raw "
            f"names the whole release, with its folders of clips unpacked; to use it without them, leave media out: "
            f"`-S 'index.{corpus}.modalities=[text]'`"
        )


def write_encoder_notes(folder: Path) -> None:
    """Write constant placeholder files for the encoders of audio and visual.

    A DVC matrix lists the same dependencies for every item, so the text encoder needs a counterpart for each modality.
    """
    for modality in ("audio", "visual"):
        write_whole(folder / modality, "not fine-tuned\n")


if __name__ == "__main__":
    start(run, parser(__doc__))
