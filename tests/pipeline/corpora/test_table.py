"""A corpus of one's own: the example of docs/custom.md from table to scores, and what is said of a wrong row."""

import argparse
import csv
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from extractors import clips
from extractors.audio.extractor import AudioExtractor
from extractors.features import Features, write_features
from extractors.utterance import Utterance
from foundation.errors import UserError
from pipeline import evaluate, finetune_text, index, leakage, train
from pipeline.corpora.index_file import read_index
from pipeline.corpora.table import OPTIONAL, REQUIRED, read
from pipeline.params import Params, load_params
from tests.conftest import in_this_process, write_clip

PROJECT = Path(__file__).parents[3]
ALL = ["text", "audio", "visual"]
COLUMNS = ["dialogue", "turn", "speaker", "text", "label", "split", "audio", "video", "start", "end"]


def write(folder: Path, *rows: str, header: str = "dialogue,speaker,text,label,split") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "utterances.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return folder


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The folder of docs/custom.md, media included."""
    found = re.search(r"```csv\n(.*?)```", (PROJECT / "docs" / "custom.md").read_text("utf-8"), re.DOTALL)
    assert found
    folder = tmp_path / "my folder"
    folder.mkdir()
    (folder / "utterances.csv").write_text(found[1], "utf-8")
    for name in ("call1", "call2"):
        (folder / "calls").mkdir(exist_ok=True)
        tone = 0.3 * np.sin(np.arange(24_000) / 12)
        wavfile.write(folder / "calls" / f"{name}.wav", 16_000, tone.astype(np.float32))
    write_clip(folder / "visits" / "visit1.mp4", seconds=1.5)
    return folder


def params(raw: Path) -> Params:
    loaded = load_params(PROJECT / "params.yaml").model_dump()
    loaded["datasets"] = ["custom"]
    loaded["index"]["custom"]["raw"] = str(raw)
    loaded["model"] |= {"dim": 20, "heads": 2}
    loaded["train"]["custom"] |= {"epochs": 1, "seeds": [0]}
    return Params.model_validate(loaded)


def test_the_documented_columns_are_those_that_are_read() -> None:
    text = (PROJECT / "docs" / "custom.md").read_text("utf-8")
    told = {kind: set() for kind in ("needed", "optional")}
    for names, kind in re.findall(r"^\| (`.*?) \| (needed|optional) \|", text, re.MULTILINE):
        told[kind] |= set(re.findall(r"`(\w+)`", names))
    assert told == {"needed": set(REQUIRED), "optional": set(OPTIONAL)}


def test_the_documented_example_goes_from_table_to_scores(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, stage = params(example), argparse.Namespace(corpus="custom")
    index.run(stage, settings)
    rows = read_index(Path("data/custom/index.csv"))
    assert [row.utterance_id for row in rows][:3] == ["call1_0", "call1_1", "call1_2"]
    assert [row.speaker for row in rows] == [0, 1, 0, 0, 1, 0, 1]
    assert all(row.problem == "" and row.audio_hash for row in rows)
    assert [(row.audio_start, row.audio_end, row.video) for row in rows[:2]] == [(0.0, 0.4, ""), (0.4, 1.0, "")]
    assert (rows[-1].start, rows[-1].end, rows[-1].audio_start) == (0.6, 1.2, 0.6)
    counts = json.loads(Path("results/custom/corpus.json").read_text())["splits"]["all"]
    assert counts["labels"] == {"annoyed": 3, "calm": 4}
    assert counts["speakers"] == 4
    assert counts["seconds_of_audio"] == pytest.approx(1.4 + 1.0 + 1.2)

    draw = np.random.default_rng(0)
    for modality in ALL:
        values = draw.normal(size=(len(rows), 6)).astype(np.float32)
        write_features(
            Features(values, np.ones(len(rows), bool), {"weights": "random"}),
            Path(f"data/custom/features/{modality}.safetensors"),
        )
    finetune_text.run(stage, settings)
    leakage.run(stage, settings)
    train.run(stage, settings)
    evaluate.run(stage, settings)
    assert set(json.loads(Path("results/custom/scores.json").read_text())["f1"]) == {"annoyed", "calm"}
    with Path("results/custom/predictions.csv").open() as stream:
        predictions = list(csv.DictReader(stream))
    assert list(predictions[0]) == ["utterance_id", "seed", "label", "prediction", "annoyed", "calm"]
    assert [row["utterance_id"] for row in predictions] == ["visit1_0", "visit1_1"]


def test_dialogues_are_ordered_by_turn_or_else_by_line(tmp_path: Path) -> None:
    lines = ["b,7,Ann,second,sad,train", "a,0,Ann,other,sad,train", "b,3,Bob,first,sad,train"]
    rows = read(write(tmp_path, *lines, header="dialogue,turn,speaker,text,label,split"), ALL).rows
    assert [(row.text, row.turn, row.speaker) for row in rows] == [("first", 0, 0), ("second", 1, 1), ("other", 0, 0)]
    rows = read(write(tmp_path, "b,Ann,one,sad,train", "a,Ann,other,sad,train", "b,Bob,two,sad,train"), ALL).rows
    assert [(row.utterance_id, row.text) for row in rows] == [("b_0", "one"), ("b_1", "two"), ("a_0", "other")]


PIECES = "dialogue,speaker,label,split,audio,video,start,end,pieces"


def test_a_row_may_name_several_pieces(tmp_path: Path) -> None:
    for name in ("a.mp4", "b c.mp4"):
        (tmp_path / name).touch()
    media = [
        ",,,,a.mp4@0:01.5-3 | b c.mp4@-2.75",
        ",,,,b c.mp4@1-2",
        ",,,,a.mp4",
        ",,,,a.mp4 | gone.mp4@0-1",
        "a.mp4,,,,",
    ]
    lines = [f"a,Ann,sad,train,{one}" for one in media]
    two, cut, whole, lacking, other = read(write(tmp_path, *lines, header=PIECES), ALL).rows
    assert two.pieces == "a.mp4@1.5-3.0 | b c.mp4@-2.75"
    assert (two.audio, two.video, two.start, two.audio_end) == ("a.mp4", "a.mp4", None, None)
    assert (cut.pieces, cut.audio, cut.video) == ("", "b c.mp4", "b c.mp4")
    assert (cut.start, cut.end, cut.audio_start, cut.audio_end) == (1, 2, 1, 2)
    assert (whole.pieces, whole.video, whole.start, whole.audio_end) == ("", "a.mp4", None, None)
    assert (lacking.audio, lacking.video, lacking.pieces, lacking.problem) == ("", "", "", "gone.mp4: no such file")
    assert (other.audio, other.video, other.pieces) == ("a.mp4", "", "")
    heard = read(tmp_path, ["text", "audio"]).rows[0]
    assert (heard.audio, heard.video, heard.pieces) == ("a.mp4", "", two.pieces)
    assert [row.pieces + row.problem for row in read(tmp_path, ["text"]).rows] == [""] * 5


@pytest.mark.parametrize(("line", "said"), [
    (",,,,a.mp4@2-1", r"pieces = 'a\.mp4@2-1': has a piece that ends at 1 s, not after its start at 2 s; must be "),
    (",,,,a.mp4@0:75:00-", r"pieces = .*is no time.*; must be file@start-end, with \| between two pieces"),
    (",,,,a.mp4 |", r"pieces = 'a\.mp4 \|': has a piece without a file"),
    ("a.mp4,,,,b.mp4", "has pieces and audio too: pieces name the files of sound and pictures, with their times"),
    (",,1,2,b.mp4", "has pieces and start too"),
])  # fmt: skip
def test_pieces_that_cannot_be_understood_are_named(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"utterances\.csv, line 2: {said}"):
        read(write(tmp_path, f"a,Ann,sad,train,{line}", header=PIECES), ALL)


def test_pieces_of_a_table_are_joined_from_the_index_to_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two halves of a recording are the same as the whole: the same samples, so the same vector."""
    raw = tmp_path / "mine"
    tone = 0.3 * np.sin(np.arange(16_000) / 12) * np.linspace(0.2, 1, 16_000)
    lines = []
    for name, part in (("whole", tone), ("first", tone[:6000]), ("second", tone[6000:])):
        raw.mkdir(exist_ok=True)
        wavfile.write(raw / f"{name}.wav", 16_000, (part * 32_767).astype(np.int16))
    for split in ("train", "validation", "test"):
        media = ("whole.wav,,,,", ",,,,first.wav | second.wav@0-0.625", ",,,,second.wav | first.wav")
        lines += [f"{split},Ann,sad,{split},{one}" for one in media]
    monkeypatch.chdir(tmp_path)
    settings = params(write(raw, *lines, header=PIECES))
    settings.index["custom"].__dict__["modalities"] = ["audio"]
    index.run(argparse.Namespace(corpus="custom"), settings)
    rows = read_index(Path("data/custom/index.csv"))
    assert not any(row.problem for row in rows)
    counts = json.loads(Path("results/custom/corpus.json").read_text())
    assert counts["splits"]["all"]["seconds_of_audio"] == pytest.approx(9, abs=0.05)
    assert any("3 of 3 utterances of test are in train too" in note for note in counts["notes"])
    extractor = AudioExtractor(settings.audio["custom"], raw)
    keys = extractor.keys(rows)
    assert len(set(keys)) == 3  # of nine, for each split has the same
    monkeypatch.setattr(clips, "spread", in_this_process)
    found = {key: result.vector for part in extractor.extract(dict(zip(keys, rows, strict=True)), set())
             for key, result in part.items()}  # fmt: skip
    whole, joined, turned = (found[key] for key in keys[:3])
    np.testing.assert_array_equal(joined, whole)
    assert not np.array_equal(turned, whole)


