"""Export in each layout and import again: the same features, labels, order and splits, to the byte."""

import argparse
import json
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extractors.features import Features, read_features, write_features
from extractors.utterance import Utterance
from foundation.errors import UserError
from pipeline import export, extract, index
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.labels import IEMOCAP, MELD
from pipeline.params import Params, load_params

PROJECT = Path(__file__).parents[2]
LAYOUTS = ("mmgcn", "sdt", "m3net", "graphsmile", "multiemo", "cosmic", "dagerc", "multidag", "merbench")
MODALITIES = ("text", "audio", "visual")
TEXT_ALONE = ("cosmic", "dagerc")
WIDTHS = {"text": 24, "audio": 31, "visual": 22}
IEMOCAP_DIALOGUES = {"Ses01F_impro01": "train", "Ses04F_script01_1": "validation", "Ses02F_impro02": "train",
                     "Ses03M_impro03": "train", "Ses05F_impro01": "test", "Ses04M_impro02": "validation",
                     "Ses01M_impro05": "train", "Ses05M_script03_2": "test"}  # fmt: skip
"""Validation is Session 4; layouts without a validation leave it to `index.D.validation`."""
MELD_DIALOGUES = {"train_dia0": "train", "train_dia61": "train", "train_dia1038": "train",
                  "validation_dia0": "validation", "validation_dia113": "validation", "test_dia0": "test",
                  "test_dia279": "test"}  # fmt: skip


def params(**chosen: Any) -> Params:
    loaded = load_params(PROJECT / "params.yaml").model_dump()
    loaded["index"]["meld_sdt"] |= chosen
    return Params.model_validate(loaded)


def rows_of(meld: bool, labels: tuple[str, ...] | None = None) -> list[Utterance]:
    """Dialogues of three to five turns; MELD's utterance numbers have gaps."""
    rows = []
    words = labels or (MELD if meld else IEMOCAP)
    for number, (dialogue, split) in enumerate((MELD_DIALOGUES if meld else IEMOCAP_DIALOGUES).items()):
        for turn in range(3 + number % 3):
            name = f"{dialogue}_utt{2 * turn}" if meld else f"{dialogue}_{'MF'[turn % 2]}{turn:03}"
            rows.append(Utterance(utterance_id=name, dialogue_id=dialogue, turn=turn, speaker=turn % 2, split=split,
                                  text=f"“Well,” {name}…", label=words[(number + turn) % len(words)]))  # fmt: skip
    return rows


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Utterance]]:
    """Writes index and features of a corpus; some utterances lack audio or visual."""
    monkeypatch.chdir(tmp_path)

    def make(corpus: str, rows: list[Utterance], without: tuple[str, ...] = ()) -> list[Utterance]:
        write_index(rows, Path("data") / corpus / "index.csv")
        draw = np.random.default_rng(0)
        for modality, width in WIDTHS.items():
            values = draw.normal(size=(len(rows), width)).astype(np.float32)
            present = np.ones(len(rows), bool) if modality == "text" else draw.random(len(rows)) < 0.8
            if modality in without:
                values, present = np.zeros((len(rows), 0), np.float32), np.zeros(len(rows), bool)
            values = np.where(present[:, None], values, np.float32(0))
            file = Path("data") / corpus / "features" / f"{modality}.safetensors"
            write_features(Features(values, present, {}), file)
        return rows

    return make


def exported(corpus: str, layout: str) -> Path:
    export.run(argparse.Namespace(corpus=corpus, layout=layout, out=Path("out") / layout), params())
    folder = Path("out") / layout
    files = [file for file in folder.iterdir() if file.suffix != ".log"]
    return files[0] if len(files) == 1 else folder


def imported(raw: Path, **chosen: Any) -> tuple[list[Utterance], dict[str, Features]]:
    given = params(raw=str(raw.resolve()), **chosen)
    index.run(argparse.Namespace(corpus="meld_sdt"), given)
    rows = read_index(Path("data/meld_sdt/index.csv"))
    found = {}
    for modality in MODALITIES:
        args = argparse.Namespace(corpus="meld_sdt", modality=modality, shard=extract.WHOLE, engine=None)
        extract.run(args, given)
        found[modality] = read_features(Path(f"data/meld_sdt/features/{modality}.safetensors"), len(rows))
    return rows, found


