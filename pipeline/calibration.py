"""From the networks' softmax to what is said: calibrated probabilities, the predicted class, and how sure is sure.

Everything is fitted on validation, when the weights are trained, and is kept in the bundle. Train, evaluate, prediction
and the paper's pipeline all go through `Calibration`:

1. **Temperature** (Guo et al., On Calibration of Modern Neural Networks, ICML 2017): p ** (1 / T), normalised. This is
   the softmax of the logits divided by T. Each seed has its own T. The ensemble is the mean of the seeds' softmax, and
   has a T too. A temperature changes no order of the classes.
2. **Decision**: `likeliest` takes the class of the highest probability. `balanced` is post-hoc logit adjustment (Menon
   et al., Long-Tail Learning via Logit Adjustment, ICLR 2021): the class with the highest log p - tau * log(prior),
   where prior is its share of train's labels. It is for classes so rare that they are never the likeliest. The
   probabilities stay as they are.
3. **Confidence**: the calibrated probability of the predicted class. `coverage` says how many utterances of validation
   are left above a threshold of confidence, and how many of these are wrong (the risk).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import model_validator
from scipy.optimize import minimize_scalar

from foundation.device import device
from foundation.f1 import class_f1, confusion
from foundation.log import log
from foundation.settings import NotNegative, Positive, Settings, Share
from model.batching import NO_LABEL, Corpus
from model.interface import ErcModel
from model.settings import Decision
from model.training import positions, predict

LOWEST, HIGHEST = 0.05, 20.0
"""Temperatures between which the best one is searched."""
TAUS = tuple(step / 10 for step in range(16))
"""Strengths of the adjustment that are tried, from 0 (none) beyond 1, which is best for the mean recall of the classes
if the probabilities are right."""
STEPS = 20
"""Number of rows of the table of coverage and risk."""
TINY = np.finfo(np.float64).tiny


class Kept(Settings):
    """What is left if only utterances of a confidence of at least `threshold` are kept."""

    threshold: Share
    coverage: Share
    """Share of the utterances that are kept."""
    risk: Share
    """Share of the kept ones whose predicted class is wrong."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one seed's model, or the ensemble, says of some utterances."""

    raw: np.ndarray
    """Class probabilities before calibration [utterances, C]: a softmax, or the mean of several."""
    calibrated: np.ndarray
    """Class probabilities after calibration [utterances, C]."""
    label: np.ndarray
    """Predicted classes, int [utterances]."""

    @property
    def confidence(self) -> np.ndarray:
        """Calibrated probability of the predicted class [utterances]."""
        return _of_class(self.calibrated, self.label)

    @property
    def raw_confidence(self) -> np.ndarray:
        """The same before calibration."""
        return _of_class(self.raw, self.label)

    def at(self, places: list[int]) -> "Answer":
        """The answers of some of the utterances."""
        return Answer(self.raw[places], self.calibrated[places], self.label[places])


class Calibration(Settings):
    """All of this that a bundle holds."""

    temperature: Positive
    """Temperature of the ensemble of all seeds."""
    of_seeds: dict[str, Positive]
    """Temperature of each seed."""
    decision: Decision
    tau: NotNegative
    """Strength of the adjustment; 0 with the decision `likeliest`, and where no adjustment was better."""
    priors: list[Share]
    """Share of each class among train's labels, in the order of the classes."""
    coverage: list[Kept]
    """Coverage and risk of the ensemble on validation, from the highest threshold to 0; empty without a label."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.decision == "likeliest" and self.tau:
            raise ValueError("has an adjustment, and the decision likeliest")
        thresholds = [row.threshold for row in self.coverage]
        if sorted(set(thresholds), reverse=True) != thresholds:
            raise ValueError("its thresholds do not fall from row to row")
        return self

    def of_seed(self, seed: int, raw: np.ndarray) -> Answer:
        """The answer of one seed's model, from its softmax [utterances, C]."""
        return self._answer(raw, self.of_seeds[str(seed)])

    def of_all(self, raw: Sequence[np.ndarray]) -> Answer:
        """The answer of the ensemble, from the softmax [utterances, C] of each seed."""
        return self._answer(np.mean(raw, axis=0), self.temperature)

    def _answer(self, raw: np.ndarray, temperature: float) -> Answer:
        calibrated = tempered(raw, temperature)
        return Answer(raw, calibrated, decided(calibrated, self.tau, np.array(self.priors)))

    def at_risk(self, risk: float) -> Kept | None:
        """The row of the smallest threshold whose risk on validation is at most `risk`; None if there is none."""
        return min((row for row in self.coverage if row.risk <= risk), key=lambda row: row.threshold, default=None)


def fitted(networks: Mapping[int, ErcModel], corpus: Corpus, classes: int, decision: Decision) -> Calibration:
    """Fit the calibration of trained networks, by seed, on the labelled utterances of validation."""
    label = corpus.label[positions(corpus, "validation")].numpy()
    known = label != NO_LABEL
    of_train = corpus.label[positions(corpus, "train")].numpy()
    raw = {seed: softmax_of(network, corpus, "validation")[known] for seed, network in networks.items()}
    counts = np.bincount(of_train[of_train != NO_LABEL], minlength=classes)
    return fitted_on(raw, label[known], counts / counts.sum(), decision)


