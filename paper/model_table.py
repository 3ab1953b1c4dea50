"""Table 2 or 3, with our result and the paper's published row for each model."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from foundation.csv_file import read_csv
from foundation.errors import UserError
from foundation.files import open_whole
from paper.names import NAMES
from paper.published import published_scores, published_statistics
from paper.results_file import LIST, MADE_ANEW, MAP, NUMBER, NUMBER_OR_NULL, Keys, read_results
from paper.significance import beyond_chance, differences, in_words, once_in_words
from paper.words import duration, markdown_table

RESULTS = Path("paper/results")
RUNS = Path("paper/runs")
PLAIN = Path("paper/plain")
"""Results of logistic regression and of the text encoder alone (paper/plain.py)."""
LEGEND = (
    "Epoch, learning rate, dropout and batch of each model are chosen on validation, by the same search for all, with "
    "the same number of points. *oracle*: "
    "weighted F1, had the epoch been chosen on test. *seeds as one*: weighted F1 of the mean of the seeds' "
    "probabilities, an ensemble. *calibration error*: before calibration. *reimplementation*: made "
    "from a publication without public code. "
    "*logistic regression*: of one utterance, on the same features; of frozen text alone it is the encoder by itself. "
    "*majority*: the majority-class baseline, always the most frequent class of train."
)

OF_ENSEMBLE = ("accuracy", "weighted_f1", "macro_f1", "calibration_error", "calibration_error_calibrated")
"""Scores of the ensemble of the seeds, which counts as one model, in comparison.csv."""
SIGN = "†"
"""Stands behind the name of whatever has results that are no fair scores."""
OF_ENCODER = {
    **dict.fromkeys(("accuracy", "weighted_f1", "macro_f1", "calibration_error", "validation_weighted_f1"), NUMBER),
    "f1": MAP,
}  # fmt: skip
"""What the tables take from the metrics.json of the text encoder alone."""
OF_LOGISTIC = {**OF_ENCODER, "modalities": LIST}
"""What they take from that of logistic regression."""
OF_RUN = {
    **dict.fromkeys(
        ("accuracy", "accuracy_std", "weighted_f1", "weighted_f1_std", "macro_f1", "macro_f1_std",
         "oracle_weighted_f1", "oracle_weighted_f1_std", "calibration_error", "calibration_error_calibrated",
         "validation.weighted_f1", "majority.accuracy", "majority.weighted_f1", "majority.macro_f1",
         "learning_rate", "dropout", "batch", "weight_decay", "parameters", "seeds", "utterances", "reimplementation",
         *(f"ensemble.{name}" for name in OF_ENSEMBLE)),
        NUMBER,
    ),
    "f1": MAP, "f1_std": MAP, "edge": LIST, "seconds": NUMBER_OR_NULL,
}  # fmt: skip
"""What the tables take from the metrics.json of a model."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Results of all models on one corpus."""

    corpus: str
    printed: str
    """Name by which the paper has the corpus, if it has it."""
    runs: dict[str, dict]
    """Content of metrics.json of each model."""
    table: int | None
    published: dict[str, dict]
    """Rows of the paper, by model."""
    against: dict[str, dict]
    """Difference of CMATH from each baseline; see `differences`."""
    plain: dict[str, dict] = field(default_factory=dict)
    """Content of metrics.json of logistic regression and of the text encoder alone, as far as they are there."""
    beside: dict[str, dict] = field(default_factory=dict)
    """Difference of CMATH from each of these, with p-values corrected among themselves."""

    @property
    def majority(self) -> dict:
        return next(iter(self.runs.values()))["majority"]

    @property
    def classes(self) -> list[str]:
        return list(next(iter(self.runs.values()))["f1"])

    @property
    def best_baseline(self) -> str | None:
        """Baseline with the highest weighted F1 on test, which is the hardest comparison for CMATH."""
        baselines = [model for model in self.runs if model != "cmath"]
        return max(baselines, key=lambda model: self.runs[model]["weighted_f1"]) if baselines else None


