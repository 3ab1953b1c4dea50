"""A model in Python: a frame of what predictions.csv has, from a script, a notebook or standard input."""

import csv
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest

from pipeline.predict import arguments
from pipeline.prediction.run import run
from pipeline.predictor import Predictor, UserError
from tests.conftest import write_clip

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
SRT = "1\n00:00:00,000 --> 00:00:00,500\nAnn: What a day!\n\n2\n00:00:00,500 --> 00:00:01,000\nBob: NA\n"


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    write_clip(tmp_path / "talk.mp4", seconds=1.2)
    (tmp_path / "talk.srt").write_text(SRT)
    return tmp_path / "talk.mp4"


def predictions(out: Path, *given: object) -> list[dict[str, str]]:
    """What the command writes to predictions.csv."""
    options: Namespace = arguments().parse_args([*map(str, given), "--out", str(out)])
    run(options)
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def same(frame: pd.DataFrame, rows: list[dict[str, str]]) -> None:
    assert list(frame.columns) == list(rows[0])
    assert len(frame) == len(rows)
    for (_, found), row in zip(frame.iterrows(), rows, strict=True):
        for name, written in row.items():
            value = found[name]
            if isinstance(value, float):
                assert (pd.isna(value) and written == "") or value == float(written)
            else:
                assert str(value) == written


def test_the_frame_has_what_the_command_writes(trained: Path, talk: Path, tmp_path: Path) -> None:
    model = trained / "models/demo"
    emotions = Predictor(str(model))
    rows = predictions(tmp_path / "out", talk, "--model", model)
    frame = emotions(str(talk), str(talk.with_suffix(".srt")))
    same(frame, rows)
    same(emotions(talk), rows)  # the transcript is found beside it
    assert list(frame["text"]) == ["What a day!", "NA"]
    assert frame["prediction"].isin(emotions.labels).all()
    assert frame[emotions.labels].sum(axis=1).round(4).eq(1).all()
    assert frame.loc[0, "start"] == 0.0
    assert frame["has_audio"].tolist() == [1, 1]
    assert frame.dtypes[[*emotions.labels, "start", "end", "without_text"]].eq("float64").all()
    assert "synthetic" in frame.attrs["warning"]


def test_a_list_of_utterances_is_a_conversation_without_a_recording(trained: Path, tmp_path: Path) -> None:
    model = trained / "models/demo"
    emotions = Predictor(model)
    said = [("Ann", "What a wonderful day!"), ("Bob", "No: it is not."), ("Ann", "Oh.")]
    frame = emotions(said)
    (tmp_path / "conversation.tsv").write_text("speaker\ttext\n" + "".join(f"{who}\t{what}\n" for who, what in said))
    same(frame, predictions(tmp_path / "out", "--transcript", tmp_path / "conversation.tsv", "--model", model))
    named = {"utterance_id"}  # which is made of the file's name
    pd.testing.assert_frame_equal(emotions(transcript=tmp_path / "conversation.tsv").drop(columns=named),
                                  frame.drop(columns=named))  # fmt: skip
    assert frame["speaker"].tolist() == ["Ann", "Bob", "Ann"]
    assert frame["start"].isna().all()
    assert frame["without_audio"].isna().all()
    alone = emotions(["What a wonderful day!"])
    assert alone.loc[0, "text"] == "What a wonderful day!"
    assert alone.loc[0, "speaker"] == ""
    one = Predictor(model, seed=1)(said)
    assert not one[emotions.labels].equals(frame[emotions.labels])


def test_half_a_character_and_control_characters_are_taken_out_as_of_a_transcript(trained: Path) -> None:
    frame = Predictor(trained / "models/demo")([("An\ud83dn", "\ud83d hi  \0there"), "e\u0301t\u00e9"])
    assert frame["text"].tolist() == ["? hi there", "\u00e9t\u00e9"]
    assert frame["speaker"].tolist() == ["An?n", ""]


def test_what_is_less_sure_than_a_risk_asks_for_has_0_in_sure(trained: Path, tmp_path: Path) -> None:
    model, said = trained / "models/demo", ["What a wonderful day!", "No: it is not.", "Oh.", "Go away!"]
    (tmp_path / "said.txt").write_text("\n".join(said))
    emotions = Predictor(model)
    assert emotions(said)["sure"].tolist() == [1, 1, 1, 1]
    frame = Predictor(model, risk=0.0)(said)  # a risk that no answer of a model trained for two epochs keeps
    written = predictions(tmp_path / "out", "--transcript", tmp_path / "said.txt", "--model", model, "--risk", 0)
    assert frame["sure"].tolist() == [int(row["sure"]) for row in written]
    assert 0 in frame["sure"].tolist()
    assert any(note.startswith("at a risk of 0 %") for note in frame.attrs["notes"])


def test_what_cannot_be_predicted_is_said_in_one_line(trained: Path, tmp_path: Path) -> None:
    emotions = Predictor(trained / "models/demo")
    (tmp_path / "lonely.mp4").write_bytes(b"")
    for given, reason in {
        (): "nothing to predict: give a recording, a transcript, or a list of utterances",
        ("Hello.",): "Hello.: no such file. Sentences are given as a list",
        ((),): "there is no utterance: give at least one",
        (("Hello.", 3),): "utterance 2 is 3: must be a text, or a pair of speaker and text",
        ((("Ann", "Hello.", 3.5),),): "utterance 1 is ('Ann', 'Hello.', 3.5): must be a text, or a pair",
        ((("Ann", "Hello."),), "talk.srt"): "transcript: the utterances are given already; leave it out",
        (tmp_path / "lonely.mp4",): f"{tmp_path / 'lonely.mp4'}: has no transcript",
    }.items():
        with pytest.raises(UserError) as refused:
            emotions(*given)
        assert str(refused.value).startswith(reason)
    with pytest.raises(UserError, match="it is no trained model"):
        Predictor(tmp_path)


@pytest.mark.parametrize("way", ["script", "-"])
def test_three_lines_are_enough_though_processes_are_spawned(
    trained: Path, talk: Path, tmp_path: Path, way: str
) -> None:
    """Neither a script of three lines nor standard input (nor a notebook) has `if __name__ == "__main__"`."""
    code = ("from pipeline.predictor import Predictor\n"
            f"emotions = Predictor({str(trained / 'models/demo')!r})\n"
            f"print(emotions({str(talk)!r})['has_audio'].tolist())\n")  # fmt: skip
    script = tmp_path / "three.py"
    script.write_text(code)
    given = str(script) if way == "script" else "-"
    more = {"PYTHONPATH": str(PROJECT), "CMATH_WORKERS": "2", "CMATH_CACHE": str(tmp_path / way)}
    ran = subprocess.run([sys.executable, given], cwd=PROJECT, input=code, text=True, capture_output=True,
                         env={**os.environ, **more})  # fmt: skip
    assert ran.stdout == "[1, 1]\n"
    assert ran.returncode == 0
    assert "Traceback" not in ran.stderr