def test_sound_beside_a_video_is_whole_and_elsewhere_cut(tmp_path: Path) -> None:
    for name in ("a.wav", "a.avi"):
        (tmp_path / name).touch()
    header = "dialogue,speaker,label,split,audio,video,start,end"
    lines = ["a,Ann,sad,train,a.wav,a.avi,1,2", "a,Ann,sad,train,a.wav,,1,2", "a,Ann,sad,train,a.avi,a.avi,1,2"]
    rows = read(write(tmp_path, *lines, header=header), ALL).rows
    assert [(row.audio_start, row.audio_end) for row in rows] == [(None, None), (1, 2), (1, 2)]
    assert [(row.start, row.end) for row in rows] == [(1, 2)] * 3


def test_times_after_the_end_of_the_file_are_problems_and_count_no_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "mine"
    raw.mkdir()
    wavfile.write(raw / "ok.wav", 16_000, (8000 * np.sin(np.arange(32_000) / 12)).astype(np.int16))
    times = ("100,900", "0,1900", "2.05,2.5", "0.5,1.5", "1.5,2.08", "2.2,")
    splits = ("train", "train", "train", "validation", "validation", "test")
    lines = [f"{split},Ann,sad,{split},ok.wav,{time}" for split, time in zip(splits, times, strict=True)]
    write(raw, *lines, header="dialogue,speaker,label,split,audio,start,end")
    loaded = params(raw).model_dump()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"2 of 6 utterances .* \(the first: ok.wav of 2.0 s, from 100 s on: begins af"):
        index.run(argparse.Namespace(corpus="custom"), Params.model_validate(loaded))
    loaded["index"]["custom"] |= {"max_problem_share": 0.5}
    index.run(argparse.Namespace(corpus="custom"), Params.model_validate(loaded))
    rows = read_index(Path("data/custom/index.csv"))
    assert [bool(row.audio) for row in rows] == [False, True, True, True, True, False]
    assert rows[5].problem == "ok.wav of 2.0 s, from 2.2 s on: begins after the end of its file (times are in seconds)"
    counts = json.loads(Path("results/custom/corpus.json").read_text())
    assert counts["problems"]["reasons"] == {"begins after the end of its file (times are in seconds)": 2}
    assert counts["splits"]["all"]["seconds_of_audio"] == pytest.approx(2.0 + 1.0 + 0.5)
    assert counts["notes"][0] == ("1 utterances end after their file does, by up to 1898.0 s (train_1): what there is "
                                  "of it is used")  # fmt: skip


