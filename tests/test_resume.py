"""kill -9 in the middle of a stage, and the same command again: the bytes of a run that was never killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from extractors.cache import WorkCache
from tests.pipeline.small import write_params, write_text_corpus
from tests.random_features import write_features_of_meld

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[1]


def command(folder: Path, *arguments: str, threads: str = "1") -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "OMP_NUM_THREADS": threads,
        "CMATH_CACHE": str(folder / "cache"),
    }
    return subprocess.Popen([sys.executable, "-m", *arguments], cwd=folder, env=environment)


def kill_when(process: subprocess.Popen[bytes], happened: Callable[[], bool], seconds: float = 120) -> None:
    """Kill `process` as soon as `happened`; it must still be running then."""
    end = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def features(tmp_path: Path) -> Path:
    """A folder in which train@meld can run."""
    write_features_of_meld(tmp_path)
    text = (PROJECT / "params.yaml").read_text()
    for old, new in (("dim: 200", "dim: 60"), ("patience: 10", "patience: 12"), ("epochs: 50", "epochs: 12"),
                     ("    - 2\n    - 3\n    - 4\n", "")):  # fmt: skip
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    return tmp_path


def test_a_killed_training_ends_with_the_same_bytes(features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMATH_CHECKPOINT_SECONDS", "0")
    outputs = [features / "models/meld/bundle/seed0.safetensors", features / "models/meld/bundle/seed1.safetensors",
               features / "results/meld/history.csv"]  # fmt: skip
    assert command(features, "pipeline.train", "meld").wait() == 0
    whole = [file.read_bytes() for file in outputs]
    for file in outputs:
        file.unlink()
    shutil.rmtree(features / "cache")

    def second_seed_has_begun() -> bool:
        return any(features.glob("cache/trainings/*/seed1.pt"))

    kill_when(command(features, "pipeline.train", "meld"), second_seed_has_begun)
    assert not any(file.exists() for file in outputs[:2])
    assert outputs[2].read_bytes() != whole[2]  # what was trained so far
    assert command(features, "pipeline.train", "meld").wait() == 0
    assert [file.read_bytes() for file in outputs] == whole
    assert list(features.glob("cache/trainings/*/*.pt")) == []


def test_seeds_in_processes_of_their_own_give_the_same_bytes(features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = [features / "models/meld/bundle/seed0.safetensors", features / "models/meld/bundle/seed1.safetensors",
               features / "results/meld/history.csv"]  # fmt: skip
    params = features / "params.yaml"
    params.write_text(params.read_text().replace("epochs: 12", "epochs: 3"))
    made = []
    for workers, threads in (("1", "1"), ("2", "1"), ("1", "2")):
        monkeypatch.setenv("CMATH_WORKERS", workers)
        assert command(features, "pipeline.train", "meld", threads=threads).wait() == 0
        made.append([file.read_bytes() for file in outputs])
        assert not any(features.glob("cache/trainings/*/*.running.json"))
        shutil.rmtree(features / "cache")
    assert made[0] == made[1] == made[2]


def test_history_is_there_while_it_trains(features: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMATH_WORKERS", "2")
    params = features / "params.yaml"
    params.write_text(params.read_text().replace("epochs: 12", "epochs: 60").replace("patience: 12", "patience: 60"))
    history = features / "results/meld/history.csv"
    process = command(features, "pipeline.train", "meld")
    kill_when(process, lambda: history.is_file())
    head, *rows = history.read_text().splitlines()
    assert head.startswith("seed,epoch,loss,")
    assert {row.split(",")[0] for row in rows} <= {"0", "1"}
    assert 1 <= len(rows) < 120


def test_a_killed_fine_tuning_ends_with_the_same_bytes(
    tmp_path: Path, tiny_roberta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMATH_CHECKPOINT_SECONDS", "0")
    write_text_corpus(tmp_path / "data/meld/index.csv")
    write_params(tmp_path / "params.yaml", tiny_roberta, crossfit=2, epochs=5, patience=5)
    output, cache = tmp_path / "data/meld/encoder", tmp_path / "cache/trainings"
    assert command(tmp_path, "pipeline.finetune_text", "meld").wait() == 0
    whole = {file.relative_to(output): file.read_bytes() for file in output.rglob("*") if file.is_file()}
    shutil.rmtree(output)
    shutil.rmtree(cache)

    def second_encoder_has_begun() -> bool:
        return any(cache.glob("*/fit.json")) and any(cache.glob("*/state.pt"))

    kill_when(command(tmp_path, "pipeline.finetune_text", "meld"), second_encoder_has_begun)
    assert not (output / "text/encoder.json").exists()
    assert command(tmp_path, "pipeline.finetune_text", "meld").wait() == 0
    assert {file.relative_to(output): file.read_bytes() for file in output.rglob("*") if file.is_file()} == whole
    assert not any(cache.glob("*/state.pt"))


def test_a_killed_extraction_keeps_what_was_finished_and_ends_with_the_same_bytes(
    tmp_path: Path, meld: Callable[..., Path]
) -> None:
    raw = meld()
    for number, clip in enumerate(sorted(raw.rglob("*.mp4"))):  # no two the same, or they would be one extraction
        clip.write_bytes(clip.read_bytes() + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    (tmp_path / "params.yaml").write_text((PROJECT / "params.yaml").read_text().replace("corpora/MELD.Raw", str(raw)))
    for stage in ("raw", "index"):
        assert command(tmp_path, f"pipeline.{stage}", "meld").wait() == 0
    output = tmp_path / "data/meld/features/audio.safetensors"
    assert command(tmp_path, "pipeline.extract", "meld", "audio").wait() == 0
    whole = output.read_bytes()
    output.unlink()

    cache = WorkCache(tmp_path / "cache")
    database = cache._database
    of_audio = """FROM result WHERE fingerprint IN (SELECT fingerprint FROM maker
                  WHERE identity LIKE '%"modality": "audio"%')"""
    count = f"SELECT COUNT(*) {of_audio}"
    assert database.execute(count).fetchone() == (9,)
    database.execute(f"DELETE {of_audio}")
    database.commit()
    kill_when(command(tmp_path, "pipeline.extract", "meld", "audio"), lambda: database.execute(count).fetchone()[0] > 0)
    kept = database.execute(count).fetchone()[0]
    assert 0 < kept < 9
    assert command(tmp_path, "pipeline.extract", "meld", "audio").wait() == 0
    assert output.read_bytes() == whole
