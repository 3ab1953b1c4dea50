"""The paper's claims, one by one, beside our results: what holds, what does not, and what cannot be told.

    python -m paper.claims meld                         # right after its report
    python -m paper.claims meld_mini=meld
    python -m paper.claims                              # only writes the page anew

Takes the runs and studies of each corpus (paper/runs/D, paper/studies/D), as far as they are there, and trains
nothing. `D=P` says that D is a copy of the paper's corpus P; without `=P`, `report.published` of paper/params.yaml says
it, or else D's own name. Every claim says that A is better than B, so each becomes a difference A - B of weighted F1 on
test, with an interval that counts both kinds of chance: `interval` in paper/significance.py.

- **holds**: the whole interval is above zero.
- **does not**: the whole interval is below zero, so B is better.
- **cannot be told**: the interval has zero in it, or there is only one seed.

Where the paper claims that something is the best, it is held against the best of the others on test, which is the
hardest comparison. The fusion is judged only where the models read several modalities. The results are kept in
paper/claims.json by corpus and kind of text features (`meld (context)`), and the table in docs/results.md is written
from it. The runs say the kind themselves; runs of different kinds are not compared.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import write_whole
from foundation.log import log
from paper.names import NAMES
from paper.params import load_report
from paper.published import published_best, published_margins, published_scores
from paper.results_file import MAP, NUMBER, NUMBER_OR_NULL, TEXT, read_kept, read_results, required, restored
from paper.significance import interval, part_of
from paper.words import markdown_table, rewrite
from pipeline.corpora.index_file import read_index
from pipeline.params import load_params
from pipeline.scoring.comparison import load
from pipeline.scoring.lengths import length_groups
from pipeline.stage import command

SCORES, PAGE = Path("paper/claims.json"), Path("docs/results.md")
MARKS = ("<!-- written by python -m paper.claims -->", "<!-- end of what is written -->")
CORPORA = ("iemocap", "meld")
HOLDS, FAILS, OPEN = "holds", "does not", "cannot be told"
NOT_RUN = "not run"
OTHER_TEXT = "text"
"""Study of the other kind of text features, of which there is no claim."""
ENTRY = {"difference": NUMBER, "low": NUMBER_OR_NULL, "high": NUMBER_OR_NULL, "against": TEXT}
"""What the table takes of a claim that was kept."""


@dataclass(frozen=True, slots=True)
class Results:
    """Runs and studies of one corpus."""

    corpus: str
    paper: str
    """The paper's corpus that it is, or is a copy of; empty if the paper lacks it."""
    reader: str
    modalities: tuple[str, ...]
    """Modalities that its models read."""

    def folder(self, model: str) -> Path:
        return Path("paper/runs") / self.corpus / model

    def study(self, study: str, setting: str) -> Path:
        return Path("paper/studies") / self.corpus / study / setting

    def modality_set(self, names: str) -> Path:
        """The run on some modalities (`text+audio`); on all of them it is CMATH's own."""
        whole = {*names.split("+")} == {*self.modalities}
        return self.folder("cmath") if whole else self.study("modalities", names)

    def best(self, folders: Iterator[Path]) -> Path | None:
        """The run with the best weighted F1 on test; None if there is none."""
        there = {folder: read_results(folder / "metrics.json", {"weighted_f1": NUMBER})["weighted_f1"]
                 for folder in folders if is_run(folder)}  # fmt: skip
        return max(there, key=lambda folder: there[folder], default=None)


Pair = tuple[str, Path | None, Path | None]
"""What B is in words, and the runs A and B."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that A is better than B."""

    key: str
    said: str
    """The claim, for a reader who has not read the paper."""
    pair: Callable[[Results], Pair]
    unit: str = ""
    """Unit of the paper's number, if it is not points of weighted F1."""
    group: str = ""
    """Length group of the conversations that it is about; empty: all."""


def is_run(folder: Path | None) -> bool:
    return folder is not None and (folder / "predictions.csv").is_file() and (folder / "metrics.json").is_file()


def _ablation(name: str) -> Callable[[Results], Pair]:
    return lambda results: ("", results.folder("cmath"), results.study("ablations", name))


