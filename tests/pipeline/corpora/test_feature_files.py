"""Published feature files of every layout become an index and features through the ordinary stages."""

import argparse
import json
import os
import pickle
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extractors.features import Features, read_features
from extractors.published import extractor
from extractors.utterance import Utterance
from foundation.errors import UserError
from pipeline import evaluate, extract, faces, finetune_text, index, leakage, train
from pipeline.bundle import read_bundle
from pipeline.corpora import features
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.corpora.settings import FeaturesSettings
from pipeline.params import Params, load_params
from pipeline.prediction.extractors import make_extractor
from tests.extractors.published import written
from tests.extractors.published.damaged import damaged
from tests.extractors.published.written import IEMOCAP, MELD, READ, TURNS, WIDTHS, number

PROJECT = Path(__file__).parents[3]
PUBLISHED = PROJECT.parent / "shared" / "data" / "published"
CORPUS = "meld_sdt"
MODALITIES = ("text", "audio", "visual")


def params(raw: Path, text: dict | None = None, **chosen: Any) -> Params:
    loaded = load_params(PROJECT / "params.yaml").model_dump()
    loaded["index"][CORPUS] |= {"raw": str(raw), **chosen}
    loaded["text"][CORPUS] |= text or {}
    return Params.model_validate(loaded)


