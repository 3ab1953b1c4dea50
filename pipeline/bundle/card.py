"""The model card of a bundle, in the form of the Hugging Face hub: metadata in YAML, and sections in Markdown.

Numbers come from results/D/scores.json and results/D/corpus.json. No note of them, which may name files, goes into the
card. A score that is not there is left out.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from foundation.errors import UserError
from foundation.files import is_file, read_file
from pipeline.bundle import DENSEFACE, NAME, Bundle
from pipeline.params import MODALITIES

LIBRARY = "cmath-erc"
SCORES, CENSUS = "scores.json", "corpus.json"
READ = {"text": "the words", "audio": "the voice", "visual": "the face"}
"""What the model reads of an utterance, by modality."""
SPLITS = ("train", "validation", "test")
COLUMNS = {"mean": "each network alone", "ensemble": "all together, as they predict", "majority": "majority class",
           "logistic_regression": "logistic regression"}  # fmt: skip
"""Columns of the table of scores; one without any number is left out."""
OF_GROUP = {"weighted_f1": "weighted F1", "majority": "majority class", "logistic_regression": "logistic regression"}
"""Columns of the table by modalities: weighted F1 of each."""
SHOWN = {
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "calibration_error": "calibration error",
    "calibration_error_calibrated": "calibration error, calibrated",
}
"""Scores of the table, by their names in scores.json."""
METRICS = {"accuracy": "accuracy", "weighted_f1": "f1", "macro_f1": "f1"}
"""Scores of the metadata, with the hub's names for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardOptions:
    """What the user says of a model that its bundle does not know."""

    licence: str = ""
    """Name of the licence on the hub, such as mit or cc-by-nc-4.0."""
    languages: tuple[str, ...] = ()
    """Codes of ISO 639 of the languages that the corpus speaks."""
    words: str = ""
    """The user's own text: a whole card, if it begins with metadata, else in the place of the free sections."""


def results_of(bundle: Bundle) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Scores and census of a bundle in models/D, from results/D beside it, and what of them was not found and why."""
    found: dict[str, dict[str, Any]] = {SCORES: {}, CENSUS: {}}
    missing = []
    home = bundle.folder.absolute()
    results = home.parents[2] / "results" / home.parent.name if home.name == NAME and len(home.parents) > 2 else None
    for name in found:
        if not results or not is_file(results / name):
            missing.append(f"{results / name}: no such file" if results else f"no {name}, which is looked for in "
                           "results/D beside models/D, where the model does not lie")  # fmt: skip
            continue
        try:
            content = json.loads(read_file(results / name))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{results / name}: cannot be read ({error}); `dvc repro` makes it anew") from None
        of = _at(content, "f1") if name == SCORES else _at(content, "splits", "train", "labels")
        if not isinstance(of, dict) or set(of) != set(bundle.labels):
            missing.append(f"{results / name} is of other labels than the model")
            continue
        found[name] = content
    return found[SCORES], found[CENSUS], missing


def card_of(bundle: Bundle, address: str, scores: dict[str, Any], census: dict[str, Any], options: CardOptions) -> str:
    """Write the card of `bundle`, which is published under `address`.

    Raises:
        UserError: the user's own text is a card whose metadata cannot be read.
    """
    from huggingface_hub import ModelCard

    if options.words.lstrip().startswith("---"):
        try:
            return str(ModelCard(options.words))
        except Exception as error:  # of YAML, and of what the hub's client makes of it
            raise UserError(f"--card: its metadata cannot be read ({' '.join(str(error).split())})") from None
    head = _metadata(bundle, scores, options).to_yaml()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    body = environment.get_template("card.md.jinja").render(
        corpus=_plain(bundle.corpus),
        synthetic=bundle.synthetic,
        model=bundle.model,
        labels=[_plain(label) for label in bundle.labels],
        read=[READ[name] for name in _modalities(bundle)],
        seeds=bundle.seeds,
        roles=bundle.roles,
        address=address,
        absent=_absent(bundle),
        splits=_splits(bundle, census),
        **_tables(bundle, scores),
        made=json.dumps({"config": bundle.config, "origins": bundle.origins}, indent=2),
        words=options.words.strip(),
    )
    return str(ModelCard(f"---\n{head}\n---\n\n{body}"))


def _metadata(bundle: Bundle, scores: dict[str, Any], options: CardOptions) -> Any:
    """Metadata of the card: a ModelCardData of huggingface_hub."""
    from huggingface_hub import EvalResult, ModelCardData

    modalities = _modalities(bundle)
    task = next(f"{kind}-classification" for name, kind in
                (("visual", "video"), ("audio", "audio"), ("text", "text")) if name in modalities)  # fmt: skip
    best = _at(scores, "ensemble") or scores
    results = [
        EvalResult(task_type=task, dataset_type=bundle.corpus, dataset_name=bundle.corpus, dataset_split="test",
                   metric_type=kind, metric_name=SHOWN[name], metric_value=value)
        for name, kind in METRICS.items() if (value := _number(best, name)) is not None
    ]  # fmt: skip
    return ModelCardData(
        license=options.licence or None,
        language=list(options.languages) or None,
        library_name=LIBRARY,
        pipeline_tag=task,
        tags=["emotion-recognition", "emotion-recognition-in-conversation", bundle.model, *modalities],
        model_name=f"{bundle.model} of {bundle.corpus}",
        eval_results=results or None,
    )


def _modalities(bundle: Bundle) -> list[str]:
    return [name for name in MODALITIES if name in bundle.config["dims"]]


def _absent(bundle: Bundle) -> list[dict[str, str]]:
    """Encoders that the bundle names and that come neither with it nor with the project."""
    named = {"text": "" if bundle.fine_tuned else bundle.text_encoder, "audio": bundle.audio_encoder,
             "visual": bundle.visual_encoder}  # fmt: skip
    own = ("", "minilm", "opensmile", DENSEFACE)
    return [{"modality": modality, "name": _plain(name)} for modality, name in named.items() if name not in own]


def _splits(bundle: Bundle, census: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table of splits: dialogues, utterances and utterances of each label."""
    rows = []
    for name in SPLITS:
        split = _at(census, "splits", name)
        if split:
            counts = [_at(split, "labels", label) or 0 for label in bundle.labels]
            rows.append({"name": name, "dialogues": _at(split, "dialogues"), "utterances": _at(split, "utterances"),
                         "counts": counts})  # fmt: skip
    return rows


