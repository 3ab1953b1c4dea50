"""Extraction of one modality: results come from the work cache, or are computed and cached at once."""

from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice

import numpy as np

from extractors.cache import Cache, ShardCache, WorkCache
from extractors.features import Features
from extractors.result import Extractor, Result
from extractors.settings import AudioSettings
from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.folders import cache_folder
from foundation.log import log
from foundation.progress import Progress

KIND = {"text": "text", "audio": "audio", "visual": "video"}
"""Index column from which each modality is extracted."""
SHOWN = 20
"""Largest number of utterances in the log that could not be extracted, for a reason that a repetition may not have."""


def by_key(keys: list[str | None], rows: list[Utterance]) -> dict[str, Utterance]:
    """Choose one utterance for each key, in index order; if several share a key, prefer one of train."""
    found: dict[str, Utterance] = {}
    for key, row in zip(keys, rows, strict=True):
        if key and (key not in found or row.split == "train"):
            found[key] = row
    return found


def extract(extractor: Extractor, rows: dict[str, Utterance], modality: str) -> tuple[dict[str, Result], set[str]]:
    """Get all results by key: from the work cache, or extracted and then cached as soon as they are ready.

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
    lost = {key: result for key, result in results.items() if not result.lasting}
    for key, result in islice(lost.items(), SHOWN):
        file = getattr(rows[key], KIND[modality]) if modality != "text" else "its text"
        log.warning("%s of %s cannot be extracted: %s: %s", modality, rows[key].utterance_id, file, result.reason)
    if len(lost) > SHOWN:
        log.warning("… and %d more: the report has them", len(lost) - SHOWN)
    if len(lost) > 1 and len(lost) == len(rows) - len(known):
        reason = next(iter(lost.values())).reason
        raise UserError(f"{modality}: nothing could be extracted ({reason}): is the installation whole?")
    require_one_width(results, rows, modality)
    return results, known


def require_one_width(results: dict[str, Result], rows: dict[str, Utterance], modality: str) -> None:
    """Raise UserError unless all vectors are equally wide; those of a run that was refused are in the work cache."""
    width = 0
    for key, row in rows.items():
        vector = results[key].vector
        if vector is None:
            continue
        width = width or len(vector)
        if len(vector) != width:
            file = row.text_file if modality == "text" else getattr(row, KIND[modality])
            raise UserError(f"{file or modality}: the {modality} vector of {row.utterance_id} has {len(vector)} "
                            f"values, and others have {width}; all of a corpus must have the same number")  # fmt: skip


def fill_share(extractor: Extractor, rows: dict[str, Utterance], modality: str, number: int, of: int) -> None:
    """Extract share `number` of `of` (counted from 1) into the work cache that several machines share."""
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
    """Yield results of all `rows` except the `known` ones, and store them in `cache` as soon as they are ready."""
    name = cache.maker(extractor.identity)
    with Progress(total=len(rows) - len(known), initial=0, what=modality, unit="utterance") as progress:
        for batch in extractor.extract(rows, known):
            cache.put(name, {key: result.to_bytes() for key, result in batch.items() if result.lasting})
            progress.update(len(batch))
            yield batch


def as_features(extractor: Extractor, keys: list[str | None], results: dict[str, Result]) -> Features:
    """Make the feature matrix, with rows in index order."""
    vectors = [results[key].vector if key else None for key in keys]
    present = np.array([vector is not None for vector in vectors])
    width = next((len(vector) for vector in vectors if vector is not None), None) or extractor.dim
    values = np.zeros((len(keys), width), np.float32)
    for place in np.flatnonzero(present):
        values[place] = vectors[place]
    return Features(values, present, dict(extractor.identity))


def reduced(features: Features, rows: list[Utterance], settings: AudioSettings) -> Features:
    """Reduce the features to fewer columns if `settings` ask for it; the reduction is fitted on the training split.

    The work cache still has all columns.
    """
    if settings.reduce == "none":
        return features
    from extractors.audio import reduction

    fitted = [
        place
        for place, row in enumerate(rows)
        if row.split == "train" and features.present[place] and (row.label or settings.reduce != "svm")
    ]
    labels, before = [rows[place].label for place in fitted], features.values.shape[1]
    if len(fitted) < 2:
        log.warning("audio: not reduced, because only %d utterances of train have sound", len(fitted))
        return features
    if settings.reduce == "svm" and len(set(labels)) < 2:
        raise UserError(f"audio's `reduce` in params.yaml is 'svm', but train knows only the label {labels[0]}: "
                        "use pca or none")  # fmt: skip
    cache = WorkCache(cache_folder())
    fitted_reduction = reduction.cached_fit(features.values[fitted], labels, settings, cache)
    cache.close()
    values = np.where(features.present[:, None], fitted_reduction(features.values), np.float32(0))
    log.info("audio: %d columns reduced to %d by %s, fitted on %d utterances of train",
             before, values.shape[1], settings.reduce, len(fitted))  # fmt: skip
    if values.shape[1] < settings.dim:
        log.warning(
            "audio: fewer than the %d columns of params.yaml, because train has too few utterances", settings.dim
        )
    identity = {**features.identity, "reduction": [reduction.VERSION, settings.reduce, values.shape[1], before]}
    identity["sklearn"] = version("scikit-learn")
    return Features(values, features.present, identity, fitted_reduction.tensors)
