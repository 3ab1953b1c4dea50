"""train_face and its proof: it learns, a kill costs no byte, the shipped weights are what their card says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from extractors import face_encoder
from extractors.denseface import DenseFace
from extractors.face_training import Recipe, augmented, probabilities, resized, train
from pipeline.corpora.fer2013 import EMOTIONS
from tests.test_resume import PROJECT, command, kill_when

RECIPE = Recipe(phases=[(16, 2), (24, 1)], batch=8, learning_rate=0.05, weight_decay=0.0, label_smoothing=0.0,
                rotation=15.0, scale=0.1, shift=0.1, erase=0.5, seed=0)  # fmt: skip
CPU = torch.device("cpu")


def write_faces(folder: Path, number: int = 8) -> Path:
    """A FER-2013 of seven kinds of pattern, `number` a class in train, two in test."""
    draw = np.random.default_rng(0)
    for part, of_class in (("train", number), ("test", 2)):
        for place, emotion in enumerate(EMOTIONS):
            (folder / part / emotion).mkdir(parents=True)
            for n in range(of_class):
                face = draw.normal(60, 10, (48, 48))
                face[6 * place : 6 * place + 8] += 120
                cv2.imwrite(str(folder / part / emotion / f"{n}.png"), face.clip(0, 255).astype(np.uint8))
    return folder


def test_it_learns_from_small_pictures_what_the_extractor_then_sees(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    kinds = torch.arange(48) % 2
    faces = torch.randn(48, 1, 48, 48, generator=draw) * 0.2
    faces[kinds == 1, :, 20:28] += 2
    targets = torch.eye(2)[kinds]
    recipe = Recipe(phases=[(16, 4), (64, 2)], batch=8, learning_rate=0.05, weight_decay=0.0, label_smoothing=0.0,
                    rotation=5.0, scale=0.0, shift=0.0, erase=0.0, seed=0)  # fmt: skip
    state = train(faces[:40], targets[:40], (faces[40:], targets[40:]), recipe, CPU, tmp_path / "c", say=lambda _: None)
    assert [row["edge"] for row in state.history] == [16, 16, 16, 16, 64, 64]
    assert state.best_accuracy == 100
    network = DenseFace.of(state.best)
    assert (probabilities(network, faces[40:], CPU).argmax(1) == kinds[40:]).all()


def test_a_killed_training_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMATH_CHECKPOINT_SECONDS", "0")
    text = (PROJECT / "params.yaml").read_text()
    text = re.sub(r"(?<=edge: )\d+", "16", text)
    text = re.sub(r"(edge: 16\n    epochs: )\d+", r"\g<1>1", text)
    text = text.replace("data: corpora/fer2013", f"data: {write_faces(tmp_path / 'fer')}").replace(
        "batch: 64", "batch: 8"
    )
    (tmp_path / "params.yaml").write_text(text.replace("held_out: 0.05", "held_out: 0.25"))
    outputs = [tmp_path / "models/face/denseface.safetensors", tmp_path / "results/face/metrics.json",
               tmp_path / "results/face/history.csv"]  # fmt: skip
    assert command(tmp_path, "pipeline.train_face").wait() == 0
    whole = [file.read_bytes() for file in outputs]
    for file in outputs:
        file.unlink()

    def in_the_second_epoch() -> bool:
        checkpoints = list(tmp_path.glob("cache/face/*.pt"))
        try:
            return any(torch.load(file, weights_only=True)["state"]["step"] >= 7 for file in checkpoints)
        except (OSError, RuntimeError, EOFError):
            return False

    kill_when(command(tmp_path, "pipeline.train_face"), in_the_second_epoch)
    assert not any(file.exists() for file in outputs)
    assert command(tmp_path, "pipeline.train_face").wait() == 0
    assert [file.read_bytes() for file in outputs] == whole
    assert not any(tmp_path.glob("cache/face/*"))
    scores = json.loads(outputs[1].read_text())
    assert set(scores["f1"]) == set(EMOTIONS)
    assert f"| accuracy | {scores['accuracy']:.2f} |" in (tmp_path / "models/face/denseface.md").read_text()


def test_augmentation_keeps_the_range_and_draws_from_the_seed() -> None:
    faces = torch.rand(6, 1, 48, 48) * 2 - 1
    torch.manual_seed(3)
    one = augmented(faces, 32, RECIPE)
    torch.manual_seed(3)
    assert torch.equal(one, augmented(faces, 32, RECIPE))
    assert one.shape == (6, 1, 32, 32)
    assert one.abs().max() <= 1.2 * 1 + 0.2
    assert not torch.equal(one, augmented(faces, 32, RECIPE))


def test_nothing_to_augment_leaves_a_face_as_the_extractor_sees_it_but_for_the_mirror_and_the_light() -> None:
    plain = Recipe(phases=[(48, 1)], batch=8, learning_rate=0.1, weight_decay=0.0, label_smoothing=0.0,
                   rotation=0.0, scale=0.0, shift=0.0, erase=0.0, seed=0)  # fmt: skip
    face = torch.rand(1, 1, 48, 48)
    seen = torch.cat([augmented(face, 48, plain) for _ in range(20)])
    for picture in seen:
        fits = []
        for original in (face[0, 0], face[0, 0].flip(1)):
            scale, offset = np.polyfit(original.ravel().numpy(), picture[0].ravel().numpy(), 1)
            fits.append(float((original * scale + offset - picture[0]).abs().max()))
        assert min(fits) < 1e-4
    assert resized(face, 48).equal(face)


def test_a_folder_that_is_no_fer2013_is_named(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pipeline.train_face", "--evaluate", "--data", str(tmp_path)],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert str(tmp_path) in result.stderr
    assert "face.data" in result.stderr


def test_the_shipped_weights_are_small_and_have_their_card() -> None:
    file = PROJECT / "extractors/weights/denseface.safetensors"
    assert file.stat().st_size <= 2_000_000
    trained = face_encoder.load(file)
    assert trained.classes == EMOTIONS
    card = file.with_suffix(".md").read_text()
    assert float(re.search(r"\| accuracy \| ([\d.]+) \|", card)[1]) >= 62
