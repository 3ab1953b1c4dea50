"""Prediction while people speak: a line is answered before the next is read, and nothing that was said changes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extractors.utterance import Utterance
from foundation import spread
from foundation.errors import UserError
from pipeline.calibration import Kept
from pipeline.corpora.index_file import read_index
from pipeline.predict import arguments
from pipeline.prediction import live
from pipeline.prediction.live import LONGEST_LINE, Live, answered, lines_of
from pipeline.prediction.predictor import Prediction, Predictor
from pipeline.prediction.recordings import read_recording
from pipeline.prediction.results import as_entry
from pipeline.prediction.transcripts import Transcript, TranscriptLine
from pipeline.prediction.turns import Speakers
from tests.pipeline.prediction.test_predict import compare_with_evaluate
from tests.pipeline.sealing import reseal
from tests.pipeline.trained import train_small

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[3]
CHAT = [("Ann", "What a wonderful day!"), ("Bob", "No. It is not."), ("Ann", "Oh."), ("Cy", "I hate this."),
        ("Ann", "Me too."), ("Bob", "Well."), ("Cy", "Great, great, great!"), ("Bob", "Stop it."), ("Ann", "Fine."),
        ("Cy", "Who says so?")]  # fmt: skip


@pytest.fixture(scope="session")
def past(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model that sees no later turn; its text encoder reads two earlier ones with each utterance."""

    def change(content: dict) -> None:
        content["model"]["context"] = "past"
        content["text"]["demo"]["context"] = {"past": 2, "future": 0, "names": "index"}

    return train_small(tmp_path_factory.mktemp("past") / "project", "demo", trained.parent / "raw", change)


def clips(project: Path, raw: Path) -> list[TranscriptLine]:
    """The utterances of the corpus' test dialogue, with the clips."""
    rows: list[Utterance] = [row for row in read_index(project / "data/demo/index.csv") if row.split == "test"]
    return [TranscriptLine(f"line {place}", row.text, "ABCD"[row.speaker], file=str(raw / row.video))
            for place, row in enumerate(rows)]  # fmt: skip


def chat(turns: int) -> list[TranscriptLine]:
    return [TranscriptLine(f"line {place}", text, speaker) for place, (speaker, text) in enumerate(CHAT[:turns])]


def told(line: TranscriptLine) -> bytes:
    content = {"speaker": line.speaker, "text": line.text, **({"file": line.file} if line.file else {})}
    return json.dumps(content).encode()


def predicted(predictor: Predictor, lines: list[TranscriptLine]) -> list[Prediction]:
    return predictor.predict([read_recording("live", None, Transcript(lines), Path())])[0]


def numbers(found: list[Prediction]) -> list[tuple[bytes, dict[str, float | None]]]:
    """All that is predicted, to the bit."""
    return [(one.probabilities.tobytes(), one.without) for one in found]


