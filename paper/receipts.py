"""Receipts: what is known of published rows, beside our runs on the same kind of features.

    python -m paper.receipts                          # writes docs/receipts.md anew
    python -m paper.receipts --take text meld         # first keeps the scores of paper/runs/meld, as of the kind `text`
    python -m paper.receipts --take three iemocap --run paper/runs/iemocap_sdt results/iemocap_sdt

paper/published.yaml has the rows: features, how the reported epoch was chosen (with the lines of the authors' code that
show it), seeds, and what others got with that code. Beside a row of one of our baselines stands our run of that model;
beside any other row, of all models of the same kind of features, the one with the best score on validation. Our runs
have two scores: of the epoch that validation chose, and of the epoch that test would have chosen (oracle), which is how
many of the rows were made.

The scores of our runs are kept in paper/receipts.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from foundation.errors import UserError
from foundation.files import write_whole
from paper.names import NAMES
from paper.published import published_statistics, receipts
from paper.results_file import MADE_ANEW, NUMBER, read_kept, read_results
from paper.words import markdown_table, rewrite
from pipeline.bundle import read_bundle
from pipeline.stage import command

SCORES, PAGE = Path("paper/receipts.json"), Path("docs/receipts.md")
MARKS = ("<!-- written by python -m paper.receipts -->", "<!-- end of what is written -->")
CORPORA = {"iemocap": "IEMOCAP", "meld": "MELD"}
UNKNOWN = "not known"
KEPT = ("weighted_f1", "weighted_f1_std", "oracle_weighted_f1", "oracle_weighted_f1_std", "seeds", "utterances")
ENTRY = dict.fromkeys((*KEPT, "validation"), NUMBER)
"""What is kept of a run."""


def take(kind: str, corpus: str, folders: list[Path]) -> None:
    """Keep the scores of runs on the published corpus `corpus`, whose features are of `kind`.

    Args:
        folders: results of `evaluate`, runs of the report, or folders of such runs, a model each.

    Raises:
        UserError: there is no such kind, corpus or run, or a run is of seen labels, or of another test than the
            published corpus has.
    """
    kinds = receipts()["kinds"]
    if kind not in kinds or corpus not in CORPORA:
        raise UserError(f"--take {kind} {corpus}: the kinds are {', '.join(kinds)}, the corpora {', '.join(CORPORA)}")
    kept = read_scores(adding=True)
    for folder in folders:
        inside = sorted(file.parent for file in folder.glob("*/metrics.json"))
        for run in inside or [folder]:
            model, found = scores_of(run)
            there = int((published_statistics(corpus) or [0] * 4)[3])
            if found["utterances"] != there:
                raise UserError(f"{run}: has {found['utterances']} utterances in test, where the published {corpus} "
                                f"has {there}: it is another corpus; give runs on the published one")  # fmt: skip
            kept.setdefault(kind, {}).setdefault(corpus, {})[model] = found
    write_whole(SCORES, json.dumps(kept, indent=2, sort_keys=True) + "\n")


def scores_of(folder: Path) -> tuple[str, dict[str, Any]]:
    """Model and scores of a run.

    Raises:
        UserError: there is none, or labels of test were seen in making its features.
    """
    for file in (folder / "scores.json", folder / "metrics.json"):
        if file.is_file():
            remedy = MADE_ANEW if file.name == "metrics.json" else "`dvc repro` makes it anew"
            scores = read_results(file, {**dict.fromkeys(KEPT, NUMBER), "validation.weighted_f1": NUMBER}, remedy)
            break
    else:
        raise UserError(f"{folder}: has no scores; `python -m paper.train` or `dvc repro` makes them")
    if scores.get("seen"):
        raise UserError(f"{folder}: is no fair score, and stands beside no published one: {scores['seen'][0]}")
    model = folder.name if folder.name in NAMES else read_bundle(Path("models") / folder.name).model
    return model, {name: scores[name] for name in KEPT} | {"validation": scores["validation"]["weighted_f1"]}


def read_scores(*, adding: bool = False) -> dict[str, Any]:
    """The scores that are kept, by kind, corpus and model; see `read_kept`."""
    return read_kept(SCORES, 3, ENTRY, adding=adding, of_models=True)


def ours(row: dict[str, Any], corpus: str, scores: dict[str, Any]) -> tuple[str, str]:
    """Our scores beside a row: by validation, with the model's name, and by oracle; "-" if there is no such run."""
    runs = scores.get(row["kind"], {}).get(corpus, {})
    model = row.get("model") or max(runs, key=lambda name: runs[name]["validation"], default="")
    if model not in runs:
        return "-", "-"
    run = runs[model]
    by_validation, by_test = (f"{run[name]:.2f} ± {run[f'{name}_std']:.2f}" for name in
                              ("weighted_f1", "oracle_weighted_f1"))  # fmt: skip
    return f"{by_validation} ({NAMES[model]}, {run['seeds']} seeds)", by_test


