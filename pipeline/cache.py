"""The work cache: how much of what is in it, and what can go.

    python -m pipeline.cache                      list what there is, and who can use it
    python -m pipeline.cache --prune --dry-run    list what no current parameters can use
    python -m pipeline.cache --prune              delete it, after a question (--yes: without)

Current are the parameters of params.yaml, for all corpora, and of each file that --params names: keep those of an
experiment whose results should stay (`git show EXPERIMENT:params.yaml > experiment.yaml`). Results of other versions of
a library, of the code or of weights are of no use; those of another device or processor stay, for another machine may
share the cache. What is deleted can be made again, at the price of its making.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from extractors.cache import LOGS, OPEN, CacheError, Made, WorkCache
from pipeline.corpora.labels import labels
from pipeline.params import CORPORA, Params, load_params, read_yaml
from pipeline.stage import StageError, cache_folder, raw_folder, start
from pipeline.utterances import read_index

TRAININGS = "trainings"
"""Folder of the finished trainings and their checkpoints: see pipeline/trainings.py."""
OF_A_MACHINE = ("device", "processor")
"""What of an identity another machine that shares the cache may have otherwise."""
IN_USE_SECONDS = 3600.0
"""A checkpoint or log that was written to within this time may belong to a running process."""
SHOWN = 12
"""Characters of a checksum."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that can go or stay as a whole."""

    what: str
    number: int
    bytes_: int
    users: list[str]
    """Corpora whose current parameters can use it; or why it stays otherwise."""
    name: str | Path
    """Fingerprint, or file or folder."""


def run(args: argparse.Namespace, params: Params) -> None:
    sets = [params, *(load_params(file) for file in args.params)]
    sets += [with_other_text(one) for one in sets]
    folder = cache_folder()
    try:
        cache = WorkCache(folder)
        lines = [*results(cache.contents(), sets), *left_behind(folder, sets)]
        lines_to_go = [line for line in lines if not line.users]
        for text in table(lines_to_go if args.prune else lines):
            print(text)
        total, going = (sum(line.bytes_ for line in part) for part in (lines, lines_to_go))
        print(f"{folder}: {megabytes(total)} MB, of which no current parameters can use {megabytes(going)} MB")
        if args.prune and not args.dry_run and lines_to_go:
            if not args.yes:
                ask()
            prune(cache, lines_to_go)
        cache.close()
    except CacheError as error:
        raise StageError(str(error)) from None


def with_other_text(params: Params) -> Params:
    """The parameters with text encoders fine-tuned where they are not, and the reverse: what paper/dvc.yaml compares
    with them, of the corpora for which it did so."""
    text = {
        corpus: params.text[corpus].model_copy(update={"finetune": not params.text[corpus].finetune})
        for corpus in CORPORA
        if (Path("paper/features") / corpus / "text.safetensors").is_file()
    }
    return params.model_copy(update={"text": params.text.model_copy(update=text)})


def results(contents: list[Made], sets: list[Params]) -> list[Line]:
    """A line a maker of results."""
    wanted = [(corpus, identity) for params in sets for corpus in CORPORA for identity in identities(corpus, params)]
    lines = []
    for made in contents:
        users = [corpus for corpus, identity in wanted if fits(made.identity, identity)]
        alike = [other.identity for other in contents if kind(other.identity) == kind(made.identity)]
        lines.append(Line(f"{kind(made.identity)} {described(made.identity, alike)}".strip(), made.entries, made.bytes_,
                          list(dict.fromkeys(users)), made.fingerprint))  # fmt: skip
    return lines


def identities(corpus: str, params: Params) -> Iterator[dict]:
    """What extractors with `params` of `corpus` would be, as far as it does not depend on data and machine."""
    from extractors import reduction
    from extractors.audio import AudioExtractor
    from extractors.result import ExtractorError
    from extractors.text import identity_of
    from extractors.visual import VisualExtractor
    from pipeline.index import memory_identity

    yield memory_identity()
    raw = raw_folder(corpus, params)
    audio = params.audio[corpus]
    yield AudioExtractor(audio, raw).identity
    if audio.reduce != "none":
        yield reduction.identity(audio)
    yield identity_of(params.text[corpus], Path("data") / corpus / "encoder" / "text")
    try:
        visual = VisualExtractor(params.visual[corpus], raw)
        yield visual.faces_identity
        yield visual.identity
    except ExtractorError as error:
        raise StageError(f"which visual results are of use cannot be told: {error}") from None


def fits(identity: dict, wanted: dict) -> bool:
    """Whether results of `identity` are those that `wanted` asks for."""
    asked = {key: value for key, value in wanted.items() if key not in OF_A_MACHINE}
    return kind(identity) == kind(wanted) and {key: identity.get(key) for key in asked} == asked


def kind(identity: dict) -> str:
    if not identity:
        return "unknown: from before identities were kept"
    return str(identity.get("modality") or identity.get("what") or ("faces" if "faces" in identity else "other"))


def described(identity: dict, alike: list[dict]) -> str:
    """What tells `identity` from those `alike`; all of it, if it is the only one."""
    told = []
    for key, value in sorted(identity.items()):
        if key not in ("modality", "what") and (len(alike) == 1 or any(other.get(key) != value for other in alike)):
            shown = [str(part)[:SHOWN] for part in value] if isinstance(value, list) else [str(value)[:SHOWN]]
            told.append(f"{key}={','.join(shown)}")
    return " ".join(told)