def _fusion(results: Results) -> Pair:
    """CMATH without its CMA-Transformer; no pair where nothing is fused, since there it only reads the dialogue."""
    return _ablation("cma_t")(results) if len(results.modalities) > 1 else ("", None, None)


def _sets(first: str, second: str) -> Callable[[Results], Pair]:
    return lambda results: ("", results.modality_set(first), results.modality_set(second))


def _best_baseline(results: Results) -> Pair:
    other = results.best(results.folder(model) for model in NAMES if model != "cmath")
    return (NAMES[other.name] if other else ""), results.folder("cmath"), other


def _best_set(results: Results) -> Pair:
    """CMATH on three modalities against its best smaller set; no pair where the corpus has fewer."""
    if len(results.modalities) < 3:
        return "", None, None
    other = results.best(Path("paper/studies").glob(f"{results.corpus}/modalities/*"))
    return (other.name.replace("+", " + ") if other else ""), results.folder("cmath"), other


def _width(results: Results) -> Pair:
    best = published_best(results.paper)
    ours = results.study("widths", str(best[0])) if best else None
    other = results.best(one for one in Path("paper/studies").glob(f"{results.corpus}/widths/*") if one != ours)
    return (other.name if other else ""), ours, other


def _gammas(results: Results) -> Pair:
    best = published_best(results.paper)
    ours = results.study("gammas", f"{best[1][0]:g}-{best[1][1]:g}") if best else None
    other = results.best(one for one in Path("paper/studies").glob(f"{results.corpus}/gammas/*") if one != ours)
    return (other.name.replace("-", ", ") if other else ""), ours, other


def _multidag(results: Results) -> Pair:
    return "", results.folder("cmath"), results.folder("multidag")


CLAIMS = (
    Claim("best", "CMATH is better than every baseline (against the best one)", _best_baseline),
    Claim("mr", "Reconstructing each modality from its compressed form helps", _ablation("mr")),
    Claim("cma_t", "The asymmetric fusion of the modalities (CMA-Transformer) helps", _fusion),
    Claim("lld", "Low-level distillation (the modalities' representations learn from the fused one) helps",
          _ablation("lld")),
    Claim("hld", "High-level distillation (the modalities' predictions learn from the fused one) helps",
          _ablation("hld")),
    Claim("hd", "Both distillations together help", _ablation("hd")),
    Claim("high_low", "High-level distillation matters more than low-level distillation",
          lambda results: ("", results.study("ablations", "lld"), results.study("ablations", "hld"))),
    Claim("whole", "All three modalities are better than any other set (against the best one)", _best_set),
    Claim("audio_helps", "The voice beside the text is better than the text alone", _sets("text+audio", "text")),
    Claim("visual_helps", "The face beside the text is better than the text alone", _sets("text+visual", "text")),
    Claim("text_audio", "Text alone is better than the voice alone", _sets("text", "audio")),
    Claim("audio_visual", "The voice alone is better than the face alone", _sets("audio", "visual")),
    Claim("width", "A width of 400 (MELD) or 500 (IEMOCAP) is better than all others (against the best one)", _width),
    Claim("gammas", "The weights of the distillations that it found are better than all others (against the best pair)",
          _gammas),
    *(Claim(group, f"CMATH is better than MultiDAG on {which} conversations", _multidag, " %", group)
      for group, which in (("C1", "short"), ("C2", "middle-sized"), ("C3", "long"))),
)  # fmt: skip


def found_of(claim: Claim, results: Results) -> dict[str, Any] | None:
    """Difference A - B with its interval, and what B is; None if a run of it is missing."""
    against, ours, other = claim.pair(results)
    if ours is None or other is None or not is_run(ours) or not is_run(other):
        return None
    a, b = load(str(ours), None), load(str(other), None)
    if claim.group:
        inside = _of_length(results, claim.group)
        a, b = part_of(a, inside), part_of(b, inside)
        if not a.utterances:
            return None
    seen = {"seen": list(dict.fromkeys([*a.seen, *b.seen]))} if a.seen or b.seen else {}
    return {**interval(a, b), "against": against, **seen}


def _of_length(results: Results, group: str) -> set[str]:
    """Test utterances whose conversation is in a length group."""
    tested = [row for row in read_index(Path("data") / results.corpus / "index.csv") if row.split == "test"]
    names = length_groups(tested, results.paper or results.reader)
    return {row.utterance_id for row, name in zip(tested, names, strict=True) if name.startswith(f"{group}:")}


