"""extract@D-M: extracts one modality of every utterance to data/D/features/M.safetensors.

Earlier results of the same content and the same extractor come from the work cache, so an interrupted run can be
resumed. data/D/features/M.report.json has the number of utterances with features, and why others lack the modality.

With --shard I/N, only the I-th of N shares is extracted to the work cache, whose folder (CMATH_CACHE) any number of
machines may share. Afterwards the same command without --shard writes the feature file. See docs/extraction.md.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from extractors.extraction import KIND, as_features, by_key, extract, fill_share, reduced
from extractors.features import Features, write_features
from extractors.registry import make
from extractors.report import write_report
from extractors.result import Extractor
from foundation.log import log
from foundation.spread import ENGINES
from pipeline.corpora.index_file import read_index
from pipeline.corpora.settings import FeaturesSettings
from pipeline.params import MODALITIES, Params
from pipeline.stage import parser, raw_folder, start

WHOLE = (1, 1)
"""Value of --shard for a run of all utterances."""


def run(args: argparse.Namespace, params: Params) -> None:
    if args.engine:
        os.environ["CMATH_ENGINE"] = args.engine
    data = Path("data") / args.corpus
    rows = read_index(data / "index.csv")
    file = data / "features" / f"{args.modality}.safetensors"
    spoken = args.modality == "text" and not any(row.text_file for row in rows)
    published = params.index[args.corpus].reader == "features" and not spoken
    column = "text_file" if published and args.modality == "text" else KIND[args.modality]
    if not any(getattr(row, column) for row in rows):
        log.info("%s: no utterance of the index has it, so nothing is extracted", args.modality)
        if args.shard == WHOLE:
            write_features(Features(np.zeros((len(rows), 0)), np.zeros(len(rows), bool), {}), file)
            write_report({}, [], [], file, set())
        return
    extractor = make_extractor(args.modality, args.corpus, params, published)
    keys = extractor.keys(rows)
    if args.shard != WHOLE:
        fill_share(extractor, by_key(keys, rows), args.modality, *args.shard)
        return
    results, known = extract(extractor, by_key(keys, rows), args.modality)
    features = as_features(extractor, keys, results)
    if args.modality == "audio":
        features = reduced(features, rows, params.audio[args.corpus])
    write_features(features, file)
    write_report(results, rows, keys, file, known)


def make_extractor(modality: str, corpus: str, params: Params, published: bool) -> Extractor:
    """Make the extractor of `modality` with the parameters of `corpus`; only its own libraries are imported.

    Args:
        published: whether the vectors are taken from a published feature file.
    """
    raw, index = raw_folder(corpus, params), params.index[corpus]
    if published and isinstance(index, FeaturesSettings):
        from extractors.published.extractor import VectorExtractor

        return VectorExtractor(modality, raw, index.folders, params.text[corpus].layers)
    if modality == "text":
        from extractors.text.extractor import TextExtractor

        return TextExtractor(params.text[corpus], raw, Path("data") / corpus / "encoder" / "text")
    settings = params.audio[corpus] if modality == "audio" else params.visual[corpus]
    made: Extractor = make(modality, settings, raw)
    return made


def arguments() -> argparse.ArgumentParser:
    result = parser(__doc__)
    result.add_argument("modality", choices=MODALITIES)
    result.add_argument("--shard", type=share, default=WHOLE, metavar="I/N", help="only share I of N, from 1 to N")
    result.add_argument("--engine", choices=ENGINES,
                        help="who decodes: processes of this machine (the default), or those of a Ray cluster; also "
                        "CMATH_ENGINE, which `dvc repro` passes on")  # fmt: skip
    return result


def share(value: str) -> tuple[int, int]:
    """Parse --shard I/N as (I, N); raises ValueError unless 1 <= I <= N."""
    number, of = (int(part) for part in value.split("/"))
    if not 1 <= number <= of:
        raise ValueError
    return number, of


if __name__ == "__main__":
    start(run, arguments())