def left_behind(folder: Path, sets: list[Params]) -> Iterator[Line]:
    """Fine-tuned encoders, checkpoints of trainings that did not end, and logs of shards that were killed."""
    indexed = [(params, corpus) for params in sets for corpus in CORPORA if _index(corpus).is_file()]
    encoders, trainings = sorted((folder / "finetune_text").glob("*")), sorted((folder / TRAININGS).glob("*"))
    current = {name for params, corpus in indexed if encoders for name in fine_tunings(corpus, params)}
    current |= {name for params, corpus in indexed if trainings for name in current_training(corpus, params)}
    reported = corpora_of_the_report()
    trains_faces = any(params.face.datasets for params in sets)
    for path in encoders:
        yield _line("fine-tuned text encoder", path, path.name in current)
    for path in trainings:
        about = json.loads((path / "about.json").read_text("utf-8")) if (path / "about.json").is_file() else {}
        what = f"trainings of {about.get('model', 'a model')} on {about.get('corpus', 'a corpus')}"
        yield _line(what, path, path.name in current or about.get("corpus") in reported)
    for path in sorted((folder / "face").glob("*")):
        yield _line("checkpoint of the face encoder", path, trains_faces)
    for path in sorted((folder / LOGS).glob(f"*{OPEN}")):
        yield _line("log of a shard that was killed, taken in", path, False)


def _index(corpus: str) -> Path:
    return Path("data") / corpus / "index.csv"


def current_training(corpus: str, params: Params) -> Iterator[str]:
    """The name of what train@D would train now; none where its features cannot be used."""
    from extractors.features import FeaturesError
    from model.identity import digest
    from pipeline.loading import load_corpus
    from pipeline.trainings import model_config, training_folder

    rows = read_index(_index(corpus))
    try:
        data, _ = load_corpus(corpus, rows, list(params.model.modalities))
    except (FeaturesError, StageError):
        return
    config = model_config(params, corpus, data, labels(corpus, [row.label for row in rows]))
    yield training_folder(digest(data), params.model.name, config, params.train[corpus]).name


def corpora_of_the_report() -> list[str]:
    """Corpora whose trainings stay, whatever their parameters: paper/params.yaml wants tables of them."""
    file = Path("paper/params.yaml")
    content = read_yaml(file) if file.is_file() else None
    report = content.get("report") if isinstance(content, dict) else None
    return list(report.get("corpora", [])) if isinstance(report, dict) else []


def fine_tunings(corpus: str, params: Params) -> list[str]:
    """Names that finetune_text gives the encoders of `corpus` in the work cache."""
    settings = params.text[corpus]
    if not settings.finetune:
        return []
    from extractors import text_training
    from extractors.device import device
    from extractors.encoder_folders import encoder_folder
    from extractors.result import ExtractorError
    from pipeline.finetune_text import folds_of, lesson, parts_of

    rows, recipe = read_index(_index(corpus)), params.recipe(corpus)
    order, (train, validation, _) = labels(corpus, [row.label for row in rows]), parts_of(rows)
    folds = folds_of(train, settings.crossfit, recipe.seed)
    try:
        published = encoder_folder(settings.model, fetch=False)
    except ExtractorError as error:
        raise StageError(f"which fine-tuned encoders are of use cannot be told: {error}") from None
    return [
        text_training.identity(
            published, settings, recipe, *lesson(train, validation, order, folds, number), len(order), device()
        )
        for number in range(settings.crossfit)
    ]


def _line(what: str, path: Path, current: bool) -> Line:
    files = [file for file in (path, *path.rglob("*")) if file.is_file()]
    newest = max((file.stat().st_mtime for file in files), default=0.0)
    users = ["current"] if current else ["in use"] if time.time() - newest < IN_USE_SECONDS else []
    return Line(f"{what} {path.name[:SHOWN]}", len(files), sum(file.stat().st_size for file in files), users, path)


def table(lines: Iterable[Line]) -> Iterator[str]:
    rows = [("entries", "MB", "used by", "what")]
    rows += [(f"{line.number:,}", megabytes(line.bytes_), ", ".join(line.users) or "-", line.what) for line in lines]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    for entries, size, users, what in rows if len(rows) > 1 else ():
        yield f"{entries:>{widths[0]}}  {size:>{widths[1]}}  {users:<{widths[2]}}  {what}"


def megabytes(number: int) -> str:
    return f"{number / 1e6:,.1f}"


def ask() -> None:
    """Raise StageError unless the user agrees."""
    if not sys.stdin.isatty():
        raise StageError("nothing is deleted without a terminal to ask at: say --yes, or --dry-run to look only")
    if input("Delete these? [y/N] ").strip().lower() not in ("y", "yes"):
        raise StageError("nothing was deleted")


def prune(cache: WorkCache, lines: list[Line]) -> None:
    for line in lines:
        if isinstance(line.name, Path):
            shutil.rmtree(line.name) if line.name.is_dir() else line.name.unlink(missing_ok=True)
    cache.remove([line.name for line in lines if isinstance(line.name, str)])
    print(f"deleted: {megabytes(sum(line.bytes_ for line in lines))} MB")


def arguments() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m pipeline.cache", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--prune", action="store_true", help="delete what no current parameters can use")
    result.add_argument("--dry-run", action="store_true", help="with --prune: only say what would be deleted")
    result.add_argument("--yes", action="store_true", help="with --prune: do not ask")
    result.add_argument("--params", type=Path, action="append", default=[], metavar="FILE",
                        help="parameters that count as current too; may be given more than once")  # fmt: skip
    return result


if __name__ == "__main__":
    start(run, arguments())
