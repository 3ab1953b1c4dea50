"""List and prune the work cache.

    python -m pipeline.cache                      list all entries, and which corpora can use them
    python -m pipeline.cache --prune --dry-run    list the entries that no current parameters can use
    python -m pipeline.cache --prune              delete these after asking (--yes: without asking)

The current parameters are those in params.yaml, for all corpora, and in each file given by --params. To keep the
results of an experiment, give its parameters (`git show EXPERIMENT:params.yaml > experiment.yaml`). Entries of other
versions of a library, of the code or of weights cannot be used any more. Entries of another device or processor are
kept, because another machine may share the cache. Deleted entries can be computed again, which takes time.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from extractors.cache import LOGS, OPEN, CachedMaker, WorkCache
from foundation.errors import UserError
from foundation.folders import cache_folder
from foundation.trainings import FOLDER, about, folder_of
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.corpora.settings import FeaturesSettings
from pipeline.params import MODALITIES, Params, load_params, read_yaml
from pipeline.stage import raw_folder, start

OF_A_MACHINE = ("device", "processor", "precision")
"""Identity fields that may differ on other machines that share the cache."""
IN_USE_SECONDS = 3600.0
"""Files that were changed within this many seconds may belong to a running process."""
SHOWN = 12
"""Number of characters shown of a checksum."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """An entry of the listing, which is deleted or kept as a whole."""

    what: str
    number: int
    bytes_: int
    users: list[str]
    """Corpora whose current parameters can use it, or another reason to keep it."""
    name: str | Path
    """Fingerprint of the maker, or path of the file or folder."""


def run(args: argparse.Namespace, params: Params) -> None:
    sets = [params, *(load_params(file) for file in args.params)]
    sets += [with_other_text(one) for one in sets]
    folder = cache_folder()
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


def with_other_text(params: Params) -> Params:
    """Parameters with `finetune` inverted for the corpora for which paper/dvc.yaml made these text features too."""
    text = {
        corpus: params.text[corpus].model_copy(update={"finetune": not params.text[corpus].finetune})
        for corpus in params.index
        if (Path("paper/features") / corpus / "text.safetensors").is_file()
    }
    return params.model_copy(update={"text": {**params.text, **text}})


def results(contents: list[CachedMaker], sets: list[Params]) -> list[CacheEntry]:
    """One line per maker of results."""
    wanted = [
        (corpus, identity) for params in sets for corpus in params.index for identity in identities(corpus, params)
    ]
    lines = []
    for made in contents:
        users = [corpus for corpus, identity in wanted if fits(made.identity, identity)]
        alike = [other.identity for other in contents if kind(other.identity) == kind(made.identity)]
        what = f"{kind(made.identity)} {described(made.identity, alike)}".strip()
        lines.append(CacheEntry(what, made.entries, made.bytes_, list(dict.fromkeys(users)), made.fingerprint))
    return lines


def identities(corpus: str, params: Params) -> Iterator[dict]:
    """Identities that the extractors of `corpus` have with `params`, without what depends on data and machine."""
    from extractors.audio import reduction
    from extractors.published.extractor import VectorExtractor
    from extractors.registry import make
    from extractors.result import ExtractorError
    from extractors.text.extractor import identity_of
    from pipeline.corpora.media_files import memory_identity

    yield memory_identity()
    raw, index = raw_folder(corpus, params), params.index[corpus]
    if isinstance(index, FeaturesSettings):
        for modality in MODALITIES:
            yield VectorExtractor(modality, raw, index.folders, params.text[corpus].layers).identity
    if params.audio[corpus].reduce != "none":
        yield reduction.identity(params.audio[corpus])
    yield identity_of(params.text[corpus], Path("data") / corpus / "encoder" / "text")
    for modality, settings in (("audio", params.audio[corpus]), ("visual", params.visual[corpus])):
        try:
            made = make(modality, settings, raw, fetch=False)
        except ExtractorError as error:
            raise UserError(f"which {modality} results are of use cannot be told: {error}") from None
        if hasattr(made, "faces_identity"):
            yield made.faces_identity
        yield made.identity


def fits(identity: dict, wanted: dict) -> bool:
    """Whether results with `identity` can be used for the identity `wanted`."""
    asked = {key: value for key, value in wanted.items() if key not in OF_A_MACHINE}
    return kind(identity) == kind(wanted) and {key: identity.get(key) for key in asked} == asked


def kind(identity: dict) -> str:
    if not identity:
        return "unknown: from before identities were kept"
    what = identity.get("modality") or identity.get("what") or ("faces" if "faces" in identity else "other")
    # Inspections of clips had the name `probe` before there was a probe for seen labels; another would redo them all.
    return "inspection of clips" if what == "probe" else str(what)


def described(identity: dict, alike: list[dict]) -> str:
    """Fields in which `identity` differs from those `alike`; all fields if it is the only one."""
    told = []
    for key, value in sorted(identity.items()):
        if key not in ("modality", "what") and (len(alike) == 1 or any(other.get(key) != value for other in alike)):
            shown = [str(part)[:SHOWN] for part in value] if isinstance(value, list) else [str(value)[:SHOWN]]
            told.append(f"{key}={','.join(shown)}")
    return " ".join(told)


def left_behind(folder: Path, sets: list[Params]) -> Iterator[CacheEntry]:
    """Lines for finished and unfinished trainings, for logs of killed shards, and for models unpacked from zips."""
    from pipeline.bundle.archive import UNPACKED

    trainings = sorted((folder / FOLDER).glob("*"))
    indexed = [(params, corpus) for params in sets for corpus in params.index if trainings and _index(corpus).is_file()]
    current = {name for params, corpus in indexed for name in fine_tunings(corpus, params)}
    current |= {name for params, corpus in indexed for name in current_training(corpus, params)}
    reported = corpora_of_the_report()
    trains_faces = any(params.face.datasets for params in sets)
    for path in trainings:
        known = about(path)
        what = known.get("what") or f"{known.get('model', 'a model')} on {known.get('corpus', 'a corpus')}"
        stays = path.name in current or known.get("corpus") in reported or (what == "face encoder" and trains_faces)
        yield _line(f"training of {what}", path, stays)
    for path in sorted((folder / LOGS).glob(f"*{OPEN}")):
        yield _line("log of a shard that was killed, taken in", path, False)
    for path in sorted((folder / UNPACKED).glob("*")):
        yield _line("model unpacked from a zip", path, False)


def _index(corpus: str) -> Path:
    return Path("data") / corpus / "index.csv"


def current_training(corpus: str, params: Params) -> Iterator[str]:
    """Name of the training that train@D would do now; nothing if its features cannot be used."""
    from model.identity import digest
    from pipeline.training.loading import load_corpus
    from pipeline.training.store import model_config, training_folder

    rows = read_index(_index(corpus))
    order = labels(params.index[corpus].reader, [row.label for row in rows])
    try:
        data, _ = load_corpus(corpus, rows, order, list(params.model.modalities))
    except UserError:
        return
    config = model_config(params, corpus, data, order)
    yield training_folder(digest(data), params.model.name, config, params.train[corpus]).name


def corpora_of_the_report() -> list[str]:
    """Corpora in paper/params.yaml; their trainings are kept, whatever the parameters."""
    file = Path("paper/params.yaml")
    content = read_yaml(file) if file.is_file() else None
    report = content.get("report") if isinstance(content, dict) else None
    return list(report.get("corpora", [])) if isinstance(report, dict) else []


def fine_tunings(corpus: str, params: Params) -> list[str]:
    """Names of the fine-tuned encoders of `corpus` in the work cache."""
    settings = params.text[corpus]
    if not settings.finetune:
        return []
    from extractors.result import ExtractorError
    from extractors.text.folders import encoder_folder
    from extractors.training import text_training
    from foundation.device import device
    from pipeline.training.fine_tuning import folds_of, parts_of, training_data

    rows, recipe = read_index(_index(corpus)), params.recipe(corpus)
    order = labels(params.index[corpus].reader, [row.label for row in rows])
    train, validation, _ = parts_of(rows)
    folds = folds_of(train, settings.crossfit, recipe.seed)
    try:
        published = encoder_folder(settings.model, fetch=False)
    except ExtractorError as error:
        raise UserError(f"which fine-tuned encoders are of use cannot be told: {error}") from None
    return [
        folder_of(
            text_training.identity(
                published,
                settings,
                recipe,
                *training_data(train, validation, order, folds, number, settings.context),
                len(order),
                device(),
            )
        ).name
        for number in range(settings.crossfit)
    ]


def _line(what: str, path: Path, current: bool) -> CacheEntry:
    files = [file for file in (path, *path.rglob("*")) if file.is_file()]
    newest = max((file.stat().st_mtime for file in files), default=0.0)
    users = ["current"] if current else ["in use"] if time.time() - newest < IN_USE_SECONDS else []
    return CacheEntry(
        f"{what} {path.name[:SHOWN]}", len(files), sum(file.stat().st_size for file in files), users, path
    )


def table(lines: Iterable[CacheEntry]) -> Iterator[str]:
    rows = [("entries", "MB", "used by", "what")]
    rows += [(f"{line.number:,}", megabytes(line.bytes_), ", ".join(line.users) or "-", line.what) for line in lines]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    for entries, size, users, what in rows if len(rows) > 1 else ():
        yield f"{entries:>{widths[0]}}  {size:>{widths[1]}}  {users:<{widths[2]}}  {what}"


def megabytes(number: int) -> str:
    return f"{number / 1e6:,.1f}"


def ask() -> None:
    """Raise UserError unless the user agrees."""
    if not sys.stdin.isatty():
        raise UserError("nothing is deleted without a terminal to ask at: say --yes, or --dry-run to look only")
    if input("Delete these? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError("nothing was deleted")


def prune(cache: WorkCache, lines: list[CacheEntry]) -> None:
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
