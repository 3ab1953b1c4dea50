"""Fine-tuning of a corpus' text encoders: their training dialogues, and their predictions of the other splits."""

import csv
import json
import random
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from extractors.settings import ContextSettings, FineTuningRecipe, TextSettings
from extractors.text.window import windows_of
from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.files import HALVES, open_whole, write_whole
from foundation.log import log
from foundation.trainings import ABOUT, folder_of, write_about

if TYPE_CHECKING:
    from extractors.training.text_training import Labelled

CHECKPOINT_SECONDS = 300.0
"""Seconds between two checkpoints, the most that a kill can lose, unless the environment says otherwise; a checkpoint
has three times the encoder's size."""


def finetune(
    rows: list[Utterance], order: tuple[str, ...], settings: TextSettings, recipe: FineTuningRecipe, folder: Path
) -> None:
    """Fine-tune the encoders, or take them from the work cache; write them, their card and predictions to `folder`."""
    # Imported here, so that the stage is fast when nothing is to be fine-tuned.
    import torch

    from extractors.text.folders import encoder_folder
    from extractors.training import text_training
    from foundation.checkpoint import checkpoint_seconds
    from foundation.device import device
    from foundation.torch_setup import prepare_torch

    prepare_torch()
    train, validation, held_out = parts_of(rows)
    folds = folds_of(train, settings.crossfit, recipe.seed)
    shares = torch.zeros(len(held_out), len(order))
    fits = []
    for number in range(settings.crossfit):
        data, chosen_on = training_data(train, validation, order, folds, number, settings.context)
        if not data.windows or not chosen_on.windows:
            raise UserError("text's `finetune` in params.yaml is true, but there is no text to train on, or none to "
                            "choose the epoch on; set it to false")  # fmt: skip
        log.info("text: encoder %d of %d, %s, on %d utterances, on %s",
                 number + 1, settings.crossfit, settings.model, len(data.windows), device())  # fmt: skip
        published = encoder_folder(settings.model)
        what = text_training.identity(published, settings, recipe, data, chosen_on, len(order), device())
        work = folder_of(what)
        write_about(work, what=f"text encoder {settings.model}")
        fits.append(
            text_training.train(published, settings, recipe, data, chosen_on, len(order), device(), work,
                                checkpoint_seconds(CHECKPOINT_SECONDS), log.info)
        )  # fmt: skip
        # A fine-tuning that was killed between its last two steps has left its checkpoint beside its record.
        (work / text_training.STATE).unlink(missing_ok=True)
        shutil.copytree(work, folder / str(number), ignore=shutil.ignore_patterns(text_training.FIT, ABOUT, HALVES))
        classifier = text_training.load(folder / str(number), settings, device())
        shares += text_training.probabilities(classifier, windows_of(held_out, settings.context)) / settings.crossfit
    for number, fit in enumerate(fits):
        log.info("text: encoder %d of %d: %d epochs, of which epoch %d is the best on validation (weighted F1 %.2f)",
                 number + 1, len(fits), len(fit.history), fit.best_epoch, fit.best_score)  # fmt: skip
    write_card({"fine_tuned": True, "encoders": [asdict(fit) for fit in fits], "folds": folds}, folder)
    write_text_predictions(held_out, shares.tolist(), order, folder)


def parts_of(rows: list[Utterance]) -> tuple[list[Utterance], list[Utterance], list[Utterance]]:
    """Split into train, validation, and the utterances that a trained encoder predicts: all except train."""
    train, validation = ([row for row in rows if row.split == split] for split in ("train", "validation"))
    return train, validation, [row for row in rows if row.split != "train"]


def training_data(
    train: list[Utterance],
    validation: list[Utterance],
    order: tuple[str, ...],
    folds: dict[str, int],
    number: int,
    context: ContextSettings,
) -> "tuple[Labelled, Labelled]":
    """Training data of encoder `number`, and the validation data on which its epoch is chosen.

    Turns without a label are not among them, but other utterances are read with them.
    """
    from extractors.training.text_training import Labelled

    others = [row for row in train if folds.get(row.dialogue_id) != number]

    def labelled(rows: list[Utterance]) -> Labelled:
        both = [
            (window, order.index(row.label))
            for row, window in zip(rows, windows_of(rows, context), strict=True)
            if row.text.strip() and row.label
        ]
        return Labelled([window for window, _ in both], [label for _, label in both])

    return labelled(others), labelled(validation)


def folds_of(train: list[Utterance], number: int, seed: int) -> dict[str, int]:
    """Random fold, 0 to `number` - 1, of each train dialogue, drawn from `seed`; empty if `number` is 1."""
    if number == 1:
        return {}
    dialogues = list(dict.fromkeys(row.dialogue_id for row in train))
    if number > len(dialogues):
        raise UserError(f"text's `crossfit` in params.yaml is {number}, but train has only {len(dialogues)} dialogues")
    random.Random(seed).shuffle(dialogues)
    return {dialogue: place % number for place, dialogue in enumerate(dialogues)}


def write_card(content: dict, folder: Path) -> None:
    write_whole(folder / "encoder.json", json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_text_predictions(
    rows: list[Utterance], shares: list[list[float]], order: tuple[str, ...], folder: Path
) -> None:
    """Write one row per utterance of validation and test: the class probabilities of the encoder and its head alone."""
    with open_whole(folder.with_name("text_predictions.csv")) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["utterance_id", *order])
        for row, shares_of_row in zip(rows, shares, strict=True):
            writer.writerow([row.utterance_id, *(f"{share:.6f}" for share in shares_of_row)])
