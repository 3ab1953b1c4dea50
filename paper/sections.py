"""Sections of the report for one corpus.

Most sections belong to one table or figure of the paper. They have the paper's claim, and sentences generated from our
results.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np

from extractors.utterance import Utterance
from foundation.csv_file import read_csv
from foundation.errors import UserError
from foundation.f1 import confusion, weighted_f1
from foundation.files import read_file
from paper import model_table, pictures
from paper.model_table import PLAIN, RUNS, SIGN, Comparison, counts, marked, plain_name, read_run, spread, unfair
from paper.names import NAMES
from paper.overlap import Overlap
from paper.overlap import sentences as overlap_sentences
from paper.overlap import table as overlap_table
from paper.params import Report
from paper.published import published_statistics, published_study
from paper.results_file import MADE_ANEW, NUMBER, NUMBER_OR_NULL, read_results, required
from paper.significance import beyond_chance, differences, differences_by_group, in_words, once_in_words
from paper.studies import STUDIES as ALL_STUDIES
from paper.studies import settings
from pipeline.corpora.index_file import SPLITS, read_index
from pipeline.corpora.labels import labels
from pipeline.params import MODALITIES
from pipeline.scoring.comparison import load
from pipeline.scoring.lengths import length_groups
from pipeline.scoring.pictures import draw_confusion

STUDIES = Path("paper/studies")
ROBUSTNESS = Path("paper/robustness")
OF_SETTING = dict.fromkeys(("accuracy", "accuracy_std", "weighted_f1", "weighted_f1_std", "validation.weighted_f1"),
                           NUMBER)  # fmt: skip
"""What the tables take from the metrics.json of a setting of a study."""
OF_ENCODER = dict.fromkeys(("accuracy", "weighted_f1", "validation_weighted_f1"), NUMBER)
"""What they take from that of the text encoder alone."""
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
"""Begin and end of every whole PNG file."""


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    claim: str
    """Claim of the paper; empty if the section is not from the paper."""
    seen: list[str]
    """Sentences about our results."""
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    """Names of PNG files in the report's folder `figures`."""


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
    studies = {study: _folders(corpus, study, report, present) for study in ALL_STUDIES}
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
    return Section("What the search chose, and CMATH less each model", "", [model_table.edges(one), holm], head, rows)


def known_of_train(one: Comparison, rows: list[Utterance]) -> Section:
    overlap = Overlap.of(rows)
    runs = {marked(NAMES[model], run): RUNS / one.corpus / model for model, run in one.runs.items()}
    runs |= {marked(plain_name(name, run), run): PLAIN / one.corpus / name for name, run in one.plain.items()}
    head, table = overlap_table(overlap, runs)
    return Section("What test knows of train", "", overlap_sentences(overlap), head, table)


def ablations(one: Comparison, folders: dict[str, Path]) -> Section:
    names = {
        "mr": "without modality reconstruction",
        "cma_t": "without the CMA-Transformer",
        "lld": "without low-level distillation",
        "hld": "without high-level distillation",
        "hd": "without any distillation",
    }
    against, head, rows = _against(one, folders, "ablations", names)
    worst = max(against, key=lambda name: against[name]["difference"])
    sure = [names[name] for name, found in against.items() if found["difference"] > 0 and beyond_chance(found)]
    seen = [
        f"Beyond chance CMATH is better than {len(sure)} of {len(against)} variants"
        + (f": {', '.join(sure)}." if sure else "."),
        f"Furthest behind CMATH is the model {names[worst]}: CMATH less that, {in_words(against[worst])}.",
    ]
    return Section("Table 4: ablations", "Every part helps: CMATH is better than each variant.", seen, head, rows)


def modality_sets(one: Comparison, folders: dict[str, Path]) -> Section:
    against, head, rows = _against(one, folders, "modalities", {})
    scores = {name: found["b"] for name, found in against.items()}
    best = max(scores, key=lambda name: scores[name])
    single = [name for name in scores if "+" not in name]
    seen = [
        f"The best set but the whole is {best.replace('+', ' + ')} ({scores[best]:.2f}); "
        f"the whole less that: {in_words(against[best])}."
    ]
    if len(single) > 1:
        ranked = sorted(single, key=lambda name: -scores[name])
        seen.append(f"Alone, {', then '.join(f'{name} ({scores[name]:.2f})' for name in ranked)}.")
    claim = "Text tells most and the visual modality least; all three together are best."
    return Section("Table 5: modality sets", claim, seen, head, rows)