def other_cache(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("CMATH_CACHE", str(folder))


def test_a_test_dialogue_gets_the_probabilities_of_evaluate(past: Path, trained: Path, tmp_path: Path) -> None:
    assert json.loads((past / "models/demo/bundle/bundle.json").read_text())["config"]["context"] == "past"
    compare_with_evaluate(past, "demo", trained.parent / "raw", tmp_path)


@pytest.mark.parametrize("what", ["clips", "chat"])
def test_later_turns_change_no_earlier_prediction_to_the_bit(
    past: Path, trained: Path, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = clips(past, trained.parent / "raw") if what == "clips" else chat(10)
    predictor = Predictor(past / "models/demo")
    assert predictor.bundle.turns == 4  # so the chat has three parts
    whole = numbers(predicted(predictor, lines))
    for turns in (1, 3, 5, 9) if what == "chat" else (2,):
        other_cache(monkeypatch, tmp_path / str(turns))
        assert numbers(predicted(predictor, lines[:turns])) == whole[:turns]
    assert len({shares for shares, _ in whole}) == len(lines)


@pytest.mark.parametrize("what", ["clips", "chat"])
def test_live_says_what_the_recording_is_predicted_to_the_bit_and_starts_no_process(
    past: Path, trained: Path, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = clips(past, trained.parent / "raw") if what == "clips" else chat(10)
    predictor = Predictor(past / "models/demo")
    expected = predicted(predictor, lines)
    other_cache(monkeypatch, tmp_path / "another")
    monkeypatch.setattr(spread, "spread_here", None)
    session, exact = Live(predictor), []
    tell = predictor._tell

    def spied(*given: Any) -> None:
        tell(*given)
        exact.append(given[-1])

    monkeypatch.setattr(predictor, "_tell", spied)
    for place, line in enumerate(lines):
        answer = session.answer(told(line))
        entry = as_entry(expected[place], predictor.bundle.labels, predictor.modalities)
        assert {name: answer[name] for name in entry} == json.loads(json.dumps(entry))
        assert answer["trained_on"] == "demo (synthetic)"
        assert 0 < answer["seconds"] < 600
        anew = any("at most 4 turns: it begins anew here" in note for note in answer["notes"])
        many = any("more people speak than the 2 of" in note for note in answer["notes"])
        assert (anew, many) == (place in (4, 8), what == "chat" and line.speaker == "Cy")
    assert numbers(exact) == numbers(expected)
    if what == "clips":
        assert any(one["audio"] is not None and one["visual"] is not None for _, one in numbers(exact))


def test_a_model_of_whole_conversations_is_told_the_conversation_so_far(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor(trained / "models/demo")
    session, lines = Live(predictor), chat(4)
    for place, line in enumerate(lines):
        answer = session.answer(told(line))
        (found,) = predicted(predictor, lines[: place + 1])[-1:]
        labels = predictor.bundle.labels
        np.testing.assert_allclose([answer["probabilities"][label] for label in labels], found.probabilities, atol=2e-5)
    changed = predicted(predictor, lines)[0].probabilities
    assert not np.allclose(changed, predicted(predictor, lines[:1])[0].probabilities, atol=1e-5)


def test_a_stated_risk_holds_line_by_line_too(past: Path) -> None:
    """With a threshold that nothing reaches nothing is sure, and with one that all reach all is."""
    for threshold, sure in ((1.0, False), (0.0, True)):
        predictor = Predictor(past / "models/demo", risk=0.5)
        predictor.kept = Kept(threshold=threshold, coverage=0.5, risk=0.5)
        assert [Live(predictor).answer(told(line))["sure"] for line in chat(2)] == [sure, sure]


def test_a_line_that_says_new_begins_another_conversation(past: Path) -> None:
    session = Live(Predictor(past / "models/demo"))
    first = [session.answer(told(line)) for line in chat(3)]
    assert session.answer(b'{"new": true}') == {"new": True}
    again = [session.answer(told(line)) for line in chat(3)]
    assert [{**one, "seconds": 0} for one in first] == [{**one, "seconds": 0} for one in again]
    assert again[0]["utterance_id"] == "live_0"
    on = session.answer(told(chat(1)[0]))
    assert on["utterance_id"] == "live_3"
    assert on["probabilities"] != first[0]["probabilities"]


BAD = {
    b"nonsense": "is no JSON (",
    b"": "is no JSON (",
    b"\xff\xfe": "is no JSON (",
    b"[" * 100_000: "is no JSON (nested too deep)",
    b'"Hello."': "is no JSON object, but 'Hello.'",
    b"{}": "text: is missing or empty, and so is file",
    b'{"text": "  "}': "text: is missing or empty, and so is file",
    b'{"text": 3}': "text = 3: must be a text in quotation marks",
    b'{"text": "Hm", "emotion": "joy"}': "'emotion': there is no such field; there are text, speaker, file,",
    b'{"text": "Hm", "new": true}': "new: stands alone",
    b'{"text": "Hm", "start": true}': "start = True: must be a time in seconds",
    b'{"text": "Hm", "start": NaN}': "start = nan: must be a time in seconds",
    b'{"text": "Hm", "start": -1}': "start = -1: must be a time in seconds",
    b'{"text": "Hm", "start": 1e400}': "start = inf: must be a time in seconds",
    b'{"text": "Hm", "start": "soon"}': "start = 'soon': must be a time in seconds",
    b'{"text": "Hm", "start": 2, "end": 2}': "end = 2: must come after start = 2",
    b'{"text": "\\ud800"}': "text: has characters that are none",
    b"x" * (LONGEST_LINE + 5): "is longer than 1048576 bytes",
}


def test_a_bad_line_is_answered_with_its_reason_and_the_conversation_goes_on(past: Path, tmp_path: Path) -> None:
    predictor = Predictor(past / "models/demo")
    good = [told(line) for line in chat(2)]
    file = tmp_path / "lines"
    file.write_bytes(b"\n".join([good[0], *BAD, good[1]]))
    with file.open("rb") as stream:
        first, *bad, last = answered(Live(predictor), lines_of(stream))
    for number, (answer, reason) in enumerate(zip(bad, BAD.values(), strict=True), 2):
        assert answer.keys() == {"error", "line"}
        assert answer["line"] == number
        assert answer["error"].startswith(reason)
        assert "\n" not in answer["error"]
    alone = list(answered(Live(predictor), iter(good)))
    assert [{**one, "seconds": 0} for one in (first, last)] == [{**one, "seconds": 0} for one in alone]


def test_what_nobody_foresaw_costs_its_line_alone(past: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Live(Predictor(past / "models/demo"))
    with monkeypatch.context() as patch:
        patch.setattr(live, "read_recording", None)
        (answer,) = answered(session, iter([told(chat(1)[0])]))
    assert answer["line"] == 1
    assert "TypeError" in answer["error"]
    assert session.answer(told(chat(1)[0]))["utterance_id"] == "live_0"


def test_a_clip_that_is_not_there_is_missing_and_the_words_are_predicted(past: Path, tmp_path: Path) -> None:
    answer = Live(Predictor(past / "models/demo")).answer(b'{"text": "Hello.", "file": "gone.mp4", "start": "0:01"}')
    assert answer["present"] == {"text": True, "audio": False, "visual": False}
    assert answer["missing"] == dict.fromkeys(("audio", "visual"), "gone.mp4: no such file")


def test_who_speaks_is_who_spoke_before_unless_a_line_says_so(past: Path) -> None:
    session = Live(Predictor(past / "models/demo"))
    lines = ['{"text": "One."}', '{"text": "Two.", "speaker": "Ann"}', "none", '{"text": "Three."}',
             '{"text": "Four.", "speaker": "Bob"}', '{"text": "5."}', '{"new": true}', '{"text": "6."}']  # fmt: skip
    answers = answered(session, (line.encode() for line in lines))
    assert [one.get("speaker") for one in answers] == ["", "Ann", None, "Ann", "Bob", "Bob", None, ""]


@pytest.mark.parametrize("option", [["talk.mp4"], ["--transcript", "talk.srt"], ["--out", "x"], ["--also", "srt"]])
def test_what_belongs_to_a_recording_is_refused(past: Path, option: list[str]) -> None:
    with pytest.raises(UserError, match=r"--live reads utterances from standard input.*leave (VIDEO|--[a-z]+) out"):
        live.run(arguments().parse_args(["--live", "--model", str(past / "models/demo"), *option]))


def test_speakers_keep_their_numbers_whoever_comes_later() -> None:
    """By first appearance; by roles as long as all are named by roles."""
    cases = {
        (): {"Bob Ann bob Cy": [0, 1, 0, 2]},
        ("M", "F"): {"F M F": [1, 0, 1], "F Ann M F": [1, 0, 2, 1], "Ann F M": [0, 1, 2]},
    }
    for roles, said in cases.items():
        for names, expected in said.items():
            speakers = Speakers(roles)
            assert [speakers.number(name) for name in names.split()] == expected


# ---- the command ----


@pytest.fixture
def command(past: Path) -> Iterator[subprocess.Popen]:
    started = subprocess.Popen(
        [sys.executable, "-m", "pipeline.predict", "--live", "--model", str(past / "models/demo")],
        cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    yield started
    started.kill()
    started.wait()


def ask(command: subprocess.Popen, line: bytes) -> dict[str, Any]:
    assert command.stdin
    assert command.stdout
    command.stdin.write(line + b"\n")
    command.stdin.flush()
    answer: dict[str, Any] = json.loads(command.stdout.readline())  # which waits until it is there
    return answer


def test_each_line_is_answered_before_the_next_and_the_end_is_no_error(command: subprocess.Popen) -> None:
    for place, line in enumerate(chat(3)):
        assert ask(command, told(line))["utterance_id"] == f"live_{place}"
    assert ask(command, b"nonsense")["line"] == 4
    rest, said = command.communicate()
    assert (rest, command.returncode) == (b"", 0)
    assert said.decode().splitlines()[-1].startswith("ready: ")
    assert said.decode().count("probabilities mean nothing for real people") == 1


def test_ctrl_c_is_quiet(command: subprocess.Popen) -> None:
    ask(command, told(chat(1)[0]))
    command.send_signal(signal.SIGINT)
    rest, said = command.communicate()
    assert (rest, command.returncode) == (b"", 130)
    assert said.decode().splitlines()[-1].startswith("ready: ")


def test_nobody_who_reads_is_no_error(command: subprocess.Popen) -> None:
    assert command.stdout
    assert command.stdin
    assert command.stderr
    ask(command, told(chat(1)[0]))
    command.stdout.close()
    command.stdin.write(told(chat(1)[0]) + b"\n")
    command.stdin.flush()
    assert command.wait(timeout=60) == 0
    assert command.stderr.read().decode().splitlines()[-1].startswith("ready: ")


def test_what_the_model_would_need_of_the_future_is_said_once(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    bundle = tmp_path / "bundle"
    shutil.copytree(trained / "models/demo/bundle", bundle)
    card = json.loads((bundle / "bundle.json").read_text())
    card["origins"]["text"]["context"] = {"past": 1, "future": 2, "names": "index"}
    (bundle / "bundle.json").write_text(json.dumps(card))
    reseal(bundle)
    lines = tmp_path / "lines"
    lines.write_bytes(b"\n".join(told(line) for line in chat(3)))
    before = os.environ["CMATH_CACHE"]
    with lines.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        live.run(arguments().parse_args(["--live", "--model", str(bundle)]))
    assert os.environ["CMATH_CACHE"] == before
    said = [record.getMessage() for record in caplog.records]
    assert sum("up to 2 later turns" in one for one in said) == 1
    assert sum("model.context: whole" in one for one in said) == 1
    assert [json.loads(line)["speaker"] for line in capsys.readouterr().out.splitlines()] == ["Ann", "Bob", "Ann"]
