"""Make the reports in docs/reports: one for each corpus and kind of text features.

    python -m paper.reports meld_text --raw /corpora/MELD.Raw              # three reports: frozen, tuned, context
    python -m paper.reports meld_mini --raw /corpora/small --text context
    python -m paper.reports iemocap_text --raw published/iemocap.pkl --text context --as-it-is

For each it writes the settings of the set (paper/sets), makes index and features by `dvc repro`, trains what is not
trained yet (paper.ahead), and makes the tables by `dvc repro paper/dvc.yaml`. It copies the page, its pictures and the
numbers (comparison.csv, search.csv) to docs/reports/<set>_<text>, and writes the overview in docs/results.md
(paper.overview). A killed run goes on where it was. The settings of the last report stay in params.yaml and
paper/params.yaml: `git restore params.yaml paper/params.yaml dvc.lock` brings the committed ones back.

With --as-it-is, data/D and results/D/corpus.json are not made anew: another machine made them, for one kind of text. If
the text features say which encoders made them, these have to be of that kind.

With --search, the points of the search that FILE has are not trained: FILE is the search.csv of a report that was made
before, as those in docs/reports. Only the reported seeds at the chosen points are then left, fewer than half of the
trainings, and CMATH's studies. The page says how many scores were read and not trained for.

    python -m paper.reports meld_text --raw /corpora/MELD.Raw --text context \\
        --search docs/reports/meld_text_context/search.csv
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dvc.utils.serialize import loads_yaml

from extractors.features import FeaturesError, read_origin
from extractors.text.extractor import identity_of
from foundation.device import training_devices
from foundation.errors import UserError
from foundation.files import MOST_BYTES, read_file, whole_folder, write_whole
from foundation.log import log
from paper.given import read_given
from paper.model_table import RESULTS
from paper.overview import REPORTS, write_page
from paper.params import FILE as PARAMS
from paper.params import PaperParams, load_report
from paper.plan import found_of, planned_jobs
from paper.settings import Set, names, read_set, texts, write
from paper.trainings import Trainings
from paper.words import duration
from pipeline.params import MODALITIES, checked, load_params
from pipeline.stage import command

NUMBERS = ("comparison.csv", "search.csv")
"""Files of numbers that are copied beside the page."""
REMEDY = "`dvc repro paper/dvc.yaml` makes it anew"
TEXTS = {
    "frozen": "as published",
    "tuned": "fine-tuned on train, each utterance alone",
    "context": "fine-tuned on train, each utterance read with the turns before it",
}
"""Kinds of text features, in words."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What the trainings of a report took."""

    trainings: int
    """Number of trainings that the report has."""
    seconds: float
    """Time of all of them, one after the other, each with one thread or one GPU."""
    now: int
    """Number of those that were done now; the others were there."""
    clock: float
    """Seconds of the wall clock in which they were done."""

    def __str__(self) -> str:
        said = f"{self.trainings} trainings, {duration(self.seconds)} of one process in all"
        if not self.now:
            return f"{said}; all of them were there"
        several = len(training_devices())
        by = f"{several} processes" if several > 1 else "one process"
        return (f"{said}; {self.now} were done now, in {duration(self.clock)} by {by} "
                f"({60 * self.now / self.clock:.1f} a minute)")  # fmt: skip


def make(chosen: Set, raw: str, text: str, *, as_it_is: bool, search: Path | None = None) -> None:
    """Make one report, and copy it to docs/reports.

    Args:
        search: search.csv of a report; the points that it has are not trained.

    Raises:
        UserError: a step failed; it has said why.
    """
    name, (corpus,) = f"{chosen.name}_{text}", chosen.corpora
    log.info("%s: settings", name)
    more: dict[str, object] = {"datasets": ["demo"]} if as_it_is else {}  # so that DVC makes nothing of this corpus
    if search:  # read before anything is written, since it may be refused
        report = checked(loads_yaml(texts(chosen, raw, text, more)[1]), PaperParams, PARAMS).report
        more["report.search.given"] = {corpus: read_given(search, corpus, len(report.search.seeds))}
    write(chosen, raw, text, more)
    if as_it_is:
        _run(sys.executable, "-m", "pipeline.leakage", corpus)
        require_kind(corpus, text)
    else:
        _run("dvc", "repro", f"leakage@{corpus}", *(f"extract@{corpus}-{modality}" for modality in MODALITIES))
    before, begin = len(_trained(corpus)), time.monotonic()
    _run(sys.executable, "-m", "paper.ahead", corpus)
    clock, trained = time.monotonic() - begin, _trained(corpus)
    _run("dvc", "repro", "paper/dvc.yaml")
    spent = Spent(len(trained), sum(trained), len(trained) - before, clock)
    copy(RESULTS / corpus, REPORTS / name, _about(chosen, text, spent, searched=search is not None))
    write_page()
    log.info("%s: %s; the report is %s", name, spent, REPORTS / name / "README.md")


