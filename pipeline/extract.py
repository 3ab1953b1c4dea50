"""extract@D-M: one modality of every utterance to data/D/features/M.safetensors.

What was extracted before, from the same content by the same extractor, comes from the work cache; a killed run goes on
where it was. What became of the utterances, and why a modality is missing, stands in data/D/features/M.report.json.

With --shard I/N only the I-th of N shares is extracted, to the work cache, whose folder (CMATH_CACHE) any number of
machines may share; the same command without --shard then packs the feature file. docs/extraction.md says more.
"""

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from extractors.cache import Cache, CacheError, ShardCache, WorkCache
from extractors.features import Features, FeaturesError, write_features
from extractors.media import ContentError
from extractors.progress import Progress
from extractors.result import Extractor, ExtractorError, Result
from extractors.workers import ENGINES
from pipeline.params import MODALITIES, AudioOf, Params
from pipeline.stage import StageError, cache_folder, log, parser, raw_folder, start
from pipeline.utterances import Utterance, read_index

KIND = {"text": "text", "audio": "audio", "visual": "video"}
"""The column of the index that a modality is made of."""
WHOLE = (1, 1)
"""The share of a run that is no shard."""
MISSING = {"silent": "silent", "no face": "without a face"}
"""Reasons that are no failure, in the table's words."""


def run(args: argparse.Namespace, params: Params) -> None:
    if args.engine:
        os.environ["CMATH_ENGINE"] = args.engine
    data = Path("data") / args.corpus
    rows = read_index(data / "index.csv")
    file = data / "features" / f"{args.modality}.safetensors"
    if not any(getattr(row, KIND[args.modality]) for row in rows):
        log.info("%s: the index has none; nothing to extract", args.modality)
        if args.shard == WHOLE:
            write(Features(np.zeros((len(rows), 0)), np.zeros(len(rows), bool), {}), file)
            write_report({}, [], [], file, set())
        return
    try:
        extractor = make_extractor(args.modality, args.corpus, params)
        keys = [extractor.key(row) for row in rows]
        if args.shard != WHOLE:
            fill_share(extractor, by_key(keys, rows), args.modality, *args.shard)
            return
        results, known = extract(extractor, by_key(keys, rows), args.modality)
    except (ExtractorError, CacheError, ContentError) as error:
        raise StageError(str(error)) from None
    features = as_features(extractor, keys, results)
    if args.modality == "audio":
        features = reduced(features, rows, params.audio[args.corpus])
    write(features, file)
    write_report(results, rows, keys, file, known)


def make_extractor(modality: str, corpus: str, params: Params) -> Extractor:
    """The extractor of `modality` with the parameters of `corpus`; only its own libraries are imported."""
    raw = raw_folder(corpus, params)
    if modality == "text":
        from extractors.text import TextExtractor

        return TextExtractor(params.text[corpus], raw, Path("data") / corpus / "encoder" / "text")
    if modality == "audio":
        from extractors.audio import AudioExtractor

        return AudioExtractor(params.audio[corpus], raw)
    from extractors.visual import VisualExtractor

    return VisualExtractor(params.visual[corpus], raw)


def by_key(keys: list[str | None], rows: list[Utterance]) -> dict[str, Utterance]:
    """An utterance of each key, in index order; of several with the same content, one of train if there is one."""
    found: dict[str, Utterance] = {}
    for key, row in zip(keys, rows, strict=True):
        if key and (key not in found or row.split == "train"):
            found[key] = row
    return found


def extract(extractor: Extractor, rows: dict[str, Utterance], modality: str) -> tuple[dict[str, Result], set[str]]:
    """Results by key: from the work cache what is there, the rest extracted and kept as it comes.

    Returns:
        All results, and the keys of those that came from the work cache.
    """
    cache = WorkCache(cache_folder())
    extractor.prepare(rows, cache)
    name = cache.maker(extractor.identity)
    results = {key: Result.from_bytes(value) for key, value in cache.get(name, rows).items()}
    known = set(results)
    log.info("%s: %d to extract, %d from the work cache", modality, len(rows) - len(known), len(known))
    for batch in extracted(extractor, rows, known, cache, modality):
        results |= batch
    cache.close()
    lost = [result for result in results.values() if not result.lasting]
    if len(lost) > 1 and len(lost) == len(rows) - len(known):
        raise StageError(f"{modality}: nothing could be extracted ({lost[0].reason}): is the installation whole?")
    return results, known


def fill_share(extractor: Extractor, rows: dict[str, Utterance], modality: str, number: int, of: int) -> None:
    """Extract the `number`-th of `of` shares, counted from 1, to the work cache that machines share."""
    cache = ShardCache(cache_folder(), f"{modality}-{number}-of-{of}")
    if cache.in_use:
        log.warning("%s: is open, or its last run was killed; what it has is not seen by this shard", cache.database)
    share = {key for group in extractor.groups(rows)[number - 1 :: of] for key in group}
    if extractor.prepare(rows, cache, share):
        known = cache.known(cache.maker(extractor.identity), share)
        log.info("%s: %d to extract of share %d of %d", modality, len(share - known), number, of)
        for _ in extracted(extractor, rows, known | (rows.keys() - share), cache, modality):
            pass
        log.info("%s: share %d of %d is done; without --shard the same command packs", modality, number, of)
    else:
        log.info("%s: the faces of share %d of %d are found; once those of all are, the same commands again, or one "
                 "without --shard, encode them", modality, number, of)  # fmt: skip
    cache.close()