@pytest.mark.slow
@pytest.mark.parametrize("without", [(), ("audio",)])
@pytest.mark.parametrize("meld", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_exported_is_imported_to_the_byte(
    layout: str, meld: bool, without: tuple[str, ...], made: Callable[..., list[Utterance]]
) -> None:
    corpus = "meld" if meld else "iemocap"
    rows = made(corpus, rows_of(meld), without)
    own = meld or layout in ("cosmic", "dagerc", "multidag")
    again, features = imported(exported(corpus, layout), validation="file" if own else "session4")
    if layout in ("dagerc", "multidag"):  # files by split
        ranks = {"train": 0, "validation": 1, "test": 2}
        order = sorted(range(len(rows)), key=lambda place: ranks[rows[place].split])
    else:
        order = list(range(len(rows)))
    assert [(row.split, row.label, row.turn, row.text) for row in again] == [
        (row.split, row.label, row.turn, row.text) for row in (rows[place] for place in order)
    ]
    if layout in ("mmgcn", "sdt", "m3net", "graphsmile", "multiemo", "merbench"):
        assert [row.utterance_id for row in again] == [row.utterance_id for row in rows]
    if not (meld and layout == "merbench"):  # which has no speakers
        assert [row.speaker for row in again] == [rows[place].speaker for place in order]
    for modality in MODALITIES[:1] if layout in TEXT_ALONE else MODALITIES:
        before = read_features(Path(f"data/{corpus}/features/{modality}.safetensors"), len(rows))
        after = features[modality]
        assert after.present.tobytes() == before.present[order].tobytes()
        if modality in without:
            assert after.values.shape == (len(rows), 0)
        else:
            assert after.values.tobytes() == before.values[order].tobytes()


def test_another_corpus_keeps_its_labels_when_they_are_named(made: Callable[..., list[Utterance]]) -> None:
    rows = made("custom", rows_of(False, ("calm", "annoyed")))
    again, _ = imported(exported("custom", "mmgcn"), labels=["annoyed", "calm"])  # in the order of their codes
    assert [row.label for row in again] == [row.label for row in rows]
    named = rows_of(True, ("calm", "annoyed"))
    made("custom", named)
    with pytest.raises(UserError, match="merbench is for corpora with the dialogues of MELD or IEMOCAP"):
        exported("custom", "merbench")
    again, _ = imported(exported("custom", "sdt"), labels=["annoyed", "calm"])
    assert [row.label for row in again] == [row.label for row in named]


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(made: Callable[..., list[Utterance]]) -> None:
    made("meld", rows_of(True))
    Path("out").write_text("mine")
    for layout in ("sdt", "dagerc", "merbench"):
        with pytest.raises(UserError, match=f"^out/{layout}: cannot be written there .*Give another place"):
            exported("meld", layout)


def test_an_utterances_id_names_files_in_their_folder_alone(
    made: Callable[..., list[Utterance]], tmp_path: Path
) -> None:
    ids = ["../../../up", "/" + str(tmp_path / "root")[1:], "..", "same", "SAME", "a\0b", "n" * 300]
    rows = [
        Utterance(utterance_id=name, dialogue_id="Ses01F_x", turn=turn, speaker=turn % 2, split="train", text="x",
                  label="happy")
        for turn, name in enumerate(ids)
    ]  # fmt: skip
    made("iemocap", rows)
    folder = exported("iemocap", "merbench")
    for kind in ("text-UTT", "audio-UTT", "video-UTT"):
        names = [file.name for file in (folder / "features" / kind).iterdir()]
        assert len({name.casefold() for name in names}) == len(ids)
    outside = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.npy")}
    assert {name for name in outside if not name.startswith("out/merbench/features/")} == set()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_pickle_names_only_what_numpy_1_has(layout: str, made: Callable[..., list[Utterance]]) -> None:
    made("meld", rows_of(True))
    raw = exported("meld", layout)
    names = set()
    for file in [raw] if raw.is_file() else raw.rglob("*"):
        if file.suffix == ".pkl":
            content = file.read_bytes()
        elif file.suffix == ".npz":
            assert b"_core" not in b"".join(_members(file))
            content = _members(file)[0].partition(b"\n")[2]
        else:
            continue
        names |= {argument for opcode, argument, _ in pickletools.genops(content) if opcode.name == "GLOBAL"}
        assert not any(opcode.name == "STACK_GLOBAL" for opcode, _, _ in pickletools.genops(content))
        assert {argument for opcode, argument, _ in pickletools.genops(content) if opcode.name == "PROTO"} == {3}
    assert names <= {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}


def _members(file: Path) -> list[bytes]:
    import zipfile

    with zipfile.ZipFile(file) as archive:
        return [archive.read(name) for name in archive.namelist()]


def test_the_files_hold_what_the_publications_code_expects(made: Callable[..., list[Utterance]]) -> None:
    """Field by field, read as that code reads them."""
    rows = made("meld", rows_of(True))
    text = read_features(Path("data/meld/features/text.safetensors"), len(rows)).values

    def load(layout: str, name: str) -> Any:
        exported("meld", layout)
        return pickle.loads((Path("out") / layout / name).read_bytes(), encoding="latin1")

    graph = load("graphsmile", "meld_multimodal_features.pkl")
    assert len(graph) == 14
    ids, speakers, labels, sentiments, *texts, _, _, sentences, train, test, _ = graph
    assert list(labels) == [0, 61, 1038, 1039, 1152, 1153, 1432]
    assert train == [1039, 1152, 0, 61, 1038]  # dev first
    assert test == [1153, 1432]
    assert ids[61] == [0, 2, 4, 6]
    assert speakers[0] == [[1, 0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0]]
    assert labels[61] == [1, 2, 3, 4]  # surprise, fear, sadness, joy
    assert sentiments[61] == [0, 2, 2, 1]
    assert len(texts) == 4
    np.testing.assert_array_equal(texts[3][0], text[:3])
    assert sentences[0][0] == "“Well,” train_dia0_utt0…"
    assert [len(load(layout, name)) for layout, name in (
        ("mmgcn", "MELD_features_raw1.pkl"), ("sdt", "meld_multimodal_features.pkl"),
        ("m3net", "meld_features_roberta.pkl"), ("cosmic", "meld_features_roberta.pkl"),
        ("multiemo", "Speakers.pkl"))] == [10, 13, 11, 11, 10]  # fmt: skip
    made("iemocap", rows_of(False))
    exported("iemocap", "sdt")
    there = pickle.loads(Path("out/sdt/iemocap_multimodal_features.pkl").read_bytes(), encoding="latin1")
    assert len(there) == 12
    assert there[0]["Ses01F_impro01"] == ["Ses01F_impro01_M000", "Ses01F_impro01_F001", "Ses01F_impro01_M002"]
    assert there[1]["Ses01F_impro01"] == ["M", "F", "M"]
    assert there[2]["Ses01F_impro01"] == [0, 1, 2]
    assert there[10][0] == "Ses04F_script01_1"
    exported("iemocap", "dagerc")
    dialogue = json.loads(Path("out/dagerc/dev_data_roberta.json.feature").read_text())[0]
    assert [turn["label"] for turn in dialogue] == ["sad", "neutral", "angry", "excited"]
    assert dialogue[0].keys() == {"text", "speaker", "label", "cls"}
    vocabulary = pickle.loads(Path("out/dagerc/label_vocab.pkl").read_bytes())
    assert vocabulary["stoi"]["frustrated"] == 5


def test_an_unlabelled_turn_is_context_where_the_layout_has_it_and_left_out_elsewhere(
    made: Callable[..., list[Utterance]],
) -> None:
    rows = rows_of(False)
    unlabelled = Utterance(utterance_id="Ses01F_impro01_F009", dialogue_id="Ses01F_impro01", turn=3, speaker=1,
                           split="train", text="Hm.", label="")  # fmt: skip
    made("iemocap", [*rows[:3], unlabelled, *rows[3:]])
    exported("iemocap", "dagerc")
    first = json.loads(Path("out/dagerc/train_data_roberta.json.feature").read_text())[0]
    assert ["label" in turn for turn in first] == [True, True, True, False]
    there = pickle.loads(exported("iemocap", "mmgcn").read_bytes(), encoding="latin1")
    assert len(there[2]["Ses01F_impro01"]) == len(there[3]["Ses01F_impro01"]) == 3


def test_a_file_that_is_part_of_two_layouts_gives_each_its_own_vectors(
    made: Callable[..., list[Utterance]],
) -> None:
    """M3Net's text is COSMIC's file, but the utterances have other ids there, with gaps. The work cache keeps both."""
    rows = made("meld", rows_of(True))
    values = read_features(Path("data/meld/features/text.safetensors"), len(rows)).values
    for layout in ("m3net", "cosmic", "m3net"):
        again, features = imported(exported("meld", layout))
        assert features["text"].values.tobytes() == values.tobytes()
    assert again[1].utterance_id == "train_dia0_utt2"