def _against(
    one: Comparison, folders: dict[str, Path], study: str, names: dict[str, str]
) -> tuple[dict, list[str], list[list[str]]]:
    """Differences between CMATH and each setting of a study, and a table of them with the paper's values."""
    runs = {name: read_run(folder, OF_SETTING) for name, folder in folders.items()}
    against = differences(RUNS / one.corpus / "cmath", folders)
    number, printed = published_study(study, one.printed)
    head = ["", "accuracy", "weighted F1", "CMATH less this", "p over seeds", "p over utterances"]
    if printed:
        head += [f"paper, Table {number}: accuracy", "weighted F1"]
    whole = one.published.get("cmath", {})
    rows = [[marked("CMATH", one.runs["cmath"]), *_scores(one.runs["cmath"]), "", "", ""]]
    rows[0] += [f"{whole['accuracy']:.2f}", f"{whole['weighted_f1']:.2f}"] if printed else []
    for name, run in runs.items():
        named = marked(names.get(name, name.replace("+", " + ")), run)
        rows.append([named, *_scores(run), *_tested(against[name])])
        rows[-1] += [f"{value:.2f}" for value in printed.get(name, [])]
    return against, head, rows


def _tested(found: dict) -> tuple[str, str, str]:
    """Format a difference and its p-values over seeds and over utterances as table cells."""
    p_seeds = "-" if found["p_seeds_holm"] is None else f"{found['p_seeds_holm']:.4f}"
    return f"{found['difference']:+.2f}", p_seeds, f"{found['p_utterances_holm']:.4f}"


def _folders(corpus: str, study: str, report: Report, present: set[str]) -> dict[str, Path]:
    """Folders of a study's settings. There may be none: its list may be empty, and one modality has no smaller sets.

    Args:
        present: modalities of the corpus; empty if they are not known, and then what was not trained is left out.

    Raises:
        UserError: the study, or one of its settings, was not trained.
    """
    home = STUDIES / corpus / study
    if not home.is_dir():
        raise UserError(f"{home}: has no results; {MADE_ANEW}")
    named = {name: home / name for name in settings(study, corpus, report, present or set(MODALITIES))}
    lacking = [name for name, folder in named.items() if not (folder / "metrics.json").is_file()]
    if lacking and not present and study in ("modalities", "text"):
        return {name: folder for name, folder in named.items() if name not in lacking}
    if lacking:
        raise UserError(f"{home / lacking[0]}: has no results, and report.studies.{study} of paper/params.yaml asks "
                        f"for the setting {lacking[0]}; {MADE_ANEW}")  # fmt: skip
    return named


