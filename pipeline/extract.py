"""extract@D-M: one modality of every utterance to data/D/features/M.safetensors.

What was extracted before, from the same content by the same extractor, comes from the work cache; a killed run goes on
where it was. Why a modality is missing stands in data/D/features/M.report.json.
"""

import argparse
import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

from extractors.cache import CacheError, WorkCache, fingerprint
from extractors.features import Features, write_features
from extractors.media import ContentError
from extractors.result import Extractor, ExtractorError, Result
from pipeline.params import MODALITIES, AudioOf, Params
from pipeline.stage import StageError, cache_folder, log, parser, raw_folder, start
from pipeline.utterances import Utterance, read_index


def run(args: argparse.Namespace, params: Params) -> None:
    data = Path("data") / args.corpus
    rows = read_index(data / "index.csv")
    file = data / "features" / f"{args.modality}.safetensors"
    kind = {"text": "text", "audio": "audio", "visual": "video"}[args.modality]
    if not any(getattr(row, kind) for row in rows):
        log.info("%s: the index has none; nothing to extract", args.modality)
        write_features(Features(np.zeros((len(rows), 0)), np.zeros(len(rows), bool), {}), file)
        write_report({}, [], [], file)
        return
    try:
        extractor = make_extractor(args.modality, args.corpus, params)
        keys = [extractor.key(row) for row in rows]
        results = extract(extractor, by_key(keys, rows), args.modality)
    except (ExtractorError, CacheError, ContentError) as error:
        raise StageError(str(error)) from None
    features = as_features(extractor, keys, results)
    if args.modality == "audio":
        features = reduced(features, rows, params.audio[args.corpus])
    write_features(features, file)
    write_report(results, rows, keys, file)


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


def extract(extractor: Extractor, rows: dict[str, Utterance], modality: str) -> dict[str, Result]:
    """Results by key: from the work cache what is there, the rest extracted and kept as it comes."""
    cache = WorkCache(cache_folder())
    extractor.prepare(rows, cache)
    name = fingerprint(extractor.identity)
    results = {key: Result.from_bytes(value) for key, value in cache.get(name, rows).items()}
    log.info("%s: %d to extract, %d from the work cache", modality, len(rows) - len(results), len(results))
    with tqdm(total=len(rows), initial=len(results), desc=modality, unit="utterance", disable=None) as progress:
        for batch in extractor.extract(rows, set(results)):
            cache.put(name, {key: result.to_bytes() for key, result in batch.items()})
            results |= batch
            progress.update(len(batch))
    cache.close()
    return results


def as_features(extractor: Extractor, keys: list[str | None], results: dict[str, Result]) -> Features:
    """The matrix in index order."""
    values = np.zeros((len(keys), extractor.dim), np.float32)
    present = np.zeros(len(keys), bool)
    for place, key in enumerate(keys):
        vector = results[key].vector if key else None
        if vector is not None:
            values[place], present[place] = vector, True
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
    learnt = reduction.fit(features.values[fitted], labels, settings.reduce, settings.dim)
    values = np.where(features.present[:, None], learnt(features.values), np.float32(0))
    log.info("audio: %d columns reduced to %d by %s, fitted on %d utterances of train",
             before, values.shape[1], settings.reduce, len(fitted))  # fmt: skip
    if values.shape[1] < settings.dim:
        log.warning("audio: not the %d that params.yaml asks for, for train has no more utterances", settings.dim)
    identity = {**features.identity, "reduction": [reduction.VERSION, settings.reduce, values.shape[1], before]}
    identity["sklearn"] = version("scikit-learn")
    return Features(values, features.present, identity, learnt.tensors)


def write_report(results: dict[str, Result], rows: list[Utterance], keys: list[str | None], file: Path) -> None:
    """Say in the log and in M.report.json what was used and what is missing, and why."""
    missing: dict[str, list[str]] = {}
    used = 0
    for row, key in zip(rows, keys, strict=True):
        if key is None:
            reason = "cannot be used: see `problem` in the index" if row.problem else "empty"
            missing.setdefault(reason, []).append(row.utterance_id)
        elif results[key].vector is None:
            missing.setdefault(results[key].reason, []).append(row.utterance_id)
        else:
            used += results[key].used
    counts = Counter({reason: len(ids) for reason, ids in missing.items()})
    present = len(rows) - counts.total()
    content = {"utterances": len(rows), "present": present, "pieces": used, "missing": dict(sorted(missing.items()))}
    file.with_suffix(".report.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    log.info("%s: present in %d of %d utterances", file.stem, present, len(rows))
    for reason, count in counts.most_common():
        log.info("  %5d missing: %s", count, reason)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("modality", choices=MODALITIES)
    start(run, arguments)
