"""Sections of the report for one corpus.

Most sections belong to one table or figure of the paper. They have the paper's claim, and sentences generated from our
results.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from extractors.utterance import Utterance
from foundation.csv_file import read_csv
from foundation.errors import UserError
from foundation.f1 import confusion, weighted_f1
from foundation.files import read_file
from paper import model_table, pictures
from paper.model_table import PLAIN, RUNS, SIGN, Comparison, counts, marked, plain_name, unfair
from paper.names import NAMES
from paper.overlap import Overlap
from paper.overlap import sentences as overlap_sentences
from paper.overlap import table as overlap_table
from paper.params import Report
from paper.published import published_statistics
from paper.results_file import MADE_ANEW, NUMBER_OR_NULL, read_results, required
from paper.section import Section
from paper.significance import differences_by_group, in_words
from paper.studies import STUDIES
from paper.study_sections import ablations, folders_of, gammas, modality_sets, text_encoder, widths
from pipeline.corpora.index_file import SPLITS, read_index
from pipeline.corpora.labels import labels
from pipeline.scoring.comparison import load
from pipeline.scoring.lengths import length_groups
from pipeline.scoring.pictures import draw_confusion

ROBUSTNESS = Path("paper/robustness")
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
"""Begin and end of every whole PNG file."""


def sections(corpus: str, reader: str, report: Report, figures: Path) -> Iterator[Section]:
    """Yield all sections of a corpus, and write their figures to the folder `figures`.

    Raises:
        UserError: a result is missing or broken, or train or test has no label.
    """
    if "cmath" not in report.models:
        raise UserError("paper/params.yaml: report.models: lacks cmath, which the whole report is about; add it")
    rows = _labelled(Path("data") / corpus / "index.csv")
    one = model_table.read(corpus, list(report.models), report.printed(corpus))
    damages = read_damages(corpus, report)
    present = {damage.modality for damage in damages}
    studies = {study: folders_of(corpus, study, report, present) for study in STUDIES}
    if said := unfair(one):
        yield Section(f"{SIGN}: scores that are not fair", "", said)
    yield statistics(one.printed, rows)
    yield label_counts(rows, labels(reader, [row.label for row in rows]))
    yield compared(one, figures)
    yield searched(one)
    yield known_of_train(one, rows)
    if studies["ablations"]:
        yield ablations(one, studies["ablations"])
    if studies["modalities"]:
        yield modality_sets(one, studies["modalities"])
    yield maps(corpus, figures)
    if studies["widths"]:
        yield widths(one, studies["widths"], figures)
    if "multidag" in one.runs:
        yield lengths(corpus, report.published.get(corpus, reader), rows, figures)
    if studies["gammas"]:
        yield gammas(one, studies["gammas"], report, figures)
    yield confusions(one, figures)
    if studies["text"]:
        yield text_encoder(one)
    if damages:
        yield robustness(damages, figures)
    yield calibration(one, figures)


def _labelled(file: Path) -> list[Utterance]:
    """Rows of an index whose train and test have labels.

    Raises:
        UserError: one of them has none.
    """
    rows = read_index(file)
    for split in ("train", "test"):
        if not any(row.label for row in rows if row.split == split):
            raise UserError(f"{file}: no utterance of {split} has a label, so there is nothing to report; give the "
                            f"corpus some in {split}, and make the index anew with `dvc repro`")  # fmt: skip
    return rows


def statistics(printed: str, rows: list[Utterance]) -> Section:
    rows = [row for row in rows if row.label]  # the others are context, which the paper does not count
    parts = [[row for row in rows if (row.split == "test") == test] for test in (False, True)]
    dialogues = [len({row.dialogue_id for row in part}) for part in parts]
    labels = len({row.label for row in rows})
    here = [
        *map(str, dialogues),
        *(str(len(part)) for part in parts),
        *(f"{len(part) / count:.2f}" for part, count in zip(parts, dialogues, strict=True)),
        str(labels),
    ]
    there = published_statistics(printed)
    head = [
        "",
        "conversations, train + val",
        "conversations, test",
        "utterances, train + val",
        "utterances, test",
        "utterances a conversation, train + val",
        "utterances a conversation, test",
        "classes",
    ]
    table = [["here", *here]] + ([["- paper, Table 1", *(f"{value:g}" for value in there)]] if there else [])
    seen = ["The paper does not have this corpus."]
    if there:
        same = [float(mine) == yours for mine, yours in zip(here, there, strict=True)]
        seen = [f"{sum(same)} of the {len(same)} numbers are the paper's."]
        utterances, published = sum(map(len, parts)), int(sum(there[2:4]))
        if utterances != published:
            seen.append(
                f"This is a copy of the corpus with {utterances} utterances, where the paper's has {published}."
            )
        elif printed == "meld" and dialogues[0] + 1 == there[0]:
            seen.append(
                "The paper counts the numbers that train's dialogues have, of which number 60 has no utterance in any "
                f"published copy: {dialogues[0]} conversations have one, with {here[4]} each on average."
            )
    return Section("Table 1: statistics", "", seen, head, table)


def label_counts(rows: list[Utterance], order: tuple[str, ...]) -> Section:
    """Utterances of each label by split, and their share of the labelled ones; other turns have a row of their own.

    Args:
        order: the labels, in the order of the report's tables.
    """
    counted = {split: Counter(row.label for row in rows if row.split == split) for split in SPLITS}
    labelled = {split: sum(counts[label] for label in order) for split, counts in counted.items()}
    shares = {
        label: {split: f"{100 * counted[split][label] / max(labelled[split], 1):.1f} %" for split in SPLITS}
        for label in order
    }
    table = [[label, *(f"{counted[split][label]:,} ({shares[label][split]})" for split in SPLITS)] for label in order]
    table.append(["all", *(f"{number:,}" for number in labelled.values())])
    if any(counts[""] for counts in counted.values()):
        table.append(["no label, context only", *(f"{counts['']:,}" for counts in counted.values())])
    most = next(label for label, _ in counted["train"].most_common() if label)
    said = [f"The majority-class baseline always answers {most}, the most frequent label of train: it has "
            f"{shares[most]['train']} of train, {shares[most]['validation']} of validation and "
            f"{shares[most]['test']} of test."]  # fmt: skip
    if missing := [f"{label} in {split}" for split in SPLITS for label in order if not counted[split][label]]:
        said.append(f"There is no {', no '.join(missing)}.")
    return Section("Labels", "", said, ["label", *SPLITS], table)


def compared(one: Comparison, figures: Path) -> Section:
    name = "comparison.png"
    pictures.draw_comparison(one, figures / name)
    gains = {model: run["oracle_weighted_f1"] - run["weighted_f1"] for model, run in one.runs.items()}
    low, high = min(gains, key=lambda model: gains[model]), max(gains, key=lambda model: gains[model])
    oracle = (
        f"Choosing the epoch on test would have flattered the models, by {gains[low]:.2f} ({NAMES[low]}) to "
        f"{gains[high]:.2f} points ({NAMES[high]})."
    )
    if any(run.get("calibration", {}).get("decision") == "balanced" for run in one.runs.values()):
        # The stored predictions of an epoch are the likeliest classes, without the adjustment of the decision.
        oracle = ("The *oracle* is of the likeliest classes, the other scores are of the decision `balanced`: the two "
                  "cannot be compared.")  # fmt: skip
    some = next(iter(one.runs.values()))
    head, rows = model_table.table(one)
    return Section(
        "Tables 2 and 3: comparison",
        "CMATH is better than every baseline.",
        [model_table.verdict(one), oracle, f"{counts(some)} {model_table.legend(one)}"],
        head,
        rows,
        [name],
    )


def searched(one: Comparison) -> Section:
    holm = (f"Every point that was tried stands in search.csv beside this page. The p-values are corrected by Holm for "
            f"{len(one.against)} baselines; those of what has no seeds, among themselves.")  # fmt: skip
    head, rows = model_table.chosen_table(one)
    return Section("What the search chose, and CMATH less each model", "",
                   [model_table.edges(one), *model_table.given(one), holm], head, rows)  # fmt: skip


def known_of_train(one: Comparison, rows: list[Utterance]) -> Section:
    overlap = Overlap.of(rows)
    runs = {marked(NAMES[model], run): RUNS / one.corpus / model for model, run in one.runs.items()}
    runs |= {marked(plain_name(name, run), run): PLAIN / one.corpus / name for name, run in one.plain.items()}
    head, table = overlap_table(overlap, runs)
    return Section("What test knows of train", "", overlap_sentences(overlap), head, table)


def maps(corpus: str, figures: Path) -> Section:
    file, names = ROBUSTNESS / corpus / "silhouettes.json", []
    found = read_results(file, {})
    required(found, dict.fromkeys(found, NUMBER_OR_NULL), file)
    if unknown := [model for model in found if model not in NAMES]:
        raise UserError(f"{file}: {unknown[0]!r} is no model; {MADE_ANEW}")
    for model in found:
        names.append(f"tsne_{model}.png")
        (figures / names[-1]).write_bytes(_picture(ROBUSTNESS / corpus / names[-1]))
    values = ", ".join(f"{NAMES[model]} {value:.3f}" for model, value in found.items() if value is not None)
    silhouettes = (
        f"Silhouette of the classes in the fused representations themselves, -1 to 1, first seed: {values}. In the "
        "order of the pictures."
    )
    seen = [silhouettes] if values else []
    seen.append("A map by t-SNE keeps neighbours and no distances, so it shows and does not prove.")
    return Section(
        "Figure 3: maps of the representations",
        "CMATH's classes lie apart more clearly than MultiDAG's.",
        seen,
        figures=names,
    )


def _picture(file: Path) -> bytes:
    """Content of a PNG file of the results.

    Raises:
        UserError: there is no such file, or it is broken.
    """
    content = read_file(file, advice=MADE_ANEW)
    if not content.startswith(PNG) or not content.endswith(PNG_END):
        raise UserError(f"{file}: is no whole PNG; {MADE_ANEW}")
    return content


def lengths(corpus: str, reader: str, rows: list[Utterance], figures: Path) -> Section:
    tested = [row for row in rows if row.split == "test"]
    groups: dict[str, set[str]] = {}
    for row, group in zip(tested, length_groups(tested, reader), strict=True):
        if row.label:  # the others are context: they count for the length, and are not scored
            groups.setdefault(group, set()).add(row.utterance_id)
    groups = dict(sorted(groups.items()))
    found = differences_by_group(RUNS / corpus / "cmath", RUNS / corpus / "multidag", groups)
    scores = {
        model: {group: _group_scores(model, corpus, group_of) for group, group_of in groups.items()}
        for model in ("cmath", "multidag")
    }
    name = "lengths.png"
    pictures.draw_lengths(scores, {group: len(part) for group, part in groups.items()}, figures / name)
    seen = [f"{group} utterances: CMATH less MultiDAG, {in_words(one)}." for group, one in found.items()]
    return Section(
        "Figure 5: length of the conversation", "CMATH is better than MultiDAG at every length.", seen, figures=[name]
    )


def _group_scores(model: str, corpus: str, utterances: set[str]) -> list[float]:
    """Weighted F1 on some utterances, one value per seed."""
    run = load(str(RUNS / corpus / model), None)
    names = sorted({*run.labels, *(said for part in run.by_seed.values() for said in part)})
    kept = [place for place, name in enumerate(run.utterances) if name in utterances]
    label = np.array([names.index(run.labels[place]) for place in kept])
    return [
        weighted_f1(confusion(label, np.array([names.index(said[place]) for place in kept]), len(names)))
        for said in run.by_seed.values()
    ]


def confusions(one: Comparison, figures: Path) -> Section:
    run = load(str(RUNS / one.corpus / "cmath"), None)
    classes = tuple(one.classes)
    if strange := {*run.labels, *(name for said in run.by_seed.values() for name in said)} - set(classes):
        raise UserError(f"{RUNS / one.corpus / 'cmath' / 'predictions.csv'}: {min(strange)!r} is none of the classes "
                        f"of its metrics.json; {MADE_ANEW}")  # fmt: skip
    label = np.array([classes.index(name) for name in run.labels])
    predictions = [np.array([classes.index(name) for name in said]) for said in run.by_seed.values()]
    name = "confusion.png"
    draw_confusion(label, predictions, classes, figures / name)
    wrong = Counter(
        (was, said) for part in run.by_seed.values() for was, said in zip(run.labels, part, strict=True) if was != said
    )
    total = sum(wrong.values())
    (was, said), count = wrong.most_common(1)[0] if wrong else (("", ""), 0)
    goal, into = Counter(pair[1] for pair in wrong.elements()).most_common(1)[0] if wrong else ("", 0)
    seen = (
        f"The most frequent mistake is {was} taken for {said} ({100 * count / total:.0f} % of all mistakes); most "
        f"mistakes fall into {goal} ({100 * into / total:.0f} %)."
        if wrong
        else "There are no mistakes."
    )
    claim = (
        "Mistakes are between like classes: angry and frustrated, happy and excited; on MELD most fall into neutral."
    )
    return Section("Figure 7: confusions of CMATH", claim, [seen], figures=[name])


@dataclass(frozen=True, slots=True)
class Damage:
    """Score of a seed of a model on a damaged test."""

    model: str
    modality: str
    kind: str
    level: float
    weighted_f1: float


def read_damages(corpus: str, report: Report) -> list[Damage]:
    """Rows of robustness.csv; none if no damage was asked for.

    Raises:
        UserError: the file is missing or broken, or lacks a model, or a damage of one.
    """
    levels = [*product(["missing"], report.robustness.missing), *product(["noise"], report.robustness.noise)]
    file = ROBUSTNESS / corpus / "robustness.csv"
    columns = ["model", "modality", "kind", "level", "weighted_f1"]

    def damage_of(line: dict[str, str]) -> Damage:
        return Damage(line["model"], line["modality"], line["kind"], float(line["level"]), float(line["weighted_f1"]))

    found = read_csv(file, columns, damage_of, MADE_ANEW)
    there = {(one.model, one.modality, one.kind, one.level) for one in found}
    modalities = {one.modality for one in found} or {"any modality"}
    for model, modality, (kind, level) in product(report.models, sorted(modalities), levels):
        if (model, modality, kind, level) not in there:
            raise UserError(f"{file}: has no row of {model} with {modality} {kind} at {level:g}; {MADE_ANEW}")
    asked = set(levels)
    return [one for one in found if one.model in report.models and (one.kind, one.level) in asked]


def robustness(damages: list[Damage], figures: Path) -> Section:
    by_setting: dict[tuple[str, str, str, float], list[float]] = {}
    for one in damages:
        by_setting.setdefault((one.model, one.modality, one.kind, one.level), []).append(one.weighted_f1)
    name = "robustness.png"
    pictures.draw_robustness(by_setting, figures / name)
    models = list(dict.fromkeys(one.model for one in damages))
    seen = []
    words = {"missing": "missing in {:.0f} % of the clips", "noise": "with noise of {:g} standard deviations"}
    for kind, what in words.items():
        levels = sorted({key[3] for key in by_setting if key[2] == kind})
        if len(levels) < 2:
            continue
        first, worst = (what.format(100 * one if kind == "missing" else one) for one in (levels[0], levels[-1]))
        instead = f", instead of {first}," if levels[0] else ","
        for modality in dict.fromkeys(one.modality for one in damages):
            means = {
                model: [np.mean(by_setting[model, modality, kind, level]) for level in (levels[0], levels[-1])]
                for model in models
            }
            change = {model: last - first for model, (first, last) in means.items()}
            low, high = (choose(change, key=lambda model: change[model]) for choose in (min, max))
            cmath = f"by {change['cmath']:+.2f} points for CMATH, " if "cmath" in change else ""
            seen.append(
                f"With {modality} {worst}{instead} weighted F1 changes {cmath}by {change[low]:+.2f} ({NAMES[low]}) to "
                f"{change[high]:+.2f} ({NAMES[high]}) among all."
            )
    return Section("Missing and noisy modalities", "", seen, figures=[name])


def calibration(one: Comparison, figures: Path) -> Section:
    shown = ["cmath", *([one.best_baseline] if one.best_baseline else [])]
    curves = {model: _reliability(RUNS / one.corpus / model / "reliability.csv") for model in shown}
    name = "calibration.png"
    pictures.draw_calibration(curves, figures / name)
    errors = {model: run["ensemble"]["calibration_error_calibrated"] for model, run in one.runs.items()}
    ranked = sorted(errors, key=lambda model: errors[model])
    cmath = one.runs["cmath"]["ensemble"]
    seen = [
        "A temperature for each seed, and one for the ensemble of the seeds (the mean of their probabilities), are "
        "fitted on validation. They change no class that is likeliest.",
        f"Expected calibration error of the ensemble: CMATH {cmath['calibration_error']:.2f} % before calibration and "
        f"{errors['cmath']:.2f} % after it, number {ranked.index('cmath') + 1} of {len(ranked)}; best is "
        f"{NAMES[ranked[0]]} ({errors[ranked[0]]:.2f} %).",
    ]
    both = ("calibration_error", "calibration_error_calibrated")
    scores = ("accuracy", "weighted_f1", "macro_f1", *both)
    head = ["", "seeds: calibration error", "calibrated", "ensemble: accuracy", "weighted F1", "macro F1",
            "calibration error", "calibrated"]  # fmt: skip
    rows = [
        [marked(NAMES[model], run), *(f"{run[key]:.2f}" for key in both),
         *(f"{run['ensemble'][key]:.2f}" for key in scores)]
        for model, run in one.runs.items()
    ]  # fmt: skip
    return Section("Calibration, and the seeds as one model", "", seen, head, rows, [name])


def _reliability(file: Path) -> dict[str, list[tuple[float, float, int]]]:
    """Confidence (percent), accuracy (percent) and count of each bin of confidence, before and after calibration."""

    def point_of(row: dict[str, str]) -> tuple[str, tuple[float, float, int]]:
        return row["calibration"], (float(row["confidence"]), float(row["accuracy"]), int(row["utterances"]))

    found: dict[str, list[tuple[float, float, int]]] = {}
    for name, point in read_csv(file, ["calibration", "confidence", "accuracy", "utterances"], point_of, MADE_ANEW):
        found.setdefault(name, []).append(point)
    for name in ("before", "after"):
        if not sum(count for _, _, count in found.get(name, [])):
            raise UserError(f"{file}: has no answers {name} calibration; {MADE_ANEW}")
    return found
