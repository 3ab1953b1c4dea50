"""The cross-corpus table: two small corpora with a model each, and cells whose numbers are counted here."""

import argparse
import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from extractors.utterance import Utterance
from foundation.errors import UserError
from paper import cross
from paper.cross import LabelMap, Source, cell, probabilities, restricted
from pipeline import extract, finetune_text, train
from pipeline.bundle import read_bundle
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.labels import EMORYNLP, IEMOCAP, MELD, labels
from pipeline.evaluate import predict_seed
from pipeline.params import load_params, read_yaml
from pipeline.training.loading import load_corpus
from tests.pipeline.small import write_text_corpus

PROJECT = Path(__file__).parents[2]
CONTENT = read_yaml(PROJECT / cross.SETTINGS)
MAP = LabelMap.of(CONTENT)  # type: ignore[arg-type]
OTHER = {"joy": "joyful", "anger": "mad", "neutral": "peaceful"}
"""Labels of the second corpus: `peaceful` has no counterpart."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_roberta: Path) -> Path:
    """A project's folder with two corpora, each with a model of its text by the same encoder."""
    folder = tmp_path_factory.mktemp("cross")
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["model"] |= {"dim": 20, "heads": 2, "modalities": ["text"]}
    for name in ("meld", "emorynlp"):
        content["text"][name] |= {"model": str(tiny_roberta), "max_tokens": 38}
        content["train"][name] |= {"epochs": 2, "seeds": [0, 1], "learning_rate": 0.01, "ema_decay": 0.0}
    with (folder / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(content, stream)
    for name in ("paper", "docs"):
        (folder / name).mkdir()
    for name in (cross.SETTINGS, cross.PAGE):
        shutil.copyfile(PROJECT / name, folder / name)
    write_text_corpus(folder / "data/meld/index.csv")
    rows = write_text_corpus(folder / "data/emorynlp/index.csv", lambda row: OTHER[row.label])
    # Longer dialogues, and more speakers, than the other corpus has.
    told = [replace(row, dialogue_id="test0", turn=place, speaker=place % 3) if row.split == "test" else row
            for place, row in enumerate(rows)]  # fmt: skip
    write_index(told, folder / "data/emorynlp/index.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CMATH_CACHE", str(folder / "cache"))
        params = load_params()
        for name in ("meld", "emorynlp"):
            stage = argparse.Namespace(corpus=name)
            finetune_text.run(stage, params)
            extract.run(extract.arguments().parse_args([name, "text"]), params)
            for modality in ("audio", "visual"):
                shutil.copyfile(
                    f"data/{name}/features/text.safetensors", f"data/{name}/features/{modality}.safetensors"
                )
            train.run(stage, params)
    return folder


@pytest.mark.slow
def test_every_pair_is_scored_and_the_page_says_so(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)
    monkeypatch.setenv("CMATH_CACHE", str(trained / "cache"))
    cross.run(["meld", "emorynlp"])
    kept = json.loads(cross.SCORES.read_text())
    assert {source: set(part) for source, part in kept.items()} == {
        "meld": {"meld", "emorynlp"}, "emorynlp": {"meld", "emorynlp"}
    }  # fmt: skip
    found = kept["meld"]["emorynlp"]
    tested = [row for row in read_index(Path("data/emorynlp/index.csv")) if row.split == "test"]
    assert found["classes"] == ["joy", "anger", "neutral", "sadness", "fear"]
    assert found["utterances"] == sum(row.label != "peaceful" for row in tested)
    assert found["of"] == len(tested) == 15
    assert (found["seeds"], found["model"]) == (2, "cmath")
    page = cross.PAGE.read_text()
    assert f"| **meld** | {found['weighted_f1']['mean']:.2f}" not in page  # meld's own cell is the first
    assert f" | {found['weighted_f1']['mean']:.2f} ± {found['weighted_f1']['std']:.2f} (" in page
    assert "| **iemocap_sdt** | not run |" in page

    # On its own corpus the model says what `evaluate` has it say.
    bundle, rows = read_bundle(Path("models/meld")), read_index(Path("data/meld/index.csv"))
    corpus, _ = load_corpus("meld", rows, labels("meld", []), ["text"])
    ours = probabilities(bundle, [row for row in rows if row.split == "test"])
    for seed in (0, 1):
        np.testing.assert_allclose(ours[seed], predict_seed(bundle, seed, corpus).answer.calibrated, atol=1e-6)

    places = [*range(14, -1, -2), *range(1, 15, 2)]  # whatever order the turns of dialogues stand in
    mixed = [[row for row in rows if row.split == "test"][place] for place in places]
    np.testing.assert_allclose(probabilities(bundle, mixed)[1], ours[1][places], atol=1e-6)

    # A dialogue of 15 turns is more than the five that MELD's model knows: it is predicted in three parts.
    whole = probabilities(bundle, tested)[0]
    parts = [probabilities(bundle, [replace(row, turn=row.turn - 5 * part) for row in tested[5 * part : 5 * part + 5]])
             for part in range(3)]  # fmt: skip
    np.testing.assert_allclose(whole, np.concatenate([part[0] for part in parts]), atol=1e-6)

    with pytest.raises(UserError, match="models/demo: there is no model of demo"):
        cross.run(["meld", "demo"])
    assert json.loads(cross.SCORES.read_text()) == kept


def utterance(place: int, split: str, text: str, label: str) -> Utterance:
    return Utterance(utterance_id=f"{split}{place}", dialogue_id=split, turn=place, speaker=0, split=split, text=text,
                     label=label)  # fmt: skip


def source(name: str, words: tuple[str, ...], train: list[str], test: list[str]) -> Source:
    """A corpus whose utterances are `label: text`, with a bundle that has labels alone."""
    bundle = type("Labels", (), {"labels": words, "model": "cmath", "text_encoder": "minilm", "fine_tuned": False})()
    rows = [[utterance(place, split, *reversed(line.split(": "))) for place, line in enumerate(part)]
            for split, part in (("test", test), ("train", train))]  # fmt: skip
    return Source(name, bundle, *rows)


def test_a_cell_is_what_can_be_counted_by_hand() -> None:
    meld = source("meld", ("neutral", "joy", "anger", "surprise"),
                  ["neutral: Great!", "surprise: What?"], ["joy: x"])  # fmt: skip
    iemocap = source("iemocap", ("happy", "excited", "angry", "frustrated", "neutral"),
                     ["happy: a", "excited: b", "angry: c", "frustrated: d", "frustrated: e"],
                     ["happy: great", "excited: b", "angry: c", "frustrated: great", "neutral: e"])  # fmt: skip
    of_meld = {0: np.array([[0.1, 0.2, 0.1, 0.6], [0.3, 0.4, 0.3, 0], [0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]])}
    own = {0: np.array([[0.3, 0.3, 0.4, 0, 0], *np.eye(5)[[1, 2, 3, 4]]])}
    found = cell(meld, iemocap, MAP, of_meld, own)
    assert found["classes"] == ["joy", "anger", "neutral"]
    assert (found["utterances"], found["of"]) == (4, 5)
    # Said: joy (surprise is none of the three), joy, joy, neutral; labels: joy, joy, anger, neutral. F1: .8, 0, 1.
    assert found["weighted_f1"]["mean"] == pytest.approx(100 * (0.8 / 2 + 1 / 4))
    # happy and excited together are more than angry.
    assert found["own"] == {"mean": 100.0, "std": 0.0}
    assert found["weighted_f1"]["std"] == 0.0  # of one seed
    # A second seed that says joy of all four: F1 2/3 on half.
    two = cell(meld, iemocap, MAP, of_meld | {1: np.array([[0, 1.0, 0, 0]] * 5)}, own)
    values = 100 * np.array([0.8 / 2 + 1 / 4, (2 / 3) / 2])
    assert two["weighted_f1"] == {"mean": pytest.approx(values.mean(), abs=0.006),
                                  "std": pytest.approx((values[0] - values[1]) / 2**0.5, abs=0.006)}  # fmt: skip
    # Joy is most frequent of the three in the tested corpus' train, where frustrated is of no class: F1 2/3 on half.
    assert found["majority"] == 33.33
    assert found["known_words"] == 1  # "great" of a label that both have
    assert found["other_words"]["mean"] == pytest.approx(100 * (2 / 3 + 1) / 3, abs=0.01)  # joy, joy, neutral


def test_probabilities_of_one_class_are_added() -> None:
    words = ("happy", "excited", "angry", "neutral", "frustrated")
    shares = np.array([[0.2, 0.15, 0.3, 0.05, 0.3], [0.2, 0.05, 0.3, 0.05, 0.4]])
    assert restricted(shares, words, ["joy", "anger", "neutral"], MAP).tolist() == [0, 1]
    assert restricted(shares, words, ["neutral", "anger"], MAP).tolist() == [1, 1]


def test_each_label_is_settled_once() -> None:
    classes = {name: set(MAP.classes(words, name)) for name, words in
               (("meld", MELD), ("iemocap", IEMOCAP), ("emorynlp", EMORYNLP))}  # fmt: skip
    assert classes["meld"] & classes["iemocap"] == {"neutral", "joy", "sadness", "anger"}
    assert classes["meld"] & classes["emorynlp"] == {"neutral", "joy", "sadness", "anger", "fear"}
    with pytest.raises(UserError, match=r"cross\.yaml: does not say what the label 'calm' of x is"):
        MAP.classes(["joy", "calm"], "x")
    twice = {"classes": {"joy": {"happy": "a"}, "calm": {"happy": "b"}}, "alone": {}}
    with pytest.raises(UserError, match="the label 'happy' stands there twice"):
        LabelMap.of(twice)
    with pytest.raises(UserError, match="the label 'happy' stands there twice"):
        LabelMap.of({"classes": {"joy": {"happy": "a"}}, "alone": {"happy": "b"}})
    one = source("one", ("joy", "disgust"), ["joy: a"], ["joy: a"])
    other = source("other", ("happy", "angry"), ["happy: a"], ["happy: a"])
    with pytest.raises(UserError, match="one and other: share 1 classes"):
        cell(one, other, MAP, {}, {})


def test_every_reason_is_given() -> None:
    reasons = [why for words in CONTENT["classes"].values() for why in words.values()]  # type: ignore[index]
    reasons += CONTENT["alone"].values()  # type: ignore[index]
    assert all(len(str(why)) > 10 for why in reasons)


def test_the_page_has_the_scores_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    page = cross.PAGE.read_text()
    begin, end = cross.MARKS
    inside = page.partition(begin)[2].partition(end)[0]
    assert inside.strip().splitlines() == cross.lines(cross.read_settings(), cross.read_scores())


def test_scores_that_are_lost_or_broken_are_restored_from_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (cross.SETTINGS, cross.PAGE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT / name, tmp_path / name)
    page = cross.PAGE.read_bytes()
    monkeypatch.setattr("sys.argv", ["paper.cross", "--write"])
    kept = json.loads((PROJECT / cross.SCORES).read_text("utf-8"))
    other, listed = (copy.deepcopy(kept) for _ in range(2))
    other["meld"]["demo"]["model"], listed["meld"]["demo"]["model"] = "bert", ["cmath"]
    del kept["meld"]["demo"]["own"]
    no_model = r"the value of meld\.demo\.model is no model \(cmath, sdt, .+, adaign\)"
    for content, said in ((None, "no such file"), (json.dumps(kept), r"lacks the key meld\.demo\.own\.mean"),
                          (json.dumps(other), no_model), (json.dumps(listed), no_model)):  # fmt: skip
        if content:
            cross.SCORES.write_text(content)
        with pytest.raises(
            SystemExit, match=rf"^error: paper/cross\.json: {said}; `git restore paper/cross\.json` brings"
        ):
            cross.main()
    assert cross.PAGE.read_bytes() == page
