"""One bad file stops neither a corpus nor a folder of recordings: each is named, and all else is used."""

import csv
import json
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from extractors.features import read_features
from extractors.utterance import Part
from foundation.workers import TaskLost
from pipeline import extract, index
from pipeline.corpora.index_file import read_index
from pipeline.params import load_params
from tests.conftest import write_clip
from tests.pipeline.trained import train_small, write_demo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

PROJECT = Path(__file__).parents[2]
HOSTILE = PROJECT.parent / "shared" / "data" / "cases" / "hostile"
CHAT = "1\n00:00:00,100 --> 00:00:00,300\nAnn: What a day!\n\n2\n00:00:00,300 --> 00:00:00,500\nBob: It is not.\n"


def unreadable(file: Path) -> None:
    file.write_bytes(b"x")
    file.chmod(0)


def loop(file: Path) -> None:
    file.symlink_to(file.name)


def torn(file: Path) -> None:
    write_clip(file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "is a pipe or a device and no file"),
    "folder": (Path.mkdir, "is a folder and no file"),
    "broken_link": (lambda file: file.symlink_to("/nowhere/at/all"), "is a link to a file that does not exist"),
    "loop": (loop, "Too many levels of symbolic links"),
    "empty": (Path.touch, "is empty (zero bytes)"),
    "torn": (torn, "cannot be opened"),
    "playlist": (lambda file: file.write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"), "it is a playlist"),
    "noise": (lambda file: file.write_bytes(np.random.default_rng(0).bytes(5000)), "cannot be opened"),
}
if os.geteuid():
    BAD["unreadable"] = (unreadable, "Permission denied")