def verdict(found: dict[str, Any] | None) -> str:
    if found is None:
        return NOT_RUN
    if found["low"] is None or found["low"] <= 0 <= found["high"]:
        return OPEN
    return HOLDS if found["low"] > 0 else FAILS


def run(corpora: list[tuple[str, str]]) -> None:
    """Hold the claims against the runs of each corpus, keep what is found, and write the page.

    Args:
        corpora: name of each corpus, and the paper's corpus that it is a copy of; empty: as paper/params.yaml or its
            own name says.

    Raises:
        UserError: a corpus is none of params.yaml, has no run at all, or has other labels than the paper's corpus.
    """
    params, kept = load_params(), read_found(adding=True)
    for corpus, paper in corpora:
        if corpus not in params.index:
            raise UserError(f"{corpus}: is no corpus; `index` of params.yaml has {', '.join(params.index)}")
        if paper not in ("", *CORPORA):
            raise UserError(f"{corpus}={paper}: the paper's corpora are {' and '.join(CORPORA)}")
        paper = paper or _printed(corpus)
        _require_labels(corpus, paper)
        index = params.index[corpus]
        read = tuple(name for name in params.model.modalities if name in index.modalities)
        results = Results(corpus, paper, index.reader, read)
        found = {claim.key: found_of(claim, results) for claim in CLAIMS}
        if not any(found.values()):
            raise UserError(f"paper/runs/{corpus}: has no two runs to compare; `dvc repro paper/dvc.yaml` makes them")
        name = column_of(corpus)
        if gone := [key for key in kept.get(name, {}).get("claims", {}) if not found.get(key)]:
            log.warning("%s: kept before and not any more, since there are no runs of it: %s", name, ", ".join(gone))
        kept[name] = {"paper": paper, "claims": {key: one for key, one in found.items() if one}}
        log.info("%s: %s", name, ", ".join(f"{key}: {verdict(one)}" for key, one in found.items()))
    write_whole(SCORES, json.dumps(kept, indent=2, sort_keys=True) + "\n")
    write_page()


def column_of(corpus: str) -> str:
    """Name of a corpus with the kind of text features that its runs read: `meld (context)`; without one if it has none.

    Raises:
        UserError: two runs read features of different kinds.
    """
    first, known = None, ""
    for folder in _runs_of(corpus):
        kind = read_results(folder / "metrics.json", {"text": TEXT})["text"]
        if kind and known and kind != known:
            raise UserError(f"{first} was made with text features of the kind {known}, and {folder} with {kind}: they "
                            "cannot be compared; `dvc repro paper/dvc.yaml` makes all runs anew")  # fmt: skip
        if not known:
            first, known = folder, kind
    return f"{corpus} ({known})" if known else corpus


def _runs_of(corpus: str) -> Iterator[Path]:
    """Runs and studies that the claims take; models of some modalities alone are among them."""
    folders = [*Path("paper/runs").glob(f"{corpus}/*"), *Path("paper/studies").glob(f"{corpus}/*/*")]
    return (folder for folder in sorted(folders) if is_run(folder) and folder.parent.name != OTHER_TEXT)


def _printed(corpus: str) -> str:
    """The paper's corpus that `corpus` is by paper/params.yaml or by its name; empty if the paper lacks it."""
    paper = load_report().printed(corpus)
    return paper if paper in CORPORA else ""


def _require_labels(corpus: str, paper: str) -> None:
    """Refuse a corpus whose runs have other labels than the paper's corpus `paper`."""
    if not paper:
        return
    printed = list(next(iter(published_scores(paper)[1].values()))["f1"])
    for file in sorted((Path("paper/runs") / corpus).glob("*/metrics.json")):
        labels = list(read_results(file, {"f1": MAP})["f1"])
        if set(labels) != set(printed):
            raise UserError(f"{corpus}={paper}: {file} has the labels {', '.join(labels)}, and the paper's {paper} has "
                            f"{', '.join(printed)}: it is another corpus; leave `={paper}` out, and correct "
                            "report.published of paper/params.yaml or the corpus' name if they say so")  # fmt: skip


