"""finetune_text@D: the text encoder, trained on single utterances of train, to data/D/encoder/text.

Only where text.D.finetune is true; else a note there says that the encoder is used as published. The epoch is chosen on
validation. With text.D.crossfit: K there are K encoders, each trained without a K-th of train's dialogues, which later
get their features from it. A run that was killed goes on where it was; the work cache keeps what was once trained.

What the encoder alone says of validation and test is written unseen to data/D/encoder/text_guesses.csv; `evaluate`
scores it.
"""

import argparse
import csv
import json
import os
import random
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.corpora.labels import labels
from pipeline.params import Params, Recipe, TextOf
from pipeline.stage import StageError, cache_folder, log, parser, start
from pipeline.utterances import Utterance, read_index

if TYPE_CHECKING:
    from extractors.text_training import Labelled

CHECKPOINT_SECONDS = float(os.environ.get("CMATH_CHECKPOINT_SECONDS", "300"))
"""Between two checkpoints, which are thrice as large as the encoder: what a kill may cost."""


def run(args: argparse.Namespace, params: Params) -> None:
    settings = params.text[args.corpus]
    folder = Path("data") / args.corpus / "encoder" / "text"
    shutil.rmtree(folder, ignore_errors=True)
    if settings.finetune:
        rows = read_index(Path("data") / args.corpus / "index.csv")
        order = labels(args.corpus, [row.label for row in rows])
        finetune(rows, order, settings, params.recipe(args.corpus), folder)
    else:
        log.info("text: the encoder is used as published: text.%s.finetune is false", args.corpus)
        write_card({"fine_tuned": False}, folder)
        write_guesses([], [], (), folder)


def finetune(rows: list[Utterance], order: tuple[str, ...], settings: TextOf, recipe: Recipe, folder: Path) -> None:
    """Train the encoders, or take them from the work cache, and write them, their card and guesses to `folder`."""
    # Imported only here: with nothing to do, the stage should take no longer than a moment.
    import torch

    from extractors import text_training
    from extractors.device import device
    from extractors.encoder_folders import encoder_folder
    from extractors.result import ExtractorError

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(True)
    train, validation, judged = parts_of(rows)
    folds = folds_of(train, settings.crossfit, recipe.seed)
    shares = torch.zeros(len(judged), len(order))
    fits = []
    for number in range(settings.crossfit):
        data, chosen_on = lesson(train, validation, order, folds, number)
        if not data.texts or not chosen_on.texts:
            raise StageError("text's `finetune` in params.yaml is true, but there is no text to train on, or none to "
                             "choose the epoch on; set it to false")  # fmt: skip
        log.info("text: encoder %d of %d, %s, on %d utterances, on %s",
                 number + 1, settings.crossfit, settings.model, len(data.texts), device())  # fmt: skip
        try:
            published = encoder_folder(settings.model)
            what = text_training.identity(published, settings, recipe, data, chosen_on, len(order), device())
            work = cache_folder() / "finetune_text" / what
            fits.append(
                text_training.train(published, settings, recipe, data, chosen_on, len(order), device(), work,
                                    CHECKPOINT_SECONDS, log.info)
            )  # fmt: skip
            shutil.copytree(work, folder / str(number), ignore=shutil.ignore_patterns(text_training.FIT))
            classifier = text_training.load(folder / str(number), settings, device())
        except ExtractorError as error:
            raise StageError(str(error)) from None
        shares += text_training.probabilities(classifier, [row.text for row in judged]) / settings.crossfit
    for number, fit in enumerate(fits):
        log.info("text: encoder %d of %d: best of %d epochs is %d, validation weighted F1 %.2f",
                 number + 1, len(fits), len(fit.history), fit.best_epoch, fit.best_score)  # fmt: skip
    write_card({"fine_tuned": True, "encoders": [asdict(fit) for fit in fits], "folds": folds}, folder)
    write_guesses(judged, shares.tolist(), order, folder)


def parts_of(rows: list[Utterance]) -> tuple[list[Utterance], list[Utterance], list[Utterance]]:
    """Train, validation, and what a trained encoder judges: all but train."""
    train, validation = ([row for row in rows if row.split == split] for split in ("train", "validation"))
    return train, validation, [row for row in rows if row.split != "train"]


def lesson(
    train: list[Utterance],
    validation: list[Utterance],
    order: tuple[str, ...],
    folds: dict[str, int],
    number: int,
) -> "tuple[Labelled, Labelled]":
    """What the encoder `number` is trained on, and what its epoch is chosen on."""
    from extractors.text_training import Labelled

    others = [row for row in train if folds.get(row.dialogue_id) != number]
    spoken = ([row for row in part if row.text.strip()] for part in (others, validation))
    data, chosen_on = (
        Labelled([row.text for row in part], [order.index(row.label) for row in part]) for part in spoken
    )
    return data, chosen_on


def folds_of(train: list[Utterance], number: int, seed: int) -> dict[str, int]:
    """The fold of each of train's dialogues, 0 to `number` - 1, at random by `seed`; none of a single fold."""
    if number == 1:
        return {}
    dialogues = list(dict.fromkeys(row.dialogue_id for row in train))
    if number > len(dialogues):
        raise StageError(f"text's `crossfit` in params.yaml is {number}, but train has only {len(dialogues)} dialogues")
    random.Random(seed).shuffle(dialogues)
    return {dialogue: place % number for place, dialogue in enumerate(dialogues)}


def write_card(content: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "encoder.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")


def write_guesses(rows: list[Utterance], shares: list[list[float]], order: tuple[str, ...], folder: Path) -> None:
    """A row an utterance of validation and test: a probability a class, by the encoder and its head alone."""
    with folder.with_name("text_guesses.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["utterance_id", *order])
        for row, shares_of_row in zip(rows, shares, strict=True):
            writer.writerow([row.utterance_id, *(f"{share:.6f}" for share in shares_of_row)])


if __name__ == "__main__":
    start(run, parser(__doc__))