def test_absent_media_are_problems_and_absent_columns_are_not(tmp_path: Path) -> None:
    header = "dialogue,speaker,label,split,audio,video"
    (row,) = read(write(tmp_path, "a,Ann,sad,train,a.wav,a.mp4", header=header), ALL).rows
    assert (row.audio, row.video, row.problem) == ("", "", "a.wav: no such file; a.mp4: no such file")
    (row,) = read(write(tmp_path, "a,Ann,sad,train,a.wav,a.mp4", header=header), ["text"]).rows
    assert (row.audio, row.video, row.problem) == ("", "", "")
    (row,) = read(write(tmp_path, "a,Ann,sad,train", header="dialogue,speaker,label,split"), ALL).rows
    assert (row.text, row.problem) == ("", "")


def test_words_for_validation_and_both_encodings_are_understood(tmp_path: Path) -> None:
    lines = ["a,Ann,café,sad,train", "b,Ann,café,sad,dev", "c,Ann,café,sad,Val", "d,Ann,café,sad,validation"]
    write(tmp_path, *lines)
    rows = read(tmp_path, ALL).rows
    assert [row.split for row in rows] == ["train"] + ["validation"] * 3
    file = tmp_path / "utterances.csv"
    for encoding in ("utf-8-sig", "cp1252"):
        file.write_bytes("\r\n".join(["dialogue,speaker,text,label,split", *lines]).encode(encoding))
        assert read(tmp_path, ALL).rows == rows