def lines(content: dict[str, Any], scores: dict[str, Any]) -> list[str]:
    """Lines of the page that are written: numbers beside ours, receipts, and the kinds of features."""
    head = ["row", "features", "epoch by"]
    for name in CORPORA.values():
        head += [f"{name}: published", "ours, epoch by validation", "ours, by test (oracle)"]
    numbers = []
    for row in content["rows"]:
        cells = [row["name"], row["kind"], row["epoch"]["chosen_on"]]
        for corpus in CORPORA:
            printed = row["weighted_f1"][corpus]
            cells += [UNKNOWN if printed is None else f"{printed:.2f}", *ours(row, corpus, scores)]
        numbers.append(cells)
    known = [[row["name"], row["features"], _epoch(row["epoch"]), row["seeds"], row["reproductions"],
              _sources(row["source"])] for row in content["rows"]]  # fmt: skip
    counts = {kind: sum(row["epoch"]["chosen_on"] == kind for row in content["rows"])
              for kind in ("validation", "test", UNKNOWN)}  # fmt: skip
    return [
        f"Of {len(content['rows'])} rows, {counts['validation']} chose their epoch on validation and {counts['test']} "
        f"on test; of {counts[UNKNOWN]} it is not known.",
        "",
        *markdown_table(head, numbers),
        "",
        *markdown_table(["row", "features", "how the epoch was chosen", "seeds", "got by others", "source"], known),
        "",
        *markdown_table(["features", "what that is"], [[name, said] for name, said in content["kinds"].items()]),
    ]


def _epoch(epoch: dict[str, Any]) -> str:
    """How the epoch was chosen, with links to the lines that show it."""
    said = f"**{epoch['chosen_on']}**" + (f": {epoch['note']}" if "note" in epoch else "")
    if "places" not in epoch:
        return said
    base = f"https://github.com/{epoch['repository']}/blob/{epoch['commit']}"
    links = [f"[{place}]({base}/{'#L'.join(place.rsplit(':', 1))})" for place in epoch["places"]]
    return f"{said}. {epoch['repository']}: {', '.join(links)}"


def _sources(sources: list[str]) -> str:
    return ", ".join(f"[{number}]({one})" if one.startswith("https://") else one
                     for number, one in enumerate(sources, 1))  # fmt: skip


def write_page() -> None:
    rewrite(PAGE, {MARKS: lines(receipts(), read_scores())})


def main() -> None:
    arguments = argparse.ArgumentParser("python -m paper.receipts", description=__doc__,
                                        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    arguments.add_argument("--take", nargs=2, metavar=("KIND", "CORPUS"),
                           help="first keep the scores of our runs on this published corpus, as of this kind of "
                           "features")  # fmt: skip
    arguments.add_argument("--run", nargs="+", type=Path, metavar="FOLDER",
                           help="where they are (paper/runs/CORPUS)")  # fmt: skip
    args = arguments.parse_args()

    def work() -> None:
        if args.take:
            kind, corpus = args.take
            take(kind, corpus, args.run or [Path("paper/runs") / corpus])
        elif args.run:
            raise UserError("--run: says nothing without --take KIND CORPUS")
        write_page()

    command(work)


if __name__ == "__main__":
    main()
