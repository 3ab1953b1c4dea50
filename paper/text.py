"""text@D of paper/dvc.yaml: the text features that the main pipeline did not make.

Where it takes the text encoder as published, those of the encoder fine-tuned on train; where it fine-tunes, those of
the published one. By the main pipeline's own code and from its work cache: an encoder that was once trained is found
again, and a run that was killed goes on where it was. With report.studies.text false there is nothing to do.

Writes paper/features/D/: text.safetensors and text.report.json, and of a fine-tuned encoder encoder/text/encoder.json,
its history, and encoder/text_guesses.csv, what it alone says of validation and test, unseen. Its weights stay in the
work cache.
"""

import argparse
import shutil
from pathlib import Path

from paper.features import FOLDER, other_text
from paper.params import changed, load_report
from pipeline.corpora.labels import labels
from pipeline.extract import as_features, by_key, extract, write, write_report
from pipeline.finetune_text import finetune
from pipeline.params import Params, TextOf
from pipeline.stage import StageError, log, parser, raw_folder, start
from pipeline.utterances import Utterance, read_index


def run(args: argparse.Namespace, params: Params) -> None:
    name, folder = args.corpus, FOLDER / args.corpus
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not load_report().studies.text:
        log.info("text: report.studies.text in paper/params.yaml is false: no other text features are made")
        return
    rows = read_index(Path("data") / name / "index.csv")
    if not any(row.text for row in rows):
        log.info("text: the index of %s has none; nothing to make", name)
        return
    other = changed(params, {f"text.{name}.finetune": not params.text[name].finetune})
    settings, encoder = other.text[name], folder / "encoder" / "text"
    if settings.finetune:
        finetune(rows, labels(name, [row.label for row in rows]), settings, other.recipe(name), encoder)
    write_text(rows, settings, encoder, raw_folder(name, params), other_text(name))
    for copy in encoder.glob("[0-9]*"):  # of weights that are in the work cache
        shutil.rmtree(copy)


def write_text(rows: list[Utterance], settings: TextOf, encoder: Path, raw: Path, file: Path) -> None:
    """Extract the text of all `rows`, with the encoder in the folder `encoder` if it is fine-tuned, to `file`."""
    from extractors.cache import CacheError
    from extractors.result import ExtractorError
    from extractors.text import TextExtractor

    try:
        extractor = TextExtractor(settings, raw, encoder)
        keys = [extractor.key(row) for row in rows]
        results, known = extract(extractor, by_key(keys, rows), "text")
    except (ExtractorError, CacheError) as error:
        raise StageError(str(error)) from None
    write(as_features(extractor, keys, results), file)
    write_report(results, rows, keys, file, known)


if __name__ == "__main__":
    start(run, parser(__doc__))