def test_every_column_goes_to_its_own_field(tmp_path: Path) -> None:
    for name in ("a.wav", "b.mp4"):
        (tmp_path / name).touch()
    lines = [" d ,7, Ann , e\u0301  and\tmore , Sad ,TEST, a.wav , b.mp4 ,1.5,2.25", "d,-2,Bob,x,glad,test,,,,",
             "e,1,Ann,x,Sad,test,,b.mp4,,4"]  # fmt: skip
    raw_corpus = read(write(tmp_path, *lines, header=",".join(COLUMNS)), ALL)
    usual = {"dialogue_id": "d", "split": "test", "audio_start": None, "audio_end": None}
    assert raw_corpus.rows == [
        Utterance(utterance_id="d_-2", turn=0, speaker=0, speaker_name="Bob", text="x", label="glad",
                  **usual),
        Utterance(utterance_id="d_7", turn=1, speaker=1, speaker_name="Ann", text="é and more", label="Sad",
                  audio="a.wav", video="b.mp4", start=1.5, end=2.25, **usual),
        Utterance(utterance_id="e_1", turn=0, speaker=0, speaker_name="Ann", text="x", label="Sad",
                  video="b.mp4", end=4.0, **{**usual, "dialogue_id": "e"}),
    ]  # fmt: skip
    assert raw_corpus.speakers == ["Bob", "Ann", "Ann"]
    audio, visual = (read(tmp_path, [modality]).rows[1] for modality in ("audio", "visual"))
    assert (audio.audio, audio.video, visual.audio, visual.video) == ("a.wav", "", "", "b.mp4")


def test_an_interval_may_begin_at_zero_and_must_end_after_it(tmp_path: Path) -> None:
    header = "dialogue,speaker,label,split,start,end"
    (row,) = read(write(tmp_path, "a,Ann,sad,train,0,0.5", header=header), ALL).rows
    assert (row.start, row.end) == (0.0, 0.5)
    for line, said in (("a,Ann,sad,train,,0", "end = 0: must be after start = 0"),
                       ("a,Ann,sad,train,2,2", "end = 2: must be after start = 2"),
                       ("a,Ann,sad,train,inf,", "start = 'inf': must be seconds")):  # fmt: skip
        with pytest.raises(UserError, match=said):
            read(write(tmp_path, line, header=header), ALL)