def _tables(bundle: Bundle, scores: dict[str, Any]) -> dict[str, Any]:
    """Tables of the section of scores, all empty where there are none."""
    of = {"mean": scores, **{name: _at(scores, name) for name in COLUMNS if name != "mean"}}
    columns = [name for name in COLUMNS if any(_number(of[name], score) is not None for score in SHOWN)]
    rows = []
    for score, words in SHOWN.items():
        values = {name: _number(of[name], score) for name in columns}
        if any(value is not None for value in values.values()):
            spread = _number(scores, f"{score}_std")
            cells = ["-" if value is None else f"{value:.2f}" + (f" ± {spread:.2f}" if name == "mean" and spread
                     is not None else "") for name, value in values.items()]  # fmt: skip
            rows.append({"name": words, "cells": cells})
    remarks = []
    low, high = _number(scores, "weighted_f1_low"), _number(scores, "weighted_f1_high")
    if low is not None and high is not None:
        remarks.append(f"Another draw of the test utterances would give a weighted F1 between {low:.2f} and "
                       f"{high:.2f} (95 % of bootstrap samples).")  # fmt: skip
    remarks += [f"**Not a fair score: {_plain(str(mark))}**" for mark in _at(scores, "seen") or []]
    f1 = _at(scores, "ensemble", "f1") or _at(scores, "f1") or {}
    classes = [{"name": _plain(label), "value": f"{value:.2f}"} for label in bundle.labels
               if (value := _number(f1, label)) is not None]  # fmt: skip
    groups = [
        {"name": _plain(name).replace("+", " + "), "utterances": _at(group, "utterances"),
         "cells": ["-" if (value := _number(group, of_column)) is None else f"{value:.2f}" for of_column in OF_GROUP]}
        for name, group in (_at(scores, "by_modalities") or {}).items()
        if _number(group, "weighted_f1") is not None
    ]  # fmt: skip
    return {"scores": rows, "columns": [COLUMNS[name] for name in columns], "remarks": remarks, "classes": classes,
            "groups": groups, "of_group": list(OF_GROUP.values())}  # fmt: skip


def _at(content: Any, *names: str) -> Any:
    """What stands in `content` under these names, one in another; None where one of them is not there."""
    for name in names:
        content = content.get(name) if isinstance(content, dict) else None
    return content


def _number(content: Any, name: str) -> float | None:
    value = _at(content, name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _plain(text: str) -> str:
    """A text from outside as it may stand in a table or a paragraph of Markdown, where it is nothing but a text."""
    words = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in r"\`*_[]<>|#" else sign for sign in words)
