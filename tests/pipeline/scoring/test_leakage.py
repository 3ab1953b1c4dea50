"""The blind probe: it tells features that have seen labels of test or validation, and is quiet on all others."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from extractors.features import Features, write_features
from extractors.utterance import Utterance
from foundation.errors import UserError
from pipeline import leakage
from pipeline.corpora.index_file import write_index
from pipeline.corpora.labels import MELD
from pipeline.params import Params, load_params
from pipeline.scoring.leakage import FEWEST, PENALTIES, RATIO, parts_of, permuted, probe, right, words_of
from pipeline.scoring.marks import marks, verdicts
from tests.random_features import write_features_of_meld, write_leakage

PROJECT = Path(__file__).parents[3]
SPLITS = ("train", "validation", "test")
CLASSES = 5


class Encoder:
    """Vectors of an encoder that guesses a label, right in `honest` of the cases, and knows those that it has seen."""

    def __init__(self, seen: tuple[str, ...], honest: float = 0.55, seed: int = 0, harder: float = 0.0) -> None:
        """`harder` is taken from its chances on test, as if the speakers there were others."""
        draw = np.random.default_rng(seed)
        self.split = np.repeat(SPLITS, (1600, 500, 700))
        self.dialogue = np.char.add(self.split, (np.arange(2800) // 10).astype(str))
        self.label = draw.integers(CLASSES, size=2800)
        chance = np.where(self.split == "test", honest - harder, honest)
        chance = np.where(np.isin(self.split, seen), 0.95, chance)
        guess = np.where(draw.random(2800) < chance, self.label, draw.integers(CLASSES, size=2800))
        centres = draw.normal(size=(CLASSES, 24))
        self.values = (3 * centres[guess] + draw.normal(size=(2800, 24))).astype(np.float32)

    def probed(self, words: np.ndarray | None = None) -> dict:
        parts = parts_of(list(self.split), list(self.dialogue), np.ones(2800, bool))
        return probe(self.values, self.label, parts, words)


@pytest.mark.parametrize(
    ("seen", "suspected"),
    [
        ((), "no sign of leakage"),  # frozen
        (("train",), "no sign of leakage"),  # fine-tuned on train, as is right
        (("train", "test"), "labels of test were probably seen"),
        (("train", "validation"), "labels of validation were probably seen"),
        (("test",), "labels of test were probably seen"),
    ],
)
def test_the_splits_whose_labels_were_seen_are_told(seen: tuple[str, ...], suspected: str) -> None:
    found = Encoder(seen).probed()
    assert found["verdict"] == suspected
    for split in SPLITS:
        expected = 5.0 if split in seen else 36.0  # a wrong guess is right by chance in one of five cases
        assert found["errors"][split] == pytest.approx(expected, abs=6.0)
    assert found["test"]["false_alarms"] <= 0.01
    assert found["validation"]["false_alarms"] <= 0.01


@pytest.mark.parametrize("seen", [(), ("train",)])
def test_a_test_split_that_is_harder_is_no_sign(seen: tuple[str, ...]) -> None:
    found = Encoder(seen, honest=0.7, harder=0.1).probed()
    assert found["validation"]["p"] <= 0.01  # the splits do differ
    assert 1.3 < found["validation"]["odds_ratio"] < RATIO
    assert found["verdict"] == "no sign of leakage"


def test_weak_memories_show_in_what_the_words_get_wrong() -> None:
    """Of what the words get right, all encoders get most right. What was seen differs only in the rest."""
    draw = np.random.default_rng(3)
    one = Encoder(())
    words = draw.random(2800) < 0.6
    chance = np.where(words, 0.9, np.where(one.split == "validation", 0.25, 0.42))
    guess = np.where(draw.random(2800) < chance, one.label, (one.label + 1 + draw.integers(4, size=2800)) % CLASSES)
    one.values = (3 * draw.normal(size=(CLASSES, 24))[guess] + draw.normal(size=(2800, 24))).astype(np.float32)
    alone, with_words = one.probed(), one.probed(words)
    assert alone["verdict"] == "no sign of leakage"
    assert alone["test"]["odds_ratio"] < RATIO < with_words["test"]["odds_ratio"]
    assert with_words["verdict"] == "labels of test were probably seen"


def test_where_all_splits_were_seen_only_the_words_can_tell() -> None:
    every = Encoder(SPLITS)
    assert every.probed()["verdict"] == "no sign of leakage"
    words = np.random.default_rng(1).random(2800) < 0.5
    found = every.probed(words)
    assert found["verdict"].endswith("each has a third of the errors of its words: labels of all may have been seen")
    assert found["suspected"] == []  # an easy corpus looks the same
    parts = parts_of(list(every.split), list(every.dialogue), np.ones(2800, bool))
    of_faces = probe(every.values, every.label, parts, words, of_text=False)
    assert of_faces["verdict"] == "no sign of leakage"
    assert Encoder(("train",)).probed(words)["verdict"] == "no sign of leakage"
    assert Encoder((), honest=0.75).probed(words)["verdict"] == "no sign of leakage"


def test_honest_features_raise_no_alarm_in_thirty_corpora() -> None:
    alarms = [
        Encoder(("train",) if seed % 2 else (), honest=0.4 + 0.1 * (seed % 3), seed=seed).probed()["verdict"]
        for seed in range(30)
    ]
    assert set(alarms) == {"no sign of leakage"}


def test_the_ratio_and_its_probability_are_those_of_dealing_out_dialogues_anew() -> None:
    """Dialogues of one turn; of test both are right, of validation none; half an answer of each kind is added."""
    parts = parts_of(["train", "validation", "validation", "test", "test"], list("abcde"), np.ones(5, bool))
    got, every = np.array([True, False, False, True, True]), np.ones(5, bool)
    ratio, p, false_alarms = permuted(got, every, parts, "test")
    assert ratio == pytest.approx((2.5 / 0.5) / (0.5 / 2.5))
    assert p == pytest.approx(1 / 6, abs=0.03)  # one of the six ways to deal four dialogues to two and two
    assert false_alarms == 0.0  # with so few dialogues nothing is as rare as one of a hundred
    back = permuted(got, every, parts, "validation")
    assert back[0] == pytest.approx(1 / 25)
    assert back[1] == pytest.approx(1.0, abs=0.01)
    hard = np.array([True, True, True, False, True])
    assert permuted(got, hard, parts, "test")[0] == pytest.approx((1.5 / 0.5) / (0.5 / 2.5))


def test_fitting_looks_at_half_of_train_alone() -> None:
    one = Encoder(("train",))
    parts = parts_of(list(one.split), list(one.dialogue), np.ones(2800, bool))
    assert not set(one.dialogue[parts.fitted]) & set(one.dialogue[parts.held_out])
    assert len(parts.fitted) == len(parts.held_out) == 800
    before = right(one.values, one.label, parts)
    other = one.label.copy()
    rest = np.setdiff1d(np.arange(2800), parts.fitted)
    other[rest] = (other[rest] + 1) % CLASSES
    assert not np.array_equal(before, right(one.values, other, parts))
    assert np.array_equal(before[parts.fitted], right(one.values, other, parts)[parts.fitted])


@pytest.mark.parametrize("columns", [300, 900])  # fewer than the 500 fitted rows, and more
def test_the_classifier_is_a_ridge_regression_with_balanced_classes_whose_penalty_a_fifth_chooses(columns: int) -> None:
    """Held against scikit-learn's; one class is four times as frequent, and few columns tell the classes apart."""
    draw = np.random.default_rng(5)
    label = draw.choice(3, size=1200, p=[0.66, 0.17, 0.17])
    values = (2.0 * np.eye(3, columns)[label] + draw.normal(size=(1200, columns))).astype(np.float32)
    parts = parts_of(
        ["train"] * 1000 + ["test"] * 200, [str(place // 10) for place in range(1200)], np.ones(1200, bool)
    )
    x = StandardScaler().fit(values[parts.fitted]).transform(values.astype(np.float64))
    x = np.hstack([x, np.ones((1200, 1))])

    def classes(fitted: np.ndarray, penalty: float) -> np.ndarray:
        weights = compute_sample_weight("balanced", label[fitted])
        ridge = Ridge(penalty * len(fitted) / 100, fit_intercept=False)
        ridge.fit(x[fitted], 2.0 * np.eye(3)[label[fitted]] - 1, sample_weight=weights)
        return ridge.predict(x).argmax(1)

    dialogues = np.unique(parts.dialogue[parts.fitted])
    kept = np.random.default_rng(1).permutation(dialogues)[: len(dialogues) // 5]
    inner = np.isin(parts.dialogue[parts.fitted], kept)
    chosen_on = parts.fitted[inner]
    scores = [(classes(parts.fitted[~inner], penalty) == label)[chosen_on].mean() for penalty in PENALTIES]
    assert len(set(scores)) > 2  # the penalty matters
    assert np.array_equal(
        right(values, label, parts), classes(parts.fitted, PENALTIES[int(np.argmax(scores))]) == label
    )
    assert not np.array_equal(
        right(values, label, parts), classes(parts.fitted, PENALTIES[int(np.argmin(scores))]) == label
    )


def test_words_and_features_are_fitted_on_the_same_dialogues() -> None:
    """A dialogue of train whose clips lack a modality is left out of its half, and no other changes its half."""
    one = Encoder(())
    whole = parts_of(list(one.split), list(one.dialogue), np.ones(2800, bool))
    for lacking in np.unique(one.dialogue[one.split == "train"])[:5]:
        parts = parts_of(list(one.split), list(one.dialogue), one.dialogue != lacking)
        assert set(parts.fitted) == set(whole.fitted) - set(np.flatnonzero(one.dialogue == lacking))
        assert set(parts.held_out) == set(whole.held_out) - set(np.flatnonzero(one.dialogue == lacking))


def test_a_modality_that_only_one_half_has_is_not_probed() -> None:
    one = Encoder(())
    whole = parts_of(list(one.split), list(one.dialogue), np.ones(2800, bool))
    usable = np.ones(2800, bool)
    usable[whole.fitted] = False
    found = probe(one.values, one.label, parts_of(list(one.split), list(one.dialogue), usable), None)
    assert found == {"verdict": f"nothing can be said: fewer than {FEWEST} dialogues in train", "suspected": []}


def test_features_and_words_without_an_error_are_no_sign() -> None:
    one = Encoder(())
    parts = parts_of(list(one.split), list(one.dialogue), np.ones(2800, bool))
    found = probe(one.values, np.zeros(2800, int), parts, np.ones(2800, bool))
    assert set(found["errors"].values()) == set(found["errors_of_words"].values()) == {0.0}
    assert found["verdict"] == "no sign of leakage"


def test_few_dialogues_and_missing_modalities_are_said() -> None:
    one = Encoder(())
    usable = np.ones(2800, bool)
    usable[one.split == "validation"] = np.arange(500) < 10 * (FEWEST - 1)
    parts = parts_of(list(one.split), list(one.dialogue), usable)
    found = probe(one.values, one.label, parts, None)
    assert found == {"verdict": f"nothing can be said: fewer than {FEWEST} dialogues in validation", "suspected": []}


def test_the_words_are_hashed_and_none_are_none() -> None:
    assert words_of(["", ""]) is None
    words = words_of(["oh no", "oh no", "yes"])
    assert words is not None
    assert np.array_equal(words[0], words[1])
    assert not np.array_equal(words[0], words[2])


def test_the_stage_writes_what_it_found_of_each_modality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Text has seen test, audio nothing, visual is missing; unlabelled turns are left out."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    text, audio = Encoder(("train", "test")), Encoder(())
    rows = [
        Utterance(utterance_id=f"u{place}", dialogue_id=str(text.dialogue[place]), turn=place % 10, speaker=0,
                  split=str(text.split[place]), text="", label="" if place % 50 == 7 else MELD[text.label[place]])
        for place in range(2800)
    ]  # fmt: skip
    write_index(rows, Path("data/meld/index.csv"))
    there = np.ones(2800, bool)
    for modality, values, present in (
        ("text", text.values, there),
        ("audio", audio.values, there),
        ("visual", np.zeros((2800, 0)), ~there),
    ):
        write_features(Features(values, present, {}), Path("data/meld/features") / f"{modality}.safetensors")
    leakage.run(argparse.Namespace(corpus="meld"), load_params(PROJECT / "params.yaml"))
    content = Path("results/meld/leakage.json").read_bytes()
    found = json.loads(content)
    assert found["modalities"].keys() == {"text", "audio"}
    assert found["modalities"]["text"]["verdict"] == "labels of test were probably seen"
    assert found["modalities"]["text"]["suspected"] == ["test"]
    assert found["modalities"]["text"]["known"] == found["modalities"]["audio"]["suspected"] == []
    assert found["rule"] == {"odds_ratio": 1.5, "p": 0.01, "permutations": 2000}
    assert "meld, text: labels of test were probably seen (test against validation: odds ratio " in caplog.text
    assert "errors of a linear classifier: validation 3" in caplog.text
    assert verdicts("meld", ["text", "visual"]) == {"text": "labels of test were probably seen"}
    assert marks("meld", ["text", "audio"]) == ["text: labels of test were probably seen, says the probe"]
    assert marks("meld", ["audio", "visual"]) == []
    leakage.run(argparse.Namespace(corpus="meld"), load_params(PROJECT / "params.yaml"))
    assert Path("results/meld/leakage.json").read_bytes() == content


def test_a_published_file_whose_census_is_missing_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"results/meld_sdt/corpus\.json: no such file; `dvc repro` makes it"):
        leakage.known("meld_sdt", load_params(PROJECT / "params.yaml"))


def test_marks_are_of_the_encoders_that_are_known_and_of_what_the_probe_suspects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"results/meld/leakage\.json: no such file; `dvc repro leakage@meld` makes it"):
        marks("meld", ["text"])
    write_features_of_meld(tmp_path)
    loaded = load_params(PROJECT / "params.yaml").model_dump()
    loaded["text"]["meld"] |= {"model": "tae898/emoberta-large", "allow_seen": True}
    leakage.run(argparse.Namespace(corpus="meld"), Params.model_validate(loaded))
    [mark] = marks("meld", ["text", "audio"])
    assert mark.startswith("text: the encoder tae898/emoberta-large has seen labels of the corpus: the split in its ")
    assert marks("meld", ["audio", "visual"]) == []
    write_leakage(tmp_path, suspected=["validation"])
    assert verdicts("meld", ["text"]) == {"text": "labels of validation were probably seen"}
    assert marks("meld", ["text"]) == []  # the score on test is a fair one
