"""What test knows of train: words, speakers and episodes that both have, and the scores with and without them.

    python -m paper.overlap meld
    python -m paper.overlap meld --run results/meld /another/checkout/results/meld

A model that has seen the very words of a test utterance, its speaker or its episode with a label may remember instead
of understand. This command counts such utterances, and scores them and the others apart, on predictions that are kept:
those of `evaluate` (results/D) and of the report's trainings (paper/runs/D). Nothing is trained or predicted.

- **Words**: the text stands in train, after Unicode's NFKC, without case, punctuation and apostrophes, and with single
  spaces. So "What's up?!" is "whats up".
- **Speaker**: a person of that name speaks in train. IEMOCAP's are told by session and role. Published files whose
  speakers are numbers inside a dialogue do not tell persons apart.
- **Episode**: of a series, or a session of recordings, where the index knows it.

What cannot be told of a corpus is left empty, with the reason; an utterance of which it cannot be told is in neither
group. A line without words counts as other words. The report has the same table.
"""

import argparse
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.f1 import weighted_f1_of
from paper.names import NAMES
from paper.words import markdown_table
from pipeline.corpora.index_file import read_index
from pipeline.params import load_params
from pipeline.scoring.comparison import load
from pipeline.stage import command

APOSTROPHES = str.maketrans("", "", "'’‘`´ʼ′")
LONG = 4
"""Number of words from which on a line is hardly said twice by chance."""
NOTHING = "-"
"""Score of a group without an utterance."""
ROLES = ("F", "M")
"""Names by which IEMOCAP's speakers are told in a session."""


def spoken(text: str) -> str:
    """The words of a text, as the module's docstring says; empty if it has none."""
    # NFKC makes two characters of ´, so that goes before; and it makes plain apostrophes of others, which go after it.
    plain = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).translate(APOSTROPHES).casefold()
    return " ".join(re.findall(r"\w+", plain))


def person(row: Utterance) -> str:
    """Name of the speaker that is the same in the whole corpus; empty if the index does not tell it."""
    if row.speaker_name in ROLES:
        return f"{row.episode}{row.speaker_name}" if row.episode else ""
    return "" if row.speaker_name.isdecimal() else row.speaker_name


@dataclass(frozen=True, slots=True)
class Trait:
    """Something that a test utterance may share with train."""

    shared: str
    """Head of the column of the utterances that share it."""
    others: str
    of: Callable[[Utterance], str]
    """The trait of an utterance; empty where it is not known."""
    unknown: str
    """Why it may be unknown."""
    none_is_other: bool = False
    """Whether an utterance that has none of it is surely another one, and not one of which it cannot be told."""


