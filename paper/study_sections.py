"""Sections of the report on the studies of CMATH: each of its settings beside the whole model."""

from pathlib import Path

import numpy as np

from foundation.errors import UserError
from paper import pictures
from paper.model_table import RUNS, Comparison, marked, read_run, spread
from paper.params import Report
from paper.published import published_study
from paper.results_file import MADE_ANEW, NUMBER
from paper.section import Section
from paper.significance import beyond_chance, differences, in_words, once_in_words
from paper.studies import settings
from pipeline.params import MODALITIES

STUDIES = Path("paper/studies")
OF_SETTING = dict.fromkeys(("accuracy", "accuracy_std", "weighted_f1", "weighted_f1_std", "validation.weighted_f1"),
                           NUMBER)  # fmt: skip
"""What the tables take from the metrics.json of a setting of a study."""
OF_ENCODER = dict.fromkeys(("accuracy", "weighted_f1", "validation_weighted_f1"), NUMBER)
"""What they take from that of the text encoder alone."""


def folders_of(corpus: str, study: str, report: Report, present: set[str]) -> dict[str, Path]:
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
        "CMATH with all its modalities less the fine-tuned encoder alone: "
        f"{once_in_words(against['alone'])}. The encoder has no seeds, so nothing can be said over them.",
    ]
    head = ["", "accuracy", "weighted F1", "on validation", "CMATH, fine-tuned, less this", "p over seeds",
            "p over utterances"]  # fmt: skip
    return Section("Text encoder: as published and fine-tuned", "", seen, head, rows)


def _scores(run: dict) -> tuple[str, str]:
    return spread(run, "accuracy"), spread(run, "weighted_f1")