def require_kind(corpus: str, text: str) -> None:
    """Refuse text features, which other steps have read, if they say that they were not made as params.yaml has it.

    A file of another origin names no encoders; that is said, and the features are believed to be of the kind `text`.

    Raises:
        UserError: other encoders made them, or they read an utterance with other turns around it.
    """
    file = Path("data") / corpus / "features" / "text.safetensors"
    made, settings = dict[str, object](), load_params().text[corpus]
    with suppress(FeaturesError):  # it does not say what made it
        made = read_origin(file).identity
    if not isinstance(encoders := made.get("encoders"), list):
        log.warning("%s: does not say which encoders made it, and is taken for the features of --text %s", file, text)
        return
    # The published encoder is known by the checksum of its weights, from whatever folder they were read.
    published = identity_of(settings.model_copy(update={"finetune": False}), Path()).get("encoders")
    as_published = encoders == published if published else not settings.finetune
    around = settings.context.model_dump() if settings.context.reads_around else None
    read, wish = (f"with other turns ({one})" if one else "alone" for one in (made.get("context"), around))
    for differs, said in (
        (len(encoders) != settings.crossfit, f"are of {len(encoders)} encoder(s), and not of {settings.crossfit}"),
        (as_published == settings.finetune, f"are of {'the published' if as_published else 'a fine-tuned'} encoder"),
        (made.get("context") != around, f"are of utterances read {read}, and not {wish}"),
    ):
        if differs:
            raise UserError(f"{file}: these features {said}: they are not of --text {text}; name the kind that they "
                            "are, or leave --as-it-is out, and they are made anew")  # fmt: skip


def _trained(corpus: str) -> list[float]:
    """Seconds of each finished training of the report."""
    params, report = load_params(), load_report()
    trainings = Trainings(corpus, params)
    found = found_of(trainings, planned_jobs(trainings, params, report))
    return [(one.seconds or 0.0) * len(one.history) for one in found if one]


def _about(chosen: Set, text: str, spent: Spent, *, searched: bool) -> Iterator[str]:
    more = " --search …" if searched else ""
    yield f"{chosen.about} The text encoder is {TEXTS[text]}."
    yield f"`python -m paper.reports {chosen.name} --raw … --text {text}{more}` writes this page. It has {spent}."


def copy(results: Path, folder: Path, about: Iterator[str]) -> None:
    """Copy the page, its pictures and numbers, with the sentences `about` below the title; an older report is replaced.

    Raises:
        UserError: one of the files is missing; the older report is as it was.
    """
    page = read_file(results / "report.md", MOST_BYTES, REMEDY).decode("utf-8", "surrogateescape")
    title, _, rest = page.partition("\n")
    pictures = dict.fromkeys(re.findall(r"\]\((figures/[^)]+)\)", page))
    with whole_folder(folder) as half:
        write_whole(half / "README.md", "\n\n".join([title, *about]) + "\n" + rest)
        for name in (*NUMBERS, *pictures):
            if not (results / name).is_file():
                raise UserError(f"{results / name}: no such file; {REMEDY}")
            (half / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(results / name, half / name)


def _run(*words: str) -> None:
    log.info("$ %s", " ".join(words))
    if subprocess.run(words).returncode:
        raise UserError(f"`{' '.join(words)}` failed; what it finished is kept, and the same command goes on")


def main() -> None:
    try:
        sets = {name: read_set(name) for name in names()}
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    reports = [name for name, one in sets.items() if one.text]
    arguments = argparse.ArgumentParser("python -m paper.reports", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    arguments.add_argument("name", choices=reports, help=f"a set of paper/sets: {', '.join(reports)}", metavar="set")
    arguments.add_argument("--raw", required=True, help="folder or file of the corpus")
    arguments.add_argument("--text", nargs="+", choices=TEXTS, help="kinds of text (all that the set has)")
    arguments.add_argument("--search", type=Path, metavar="FILE",
                           help="search.csv of a report: the points that it has are not trained")  # fmt: skip
    arguments.add_argument("--as-it-is", action="store_true", help="take index and features in data/D as they are")
    args = arguments.parse_args()
    kinds = sets[args.name].text
    chosen = args.text or list(kinds)
    if lacking := [text for text in chosen if text not in kinds]:
        arguments.error(f"{args.name} has no --text {lacking[0]}; it has {', '.join(kinds)}")
    if args.as_it_is and len(chosen) > 1:
        arguments.error("--as-it-is needs one --text: data/D has features of one kind")
    if args.search and len(chosen) > 1:
        arguments.error("--search needs one --text: a search is on features of one kind")

    def work() -> None:
        for text in chosen:
            make(sets[args.name], args.raw, text, as_it_is=args.as_it_is, search=args.search)

    command(work)


if __name__ == "__main__":
    main()