TRAITS = (
    Trait("words in train", "other words", lambda row: spoken(row.text), "the index has no text", none_is_other=True),
    Trait("speaker of train", "other speaker", person,
          "the index tells the speakers only by their place in the dialogue"),
    Trait("episode of train", "other episode", lambda row: row.episode, "the index does not tell it"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Overlap:
    """Utterances of test with a label, and which of them share what with train."""

    tested: list[Utterance]
    train: list[Utterance]
    majority: str
    """Most frequent label of train."""

    @staticmethod
    def of(rows: list[Utterance]) -> "Overlap":
        """Overlap of an index.

        Raises:
            UserError: train or test has no label.
        """
        tested = [row for row in rows if row.split == "test" and row.label]
        train = [row for row in rows if row.split == "train"]
        counts = Counter(row.label for row in train if row.label)
        if not tested or not counts:
            raise UserError("train or test of this corpus has no utterance with a label: there is nothing to compare")
        return Overlap(tested, train, counts.most_common(1)[0][0])

    def shares(self, trait: Trait) -> np.ndarray | None:
        """Whether each test utterance shares a trait with train, bool [utterances]; None if it cannot be told."""
        known = {trait.of(row) for row in self.train} - {""}
        if not known or not any(trait.of(row) for row in self.tested):
            return None
        return np.array([trait.of(row) in known for row in self.tested])

    def groups(self) -> dict[str, np.ndarray | None]:
        """Members of each group of test utterances, bool [utterances], by head; None if it cannot be told."""
        found: dict[str, np.ndarray | None] = {"all": np.ones(len(self.tested), bool)}
        for trait in TRAITS:
            shared = self.shares(trait)
            told = np.array([trait.none_is_other or trait.of(row) != "" for row in self.tested])
            found[trait.shared], found[trait.others] = shared, None if shared is None else ~shared & told
        return found


def predictions(overlap: Overlap, run: Path) -> list[np.ndarray]:
    """What each seed of a run says of the overlap's test utterances, as words [utterances].

    Raises:
        UserError: the run has predictions of other utterances than the index.
    """
    said = load(str(run), None)
    places = {name: place for place, name in enumerate(said.utterances)}
    if {row.utterance_id: row.label for row in overlap.tested} != dict(zip(said.utterances, said.labels, strict=True)):
        raise UserError(f"{run}: has predictions of other utterances or labels than the index; make them anew")
    order = [places[row.utterance_id] for row in overlap.tested]
    return [np.array(part)[order] for part in said.by_seed.values()]


def score(labels: np.ndarray, by_seed: list[np.ndarray]) -> str:
    """Mean and standard deviation over the seeds of the weighted F1 of some utterances; all are words [utterances]."""
    if not len(labels):
        return NOTHING
    names, label = np.unique(labels, return_inverse=True)
    # What is no label of these utterances is wrong, whatever it is.
    values = [weighted_f1_of(label, np.where(np.isin(said, names), np.searchsorted(names, said), len(names)))
              for said in by_seed]  # fmt: skip
    deviation = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{deviation}"


def table(overlap: Overlap, runs: Mapping[str, Path]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: utterances, majority class, and each run, by group of test utterances.

    Args:
        runs: folders with predictions.csv, by the name to print.
    """
    groups, labels = overlap.groups(), np.array([row.label for row in overlap.tested])
    said = {"majority-class baseline": [np.full(len(labels), overlap.majority)]}
    said |= {name: predictions(overlap, run) for name, run in runs.items()}
    rows = [["utterances of test"], ["share of test, %"], *([name] for name in said)]
    for member in groups.values():
        cells = [""] * len(rows)  # it cannot be told
        if member is not None:
            scores = (score(labels[member], [one[member] for one in by_seed]) for by_seed in said.values())
            cells = [str(member.sum()), f"{100 * member.mean():.1f}", *scores]
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
    return ["weighted F1, %", *groups], rows


def sentences(overlap: Overlap) -> list[str]:
    """What the table's groups are, how much of test is in train, and what cannot be told, and why."""
    found = ["A group is scored by itself: its weighted F1 has the weights of its own labels. Words are compared "
             "without case, punctuation and apostrophes. *majority*: always the most frequent class of train."
             ]  # fmt: skip
    for trait in TRAITS:
        shared = overlap.shares(trait)
        if shared is None:
            found.append(f"{trait.shared.capitalize()}: cannot be told, because {trait.unknown}.")
    words = overlap.shares(TRAITS[0])
    if words is not None:
        long = sum(len(spoken(row.text).split()) >= LONG for row, inside in zip(overlap.tested, words, strict=True)
                   if inside)  # fmt: skip
        found.append(f"{words.sum()} of test's {len(words)} utterances stand in train word for word, {long} of these "
                     f"with {LONG} words or more.")  # fmt: skip
    for trait, what in ((TRAITS[1], "speakers"), (TRAITS[2], "episodes or sessions")):
        there = {trait.of(row) for row in overlap.tested} - {""}
        both = there & {trait.of(row) for row in overlap.train}
        if overlap.shares(trait) is not None:
            found.append(f"{len(both)} of test's {len(there)} {what} are also in train.")
    shared = overlap.shares(TRAITS[2])
    if shared is not None:
        every = {row.dialogue_id for row in overlap.tested}
        inside = {row.dialogue_id for row, known in zip(overlap.tested, shared, strict=True) if known}
        found.append(f"{len(inside)} of test's {len(every)} dialogues are of these.")
    return found


def runs_of(corpus: str) -> dict[str, Path]:
    """Runs of a corpus whose predictions are kept, by the name to print."""
    main = Path("results") / corpus
    found = {"the main pipeline's model": main} if (main / "predictions.csv").is_file() else {}
    folders = {model: Path("paper/runs") / corpus / model for model in NAMES}
    return found | {NAMES[model]: one for model, one in folders.items() if (one / "predictions.csv").is_file()}


def run(corpus: str, named: list[str]) -> list[str]:
    """Lines of the table, as Markdown.

    Raises:
        UserError: the corpus has no index or no predictions.
    """
    params = load_params()
    if corpus not in params.index:
        raise UserError(f"{corpus}: is no corpus; `index` of params.yaml has {', '.join(params.index)}")
    overlap = Overlap.of(read_index(Path("data") / corpus / "index.csv"))
    runs = {name: Path(name) for name in named} or runs_of(corpus)
    return [*markdown_table(*table(overlap, runs)), "", *sentences(overlap)]


def main() -> None:
    arguments = argparse.ArgumentParser("python -m paper.overlap", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    arguments.add_argument("corpus", help="a corpus of params.yaml whose index is there")
    arguments.add_argument("--run", nargs="+", default=[], metavar="FOLDER",
                           help="folders with predictions.csv (results/D, and those of paper/runs/D)")  # fmt: skip
    args = arguments.parse_args()
    command(lambda: print("\n".join(run(args.corpus, args.run))))


if __name__ == "__main__":
    main()