def test_a_column_that_is_not_read_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a,Ann,Hm.,sad,train,x.mp4", header="dialogue,speaker,text,label,split,vidoe")
    assert read(tmp_path, ALL).notes == ["utterances.csv: the column 'vidoe' is none that is read"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,x,Ann,Hm.,sad,train,,,,", "turn = 'x': must be a whole number"),
        ("a,0,Ann,Hm.,sad,train,,,,", "a second turn 0 of dialogue 'a' (the first: line 2)"),
        ("a,1,Ann,Hm.,sad,test,,,,", "dialogue 'a' is in train by line 2, and in test here"),
        (",1,Ann,Hm.,sad,train,,,,", "dialogue is empty"),
        ("a,1,,Hm.,sad,train,,,,", "speaker is empty"),
        ("a,1,Ann,Hm.,,train,,,,", "label is empty"),
        ("a,1,Ann,Hm.,seed,train,,,,", "label = 'seed': is a column of predictions.csv"),
        ("a,1,Ann,Hm.,sure,train,,,,", "label = 'sure': is a column of predictions.csv"),
        ("a,1,Ann,Hm.,without_text,train,,,,", "label = 'without_text': is a column of predictions.csv"),
        ("a,1,Ann,Hm.,sad,tran,,,,", "split = 'tran': must be train, validation (or dev, val) or test"),
        ("a,1,Ann,Hm.,sad,train,,,soon,", "start = 'soon': must be seconds (12.5) or a time"),
        ("a,1,Ann,Hm.,sad,train,,,-1,", "start = '-1': must be seconds (12.5) or a time"),
        ("a,1,Ann,Hm.,sad,train,,,,nan", "end = 'nan': must be seconds (12.5) or a time"),
        ("a,1,Ann,Hm.,sad,train,,,5,2", "end = 2: must be after start = 5"),
        ("a,1,Ann,Hm., then,sad,train,,,,", "more fields than the header has columns"),
        ("a,1,Ann,Hm.,sad", "fewer fields than the header has columns"),
        ("b,0,Ann,Hm.,glad,test,,,,", "label = 'glad': no utterance of train has it, so that nothing can learn it"),
    ],
)
def test_a_wrong_row_is_named_by_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    write(tmp_path, "a,0,Ann,Well.,sad,train,,,,", row, header=",".join(COLUMNS))
    with pytest.raises(UserError) as caught:
        read(tmp_path, ALL)
    assert str(caught.value).startswith(f"{tmp_path / 'utterances.csv'}, line 3: {said}")


def test_no_table_no_column_and_no_test_split_are_met_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError,
        match=r"utterances\.csv: no such file; the key `raw` .* must name the folder",
    ):
        read(tmp_path, ALL)
    write(tmp_path / "short", "a;Ann", header="dialogue;speaker")
    with pytest.raises(UserError, match=r"line 1: no column label, split; its columns are: dialogue, speaker"):
        read(tmp_path / "short", ALL)
    monkeypatch.chdir(tmp_path)
    raw = write(tmp_path / "raw", "a,Ann,Hm.,sad,train", "b,Ann,Hm.,sad,dev")
    with pytest.raises(UserError, match="the split test is empty"):
        index.run(argparse.Namespace(corpus="custom"), params(raw))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_columns_have_any_case_and_delimiter_and_times_any_form(tmp_path: Path, delimiter: str) -> None:
    rows = [["Dialogue", "SPEAKER", " Label ", "Split", "Text", "Start", "END"],
            ["a", "Ann", "sad", "train", "Hi, you; there|now", "0:01:02,5", "1:03"],
            ["", "", "", "", "", "", ""],
            ["a", "Bob", "sad", "train", "Yo", "63.25", "64,75"]]  # fmt: skip
    with (tmp_path / "utterances.csv").open("w", encoding="utf-16", newline="") as stream:
        csv.writer(stream, delimiter=delimiter).writerows(rows)
    found = read(tmp_path, ALL)
    assert [(row.text, row.start, row.end) for row in found.rows] == [
        ("Hi, you; there|now", 62.5, 63.0), ("Yo", 63.25, 64.75)
    ]  # fmt: skip
    assert found.notes == ["utterances.csv: 1 empty rows were passed over"]


