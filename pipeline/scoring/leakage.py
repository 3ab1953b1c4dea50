"""A blind probe: were labels of test, or of validation, seen when the features were made?

An encoder that was trained on the labels of some utterances keeps them: a linear classifier gets these utterances right
far more often than others of the same kind. So a classifier is fitted on half of the train dialogues and applied to
the other half, to validation and to test. If only train was seen, the other half of train has few errors, and
validation and test have many, about equally many. If test was seen too, it has far fewer errors than validation.

Where there is text, only the utterances count that a classifier of the words alone gets wrong. An honest encoder has
trouble with these as well, and what was memorised shows. It also makes up for splits that differ in difficulty.

What the probe says, and what it assumes:

- `test` (or `validation`) is suspected if its odds of being right are at least `RATIO` times those of the other, and if
  a permutation test confirms it: dialogues of both splits are dealt out anew, `PERMUTATIONS` times, and a ratio as
  large occurs in at most one of a hundred of these.
- Assumption: without leakage the odds of the two splits do not differ so much. Splits by speaker or session differ, but
  less.
- The rate of false alarms is the share of the permutations, in which nothing can have leaked, that raise an alarm.
- It cannot tell "labels of all splits were seen" from "of none", for it compares splits with one another. It only
  remarks where text has at most a third of the errors of its words in every split: on the field's corpora no honest
  encoder known is so good, but on easier ones it may be.
- It does not notice an encoder that has forgotten what it saw: one epoch leaves little. Such features gain little, too.

Only the features, the labels, the split and the words are looked at, not how the features were made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.feature_extraction.text import HashingVectorizer

from extractors.features import Features
from extractors.utterance import Utterance
from foundation.standardisation import standardised, statistics

PERMUTATIONS = 2000
MOST_LIKELY = 0.01
"""Largest share of permutations as extreme as what was found."""
RATIO = 1.5
"""Smallest ratio of the odds of being right. On real text 0.86 to 1.16 was measured for honest features, and 1.54 to
1.83 for an encoder that was fine-tuned on test, over several halvings of train (docs/feature_files.md)."""
FEWER_THAN_WORDS = 3.0
"""Factor between the errors of the words alone and those of features that have seen every split."""
PENALTIES = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
"""Ridge penalties per fitted utterance's worth of variance; the best on a fifth of the fitted dialogues is taken."""
EVERY_SPLIT = "no split differs, but each has a third of the errors of its words: labels of all may have been seen"
FEWEST = 10
"""Dialogues of a split below which the probe says nothing."""
WORDS = 1024
"""Columns of the classifier that knows the words alone."""
SEED = 0


@dataclass(frozen=True, slots=True)
class Parts:
    """Positions of the utterances of each part, and the dialogue of every utterance."""

    fitted: np.ndarray
    held_out: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    dialogue: np.ndarray
    """Number of each utterance's dialogue, int [utterances]."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the probe knows of a corpus beside its features."""

    label: np.ndarray
    """Class numbers, int [utterances]; -1 where there is no label."""
    splits: list[str]
    dialogues: list[str]
    words: np.ndarray | None
    """Whether a classifier of the words alone gets each utterance right, bool [utterances]; None without words."""


def truth_of(rows: Sequence[Utterance], order: Sequence[str]) -> Truth:
    """Labels, splits and dialogues of `rows`, and what their words tell; `order` has the names of the classes."""
    label = np.array([order.index(row.label) if row.label else -1 for row in rows])
    splits, dialogues = [row.split for row in rows], [row.dialogue_id for row in rows]
    words, parts = words_of([row.text for row in rows]), parts_of(splits, dialogues, label >= 0)
    got = None if words is None or not len(parts.fitted) else right(words, label, parts)
    return Truth(label, splits, dialogues, got)