@pytest.fixture
def indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Utterance]]:
    """Runs the stage `index` on a file."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(raw: Path, **chosen: Any) -> list[Utterance]:
        index.run(argparse.Namespace(corpus=CORPUS), params(raw, **chosen))
        return read_index(Path("data") / CORPUS / "index.csv")

    return run


def features_of(raw: Path, modality: str, **chosen: Any) -> Features:
    """Run the stage `extract` on an index that is there."""
    args = argparse.Namespace(corpus=CORPUS, modality=modality, shard=extract.WHOLE, engine=None)
    extract.run(args, params(raw, **chosen))
    rows = read_index(Path("data") / CORPUS / "index.csv")
    return read_features(Path("data") / CORPUS / "features" / f"{modality}.safetensors", len(rows))


def corpus_json() -> dict:
    found: dict = json.loads((Path("results") / CORPUS / "corpus.json").read_text())
    return found


def refusal(indexed: Callable, raw: Path, **chosen: Any) -> str:
    with pytest.raises(UserError) as caught:
        indexed(raw, **chosen)
    assert "\n" not in str(caught.value)
    return str(caught.value)


LAYOUTS: dict[str, tuple[Callable[[Path], Path], dict, dict[str, str]]] = {
    **{
        layout: (
            lambda folder, layout=layout: written.write_tuple(layout, folder),  # type: ignore[misc]
            MELD if "MELD" in layout else IEMOCAP,
            {field: field for field in MODALITIES if field in fields.split()},
        )
        for layout, fields in written.TUPLES.items()
    },
    "M3Net": (written.write_m3net, IEMOCAP, {field: field for field in MODALITIES}),
    "M3Net, MELD": (lambda folder: written.write_m3net(folder, meld=True), MELD, {name: name for name in MODALITIES}),
    "MultiEMO": (written.write_multiemo, IEMOCAP, {"text": "text4", "audio": "audio", "visual": "visual"}),
    "MultiEMO, MELD": (lambda folder: written.write_multiemo(folder, meld=True), MELD,
                       {"text": "text4", "audio": "audio", "visual": "visual"}),
    "GCNet": (written.write_gcnet, IEMOCAP, {field: field for field in MODALITIES}),
}  # fmt: skip
"""For each layout: who writes it, whose dialogues it has, and which of the written fields is each modality."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_found_and_gives_turns_labels_splits_and_vectors(
    layout: str, indexed: Callable[..., list[Utterance]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write, dialogues, taken = LAYOUTS[layout]
    meld = dialogues is MELD
    caplog.set_level("INFO")
    raw = write(tmp_path / "raw")
    rows = indexed(raw, validation="file" if meld else "session4")
    assert f"{raw.name}: has the layout of {layout.partition(', ')[0]}" in caplog.text
    names = {0: "train_dia0", 1: "train_dia1", 61: "train_dia61", 1039: "validation_dia0", 1153: "test_dia0",
             1154: "test_dia1"} if meld else {key: key for key in dialogues}  # fmt: skip
    assert [(row.dialogue_id, row.turn, row.split) for row in rows] == [
        (names[key], place, split) for key, split in dialogues.items() for place in range(TURNS)
    ]
    assert [row.speaker for row in rows[:TURNS]] == [0, 1, 0]
    first, other, again = (row.speaker_name for row in rows[:TURNS])
    assert first == again != other
    words = ("neutral", "sadness", "fear") if meld else ("happy", "angry", "neutral")
    assert [row.label for row in rows] == list(words) * len(dialogues)
    assert [row.text for row in rows] == list(READ) * len(dialogues)
    assert len({row.utterance_id for row in rows}) == len(rows)
    if "ids" in written.TUPLES.get(layout, "ids"):
        assert rows[1].utterance_id == ("train_dia0_utt1" if meld else "Ses01F_impro01_M001")
    order = labels("features", [row.label for row in rows])
    assert len(order) == (7 if meld else 6)
    for modality in MODALITIES:
        file, content = {"text": ("text_file", "text_hash"), "audio": ("audio", "audio_hash"),
                         "visual": ("video", "video_hash")}[modality]  # fmt: skip
        assert {bool(getattr(row, file)) for row in rows} == {modality in taken}
        assert {len(getattr(row, content)) for row in rows} == {64 if modality in taken else 0}
        if modality not in taken:
            continue
        made = features_of(raw, modality, validation="file" if meld else "session4")
        assert made.values.shape == (len(rows), WIDTHS[modality])
        assert made.present.all()
        assert made.values[:, 0].tolist() == [
            number(taken[modality], key, place) for key in dialogues for place in range(TURNS)
        ]
        assert set(made.values[:, 1]) == {0.5}


@pytest.mark.parametrize("layout", ["SDT", "COSMIC", "M3Net", "GraphSmile (MELD)"])
def test_four_layers_give_the_last_or_their_mean(
    layout: str, indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    write, dialogues, _ = LAYOUTS[layout]
    raw = write(tmp_path / "raw")
    indexed(raw)
    last = features_of(raw, "text")
    mean = features_of(raw, "text", text={"layers": "last4"})
    key = next(iter(dialogues))
    assert last.values[0, 0] == number("text", key, 0)
    assert mean.values[0, 0] == np.mean([number(layer, key, 0) for layer in written.LAYERS])
    assert corpus_json()["published"]["vectors"]["text"] == {"width": 24, "layers": 4}
    assert last.identity["layers"] == "last"
    assert mean.identity["layers"] == "last4"


@pytest.mark.parametrize("several", [False, True])
def test_json_files_of_dag_erc_and_multidag_are_read_without_their_unlabelled_turns(
    indexed: Callable[..., list[Utterance]], tmp_path: Path, several: bool
) -> None:
    raw = written.write_dag_erc(tmp_path / "raw", several)
    rows = indexed(raw)
    assert [(row.utterance_id, row.turn, row.split, row.label) for row in rows[:2]] == [
        ("train_0_0", 0, "train", "happy"), ("train_0_2", 1, "train", "frustrated")
    ]  # fmt: skip
    assert Counter(row.split for row in rows) == {"train": 6, "validation": 2, "test": 2}
    assert corpus_json()["published"]["layout"] == ("MultiDAG" if several else "DAG-ERC")
    assert "raw: 5 turns have no label, and are left out" in corpus_json()["notes"]
    for modality in MODALITIES if several else MODALITIES[:1]:
        made = features_of(raw, modality)
        assert made.values[:2, 0].tolist() == [number(modality, "Ses01F_impro01", place) for place in (0, 2)]


def test_what_is_no_vector_is_named_with_its_file_and_utterance(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    raw = written.write_dag_erc(tmp_path / "words")
    file = raw / "train_data_roberta.json.feature"
    content = json.loads(file.read_text())
    content[0][0]["cls"] = "none"
    file.write_text(json.dumps(content))
    assert refusal(indexed, raw) == f"{file}, train_0_0, text: is no vector of numbers"
    there = dict(zip(written.TUPLES["COSMIC"].split(), written.tuple_of("COSMIC"), strict=True))
    there["text3"]["Ses01F_impro01"][1] = "none"
    layers = written.save(tuple(there.values()), tmp_path / "layers.pkl")
    indexed(layers)
    with pytest.raises(
        UserError, match=r"layers\.pkl, dialogue 'Ses01F_impro01', utterance 1: is no vector of numbers"
    ):
        features_of(layers, "text", text={"layers": "last4"})


def test_unlabelled_turns_of_dag_erc_are_context_where_all_turns_are_asked_for(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    raw = written.write_dag_erc(tmp_path / "raw")
    rows = indexed(raw, context="all")
    assert [(row.utterance_id, row.turn, row.label) for row in rows[:3]] == [
        ("train_0_0", 0, "happy"), ("train_0_1", 1, ""), ("train_0_2", 2, "frustrated")
    ]  # fmt: skip
    assert len(rows) == 15
    assert corpus_json()["splits"]["all"]["unlabelled"] == 5
    made = features_of(raw, "text", context="all")
    assert made.values[:3, 0].tolist() == [number("text", "Ses01F_impro01", place) for place in range(3)]


@pytest.mark.parametrize("meld", [False, True])
def test_merbench_has_its_own_codes_folds_and_folders(
    indexed: Callable[..., list[Utterance]], tmp_path: Path, meld: bool
) -> None:
    raw = written.write_merbench(tmp_path / "raw", meld)
    rows = indexed(raw, fold=2, validation="random20")
    words = ("anger", "neutral", "sadness") if meld else ("happy", "angry", "neutral")
    assert [row.label for row in rows[:3]] == list(words)
    assert rows[1].utterance_id == ("train_dia0_utt1" if meld else "Ses01F_impro01_M001")
    assert {row.text for row in rows} == {READ[0]}
    splits = {row.dialogue_id: row.split for row in rows}
    if meld:
        assert splits["test_dia1"] == "test"
    else:
        assert [name for name, split in splits.items() if split == "test"] == ["Ses02M_script01_1"]
        assert corpus_json()["published"]["protocol"].startswith("MERBench's (five folds by session; here Session 2")
        assert [row.speaker for row in rows[:3]] == [0, 1, 0]
    for modality in MODALITIES:
        made = features_of(raw, modality)
        assert made.values[:3, 0].tolist() == [
            number(modality, 0 if meld else "Ses01F_impro01", place) for place in range(3)
        ]


def test_a_folder_inside_frames_is_passed_over(indexed: Callable[..., list[Utterance]], tmp_path: Path) -> None:
    raw = written.write_gcnet(tmp_path / "raw")
    before = indexed(raw, validation="session4")
    values = features_of(raw, "visual").values
    for frames in (raw / "features/manet_UTT").iterdir():
        for name in (".ipynb_checkpoints", "F_copy.npy"):
            (frames / name).mkdir()
            (frames / name / "F_0000.npy").write_bytes(b"x")
    assert indexed(raw, validation="session4") == before
    np.testing.assert_array_equal(features_of(raw, "visual").values, values)


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("place", ["deberta-large-4-UTT/{}.npy", "manet_UTT/{}/F_0001.npy", "manet_UTT/{}/z.npy"])
def test_what_is_no_file_among_vectors_is_named(
    place: str, kind: str, indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    raw = written.write_gcnet(tmp_path / "raw")
    file = raw / "features" / place.format("Ses01F_impro01_F000")
    file.unlink(missing_ok=True)
    if kind == "link":
        file.symlink_to("/nowhere/at/all")
    else:
        os.mkfifo(file)
    said = {"link": "is a link to a file that does not exist", "pipe": "is a pipe or a device"}[kind]
    assert refusal(indexed, raw, validation="session4") == f"{file}: {said}; put the file there, or remove it"


def test_a_pipe_is_no_feature_file_and_waited_for_by_nobody(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    for raw in (tmp_path / "pipe", Path("/dev/null")):
        assert refusal(indexed, raw).startswith(f"{raw}: is neither a file nor a folder; set `raw` to the feature file")
    folder = written.write_dag_erc(tmp_path / "words")
    file = folder / "dev_data_roberta.json.feature"
    file.unlink()
    os.mkfifo(file)
    assert refusal(indexed, folder) == f"{file}: is a folder, a pipe or a device, and no file"


def test_an_unclosed_quote_of_the_transcriptions_is_named(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    raw = written.write_merbench(tmp_path / "raw")
    file = raw / "transcription-engchi-polish.csv"
    lines = file.read_text("utf-8").splitlines()
    lines[2] = lines[2].replace(",", ',"', 1)
    for rest in ("", "x" * 200_000):
        file.write_text("\n".join([*lines, rest]), "utf-8")
        assert re.match(rf"{file}, line \d+: is not a CSV row \(", refusal(indexed, raw, fold=2))


def test_what_the_system_does_not_let_be_read_is_named(tmp_path: Path) -> None:
    raw = tmp_path / ("a" * 300)
    with pytest.raises(UserError, match=rf"^{raw}: cannot be read \(File name too long\)$"):
        features.read(raw, FeaturesSettings(reader="features", raw=str(raw)))


def test_a_clip_of_mmsa_is_the_mean_over_its_steps(indexed: Callable[..., list[Utterance]], tmp_path: Path) -> None:
    raw = written.write_mmsa(tmp_path / "raw")
    rows = indexed(raw)
    assert [row.utterance_id for row in rows[:4]] == ["train_aa_2", "train_aa_10", "train_b_b_2", "train_b_b_10"]
    assert [row.label for row in rows[:4]] == ["weakly positive", "strongly negative", "strongly positive",
                                               "weakly negative"]  # fmt: skip
    assert rows[0].text == "Words of aa$_$2"
    text, audio = features_of(raw, "text"), features_of(raw, "audio")
    assert text.values[:4, 5].tolist() == [4.0, 2.0, 5.0, 3.0]  # steps of zeros are padding
    assert audio.values[:4, 0].tolist() == [2.5, 1.5, 3.0, 2.0]  # the logarithm of silence counts as zero


def test_sets_are_sorted_and_splits_checked(indexed: Callable[..., list[Utterance]], tmp_path: Path) -> None:
    lists = indexed(written.write_tuple("MMGCN", tmp_path / "a"))
    sets = indexed(written.write_tuple("MMGCN", tmp_path / "b", sets=True))
    assert [(row.utterance_id, row.split) for row in sets] == [(row.utterance_id, row.split) for row in lists]
    there = dict(zip(written.TUPLES["MMGCN"].split(), written.tuple_of("MMGCN"), strict=True))
    both = {**there, "test": [*there["test"], "Ses01F_impro01"]}
    assert "the dialogue 'Ses01F_impro01' is in train and in test" in refusal(
        indexed, written.save(tuple(both.values()), tmp_path / "c.pkl")
    )
    unknown = {**there, "test": ["Ses09F"]}
    assert "the dialogue 'Ses09F' of test has no labels" in refusal(
        indexed, written.save(tuple(unknown.values()), tmp_path / "d.pkl")
    )
    shorter = {**there, "audio": {key: turns[1:] for key, turns in there["audio"].items()}}
    assert "the dialogue 'Ses01F_impro01' has 3 labels and 2 audio" in refusal(
        indexed, written.save(tuple(shorter.values()), tmp_path / "e.pkl")
    )
    fewer = {**there, "trainval": there["trainval"][1:]}
    indexed(written.save(tuple(fewer.values()), tmp_path / "f.pkl"))
    assert "f.pkl: 1 dialogues are in no split, and left out" in corpus_json()["notes"]


def test_where_a_file_has_no_validation_it_is_drawn_as_for_iemocap(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    raw = written.write_tuple("MMGCN", tmp_path)
    drawn = {seed: {row.dialogue_id for row in indexed(raw, validation_seed=seed) if row.split == "validation"}
             for seed in range(4)}  # fmt: skip
    assert {len(dialogues) for dialogues in drawn.values()} == {1}  # a fifth of four, rounded
    assert len({next(iter(dialogues)) for dialogues in drawn.values()}) > 1
    fixed = {row.dialogue_id for row in indexed(raw, validation="cosmic12") if row.split == "validation"}
    assert fixed == {"Ses04F_impro07"}
    own = written.write_tuple("COSMIC", tmp_path / "own")
    assert {row.dialogue_id for row in indexed(own) if row.split == "validation"} == {"Ses04F_impro07"}
    message = refusal(indexed, written.write_tuple("SDT (MELD)", tmp_path / "meld"), validation="session4")
    assert "index.<corpus>.validation = 'session4': is for IEMOCAP" in message


def test_meld_finds_dev_inside_train(indexed: Callable[..., list[Utterance]], tmp_path: Path) -> None:
    rows = indexed(written.write_tuple("SDT (MELD)", tmp_path))
    assert {row.dialogue_id for row in rows if row.split == "validation"} == {"validation_dia0"}
    assert "file.pkl: MELD's dev is found inside its train by the dialogues' numbers" in corpus_json()["notes"]
    assert corpus_json()["published"]["protocol"] == "MELD's own split"


@pytest.mark.slow
def test_a_protocol_of_iemocap_is_named_by_its_counts(indexed: Callable[..., list[Utterance]], tmp_path: Path) -> None:
    def corpus(counts: dict[str, tuple[int, int]]) -> tuple:
        labels_by, splits = {}, {}
        for split, (dialogues, utterances) in counts.items():
            names = [f"Ses0{'5' if split == 'test' else '1'}F_{split}{number:03}" for number in range(dialogues)]
            splits[split] = names
            for place, name in enumerate(names):
                more = utterances // dialogues + (place < utterances % dialogues)
                labels_by[name] = [place % 6] * more
        speakers = {name: ["M"] * len(turns) for name, turns in labels_by.items()}
        sentences = {name: ["Yes."] * len(turns) for name, turns in labels_by.items()}
        return speakers, labels_by, sentences, splits["train"], splits["test"], splits["validation"]

    cosmic = corpus({"train": (108, 5163), "validation": (12, 647), "test": (31, 1623)})
    indexed(written.save(cosmic, tmp_path / "a.pkl"), modalities=["text"])
    assert corpus_json()["published"]["protocol"] == "COSMIC's (108, 12 and 31 dialogues)"
    other = corpus({"train": (108, 5163), "validation": (12, 647), "test": (31, 1622)})
    indexed(written.save(other, tmp_path / "b.pkl"), modalities=["text"])
    assert corpus_json()["published"]["protocol"] == (
        "the file's own (108 / 12 / 31 dialogues, 5163 / 647 / 1622 labelled utterances)"
    )


@pytest.mark.slow
def test_sentences_instead_of_vectors_go_through_the_text_encoder(
    indexed: Callable[..., list[Utterance]], tmp_path: Path, tiny_roberta: Path
) -> None:
    raw = written.write_tuple("SDT", tmp_path)
    rows = indexed(raw, vectors=["audio", "visual"])
    assert {row.text_file for row in rows} == {""}
    made = features_of(raw, "text", text={"model": str(tiny_roberta)}, vectors=["audio", "visual"])
    assert made.present.all()
    assert made.values.shape[1] != WIDTHS["text"]
    assert "encoders" in made.identity
    assert features_of(raw, "audio", vectors=["audio", "visual"]).values.shape[1] == WIDTHS["audio"]


def test_zeros_and_values_that_are_not_finite_are_a_missing_modality(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    there = dict(zip(written.TUPLES["MMGCN"].split(), written.tuple_of("MMGCN"), strict=True))
    there["audio"]["Ses01F_impro01"] = [np.zeros(30, "f4"), np.full(30, np.nan, "f4"), np.ones(30, "f4")]
    raw = written.save(tuple(there.values()), tmp_path / "file.pkl")
    indexed(raw)
    made = features_of(raw, "audio")
    assert made.present[:4].tolist() == [False, False, True, True]
    assert not made.values[:2].any()
    report = json.loads((Path("data") / CORPUS / "features" / "audio.report.json").read_text())
    assert report["missing"] == {
        "all zeros in the file": ["Ses01F_impro01_F000"],
        "values that are not finite in the file": ["Ses01F_impro01_M001"],
    }


def test_vectors_of_two_widths_are_refused(indexed: Callable[..., list[Utterance]], tmp_path: Path) -> None:
    there = dict(zip(written.TUPLES["MMGCN"].split(), written.tuple_of("MMGCN"), strict=True))
    there["audio"]["Ses05M_impro03"][0] = np.ones(31, "f4")
    raw = written.save(tuple(there.values()), tmp_path / "file.pkl")
    indexed(raw)
    with pytest.raises(UserError, match="the audio vector of Ses05M_impro03_F000 has 31 values, and others have 30"):
        features_of(raw, "audio")


def test_vectors_of_two_widths_are_refused_again_when_the_first_are_in_the_work_cache(
    indexed: Callable[..., list[Utterance]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extractor, "TOGETHER", 3)
    there = dict(zip(written.TUPLES["MMGCN"].split(), written.tuple_of("MMGCN"), strict=True))
    there["audio"]["Ses05M_impro03"] = [np.ones(31, "f4")] * TURNS
    raw = written.save(tuple(there.values()), tmp_path / "file.pkl")
    indexed(raw)
    for _ in range(3):
        with pytest.raises(UserError, match=r"file\.pkl: the audio vector of Ses05M_impro03_F000 has 31 values"):
            features_of(raw, "audio")


def test_a_file_that_was_changed_after_the_index_is_refused_and_another_index_gives_other_keys(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    raw = written.write_tuple("MMGCN", tmp_path)
    first = indexed(raw)
    before = features_of(raw, "visual")
    there = dict(zip(written.TUPLES["MMGCN"].split(), written.tuple_of("MMGCN"), strict=True))
    there["visual"]["Ses01F_impro01"][0] = np.full(26, 7, "f4")
    there["audio"]["Ses01F_impro01"][0] = np.full(30, 7, "f4")
    written.save(tuple(there.values()), raw)
    with pytest.raises(UserError, match="vectors were changed since the index was made"):
        features_of(raw, "audio")
    second = indexed(raw)
    assert {row.video_hash for row in first}.isdisjoint(row.video_hash for row in second)
    after = features_of(raw, "visual")  # the first ones are in the work cache, under other keys
    assert after.values[0, 0] == 7
    assert after.values[1:].tolist() == before.values[1:].tolist()


def test_a_second_extraction_reads_no_file_unless_the_code_has_another_version(
    indexed: Callable[..., list[Utterance]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = written.write_tuple("MMGCN", tmp_path)
    indexed(raw)
    first = features_of(raw, "text")
    raw.unlink()
    assert features_of(raw, "text").values.tolist() == first.values.tolist()
    monkeypatch.setattr(extractor, "VERSION", 999)
    with pytest.raises(UserError, match="cannot be read"):
        features_of(raw, "text")


SEEN = {
    "a number": (3, "it is a int"),
    "a tuple of four": (({}, {}, [], []), "it has 4 fields: 0 an empty dict"),
    "COSMIC's commonsense file": (
        [written.vectors("text", IEMOCAP)] * 9, "is COSMIC's file of commonsense features, without labels and splits",
    ),
    "a tuple whose labels are words": (
        tuple(value if place != 2 else {key: ["a"] * 3 for key in IEMOCAP}
              for place, value in enumerate(written.tuple_of("MMGCN"))),
        "it has 9 fields: 0 a dict of 5, with a list of 3 str; 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SEEN)
def test_what_fits_no_layout_is_refused_with_what_was_seen(
    case: str, indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    content, said = SEEN[case]
    message = refusal(indexed, written.save(content, tmp_path / "file.pkl"))
    assert message.startswith(f"{tmp_path / 'file.pkl'}: ")
    assert said in message


def test_a_harmful_or_broken_file_is_refused(indexed: Callable[..., list[Utterance]], tmp_path: Path) -> None:
    file = tmp_path / "file.pkl"
    file.write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    assert "it asks for 'os.system', which no feature file needs; nothing of the file was run" in refusal(indexed, file)
    assert not Path("ran").exists()
    file.write_bytes(pickle.dumps(written.tuple_of("SDT"))[:-100])
    assert "is no whole pickle" in refusal(indexed, file)
    file.write_bytes(b"")
    assert "is empty (zero bytes)" in refusal(indexed, file)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n")
    assert "is a pointer of git-lfs" in refusal(indexed, file)
    assert "there is no such file or folder" in refusal(indexed, tmp_path / "nowhere.pkl")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    assert "is none of the folders that are read (docs/feature_files.md); it has notes.txt" in refusal(
        indexed, tmp_path / "folder"
    )


def test_a_label_that_is_no_code_of_the_corpus_is_refused_or_named_by_the_user(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    there = dict(zip(written.TUPLES["MMGCN"].split(), written.tuple_of("MMGCN"), strict=True))
    there["labels"] = {key: [0, 6, 2] for key in IEMOCAP}
    raw = written.save(tuple(there.values()), tmp_path / "file.pkl")
    assert "Ses01F_impro01_M001 has the label 6; the codes of happy, sad, neutral, angry" in refusal(indexed, raw)
    names = ["a", "b", "c", "d", "e", "f", "g"]
    assert [row.label for row in indexed(raw, labels=names)[:3]] == ["a", "g", "c"]
    for numbers, words in (
        ([0, 1, 2], ("happy", "sad", "neutral")),
        ([-0.4, 0.0, 1.0], ("negative", "neutral", "positive")),
    ):
        there["labels"] = dict.fromkeys(IEMOCAP, numbers)
        rows = indexed(written.save(tuple(there.values()), tmp_path / "file.pkl"))
        assert tuple(row.label for row in rows[:3]) == words


def test_a_missing_sentence_is_no_word_and_bytes_are_text(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    content = list(written.tuple_of("MMGCN"))
    content[6]["Ses01F_impro01"] = ["Hi.", None, float("nan")]
    content[6]["Ses02M_script01_1"] = ["Hi.", np.float32("nan"), "Caf\u00e9?"]
    rows = indexed(written.save(tuple(content), tmp_path / "file.pkl"), validation="session4")
    assert [row.text for row in rows[:6]] == ["Hi.", "", "", "Hi.", "", "Caf\u00e9?"]
    raw = written.write_dag_erc(tmp_path / "words")
    file = raw / "train_data_roberta.json.feature"
    words = json.loads(file.read_text())
    words[0][2]["text"] = None
    file.write_text(json.dumps(words))
    assert [bool(row.text) for row in indexed(raw)[:2]] == [True, False]
    mmsa = written.write_mmsa(tmp_path / "mmsa")
    parts = pickle.loads(mmsa.read_bytes())
    said = [row.text for row in indexed(mmsa)]
    parts["train"]["raw_text"] = np.array([text.encode() for text in parts["train"]["raw_text"]])
    parts["valid"]["raw_text"] = np.array(["caf\u00e9".encode("cp1252")] * len(parts["valid"]["id"]))
    texts = [row.text for row in indexed(written.save(parts, mmsa, 4))]
    assert texts[:4] == said[:4]
    assert texts[4:6] == ["caf\u00e9"] * 2


def test_words_and_names_of_json_files_that_look_alike_are_one(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    raw = written.write_dag_erc(tmp_path / "words")
    for file in raw.glob("*.feature"):
        content = json.loads(file.read_text())
        spelt = zip(("cole\u0300re", "Col\u00e8re", " \u200bcol\u00e8re"), ("Ann B", "Ann\u00a0 B", "\u200bAnn B"),
                    strict=True)  # fmt: skip
        for place, (label, speaker) in enumerate(spelt):
            content[0][place] |= {"label": label, "speaker": speaker}
        file.write_text(json.dumps(content))
    rows = [row for row in indexed(raw) if row.dialogue_id == "train_0"]
    assert [(row.label, row.speaker, row.speaker_name) for row in rows[:3]] == [("col\u00e8re", 0, "Ann B")] * 3


@pytest.mark.parametrize("names", [["Joy", "joy"], ["very happy", "very\u00a0 happy"], ["\u00e9", "e\u0301"]])
def test_labels_of_codes_that_look_alike_are_refused(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must not name anything twice, in upper or lower case"):
        params(tmp_path, labels=names)


def test_no_label_of_a_feature_file_is_called_as_a_column_of_predictions(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    raw = written.write_dag_erc(tmp_path / "words")
    for file in raw.glob("train*"):
        content = json.loads(file.read_text())
        content[0][0]["label"] = "Seed"
        file.write_text(json.dumps(content))
    said = refusal(indexed, raw)
    assert said.startswith(f"{raw}: train_0_0 has the label 'seed', which is a column of predictions.csv; take another")
    codes = written.write_tuple("MMGCN", tmp_path / "codes")
    said = refusal(indexed, codes, labels=["seed", "prediction", *"abcdefg"], validation="session4")
    assert "which is a column of predictions.csv" in said


@pytest.mark.parametrize(("keys", "ids", "said"), [
    ((1, "1", "b", "c", "d"), ("x", "y", "b", "c", "d"), "the dialogues 1 and '1' have one name, '1'; give one"),
    (("a", "a_b", "b", "c", "d"), ("a_b", "a_b", "b", "c", "d"),
     "the utterance 'a_b_0' of the dialogue 'a_b' occurs twice; give its dialogues names of which none begins"),
])  # fmt: skip
def test_an_id_that_two_utterances_have_is_refused_by_the_index(
    keys: tuple, ids: tuple[str, ...], said: str, indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    content: list[Any] = [
        dict(zip(keys, part.values(), strict=True)) if place < 7 else part
        for place, part in enumerate(written.tuple_of("MMGCN"))
    ]
    content[0] = {key: [f"{name}_{turn}" for turn in range(TURNS)] for key, name in zip(keys, ids, strict=True)}
    content[7], content[8] = list(keys[:3]), list(keys[3:])
    raw = written.save(tuple(content), tmp_path / "file.pkl")
    assert said in refusal(indexed, raw, labels=["sad", "glad", "calm", "wry"])


def test_large_codes_stay_apart(indexed: Callable[..., list[Utterance]], tmp_path: Path) -> None:
    content = list(written.tuple_of("MMGCN"))
    for field in (0, 1, 2, 3, 4, 5, 6):
        content[field] = {f"talk {place}": value for place, value in enumerate(content[field].values())}
    content[2] = {key: [1_000_001, 1_000_002.0, 3] for key in content[2]}
    content[7], content[8] = ["talk 0", "talk 1", "talk 2"], ["talk 3", "talk 4"]
    rows = indexed(written.save(tuple(content), tmp_path / "file.pkl"))
    assert {row.label for row in rows} == {"class 1000001", "class 1000002", "class 3"}


def test_four_classes_of_iemocap_keep_their_order() -> None:
    assert labels("features", ["angry", "sad", "neutral", "happy"]) == ("happy", "sad", "neutral", "angry")
    assert len(labels("features", ["angry", "sad", "neutral", "excited"])) == 6
    assert labels("features", ["positive", "neutral"]) == ("negative", "neutral", "positive")
    assert labels("features", ["class 2", "class 0"]) == ("class 0", "class 2")


def test_folders_whose_names_tell_no_modality_are_named_by_the_user(
    indexed: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    raw = written.write_merbench(tmp_path / "raw")
    (raw / "features" / "roberta-large-UTT").rename(raw / "features" / "one")
    (raw / "features" / "manet-UTT").rename(raw / "features" / "two")
    (raw / "features" / "hubert-large-FRA").rename(raw / "features" / "three")
    assert "tells the modality of its vectors (there are: features/one, features/three, features/two)" in refusal(
        indexed, raw
    )
    chosen = {"folders": {"text": "features/one", "audio": "features/three"}}
    indexed(raw, **chosen)
    assert features_of(raw, "text", **chosen).values[0, 0] == number("text", "Ses01F_impro01", 0)
    assert "there is no such folder" in refusal(indexed, raw, folders={"text": "features/four"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "splits"),
    [("iemocap", (5163, 647, 1623)), ("meld", (9989, 1109, 2610)), ("emorynlp", (7551, 954, 984))],
)
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the development data are not beside the project")
def test_the_fields_own_files_have_their_counts_and_are_known(
    indexed: Callable[..., list[Utterance]], name: str, splits: tuple[int, int, int]
) -> None:
    rows = indexed(PUBLISHED / f"cosmic_{name}.pkl", modalities=["text"])
    counted = Counter(row.split for row in rows)
    assert (counted["train"], counted["validation"], counted["test"]) == splits
    [file] = corpus_json()["published"]["files"]
    assert file["known"].startswith(f"COSMIC's {name}.pkl")
    assert len(labels("features", [row.label for row in rows])) == (6 if name == "iemocap" else 7)


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the development data are not beside the project")
def test_cosmics_meld_is_melds_own_tables_row_by_row(indexed: Callable[..., list[Utterance]]) -> None:
    from pipeline.corpora import meld
    from pipeline.corpora.lost_characters import repaired

    ours = indexed(PUBLISHED / "cosmic_meld.pkl", modalities=["text"])
    tables = {(row.dialogue_id, row.turn): row for row in meld.read(PUBLISHED.parent / "meld_csv", ["text"]).rows}
    assert len(tables) == len(ours) == 13708
    for row in ours:
        table = tables[row.dialogue_id, row.turn]
        text = repaired(
            row.text
        )  # 12 texts have lost an apostrophe in all copies; the reader of the tables repairs them
        assert (row.split, row.label, row.speaker, text) == (table.split, table.label, table.speaker, table.text)


@pytest.mark.parametrize(("width", "told"), [(768, True), (1024, False)])
def test_multiemos_text_of_the_width_of_emoberta_is_under_suspicion(
    indexed: Callable[..., list[Utterance]], tmp_path: Path, width: int, told: bool
) -> None:
    raw = written.write_multiemo(tmp_path / "files")
    text = {key: [np.ones(width, "f4")] * TURNS for key in IEMOCAP}
    written.save(text, raw / "TextFeatures.pkl", 4)
    indexed(raw)
    assert any("are said to come from EmoBERTa" in note for note in corpus_json()["notes"]) == told
    assert corpus_json()["published"]["warnings"] == {}  # a suspicion is no mark


@pytest.mark.slow
def test_a_file_is_trained_on_evaluated_and_marked_and_predicts_no_recording(
    indexed: Callable[..., list[Utterance]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MELD's audio of 300 columns is marked in every result; without audio nothing is."""
    monkeypatch.setattr("pipeline.scoring.scores.RESAMPLES", 20)
    there = dict(zip(written.TUPLES["SDT (MELD)"].split(), written.tuple_of("SDT (MELD)"), strict=True))
    there["audio"] = {key: [np.full(300, 1 + place, "f4") for place in range(TURNS)] for key in MELD}
    raw = written.save(tuple(there.values()), tmp_path / "file.pkl")
    indexed(raw)
    assert any("trained on MELD's labels" in note for note in corpus_json()["notes"])
    for modality in MODALITIES:
        features_of(raw, modality)
    loaded = params(raw).model_dump()
    loaded["model"] |= {"dim": 20, "heads": 2}
    loaded["train"][CORPUS] |= {"epochs": 1, "seeds": [0], "batch": 2}
    stage = argparse.Namespace(corpus=CORPUS)
    for modalities, marked in (([*MODALITIES], True), (["text", "visual"], False)):
        loaded["model"]["modalities"] = modalities
        chosen = Params.model_validate(loaded)
        for one in (finetune_text, faces, leakage, train, evaluate):
            one.run(stage, chosen)
        scores = json.loads((Path("results") / CORPUS / "scores.json").read_text())
        metrics = json.loads((Path("results") / CORPUS / "metrics.json").read_text())
        assert ("seen" in scores) == marked == (metrics.get("seen_labels") == 1)
        assert scores["present"] == dict.fromkeys(modalities, 100.0)
    assert read_bundle(Path("models") / CORPUS).text_encoder == ""
    with pytest.raises(UserError, match="was trained on text vectors of a published file, and what made them is not"):
        make_extractor("text", read_bundle(Path("models") / CORPUS))


def read_or_refuse(raw: Path) -> None:
    """Read turns and every vector, as `index` and `extract` do; nothing but a UserError may come of it."""
    try:
        corpus = features.read(raw, FeaturesSettings(reader="features", raw=str(raw)))
        for modality in MODALITIES:
            taken = extractor.VectorExtractor(modality, raw, {})
            rows = {key: row for key, row in zip(taken.keys(corpus.rows), corpus.rows, strict=True) if key}
            for _ in taken.extract(rows, set()):
                pass
    except UserError:
        return


@pytest.mark.parametrize("layout", [*written.TUPLES, "MMSA", "DAG-ERC", "MultiDAG"])
def test_a_file_with_damaged_values_is_read_or_refused(layout: str, tmp_path: Path) -> None:
    draw = random.Random(layout)
    for file_number in range(60):
        raw = tmp_path / str(file_number)
        if layout in ("DAG-ERC", "MultiDAG"):
            written.write_dag_erc(raw, layout == "MultiDAG")
            file = draw.choice(sorted(raw.iterdir()))
            file.write_text(json.dumps(damaged(json.loads(file.read_text()), draw), default=list))
        else:
            content = (
                pickle.loads(written.write_mmsa(raw).read_bytes()) if layout == "MMSA" else written.tuple_of(layout)
            )
            for _ in range(draw.randint(1, 3)):
                content = damaged(content, draw)
            raw = written.save(content, raw / "file.pkl", 4)
        read_or_refuse(raw)