def test_an_empty_table_is_no_guess_of_an_encoding(tmp_path: Path) -> None:
    (tmp_path / "utterances.csv").touch()
    found = read(tmp_path, ALL)
    assert (found.rows, found.notes) == ([], [])


def test_a_long_value_is_shortened_in_the_message(tmp_path: Path) -> None:
    header, long = "dialogue,turn,speaker,label,split", "7" * 5000
    for line in (f"a,{long},Ann,sad,train", f"a,1,Ann,sad,{long}", f"a,1,Ann,sad,train\nb,1,Ann,{long},test",
                 f"{long},1,Ann,sad,train\n{long},1,Ann,sad,train", f"{long},1,Ann,sad,train\n{long},2,Ann,sad,test",
                 f"a,1,Ann,{long},train\nb,1,Ann,sad,test"):  # fmt: skip
        with pytest.raises(UserError, match=r"utterances\.csv, line \d: .*7777…") as caught:
            read(write(tmp_path, line, header=header), ALL)
        assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_the_table_may_end_in_tsv(tmp_path: Path) -> None:
    (tmp_path / "utterances.tsv").write_text("dialogue\tspeaker\tlabel\tsplit\ttext\na\tAnn\tsad\ttrain\tHi, you\n")
    assert [row.text for row in read(tmp_path, ALL).rows] == ["Hi, you"]
    write(tmp_path, "a,Ann,sad,train,The first", header="dialogue,speaker,label,split,text")
    assert [row.text for row in read(tmp_path, ALL).rows] == ["The first"]


def test_a_spreadsheets_declaration_of_its_delimiter_is_no_row(tmp_path: Path) -> None:
    file = tmp_path / "utterances.csv"
    file.write_text("sep=;\ndialogue;speaker;label;split\na;Ann;sad;train\na;Ann;;train\n")
    with pytest.raises(UserError, match="line 4: label is empty"):
        read(tmp_path, ALL)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 1: has the column text twice"):
        read(write(tmp_path, "a,Ann,sad,train,x,y", header="dialogue,speaker,label,split,text,Text"), ALL)


def test_labels_and_speakers_that_differ_in_case_only_are_one_with_a_note(tmp_path: Path) -> None:
    lines = ["d1,Ann,Joy,train", "d1,Bob,joy,train", "d1,bob,joy,train", "d2,Bob,JOY,dev", "d3,ann,sad,test",
             "d4,ann,Sad,train"]  # fmt: skip
    found = read(write(tmp_path, *lines, header="dialogue,speaker,label,split"), ALL)
    assert [row.label for row in found.rows] == ["joy"] * 4 + ["sad"] * 2
    assert found.speakers == ["ann", "Bob", "Bob", "Bob", "ann", "ann"]
    assert [row.speaker for row in found.rows] == [0, 1, 1, 0, 0, 0]
    assert found.notes == [
        "utterances.csv: labels that differ in case only count as one: joy, Joy, JOY; all are 'joy' now",
        "utterances.csv: labels that differ in case only count as one: sad, Sad; all are 'sad' now",
        "utterances.csv: speakers that differ in case only count as one: Bob, bob; all are 'Bob' now",
        "utterances.csv: speakers that differ in case only count as one: ann, Ann; all are 'ann' now",
    ]