def probed(features: Features, truth: Truth, modality: str) -> dict | None:
    """Probe one modality, utterances that lack it or a label left out; None if none is left."""
    usable = features.present & (truth.label >= 0)
    if not usable.any():
        return None
    parts = parts_of(truth.splits, truth.dialogues, usable)
    return probe(features.values, truth.label, parts, truth.words, of_text=modality == "text")


def parts_of(splits: Sequence[str], dialogues: Sequence[str], usable: np.ndarray) -> Parts:
    """Halve the train dialogues at random; only `usable` utterances (bool [utterances]) are in any part.

    The halves do not depend on what is usable. So the words and the features of a modality, which clips may lack, are
    fitted on the same dialogues.
    """
    split = np.array(splits)
    _, dialogue = np.unique(np.array(dialogues), return_inverse=True)
    train = np.unique(dialogue[split == "train"])
    half = np.random.default_rng(SEED).permutation(train)[: -(-len(train) // 2)]
    fitted = np.isin(dialogue, half)
    return Parts(
        np.flatnonzero(usable & (split == "train") & fitted),
        np.flatnonzero(usable & (split == "train") & ~fitted),
        np.flatnonzero(usable & (split == "validation")),
        np.flatnonzero(usable & (split == "test")),
        dialogue,
    )


def right(values: np.ndarray, label: np.ndarray, parts: Parts) -> np.ndarray:
    """Whether a linear classifier, fitted on `parts.fitted`, gets each utterance right, bool [utterances].

    It is a ridge regression on the classes, each class weighted equally, on standardised `values` [utterances, F]; its
    penalty is chosen on a fifth of the fitted dialogues.
    """
    x = standardised(values.astype(np.float64), *statistics(values[parts.fitted]))
    dialogues = np.unique(parts.dialogue[parts.fitted])
    kept = np.random.default_rng(SEED + 1).permutation(dialogues)[: max(1, len(dialogues) // 5)]
    inner = np.isin(parts.dialogue[parts.fitted], kept)
    fitted, chosen_on = parts.fitted[~inner], parts.fitted[inner]
    best = PENALTIES[0]
    if len(fitted):
        said = _predicted(x, label, fitted, PENALTIES, chosen_on)
        best = PENALTIES[int(np.argmax([(one == label[chosen_on]).mean() for one in said]))]
    return np.asarray(_predicted(x, label, parts.fitted, (best,), np.arange(len(x)))[0] == label)


def _predicted(
    x: np.ndarray, label: np.ndarray, fitted: np.ndarray, penalties: Sequence[float], asked: np.ndarray
) -> list[np.ndarray]:
    """Classes that ridge regression on the rows `fitted` of x [utterances, F] predicts for the rows `asked`.

    Returns:
        For each penalty, class numbers, int [asked].
    """
    classes = np.unique(label[fitted])
    counts = np.bincount(label[fitted], minlength=label.max() + 1)
    weight = np.sqrt(len(fitted) / (len(classes) * counts[label[fitted]]))[:, None]
    a = np.hstack([x[fitted], np.ones((len(fitted), 1))]) * weight
    y = (2.0 * (label[fitted][:, None] == classes) - 1.0) * weight
    wide = a.shape[1] > a.shape[0]  # then the system of the rows is smaller than that of the columns
    products = a @ a.T if wide else a.T @ a
    said = []
    for penalty in penalties:
        factor = cho_factor(products + penalty * len(fitted) / 100 * np.eye(len(products)))
        solved = a.T @ cho_solve(factor, y) if wide else cho_solve(factor, a.T @ y)
        said.append(np.asarray(classes[(x[asked] @ solved[:-1] + solved[-1]).argmax(1)]))
    return said


def probe(
    values: np.ndarray, label: np.ndarray, parts: Parts, words: np.ndarray | None, *, of_text: bool = True
) -> dict:
    """Probe the features `values` [utterances, F] of one modality.

    Args:
        label: class numbers, int [utterances]; only those in `parts` are looked at.
        words: whether a classifier that knows the words alone gets each utterance right; None without words.
        of_text: whether the features are of these words, so that their errors can be compared with those of the words.
    """
    sizes = {"validation": parts.validation, "test": parts.test, "train": parts.held_out}
    few = [name for name, places in sizes.items() if len(np.unique(parts.dialogue[places])) < FEWEST]
    if len(parts.fitted) == 0 and "train" not in few:
        few.append("train")  # the modality is in the other half alone
    if few:
        return {"verdict": f"nothing can be said: fewer than {FEWEST} dialogues in {few[0]}", "suspected": []}
    got = right(values, label, parts)
    errors = {name: float(1 - got[places].mean()) for name, places in sizes.items()}
    found: dict = {"errors": {name: round(100 * error, 2) for name, error in errors.items()}}
    suspected: list[str] = []
    hard = np.ones(len(label), bool) if words is None else ~words
    for name in ("test", "validation"):
        ratio, p, false_alarms = permuted(got, hard, parts, name)
        found[name] = {"odds_ratio": round(ratio, 2), "p": round(p, 4), "false_alarms": round(false_alarms, 4)}
        if ratio >= RATIO and p <= MOST_LIKELY:
            suspected.append(name)
    found["suspected"] = suspected
    found["verdict"] = f"labels of {' and '.join(suspected)} were probably seen" if suspected else "no sign of leakage"
    if words is not None and of_text:
        known = {name: float(1 - words[places].mean()) for name, places in sizes.items()}
        found["errors_of_words"] = {name: round(100 * error, 2) for name, error in known.items()}
        if not suspected and all(known[name] > 0 and FEWER_THAN_WORDS * errors[name] <= known[name] for name in sizes):
            found["verdict"] = EVERY_SPLIT
    return found


def permuted(got: np.ndarray, hard: np.ndarray, parts: Parts, name: str) -> tuple[float, float, float]:
    """Odds ratio of `name` (test or validation) to the other split, its p-value, and the rate of false alarms.

    Dialogues of the two splits are dealt out anew, as many to each as it has. Half a right and half a wrong answer are
    added to each split, so that no odds are zero.

    Args:
        got: whether each utterance was got right.
        hard: whether each utterance counts.
    """
    first, second = (parts.test, parts.validation) if name == "test" else (parts.validation, parts.test)
    places = np.concatenate([first, second])
    _, dialogue = np.unique(parts.dialogue[places], return_inverse=True)
    number = int(dialogue.max()) + 1
    correct = np.bincount(dialogue, hard[places] & got[places], number)
    wrong = np.bincount(dialogue, hard[places] & ~got[places], number)
    members = np.zeros(number, bool)
    members[dialogue[: len(first)]] = True
    draw = np.random.default_rng(SEED + 2)
    dealt = np.stack([draw.permutation(members) for _ in range(PERMUTATIONS)])
    ratios = _odds_ratio(dealt, correct, wrong)
    ratio = float(_odds_ratio(members[None], correct, wrong)[0])
    ranked = np.sort(ratios)
    every_p = (1 + PERMUTATIONS - np.searchsorted(ranked, [ratio, *ratios], side="left")) / (1 + PERMUTATIONS)
    alarms = (ratios >= RATIO) & (every_p[1:] <= MOST_LIKELY)
    return ratio, float(every_p[0]), float(alarms.mean())


def _odds_ratio(members: np.ndarray, correct: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Odds of the dialogues that are members, by those of the others; `members` is bool [permutations, D]."""
    inside = (members @ correct + 0.5) / (members @ wrong + 0.5)
    outside = (~members @ correct + 0.5) / (~members @ wrong + 0.5)
    return np.asarray(inside / outside)


def words_of(texts: Sequence[str]) -> np.ndarray | None:
    """Hashed words and pairs of words of each text, [utterances, WORDS]; None if there are no texts."""
    if not any(texts):
        return None
    vectorizer = HashingVectorizer(n_features=WORDS, ngram_range=(1, 2), alternate_sign=False, norm="l2")
    return np.asarray(vectorizer.transform(texts).todense(), np.float32)
