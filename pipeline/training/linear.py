"""Logistic regression on the features: the simplest model that reads them, beside which every other is shown.

It reads one utterance at a time: the standardised features of all modalities one beside the other, zeros where one is
missing, so that it has the input of a model of conversation without the conversation. It is fitted on train, and its
regularisation is chosen on validation. Classes are weighted as for the models (train.D.class_weights). What a model
scores above it is what the model, and the dialogue, add.
"""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn import __version__
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from foundation.errors import UserError
from foundation.f1 import weighted_f1_of
from foundation.files import is_file, read_file, write_whole
from foundation.identity import code_digest
from foundation.trainings import folder_of, write_about
from model.batching import NO_LABEL, Corpus
from model.identity import digest
from model.training import positions

STRENGTHS = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the L2 penalty (scikit-learn's C) of which validation chooses one, the strongest first."""
STEPS = 1000
"""Largest number of steps of the solver."""
LINEAR = "logistic_regression"
"""Its name in the scores."""
FILE = "linear.json"
"""Name of the file of a `Linear`, in models/D and in the work cache."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A fitted logistic regression, as far as its scores need it."""

    strength: float
    """The chosen C."""
    validation_weighted_f1: float
    """Percent, of the labelled utterances of validation."""
    test: list[int]
    """Predicted class of each utterance of test, in the order of `positions`; utterances without a label too."""


def linear(corpus: Corpus, classes: int, *, balanced: bool) -> Linear:
    """Fit the logistic regression on all modalities of `corpus`, or take it from the work cache; see `regression`."""
    identity = {"linear": code_digest([Path(__file__)]), "corpus": digest(corpus), "balanced": balanced,
                "sklearn": __version__}  # fmt: skip
    folder = folder_of(identity)
    if (folder / FILE).is_file():
        return read_linear(folder, len(positions(corpus, "test")))
    probabilities, strength, score = regression(corpus, sorted(corpus.features), classes, balanced=balanced)
    found = Linear(strength, round(score, 2), probabilities.argmax(1).tolist())
    write_about(folder, what="logistic regression")
    write_linear(found, folder)
    return found


def regression(
    corpus: Corpus, modalities: list[str], classes: int, *, balanced: bool
) -> tuple[np.ndarray, float, float]:
    """Fit logistic regressions on train, and choose one on validation.

    Args:
        balanced: weight the classes by their inverse frequency in train.

    Returns:
        Probabilities of test [utterances, C] in the order of `positions`; the strength that was chosen, the strongest
        regularisation of equal ones; and its weighted F1 on validation, percent.
    """
    joined = torch.cat([corpus.features[name] for name in modalities], dim=1).double().cpu().numpy()
    at = {split: positions(corpus, split).numpy() for split in ("train", "validation", "test")}
    known = {split: places[corpus.label[places].numpy() != NO_LABEL] for split, places in at.items()}
    label = {split: corpus.label[places].numpy() for split, places in known.items()}
    probabilities = np.zeros((len(at["test"]), classes))
    if len(only := np.unique(label["train"])) == 1:  # scikit-learn refuses it; there is only one answer
        probabilities[:, only[0]] = 1.0
        return probabilities, STRENGTHS[0], _score(label["validation"], np.full(len(label["validation"]), only[0]))
    best = -1.0, STRENGTHS[0]
    model = LogisticRegression(max_iter=STEPS, warm_start=True, class_weight="balanced" if balanced else None)
    # One thread, or the last bits would depend on the machine.
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a weak penalty needs more steps, and validation avoids it
        for strength in STRENGTHS:  # each begins at the solution for the stronger penalty before, which is near
            model.set_params(C=strength).fit(joined[known["train"]], label["train"])
            score = (
                _score(label["validation"], model.predict(joined[known["validation"]]))
                if len(label["validation"])
                else 0.0
            )
            if score > best[0]:
                best = score, strength
                if len(at["test"]):
                    probabilities[:, model.classes_] = model.predict_proba(joined[at["test"]])
    return probabilities, best[1], best[0]


def _score(label: np.ndarray, said: np.ndarray) -> float:
    return weighted_f1_of(label, said) if len(label) else 0.0


def write_linear(found: Linear, folder: Path) -> None:
    write_whole(folder / FILE, json.dumps(asdict(found)) + "\n")


def read_linear(folder: Path, utterances: int) -> Linear:
    """Read what `write_linear` wrote, for a test split of so many `utterances`.

    Raises:
        UserError: it is missing, broken, or of another test split.
    """
    file = folder / FILE
    if not is_file(file):
        raise UserError(f"{file}: no such file; `dvc repro` makes it")
    try:
        found = Linear(**json.loads(read_file(file)))
        if len(found.test) != utterances or not all(type(said) is int for said in found.test):
            raise ValueError(f"does not have {utterances} predictions")
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{file}: cannot be used ({error}); `dvc repro` makes it anew") from None
    return found