def extracted(
    extractor: Extractor, rows: dict[str, Utterance], known: set[str], cache: Cache, modality: str
) -> Iterator[dict[str, Result]]:
    """Results of all `rows` but the `known`, kept in `cache` as they come."""
    name = cache.maker(extractor.identity)
    with Progress(total=len(rows) - len(known), initial=0, what=modality, unit="utterance") as progress:
        for batch in extractor.extract(rows, known):
            cache.put(name, {key: result.to_bytes() for key, result in batch.items() if result.lasting})
            progress.update(len(batch))
            yield batch


def write(features: Features, file: Path) -> None:
    try:
        write_features(features, file)
    except FeaturesError as error:
        raise StageError(str(error)) from None


def as_features(extractor: Extractor, keys: list[str | None], results: dict[str, Result]) -> Features:
    """The matrix in index order."""
    vectors = [results[key].vector if key else None for key in keys]
    present = np.array([vector is not None for vector in vectors])
    width = next((len(vector) for vector in vectors if vector is not None), None) or extractor.dim
    values = np.zeros((len(keys), width), np.float32)
    for place in np.flatnonzero(present):
        values[place] = vectors[place]
    return Features(values, present, dict(extractor.identity))


def reduced(features: Features, rows: list[Utterance], settings: AudioOf) -> Features:
    """The features in fewer columns, if `settings` say so, by what is learnt from the training split.

    The work cache keeps all columns.
    """
    if settings.reduce == "none":
        return features
    from extractors import reduction

    fitted = [place for place, row in enumerate(rows) if row.split == "train" and features.present[place]]
    labels, before = [rows[place].label for place in fitted], features.values.shape[1]
    if len(fitted) < 2:
        log.warning("audio: not reduced, for only %d utterances of train have sound", len(fitted))
        return features
    if settings.reduce == "svm" and len(set(labels)) < 2:
        raise StageError(f"audio's `reduce` in params.yaml is 'svm', but train knows only the label {labels[0]}: "
                         "use pca or none")  # fmt: skip
    cache = WorkCache(cache_folder())
    learnt = reduction.learnt(features.values[fitted], labels, settings, cache)
    cache.close()
    values = np.where(features.present[:, None], learnt(features.values), np.float32(0))
    log.info("audio: %d columns reduced to %d by %s, fitted on %d utterances of train",
             before, values.shape[1], settings.reduce, len(fitted))  # fmt: skip
    if values.shape[1] < settings.dim:
        log.warning("audio: not the %d that params.yaml asks for, for train has no more utterances", settings.dim)
    identity = {**features.identity, "reduction": [reduction.VERSION, settings.reduce, values.shape[1], before]}
    identity["sklearn"] = version("scikit-learn")
    return Features(values, features.present, identity, learnt.tensors)


def write_report(
    results: dict[str, Result], rows: list[Utterance], keys: list[str | None], file: Path, known: set[str]
) -> None:
    """Say in the log and in M.report.json what became of the utterances, and why a modality is missing.

    What came from the work cache stands in the log alone: the file must not change where nothing did.
    """
    missing: dict[str, list[str]] = {}
    outcomes = Counter(dict.fromkeys(("present", *MISSING.values(), "failed", "without any"), 0))
    reasons: Counter[str] = Counter()
    used = 0
    for row, key in zip(rows, keys, strict=True):
        if key and results[key].vector is not None:
            outcomes["present"] += 1
            used += results[key].used
            continue
        if key:
            reason = results[key].reason
        else:
            reason = "cannot be used: see `problem` in the index" if row.problem else "empty"
        outcome = "without any" if reason == "empty" else MISSING.get(reason, "failed")
        outcomes[outcome] += 1
        reasons[reason] += outcome == "failed"
        missing.setdefault(reason, []).append(row.utterance_id)
    content = {"utterances": len(rows), "pieces": used, "outcomes": outcomes, "missing": dict(sorted(missing.items()))}
    file.with_suffix(".report.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    from_cache = sum(key in known for key in keys)
    log.info("%s: %d utterances, %d extracted now, %d from the work cache",
             file.stem, len(rows), sum(key is not None for key in keys) - from_cache, from_cache)  # fmt: skip
    for outcome, count in outcomes.items():
        log.info("  %6d %s", count, outcome)
    for reason, count in reasons.most_common():
        if count:
            log.info("  %13d: %s", count, reason)


def arguments() -> argparse.ArgumentParser:
    result = parser(__doc__)
    result.add_argument("modality", choices=MODALITIES)
    result.add_argument("--shard", type=share, default=WHOLE, metavar="I/N", help="only share I of N, from 1 to N")
    result.add_argument("--engine", choices=ENGINES,
                        help="who decodes: processes of this machine (the default), or those of a Ray cluster; also "
                        "CMATH_ENGINE, which `dvc repro` passes on")  # fmt: skip
    return result


def share(value: str) -> tuple[int, int]:
    """What --shard says, as (number, of); raises ValueError unless 1 <= number <= of."""
    number, of = (int(part) for part in value.split("/"))
    if not 1 <= number <= of:
        raise ValueError
    return number, of


if __name__ == "__main__":
    start(run, arguments())
