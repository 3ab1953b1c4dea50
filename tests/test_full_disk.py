"""A full disk: each stage ends in one line with the remedy, leaves nothing half, and goes on after room is made.

Two disks are full here: a file system of 20 MB, where one may be mounted; and, anywhere, a process that may write no
file of more than a few kilobytes, which the system refuses in the same place and nearly the same words.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.pipeline.small import write_params, write_text_corpus
from tests.pipeline.test_train_face import write_face_params, write_faces
from tests.pipeline.trained import train_small, write_demo

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[1]
SIZE = 20 * 2**20
CORPUS = "demo"
STAGES = {
    "index": ["pipeline.index", CORPUS],
    "text": ["pipeline.extract", CORPUS, "text"],
    "audio": ["pipeline.extract", CORPUS, "audio"],
    "visual": ["pipeline.extract", CORPUS, "visual"],
    "train": ["pipeline.train", CORPUS],
    "evaluate": ["pipeline.evaluate", CORPUS],
    "predict": ["pipeline.predict", "--transcript", "talk.txt", "--model", "models/demo", "--also", "srt,eaf"],
}
OUTPUTS = {
    "index": ["data/demo/index.csv", "results/demo/corpus.json"],
    "text": ["data/demo/features/text.safetensors", "data/demo/features/text.report.json"],
    "audio": ["data/demo/features/audio.safetensors", "data/demo/features/audio.report.json"],
    "visual": ["data/demo/features/visual.safetensors", "data/demo/features/visual.report.json"],
    "train": ["models/demo/bundle", "models/demo/test_predictions.safetensors", "results/demo/history.csv"],
    "evaluate": ["results/demo/metrics.json", "results/demo/scores.json", "results/demo/predictions.csv",
                 "results/demo/ensemble.csv", "results/demo/confusion.csv", "results/demo/classes.csv",
                 "results/demo/coverage.csv", "results/demo/reliability.csv"],
    "predict": ["predictions"],
}  # fmt: skip


def run(folder: Path, *arguments: str, largest: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a stage; with `largest`, it may write no file of more bytes."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "CMATH_CACHE": str(folder / "cache"),
                   "TMPDIR": "/tmp", "MPLCONFIGDIR": "/tmp/matplotlib"}  # fmt: skip
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest, largest)) if largest else None
    return subprocess.run([sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True,
                          text=True, check=False, preexec_fn=limit)  # fmt: skip


def files_of(folder: Path, names: list[str]) -> dict[str, bytes]:
    """Content of the outputs in `names`, and of all that lies in those that are folders."""
    found = [file for name in names for file in (folder / name, *(folder / name).rglob("*"))]
    return {str(file.relative_to(folder)): file.read_bytes() for file in found if file.is_file()}


def require_one_line(found: subprocess.CompletedProcess[str]) -> None:
    assert found.returncode == 1, found.stderr
    assert "Traceback" not in found.stderr
    said = found.stderr.splitlines()[-1]
    assert re.match(
        r"error: .*(cannot be written|cannot be opened|cannot be read|the disk is full|a disk is full)", said
    )
    assert "CMATH_CACHE" in said
    assert len([line for line in found.stderr.splitlines() if line.startswith("error:")]) == 1


def require_nothing_half(folder: Path, names: list[str], whole: dict[str, bytes]) -> None:
    """Whatever of the outputs is there is whole."""
    assert [str(file) for file in folder.rglob("*.half*")] == []
    for name, content in files_of(folder, names).items():
        if not name.endswith("history.csv"):  # which is rewritten after each epoch, and says how far a training came
            assert content == whole[name], name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all stages of a small corpus have run, with the files that a prediction needs."""
    folder = tmp_path_factory.mktemp("trained")
    write_demo(folder / "raw")
    train_small(folder / "project", CORPUS, folder / "raw")
    project = folder / "project"
    (project / "talk.txt").write_text("Ann: What a wonderful day!\nBob: No. It is not.\n")
    assert run(project, *STAGES["predict"]).returncode == 0
    shutil.rmtree(project / "cache")
    return project


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 20 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True,
                          check=False)  # fmt: skip
    if made.returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def copied(project: Path, folder: Path, stage: str) -> Path:
    """A copy of the project without the outputs of `stage`."""
    shutil.copytree(project, folder, dirs_exist_ok=True)
    for name in OUTPUTS[stage]:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    return folder


def fill(folder: Path, left: int) -> Path:
    """Fill the file system of `folder` but for `left` bytes."""
    filler = folder / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(folder).free - left))
    return filler


@pytest.mark.parametrize("stage", STAGES)
def test_on_a_full_file_system_a_stage_says_so_and_goes_on_after_room_is_made(
    trained: Path, disk: Path, stage: str
) -> None:
    whole = files_of(trained, OUTPUTS[stage])
    project = copied(trained, disk, stage)
    filler = fill(disk, 8192)
    found = run(project, *STAGES[stage])
    require_one_line(found)
    require_nothing_half(project, OUTPUTS[stage], whole)
    filler.unlink()
    assert run(project, *STAGES[stage]).returncode == 0
    assert files_of(project, OUTPUTS[stage]) == whole


@pytest.mark.parametrize("stage", ["index", "audio", "train", "predict"])
def test_where_no_large_file_may_be_written_a_stage_says_so_and_goes_on(
    trained: Path, tmp_path: Path, stage: str
) -> None:
    whole = files_of(trained, OUTPUTS[stage])
    project = copied(trained, tmp_path / "project", stage)
    require_one_line(run(project, *STAGES[stage], largest=1024))
    require_nothing_half(project, OUTPUTS[stage], whole)
    assert run(project, *STAGES[stage]).returncode == 0
    assert files_of(project, OUTPUTS[stage]) == whole


def test_a_full_file_system_stops_a_fine_tuning_in_one_line(disk: Path, tiny_roberta: Path) -> None:
    command, outputs = ["pipeline.finetune_text", "meld"], ["data/meld/encoder"]
    write_text_corpus(disk / "data/meld/index.csv")
    write_params(disk / "params.yaml", tiny_roberta, epochs=1)
    for left in (8192, 300_000):  # too little for a note, and for an encoder
        filler = fill(disk, left)
        require_one_line(run(disk, *command))
        require_nothing_half(disk, outputs, {})
        filler.unlink()
    assert run(disk, *command).returncode == 0
    assert {"data/meld/encoder/text/encoder.json", "data/meld/encoder/text_predictions.csv"} <= set(
        files_of(disk, outputs)
    )


def test_a_full_file_system_stops_a_training_of_the_face_encoder_in_one_line(disk: Path, tmp_path: Path) -> None:
    command, outputs = ["pipeline.train_face"], ["models/face", "results/face"]
    write_face_params(disk / "params.yaml", write_faces(tmp_path / "fer", 4))
    filler = fill(disk, 1_000_000)  # too little for a checkpoint
    require_one_line(run(disk, *command))
    require_nothing_half(disk, outputs, {})
    filler.unlink()
    assert run(disk, *command).returncode == 0
    assert {"models/face/denseface.safetensors", "results/face/metrics.json"} <= set(files_of(disk, outputs))


def test_a_file_system_that_may_not_be_written_to_is_one_line(trained: Path, disk: Path, tmp_path: Path) -> None:
    project = copied(trained, disk, "index")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    found = subprocess.run(
        [sys.executable, "-m", *STAGES["index"]], cwd=project, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "CMATH_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert re.match(r"error: data/demo/index.csv: may not be read or written \(Read-only file system\)",
                        found.stderr.splitlines()[-1])  # fmt: skip
    require_one_line(run(project, *STAGES["index"]))  # the work cache is there too