def test_labels_and_speakers_that_look_alike_are_one(tmp_path: Path) -> None:
    lines = ["d1,Rene\u0301  B,cole\u0300re,train", "d1,Ren\u00e9\u00a0B,\u200bcol\u00e8re,train",
             "d2,\ufeffRen\u00e9 B,very  happy,train", "d2,Ann,very\u00a0happy,train", "d3,Ann,very happy,test",
             "d4,Ann,\u0645\u06cc\u200c\u062e\u0648\u0634,train"]  # fmt: skip
    found = read(write(tmp_path, *lines, header="dialogue,speaker,label,split"), ALL)
    joined = "\u0645\u06cc\u200c\u062e\u0648\u0634"  # a word of Persian, whose mark is part of its spelling
    assert [row.label for row in found.rows] == ["col\u00e8re"] * 2 + ["very happy"] * 3 + [joined]
    assert found.speakers == ["Ren\u00e9 B"] * 3 + ["Ann"] * 3
    assert [row.speaker for row in found.rows] == [0, 0, 0, 1, 0, 0]
    with pytest.raises(UserError, match=r"utterances\.csv, line 2: label is empty"):
        read(write(tmp_path, "d1,Ann,\u200b,train", header="dialogue,speaker,label,split"), ALL)


def test_content_of_train_that_is_in_test_too_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "raw"
    header = "dialogue,speaker,text,label,split,audio,start,end"
    tone = 0.3 * np.sin(np.arange(16_000) / 12)
    raw.mkdir()
    for name in ("one.wav", "copy.wav"):
        wavfile.write(raw / name, 16_000, tone.astype(np.float32))
    write(raw, "a,Ann,Hello  you.,sad,train,,,", "a,Ann,Heard.,sad,train,one.wav,0,0.5", "b,Ann,Other.,sad,dev,,,",
          "c,Bob,hello you.,sad,test,,,", "c,Bob,Else.,sad,test,copy.wav,0,0.5", "c,Bob,New.,sad,test,one.wav,0.5,1",
          header=header)  # fmt: skip
    index.run(argparse.Namespace(corpus="custom"), params(raw))
    assert json.loads(Path("results/custom/corpus.json").read_text())["notes"] == [
        "2 of 3 utterances of test are in train too, by their media or, without any, by their text (the first: c_0): "
        "scores on them say little about new data"
    ]


def test_a_name_that_no_file_can_have_is_a_problem_of_its_row(tmp_path: Path) -> None:
    name = "a" * 300 + ".mp4"
    (row,) = read(write(tmp_path, f"a,Ann,sad,train,{name}", header="dialogue,speaker,label,split,video"), ALL).rows
    assert (row.video, row.problem) == ("", f"{name}: no such file")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=10, max_size=10))
def test_whatever_a_row_says_it_is_read_or_named_with_its_line(fields: list[str]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "utterances.csv"
        with file.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows([COLUMNS, ["a", 0, "Ann", "", "sad", "train", "", "", "", ""], fields])
        try:
            said = any(re.sub(r"[\x00-\x08\x0e-\x1f\x7f]", "", field).strip() for field in fields)
            assert len(read(Path(folder), ["text"]).rows) == 1 + said
        except UserError as error:
            found = re.match(rf"{re.escape(str(file))}, line (\d+): ", str(error))
            assert found
            assert int(found[1]) >= 3


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["Ann", "Bob"]), st.sampled_from(["sad", "glad"])), min_size=1
)


@given(ROWS)
def test_a_right_table_comes_back_row_by_row(rows: list[tuple[str, str, str]]) -> None:
    with TemporaryDirectory() as folder:
        write(
            Path(folder),
            *(f"{dialogue},{speaker},{place},{label},train" for place, (dialogue, speaker, label) in enumerate(rows)),
        )
        raw_corpus = read(Path(folder), ALL)
        found = {int(row.text): (row.dialogue_id, speaker, row.label)
                 for row, speaker in zip(raw_corpus.rows, raw_corpus.speakers, strict=True)}  # fmt: skip
        assert found == dict(enumerate(rows))
        for dialogue in "abc":
            places = [int(row.text) for row in raw_corpus.rows if row.dialogue_id == dialogue]
            assert places == sorted(places)