def read_found(*, adding: bool = False) -> dict[str, dict[str, Any]]:
    """What was found and kept, by corpus and kind of text features; see `read_kept`."""
    found = read_kept(SCORES, 1, {"paper": TEXT, "claims": MAP}, adding=adding)
    for corpus, one in found.items():
        for key, claim in one["claims"].items():
            place = f"{corpus}.claims.{key}"
            required(claim, ENTRY, SCORES, restored(SCORES), place)
            seen = claim.get("seen", [])
            for wrong, said in (
                ((claim["low"] is None) != (claim["high"] is None), "low and high are not both numbers or both null"),
                (
                    not isinstance(seen, list) or not all(isinstance(one, str) for one in seen),
                    "seen is no list of texts",
                ),
            ):
                if wrong:
                    raise UserError(f"{SCORES}: {place}: {said}; {restored(SCORES)}")
    return found


def lines(kept: dict[str, dict[str, Any]]) -> list[str]:
    """Lines of the table: a claim, the verdict, the paper's numbers, and ours on each corpus."""
    margins = {paper: published_margins(paper) for paper in CORPORA}
    head = ["claim", "verdict", "the paper: IEMOCAP, MELD", *(f"ours on {corpus}" for corpus in kept)]
    rows, marks = [], dict[str, None]()
    for claim in CLAIMS:
        printed = ", ".join(f"{margins[paper][claim.key]:+.2f}{claim.unit}" if claim.key in margins[paper] else "-"
                            for paper in CORPORA)  # fmt: skip
        by_corpus = {corpus: one["claims"].get(claim.key) for corpus, one in kept.items()}
        cells = []
        for corpus, found in by_corpus.items():
            published = None if claim.unit else margins.get(kept[corpus]["paper"], {}).get(claim.key)
            cells.append(_cell(found, published))
            marks |= dict.fromkeys((found or {}).get("seen", []))
        together = _together({corpus: verdict(one) for corpus, one in by_corpus.items()})
        rows.append([claim.said, together, printed, *cells])
    return [*markdown_table(head, rows), *([""] if marks else []), *(f"† No fair score; {mark}." for mark in marks)]


def _cell(found: dict[str, Any] | None, published: float | None) -> str:
    """`+0.34 (-0.50 to 1.20), against SDT`; bold: zero is out of the interval; a star: the paper's number is."""
    if found is None:
        return NOT_RUN
    against = f", against {found['against']}" if found["against"] else ""
    sign = "†" if "seen" in found else ""
    if found["low"] is None:
        return f"{found['difference']:+.2f} (one seed){against}{sign}"
    star = "\\*" if published is not None and not found["low"] <= published <= found["high"] else ""
    score = f"{found['difference']:+.2f} ({found['low']:.2f} to {found['high']:.2f})"
    return (score if verdict(found) == OPEN else f"**{score}**") + star + against + sign


def _together(verdicts: dict[str, str]) -> str:
    """The verdicts of all corpora in short: `holds on meld; cannot be told on meld_mini`."""
    told = {corpus: one for corpus, one in verdicts.items() if one != NOT_RUN}
    if len(told) > 1 and len(set(told.values())) == 1:
        return f"**{next(iter(told.values()))}** on {'both' if len(told) == 2 else f'all {len(told)}'}"
    parts = []
    for kind in (HOLDS, FAILS, OPEN):
        where = [corpus for corpus, one in told.items() if one == kind]
        if where:
            parts.append(f"**{kind}** on {', '.join(where)}")
    return "; ".join(parts) or NOT_RUN


def write_page() -> None:
    rewrite(PAGE, {MARKS: lines(read_found())})


def main() -> None:
    arguments = argparse.ArgumentParser("python -m paper.claims", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    arguments.add_argument(
        "corpora",
        nargs="*",
        metavar="D[=P]",
        help="corpora of params.yaml; P is iemocap or meld, if D is a copy of it under another name (without it: "
        "report.published of paper/params.yaml)",
    )
    args = arguments.parse_args()
    corpora = []
    for one in args.corpora:
        name, _, paper = one.partition("=")
        corpora.append((name, paper))
    command(lambda: run(corpora) if corpora else write_page())


if __name__ == "__main__":
    main()