def fitted_on(raw: Mapping[int, np.ndarray], label: np.ndarray, priors: np.ndarray, decision: Decision) -> Calibration:
    """The same from the softmax [utterances, C] of each seed.

    Args:
        label: classes of the utterances, int [utterances], all known.
        priors: share of each class in train [C].
    """
    priors = priors.round(6)
    of_seeds = {str(seed): temperature_of(shares, label, f"seed {seed}") for seed, shares in raw.items()}
    mean = np.mean(list(raw.values()), axis=0)
    temperature = temperature_of(mean, label, "the ensemble of the seeds")
    calibrated = tempered(mean, temperature)
    tau = 0.0
    if decision == "balanced" and len(label):
        scores = {
            tau: macro_f1(confusion(label, decided(calibrated, tau, priors), calibrated.shape[1])) for tau in TAUS
        }
        tau = max(TAUS, key=lambda one: scores[one])  # of equal ones the smallest
    said = Answer(mean, calibrated, decided(calibrated, tau, priors))
    return Calibration(
        temperature=temperature,
        of_seeds=of_seeds,
        decision=decision,
        tau=tau,
        priors=priors.tolist(),
        coverage=coverage_of(said.confidence, said.label != label),
    )


def softmax_of(network: ErcModel, corpus: Corpus, split: str) -> np.ndarray:
    """Softmax of a network's logits [utterances, C], float64, in the order of `positions`."""
    shares: np.ndarray = predict(network, corpus, split, device())[0].double().softmax(1).numpy()
    return shares


def tempered(shares: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities [utterances, C] raised to the power 1 / `temperature`, and normalised."""
    logits = np.log(np.maximum(shares, TINY)) / temperature
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: np.ndarray = raised / raised.sum(axis=1, keepdims=True)
    return found


def decided(shares: np.ndarray, tau: float, priors: np.ndarray) -> np.ndarray:
    """Predicted classes, int [utterances], from probabilities [utterances, C] and shares of train [C].

    A class that train does not have gets no adjustment.
    """
    if not tau:
        return shares.argmax(axis=1)
    advantage = tau * np.log(np.where(priors > 0, priors, 1))
    adjusted: np.ndarray = np.log(np.maximum(shares, TINY)) - advantage
    return adjusted.argmax(axis=1)


def temperature_of(shares: np.ndarray, label: np.ndarray, whose: str) -> float:
    """Temperature that minimises the negative log-likelihood of `label`; 1 where there is none, which the log says."""
    why = ""
    if not len(label):
        why = "no utterance of validation has a label"
    elif len(np.unique(label)) == 1:
        why = "validation has a single class"
    elif (shares.argmax(axis=1) == label).all():
        why = "no prediction on validation is wrong, so that every lower temperature would seem better"
    if why:
        log.warning("the temperature of %s is 1: %s", whose, why)
        return 1.0

    def loss(power: float) -> float:
        right = _of_class(tempered(shares, np.exp(power)), label)
        return -float(np.log(np.maximum(right, TINY)).mean())

    # In the inverse of the temperature the loss is convex, so it has one minimum.
    best = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-7})
    found = round(float(np.exp(best.x)), 4)  # digits beyond these would differ between machines
    if found > 0.999 * HIGHEST:
        log.warning("the temperature of %s is the highest that is tried: on validation it knows no more than chance",
                    whose)  # fmt: skip
    return found


def coverage_of(confidence: np.ndarray, wrong: np.ndarray) -> list[Kept]:
    """Coverage and risk in steps of 5 % of the utterances; the last row keeps all.

    Args:
        confidence: [utterances].
        wrong: whether the predicted class is wrong, bool [utterances].
    """
    ranked = np.sort(confidence)[::-1]
    places = [-(-len(ranked) * step // STEPS) - 1 for step in range(1, STEPS)]
    # Rounded down, so that the utterance at the threshold is kept on every machine.
    thresholds = [float(np.floor(1e6 * ranked[place]) / 1e6) for place in places] if len(ranked) else []
    found = [kept_above(threshold, confidence, wrong) for threshold in [*thresholds, 0.0]]
    return list({row.coverage: row for row in found if row}.values())  # of equal ones the smallest threshold


def kept_above(threshold: float, confidence: np.ndarray, wrong: np.ndarray) -> Kept | None:
    """Coverage and risk at a threshold; None if nothing is kept."""
    kept = confidence >= threshold
    if not kept.any():
        return None
    coverage, risk = (round(float(part.mean()), 6) for part in (kept, wrong[kept]))
    return Kept(threshold=threshold, coverage=coverage, risk=risk)


def macro_f1(counts: np.ndarray) -> float:
    """Mean of the F1 of the classes, percent; a class that is neither annotated nor predicted is left out.

    It is not in foundation/f1.py, because no training chooses by it: a change there trains everything again.
    """
    there = (counts.sum(axis=0) + counts.sum(axis=1)) > 0
    return float(class_f1(counts)[there].mean()) if there.any() else 0.0


def _of_class(shares: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The share of each utterance's class `label` in `shares` [utterances, C]."""
    found: np.ndarray = shares[np.arange(len(label)), label]
    return found