def _scores(run: dict) -> tuple[str, str]:
    return spread(run, "accuracy"), spread(run, "weighted_f1")


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
    seen = (
        f"Silhouette of the classes in the fused representations themselves, -1 to 1, first seed: {values}. In the "
        "order of the pictures; a map by t-SNE keeps neighbours and no distances, so it shows and does not prove."
    )
    return Section(
        "Figure 3: maps of the representations",
        "CMATH's classes lie apart more clearly than MultiDAG's.",
        [seen],
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


def widths(one: Comparison, folders: dict[str, Path], figures: Path) -> Section:
    runs = {int(name): read_run(folder, OF_SETTING) for name, folder in folders.items()}
    name = "widths.png"
    pictures.draw_widths(runs, figures / name)
    ranked = sorted(runs, key=lambda width: runs[width]["weighted_f1"])
    rows = [
        [marked(str(width), run), *_scores(run), f"{run['validation']['weighted_f1']:.2f}"]
        for width, run in runs.items()
    ]
    seen = f"Best on test is {ranked[-1]} ({spread(runs[ranked[-1]], 'weighted_f1')})"
    if len(ranked) > 1:
        others = {str(width): folders[str(width)] for width in ranked[:-1]}
        against = differences(folders[str(ranked[-1])], others)
        seen += f"; less the worst, {ranked[0]}: {in_words(against[str(ranked[0])])}"
    claim = "Weighted F1 rises up to a width of 400 (MELD) or 500 (IEMOCAP) and falls beyond."
    return Section(
        "Figure 4: width", claim, [f"{seen}."], ["width d", "accuracy", "weighted F1", "on validation"], rows, [name]
    )


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


def gammas(one: Comparison, folders: dict[str, Path], report: Report, figures: Path) -> Section:
    values = report.studies.gammas
    runs = {name: read_run(folder, OF_SETTING) for name, folder in folders.items()}
    scores, deviations = (
        np.array([[runs[f"{first:g}-{second:g}"][key] for second in values] for first in values])
        for key in ("weighted_f1", "weighted_f1_std")
    )
    name = "gammas.png"
    several = len(report.studies.gamma_seeds) > 1
    pictures.draw_gammas(scores, deviations if several else None, values, figures / name)
    first, second = np.unravel_index(scores.argmax(), scores.shape)
    span, between = scores.max() - scores.min(), one.runs["cmath"]["weighted_f1_std"]
    seen = (
        f"Best on test is gamma1 = {values[first]:g}, gamma2 = {values[second]:g} ({scores.max():.2f}); best and worst "
        f"of the {scores.size} lie {span:.2f} points apart, where the seeds of one setting deviate by {between:.2f}; "
        f"seeds a setting: {len(report.studies.gamma_seeds)}."
    )
    claim = "Best with gamma1 = 1.0 and gamma2 = 1.8 (IEMOCAP) or 1.2 (MELD); high-level distillation matters more."
    return Section("Figure 6: weights of the distillations", claim, [seen], figures=[name])


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


def text_encoder(one: Comparison) -> Section:
    """Compare CMATH on features of the fine-tuned and the published encoder, and the fine-tuned encoder alone."""
    home = STUDIES / one.corpus / "text"
    others = {"frozen": home / "frozen", "alone": home / "encoder"}
    tuned, frozen = (read_run(home / name, OF_SETTING) for name in ("fine-tuned", "frozen"))
    alone = read_run(others["alone"], OF_ENCODER)
    against = differences(home / "fine-tuned", others)
    rows = [
        [marked("CMATH, encoder fine-tuned", tuned), *_scores(tuned), f"{tuned['validation']['weighted_f1']:.2f}",
         "", "", ""],
        [marked("CMATH, encoder as published", frozen), *_scores(frozen), f"{frozen['validation']['weighted_f1']:.2f}",
         *_tested(against["frozen"])],
        [marked("fine-tuned encoder alone", alone), f"{alone['accuracy']:.2f}", f"{alone['weighted_f1']:.2f}",
         f"{alone['validation_weighted_f1']:.2f}", *_tested(against["alone"])],
    ]  # fmt: skip
    seen = [
        f"Fine-tuning the encoder on train changes CMATH by {in_words(against['frozen'])}.",
        "CMATH with all its modalities less the fine-tuned encoder alone, which sees one utterance at a time: "
        f"{once_in_words(against['alone'])}. The encoder is one training, so that nothing can be said over seeds.",
    ]
    head = ["", "accuracy", "weighted F1", "on validation", "CMATH, fine-tuned, less this", "p over seeds",
            "p over utterances"]  # fmt: skip
    return Section("Text encoder: as published and fine-tuned", "", seen, head, rows)


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
        worst = what.format(100 * levels[-1] if kind == "missing" else levels[-1])
        for modality in dict.fromkeys(one.modality for one in damages):
            means = {
                model: [np.mean(by_setting[model, modality, kind, level]) for level in (levels[0], levels[-1])]
                for model in models
            }
            change = {model: last - first for model, (first, last) in means.items()}
            low, high = (choose(change, key=lambda model: change[model]) for choose in (min, max))
            cmath = f"by {change['cmath']:+.2f} points for CMATH, " if "cmath" in change else ""
            seen.append(
                f"With {modality} {worst}, weighted F1 changes {cmath}by {change[low]:+.2f} ({NAMES[low]}) to "
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