def read(corpus: str, models: list[str], printed: str = "") -> Comparison:
    """Read the runs of a corpus, and test their differences.

    Args:
        printed: the paper's name of the corpus, if it is not `corpus`.

    Raises:
        UserError: a run is missing or broken, the models have different labels or numbers of seeds, or the paper's
            corpus has other labels.
    """
    printed = printed or corpus
    runs = {model: read_run(RUNS / corpus / model, OF_RUN) for model in models}
    _require_alike(corpus, runs)
    baselines = {model: RUNS / corpus / model for model in models if model != "cmath"}
    against = differences(RUNS / corpus / "cmath", baselines) if "cmath" in runs else {}
    folders = {name: PLAIN / corpus / name for name in ("logistic", "logistic_text", "encoder")}
    folders = {name: folder for name, folder in folders.items() if (folder / "metrics.json").is_file()}
    plain = {name: read_run(folder, OF_ENCODER if name == "encoder" else OF_LOGISTIC)
             for name, folder in folders.items()}  # fmt: skip
    _require_classes({PLAIN / corpus / name: run for name, run in plain.items()}, next(iter(runs.values()))["f1"])
    beside = differences(RUNS / corpus / "cmath", folders) if "cmath" in runs and plain else {}
    table, rows = published_scores(printed)
    one = Comparison(corpus, printed, runs, table, rows, against, plain, beside)
    for row in rows.values():
        if set(row["f1"]) != set(one.classes):
            raise UserError(
                f"paper/params.yaml: report.published: {corpus} has the labels {', '.join(one.classes)}, and the "
                f"paper's {printed} has {', '.join(row['f1'])}: it is another corpus"
            )
    return one


def read_run(folder: Path, keys: Keys) -> dict:
    """The scores of a run, from its metrics.json, which must have the `keys`; its predictions.csv must be there, too.

    Raises:
        UserError: a file is missing or broken.
    """
    found = read_results(folder / "metrics.json", keys)
    if not (folder / "predictions.csv").is_file():
        raise UserError(f"{folder / 'predictions.csv'}: no such file; {MADE_ANEW}")
    return found


def _require_alike(corpus: str, runs: dict[str, dict]) -> None:
    """Refuse runs of different numbers of seeds, since the sentences below a table say one for all, or of labels."""
    if len({run["seeds"] for run in runs.values()}) > 1:
        numbers = ", ".join(f"{model} {run['seeds']}" for model, run in runs.items())
        raise UserError(f"{RUNS / corpus}: the models of one table have different numbers of seeds ({numbers}); "
                        "`dvc repro paper/dvc.yaml` trains all with report.seeds of paper/params.yaml")  # fmt: skip
    of_all = dict.fromkeys(name for run in runs.values() for name in run["f1"])
    _require_classes({RUNS / corpus / model: run for model, run in runs.items()}, of_all)


def _require_classes(runs: dict[Path, dict], classes: Iterable[str]) -> None:
    """Refuse runs that lack the score of a class."""
    for folder, run in runs.items():
        for kind in ("f1", "f1_std") if "f1_std" in run else ("f1",):
            for name in classes:
                if not isinstance(run[kind].get(name), int | float):
                    raise UserError(
                        f"{folder / 'metrics.json'}: {kind} has no number of the class {name!r}; {MADE_ANEW}"
                    )


def plain_name(name: str, run: dict) -> str:
    """Name of logistic regression with its modalities, or of the text encoder alone, for readers."""
    if name == "encoder":
        return "fine-tuned text encoder alone"
    return f"logistic regression ({' + '.join(run['modalities'])})"