def write_corpus(raw: Path, meld: Callable[..., Path]) -> None:
    """A corpus in MELD's layout with a dialogue in train of bad clips, besides one of good clips in each split."""
    meld(raw)
    file = raw / "train_sent_emo.csv"
    rows = list(csv.DictReader(file.open()))
    for turn, (make, _) in enumerate(BAD.values()):
        rows.append({**rows[0], "Dialogue_ID": "1", "Utterance_ID": str(turn)})
        make(raw / f"train_splits/dia1_utt{turn}.mp4")
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_bad_clips_do_not_stop_a_corpus(
    tmp_path: Path, meld: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw"
    write_corpus(raw / os.fsdecode(b"caf\xe9"), meld)  # a folder whose name is no UTF-8
    monkeypatch.chdir(tmp_path)
    text = (PROJECT / "params.yaml").read_text().replace("raw: corpora/MELD.Raw", "raw: raw")
    text = text.replace("weights: extractors/visual/weights/denseface.safetensors", "weights: random")
    Path("params.yaml").write_text(text.replace("max_problem_share: 0.2", "max_problem_share: 0.9"))
    params = load_params()
    index.run(Namespace(corpus="meld"), params)
    problems = {row.utterance_id: row.problem for row in read_index(Path("data/meld/index.csv"))}
    for turn, (_, said) in enumerate(BAD.values()):
        assert said in problems.pop(f"train_dia1_utt{turn}")
    assert set(problems.values()) == {""}
    assert set(json.loads(Path("results/meld/corpus.json").read_text())["problems"]["reasons"])
    for modality in ("audio", "visual"):
        extract.run(extract.arguments().parse_args(["meld", modality]), params)
    present = read_features(Path("data/meld/features/audio.safetensors"), len(problems) + len(BAD)).present
    assert present.sum() == 9


def test_a_clip_that_raises_anything_is_missing_and_named(
    tmp_path: Path, meld: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a library raises, also what is no subclass of the errors that were foreseen."""
    meld(tmp_path / "raw")
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((PROJECT / "params.yaml").read_text().replace("raw: corpora/MELD.Raw", "raw: raw"))
    params = load_params()
    for number, clip in enumerate(sorted(Path("raw").rglob("*.mp4"))):
        clip.write_bytes(clip.read_bytes() + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    index.run(Namespace(corpus="meld"), params)

    def here(work: Callable, items: list, prepare: Callable, *arguments: object):
        from extractors.audio import sound

        def joined_sound(parts: list[Part]) -> np.ndarray:
            if parts[0].path.name == "dia0_utt1.mp4":
                raise KeyError("no such codec")
            return np.ones(8000, np.float32) / 3

        prepare(*arguments)
        monkeypatch.setattr(sound, "joined_sound", joined_sound)
        for item in items:
            answer = work(item)
            assert not isinstance(answer, Exception)
            yield item, answer

    monkeypatch.setattr("extractors.clips.spread", here)
    with caplog.at_level("WARNING"):
        extract.run(extract.arguments().parse_args(["meld", "audio"]), params)
    missing = json.loads(Path("data/meld/features/audio.report.json").read_text())["missing"]
    assert set(missing) == {"failed (KeyError: 'no such codec')"}
    assert len(missing["failed (KeyError: 'no such codec')"]) == 3
    assert (
        "audio of test_dia0_utt1 cannot be extracted: output_repeated_splits_test/dia0_utt1.mp4: failed" in caplog.text
    )
    assert isinstance(TaskLost.by(KeyError("x")), TaskLost)


def test_bad_recordings_do_not_stop_a_folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    project = tmp_path_factory.mktemp("trained") / "project"
    write_demo(project.parent / "raw")
    train_small(project, "demo", project.parent / "raw")
    folder = tmp_path / "talks"
    folder.mkdir()
    names = {"good": folder / "good.mp4", "latin": folder / os.fsdecode(b"caf\xe9.mp4"),
             "long": folder / f"{'a' * 251}.mp4"}  # fmt: skip
    for file in names.values():
        write_clip(file)
        (folder / f"{file.stem}.srt").write_text(CHAT)
    for name, (make, _) in BAD.items():
        make(folder / f"{name}.mp4")
        (folder / f"{name}.srt").write_text(CHAT)
    write_clip(folder / "talk.mp4")
    os.mkfifo(folder / "talk.srt")
    write_clip(folder / "noise_transcript.mp4")
    (folder / "noise_transcript.srt").write_bytes(b"\xff\x00\x01\x02" * 500)
    for number, region in enumerate(("0,0,0,0", "9000,9000,10,10")):
        write_clip(folder / f"region{number}.mp4")
        (folder / f"region{number}.csv").write_text(f'speaker,text,region,start,end\nA,hi,"{region}",0,0.4\n')
    write_clip(folder / "longname.mp4")
    (folder / "longname.csv").write_text(f"speaker,text,file\nA,hi,{'a' * 300}.mp4\n")
    if HOSTILE.is_dir():
        for name in ("vfourcc.mp4", "fmt_unknown.wav", "m130_4.flv", "rate1.wav"):
            shutil.copyfile(HOSTILE / name, folder / name)
            (folder / name).with_suffix(".srt").write_text(CHAT)
    found = subprocess.run(
        [sys.executable, "-m", "pipeline.predict", str(folder), "--model", "models/demo", "--also",
         "srt,vtt,eaf,TextGrid", "--out", str(tmp_path / "out")],
        cwd=project, capture_output=True, text=True, errors="replace", check=False, timeout=180,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "CMATH_WORKERS": "2", "CMATH_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert "Traceback" not in found.stderr
    assert found.returncode == 1  # some failed, and are named
    for name in ("broken_link", "loop", "pipe", "folder"):
        assert not (tmp_path / "out" / name).exists()
    for name in ("torn", "playlist", "noise", "empty", "region0"):
        assert any(f"{name}" in line for line in found.stderr.splitlines() if "no prediction" in line), name
    assert (tmp_path / "out/good/report.html").is_file()
    for name in ("latin", "long"):
        stem = names[name].stem
        out = [file for file in (tmp_path / "out").iterdir() if file.name[:3] == stem[:3]]
        assert len(out) == 1, name
        assert (out[0] / "predictions.json").is_file(), found.stderr
        json.loads((out[0] / "predictions.json").read_text("utf-8"))
    assert (tmp_path / "out/region1/report.html").is_file()
    if HOSTILE.is_dir():
        assert (tmp_path / "out/vfourcc/predictions.csv").is_file()
