"""Extraction as users meet it: `python -m pipeline.extract`, killed, interrupted, out of room, shared out."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from extractors.visual.face_encoder import FaceEncoder, Weights
from foundation.errors import UserError
from foundation.workers import TaskLost
from pipeline import extract, index
from pipeline.params import load_params
from tests.conftest import write_clip

pytestmark = pytest.mark.slow


def lost(reason: str) -> Callable[..., list]:
    """Instead of `spread`: every clip is lost."""
    return lambda _, clips, *__: [(clip, TaskLost(reason)) for clip in clips]


PROJECT = Path(__file__).parents[1]
FEATURES = Path("data/meld/features")
BROKEN = """
import os, signal, time, av
opened = av.open
def open(path, *arguments, **options):
    if {which!r} in str(path):
        {does}
    return opened(path, *arguments, **options)
av.open = open
"""
"""A decoder with a fault, in every process that finds it on its path under the name `sitecustomize`."""

STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture
def corpus(tmp_path: Path, meld: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which extract can run on nine clips of different content; it is the current one."""
    raw = meld()
    for number, clip in enumerate(sorted(raw.rglob("*.mp4"))):
        make_different(clip, number)
    write_params(tmp_path, {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMATH_WORKERS", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    make_index()
    yield tmp_path
    for process in STARTED:
        if process.poll() is None:
            process.kill()
    STARTED.clear()


def make_different(clip: Path, number: int) -> None:
    clip.write_bytes(clip.read_bytes() + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))


def write_params(folder: Path, audio: dict) -> None:
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["index"]["meld"]["raw"] = str(folder / "raw")
    content["text"]["meld"]["model"] = "minilm"
    content["audio"]["meld"] |= {"set": "eGeMAPSv02", "reduce": "none", "dim": 5, **audio}
    content["visual"]["meld"] |= {"detector": "haar", "fps": 2, "weights": "random"}
    with (folder / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(content, stream)


def make_index() -> None:
    index.run(Namespace(corpus="meld"), load_params())


def run(*arguments: str) -> None:
    extract.run(extract.arguments().parse_args(["meld", *arguments]), load_params())


def made(modality: str) -> bytes:
    """The feature file, which is then removed."""
    content = (FEATURES / f"{modality}.safetensors").read_bytes()
    shutil.rmtree(FEATURES)
    return content


@cache
def whole(modality: str) -> bytes:
    """The feature file of a run that nothing disturbed; the corpus has the same content in every test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMATH_CACHE", "cache of a run alone")
        run(modality)
    return made(modality)


def command(*arguments: str, fault: Path | None = None, room: int | None = None) -> subprocess.Popen[str]:
    """`python -m pipeline.extract meld`, in a session of its own; files may have at most `room` bytes."""
    path = os.pathsep.join(map(str, (fault, PROJECT) if fault else (PROJECT,)))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.extract", "meld", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))) if room else None,
    )
    STARTED.append(process)
    return process


def fault(folder: Path, which: str, does: str) -> Path:
    (folder / "fault").mkdir(exist_ok=True)
    (folder / "fault/sitecustomize.py").write_text(BROKEN.format(which=which, does=does))
    return folder / "fault"


def kept() -> int:
    """Results in the work cache."""
    try:
        with sqlite3.connect("cache/work.sqlite", timeout=60) as database:
            (number,) = database.execute("SELECT COUNT(*) FROM result WHERE length(key) < 150").fetchone()
    except sqlite3.OperationalError:  # not made yet
        return 0
    return int(number)


def report(modality: str) -> dict:
    content: dict = json.loads((FEATURES / f"{modality}.report.json").read_text())
    return content


def until(happened: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_kill_while_faces_are_found_costs_what_was_in_hand_and_no_byte(corpus: Path) -> None:
    before = kept()
    killed = command("visual", fault=fault(corpus, "output_repeated_splits_test", "time.sleep(600)"))
    until(lambda: kept() == before + 6, killed)  # two of the other three are in hand
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert not FEATURES.exists()
    note = f"os.write(os.open({str(corpus / 'opened')!r}, os.O_APPEND | os.O_CREAT | os.O_WRONLY), b'x')"
    again = command("visual", fault=fault(corpus, ".mp4", note))
    _, said = again.communicate()
    assert again.returncode == 0, said
    assert "faces of 3 clips to find, of 6 from the work cache" in said
    assert (corpus / "opened").read_bytes() == b"xxx"
    assert made("visual") == whole("visual")


def test_the_encoder_is_loaded_before_the_stage_ends_though_no_face_needs_it(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends while a thread of it is inside a library's initialisation is aborted now and then."""
    loaded = []

    def slowly(weights: Weights) -> FaceEncoder:
        time.sleep(3)
        loaded.append(weights)
        return FaceEncoder(weights)

    monkeypatch.setattr("extractors.visual.face_encoder.FaceEncoder", slowly)
    monkeypatch.setattr(
        "extractors.visual.extractor.spread", lambda _, clips, *__: [(clip, TaskLost("lost")) for clip in clips]
    )
    with pytest.raises(UserError, match=r"visual: nothing could be extracted \(lost\)"):
        run("visual")
    assert len(loaded) == 1


def test_a_decoder_that_crashes_costs_its_clip_alone_and_the_report_says_so(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crashing = command("audio", fault=fault(corpus, "train_splits/dia0_utt1", "os.kill(os.getpid(), signal.SIGKILL)"))
    _, said = crashing.communicate()
    assert crashing.returncode == 0, said
    assert "1 failed" in said
    assert "1: its worker process died twice" in said
    outcomes = report("audio")["outcomes"]
    assert (outcomes["present"], outcomes["failed"]) == (8, 1)
    [(reason, ids)] = report("audio")["missing"].items()
    assert "died twice" in reason
    assert len(ids) == 1
    assert load_file(FEATURES / "audio.safetensors")["present"].sum() == 8
    with caplog.at_level("INFO", "cmath"):
        run("audio")
    assert "audio: 1 to extract, 8 from the work cache" in caplog.text  # a failure is no result: it is tried again
    assert report("audio")["outcomes"]["present"] == 9


def test_where_nothing_can_be_extracted_the_stage_fails_and_writes_nothing(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "extractors.clips.spread", lambda _, clips, *__: [(clip, TaskLost("died twice")) for clip in clips]
    )
    with pytest.raises(UserError, match=r"audio: nothing could be extracted \(died twice\)"):
        run("audio")
    assert not FEATURES.exists()


def test_ctrl_c_ends_with_a_line_and_keeps_what_was_finished(corpus: Path) -> None:
    before = kept()
    slow = command("audio", fault=fault(corpus, "train_splits/dia0_utt1", "time.sleep(600)"))
    until(lambda: kept() == before + 8, slow)
    os.killpg(slow.pid, signal.SIGINT)
    _, said = slow.communicate(timeout=240)
    assert slow.returncode == 1
    assert said.rstrip().endswith("interrupted; what was finished is kept: the same command goes on from there")
    assert "Traceback" not in said
    assert kept() == before + 8


def test_a_full_disk_is_said_and_the_same_command_goes_on(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = kept()
    full = command("audio", room=60_000)
    _, said = full.communicate()
    assert full.returncode == 1
    assert "error: " in said
    assert "work.sqlite: the work cache cannot be written" in said
    assert "Traceback" not in said
    finished = kept() - before
    assert 0 < finished < 9
    with caplog.at_level("INFO", "cmath"):
        run("audio")
    assert f"audio: {9 - finished} to extract, {finished} from the work cache" in caplog.text
    assert made("audio") == whole("audio")


def test_a_changed_and_a_new_clip_cost_one_each_and_a_value_that_is_set_back_none(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def to_extract() -> str:
        caplog.clear()
        with caplog.at_level("INFO", "cmath"):
            run("audio")
        [line] = [message for message in caplog.messages if "to extract" in message]
        return line

    assert to_extract() == "audio: 9 to extract, 0 from the work cache"
    first = (FEATURES / "audio.safetensors").read_bytes()
    clip = corpus / "raw/train_splits/dia0_utt1.mp4"
    old = clip.read_bytes()
    write_clip(clip, seconds=0.9)
    make_index()
    assert to_extract() == "audio: 1 to extract, 8 from the work cache"
    changed = load_file(FEATURES / "audio.safetensors")["features"]
    assert [place for place in range(9) if not np.array_equal(changed[place], features_of(first)[place])] == [1]
    clip.write_bytes(old)
    make_index()
    assert to_extract() == "audio: 0 to extract, 9 from the work cache"
    assert (FEATURES / "audio.safetensors").read_bytes() == first
    write_params(corpus, {"min_seconds": 0.5})
    assert to_extract() == "audio: 9 to extract, 0 from the work cache"
    write_params(corpus, {})
    assert to_extract() == "audio: 0 to extract, 9 from the work cache"
    assert (FEATURES / "audio.safetensors").read_bytes() == first
    annotations = corpus / "raw/dev_sent_emo.csv"
    last = annotations.read_text().splitlines()[-1]
    with annotations.open("a") as stream:
        stream.write(last.replace(",0,2,", ",0,3,") + "\n")
    shutil.copy(corpus / "raw/dev_splits_complete/dia0_utt0.mp4", corpus / "raw/dev_splits_complete/dia0_utt3.mp4")
    make_different(corpus / "raw/dev_splits_complete/dia0_utt3.mp4", 99)
    make_index()
    assert to_extract() == "audio: 1 to extract, 9 from the work cache"


def features_of(content: bytes) -> np.ndarray:
    from safetensors.numpy import load

    return load(content)["features"]


def test_shards_fill_one_cache_one_of_them_killed_and_the_plain_run_packs(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slow = fault(corpus, "train_splits/dia0_utt2", "time.sleep(600)")
    first, second = (command("audio", "--shard", f"{number}/2", fault=slow) for number in (1, 2))
    _, said = second.communicate()
    assert second.returncode == 0, said
    assert "audio: 4 to extract of share 2 of 2" in said
    until(lambda: sum(log.stat().st_size > 1000 for log in Path("cache/shards").glob("audio-1-of-2*")) > 0, first)
    first.kill()
    first.communicate()
    assert not FEATURES.exists()
    with caplog.at_level("INFO", "cmath"):
        run("audio", "--shard", "1/2")
        [line] = [message for message in caplog.messages if "to extract of share 1 of 2" in message]
        assert 1 <= int(line.split()[1]) < 5
        run("audio")
    assert "audio: 0 to extract, 9 from the work cache" in caplog.text
    assert made("audio") == whole("audio")


@pytest.mark.parametrize("modality", ["text", "visual"])
def test_shards_of_text_and_of_pictures_give_the_plain_runs_bytes(
    modality: str, corpus: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if modality == "text":
        from extractors.text import encoder

        monkeypatch.setattr(encoder, "BATCH_TOKENS", 12)  # several batches, whose company decides the last bits
    with caplog.at_level("INFO", "cmath"):
        for _ in range(2 if modality == "visual" else 1):  # faces, then their encoding
            for number in (1, 2, 3):
                run(modality, "--shard", f"{number}/3")
        assert not FEATURES.exists()
        caplog.clear()
        run(modality)
    assert f"{modality}: 0 to extract" in caplog.text
    assert made(modality) == whole(modality)


@pytest.mark.parametrize("value", ["0/2", "3/2", "one/2", "2"])
def test_an_impossible_share_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        extract.arguments().parse_args(["meld", "audio", "--shard", value])
    assert f"invalid share value: '{value}'" in capsys.readouterr().err