def write_csv(one: Comparison, file: Path) -> None:
    """Write the comparison; scores are in percent, and a missing value is empty."""
    scores = ["accuracy", "accuracy_std", "weighted_f1", "weighted_f1_std", "macro_f1", "macro_f1_std",
              "oracle_weighted_f1", "oracle_weighted_f1_std", "calibration_error",
              "calibration_error_calibrated"]  # fmt: skip
    form = ["learning_rate", "dropout", "batch", "weight_decay", "edge", "parameters", "seconds"]
    tests = ["difference", "low", "high", "p_seeds", "p_seeds_holm", "p_utterances", "p_utterances_holm"]
    columns = [
        "corpus",
        "model",
        "source",
        "reimplementation",
        "seen",
        "seeds",
        *scores,
        *(f"ensemble_{name}" for name in OF_ENSEMBLE),
        "validation_weighted_f1",
        *form,
    ]
    columns += [f"cmath_{name}" for name in tests] + [
        f"{kind}.{name}" for name in one.classes for kind in ("f1", "f1_std")
    ]
    with open_whole(file) as stream:
        writer = csv.DictWriter(stream, columns, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for model, run in one.runs.items():
            writer.writerow({
                "corpus": one.corpus, "model": model, "source": "here", **run,
                "reimplementation": "reimplementation" if run["reimplementation"] else "",
                "edge": " ".join(run["edge"]),
                "seen": "; ".join(run.get("seen", [])),
                **{f"ensemble_{name}": run["ensemble"][name] for name in OF_ENSEMBLE},
                "validation_weighted_f1": run["validation"]["weighted_f1"],
                **_tested(tests, one.against.get(model)),
                **_by_class(run, "f1"), **_by_class(run, "f1_std"),
            })  # fmt: skip
            if model in one.published:
                row = one.published[model]
                source = f"paper, Table {one.table}"
                writer.writerow({"corpus": one.corpus, "model": model, "source": source, **row, **_by_class(row, "f1")})
        for name, run in one.plain.items():
            writer.writerow({
                "corpus": one.corpus, "model": name, "source": "here", **run,
                "seen": "; ".join(run.get("seen", [])),
                **_tested(tests, one.beside.get(name)),
                **_by_class(run, "f1"),
            })  # fmt: skip
        writer.writerow({"corpus": one.corpus, "model": "majority", "source": "here", **one.majority})


def _tested(tests: list[str], found: dict | None) -> dict[str, float | None]:
    """Values of a difference from CMATH; p-values have six digits, so that none moves to the other side of a limit."""
    if found is None:
        return {}
    return {f"cmath_{name}": None if found[name] is None else round(found[name], 6) for name in tests}


def _by_class(row: dict, kind: str) -> dict[str, float]:
    return {f"{kind}.{name}": value for name, value in row[kind].items()}


def write_search(one: Comparison, file: Path) -> None:
    """Write the rows of the search.csv files of all runs to one file.

    Raises:
        UserError: one of them is missing or broken.
    """
    rows = search_rows(one)
    with open_whole(file) as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def search_rows(one: Comparison) -> list[dict[str, str]]:
    """Read the rows of the search.csv files of all runs, in their order.

    Raises:
        UserError: one of them is missing or broken.
    """
    rows: list[dict[str, str]] = []
    for model in one.runs:
        source = RUNS / one.corpus / model / "search.csv"
        part = read_csv(source, ["model", "learning_rate"], dict, MADE_ANEW)
        if not part or list(part[0]) != list((rows or part)[0]):
            what = "has the columns of another version" if part else "has no rows"
            raise UserError(f"{source}: {what}; {MADE_ANEW}")
        rows += part
    return rows


def table(one: Comparison) -> tuple[list[str], list[list[str]]]:
    """Make head and rows of the table, as text."""
    head = [
        "model",
        "accuracy",
        "weighted F1",
        "macro F1",
        *one.classes,
        "oracle",
        "seeds as one",
        "calibration error",
        "parameters",
        "time a seed",
    ]
    rows = []
    for model, run in one.runs.items():
        rows.append([
            marked(NAMES[model], run) + (" (reimplementation)" if run["reimplementation"] else ""),
            *(spread(run, key) for key in ("accuracy", "weighted_f1", "macro_f1")),
            *(f"{run['f1'][label]:.2f} ± {run['f1_std'][label]:.2f}" for label in one.classes),
            spread(run, "oracle_weighted_f1"), f"{run['ensemble']['weighted_f1']:.2f}",
            f"{run['calibration_error']:.2f}", f"{run['parameters'] / 1e6:.1f} M",
            "" if run["seconds"] is None else duration(run["seconds"]),
        ])  # fmt: skip
        if model in one.published:
            row = one.published[model]
            values = [row["accuracy"], row["weighted_f1"], None, *(row["f1"][label] for label in one.classes)]
            printed = ("-" if value is None else f"{value:.2f}" for value in values)
            rows.append([f"- paper, Table {one.table}", *printed, "", "", "", "", ""])
    for name, run in one.plain.items():
        once = (f"{run[key]:.2f}" for key in ("accuracy", "weighted_f1", "macro_f1"))
        of_classes = (f"{run['f1'][label]:.2f}" for label in one.classes)
        rows.append([marked(plain_name(name, run), run), *once, *of_classes, "", "", f"{run['calibration_error']:.2f}",
                     "", ""])  # fmt: skip
    constant = one.majority
    scores = [f"{constant[name]:.2f}" for name in ("accuracy", "weighted_f1", "macro_f1")]
    rows.append(["majority-class baseline", *scores, *[""] * (len(head) - 4)])
    return head, rows


def chosen_table(one: Comparison) -> tuple[list[str], list[list[str]]]:
    """Make head and rows of what the search chose for each model, and of CMATH's difference from it."""
    head = ["model", "learning rate", "dropout", "batch", "weighted F1 on validation", "on test", "CMATH less it",
            "95 % of the resampled differences", "p over seeds", "p over utterances", "beyond chance"]  # fmt: skip
    rows = []
    for model, run in one.runs.items():
        point = [f"{run['learning_rate']:g}", f"{run['dropout']:g}", str(run["batch"])]
        scores = [f"{run['validation']['weighted_f1']:.2f}", f"{run['weighted_f1']:.2f}"]
        rows.append([marked(NAMES[model], run), *point, *scores, *_difference(one.against.get(model))])
    for name, run in one.plain.items():
        scores = [f"{run['validation_weighted_f1']:.2f}", f"{run['weighted_f1']:.2f}"]
        rows.append([marked(plain_name(name, run), run), "", "", "", *scores, *_difference(one.beside.get(name))])
    return head, rows


def _difference(found: dict | None) -> list[str]:
    """Cells of a difference; what was trained once has no test over seeds, and none says whether it is chance."""
    if found is None:
        return [""] * 5
    seeds, utterances = found["p_seeds_holm"], found["p_utterances_holm"]
    beyond = "" if seeds is None else ("yes" if beyond_chance(found) else "no")
    return [f"{found['difference']:+.2f}", f"{found['low']:.2f} to {found['high']:.2f}",
            "" if seeds is None else f"{seeds:.4f}", f"{utterances:.4f}", beyond]  # fmt: skip


def counts(run: dict) -> str:
    return f"Test, {run['utterances']} utterances; percent, mean and standard deviation of {run['seeds']} seeds."


def markdown(one: Comparison) -> list[str]:
    """Format the table and the sentences about it as Markdown."""
    said = f"{counts(next(iter(one.runs.values())))} {legend(one)}"
    return [f"# {one.corpus}", "", *markdown_table(*table(one)), "", said, "", verdict(one), "",
            *markdown_table(*chosen_table(one)), "", " ".join([edges(one), *given(one)]), ""]  # fmt: skip


def legend(one: Comparison) -> str:
    """What the columns and signs mean."""
    return " ".join([LEGEND, *unfair(one)])


def edges(one: Comparison) -> str:
    """Sentence about the models whose chosen point lies at the edge of what its search tried."""
    found = [f"{NAMES[model]} ({', '.join(run['edge'])})" for model, run in one.runs.items() if run["edge"]]
    if not found:
        return "No chosen point lies at the edge of what its search tried."
    return (f"At the edge of what the search tried lies the chosen point of {', '.join(found)}: with more "
            "`report.search.points`, for all models, the search goes on there.")  # fmt: skip


def given(one: Comparison) -> list[str]:
    """A sentence if scores of the search were given, and not trained for.

    Raises:
        UserError: a search.csv of a run is missing or broken.
    """
    rows = search_rows(one)
    number = sum(row.get("given") == "yes" for row in rows)
    if not number:
        return []
    return [f"{number} of the {len(rows)} scores of the searches were not trained for here, but read from an earlier "
            "search (`report.search.given`); search.csv marks them."]  # fmt: skip


def marked(name: str, run: dict) -> str:
    """The name, with a sign behind it if labels of test were seen when the run's features were made."""
    return f"{name} {SIGN}" if run.get("seen") else name


def unfair(one: Comparison) -> list[str]:
    """What the sign means, a sentence for each reason; empty if all scores are fair as far as is known."""
    runs = (*one.runs.values(), *one.plain.values())
    reasons = dict.fromkeys(mark for run in runs for mark in run.get("seen", []))
    return [f"{SIGN} No fair score; {reason}." for reason in reasons]


def spread(run: dict, key: str) -> str:
    """Format mean and standard deviation over the seeds."""
    return f"{run[key]:.2f} ± {run[f'{key}_std']:.2f}"


def verdict(one: Comparison) -> str:
    """Sentences about CMATH's rank among the models, and about the paper's claim."""
    baseline = one.best_baseline
    if "cmath" not in one.runs or baseline is None:
        return "No comparison: it takes CMATH and a baseline."
    ranked = sorted(one.runs, key=lambda model: -one.runs[model]["weighted_f1"])
    ours, theirs = (spread(one.runs[model], "weighted_f1") for model in ("cmath", baseline))
    said = (f"By weighted F1 CMATH ({ours}) is number {ranked.index('cmath') + 1} of {len(ranked)}; the best "
            f"baseline is {NAMES[baseline]} ({theirs}). CMATH less that: {in_words(one.against[baseline])} (p-values "
            f"after Holm, {len(one.against)} baselines).")  # fmt: skip
    for name, found in one.beside.items():
        said += f" CMATH less the {plain_name(name, one.plain[name])}: {once_in_words(found)}."
    if one.published:
        rows = {model: row["weighted_f1"] for model, row in one.published.items()}
        best = max((model for model in rows if model != "cmath"), key=lambda model: rows[model])
        gap = rows["cmath"] - rows[best]
        said += (f" The paper's Table {one.table} has CMATH {gap:+.2f} points from its best baseline, {NAMES[best]}, "
                 "in a row copied from that model's publication.")  # fmt: skip
        here, there = one.runs["cmath"]["utterances"], (published_statistics(one.printed) or [0] * 4)[3]
        if here != there:
            said += f" This is a copy of the corpus with {here} utterances in test, where the paper's has {there}."
    return said
