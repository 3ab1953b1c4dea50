"""train_face and its proof: it learns, a kill costs no byte, the shipped weights are what their card says."""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from extractors.settings import FacePhase, FaceTrainingSettings
from extractors.training.face_training import FaceTrainingState, augmented, probabilities, resized, train
from extractors.visual import face_encoder
from extractors.visual.denseface import DenseFace
from pipeline import train_face
from pipeline.corpora.fer2013 import EMOTIONS
from pipeline.params import load_params
from tests.test_resume import PROJECT, command, kill_when

pytestmark = pytest.mark.slow


def recipe_of(phases: list[tuple[int, int]], **values: float) -> FaceTrainingSettings:
    return FaceTrainingSettings(
        datasets=[], data="-", labels="fer2013", held_out=0.1,
        phases=[FacePhase(edge=edge, epochs=epochs) for edge, epochs in phases], **values,
    )  # fmt: skip


def changed(recipe: FaceTrainingSettings, **values: Any) -> FaceTrainingSettings:
    if "phases" in values:
        values["phases"] = [FacePhase(edge=edge, epochs=epochs) for edge, epochs in values["phases"]]
    return recipe.model_copy(update=values)


RECIPE = recipe_of(phases=[(16, 2), (24, 1)], batch=8, learning_rate=0.05, weight_decay=0.0, label_smoothing=0.0,
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


def write_face_params(file: Path, faces: Path) -> None:
    """The project's params.yaml with a training on the few pictures in `faces`, of two epochs at 16 pixels."""
    text = (PROJECT / "params.yaml").read_text()
    text = re.sub(r"(?<=edge: )\d+", "16", text)
    text = re.sub(r"(edge: 16\n    epochs: )\d+", r"\g<1>1", text)
    text = text.replace("data: corpora/fer2013", f"data: {faces}").replace("batch: 64", "batch: 8")
    file.write_text(text.replace("held_out: 0.05", "held_out: 0.25"))


def test_it_learns_from_small_pictures_what_the_extractor_then_sees(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    kinds = torch.arange(48) % 2
    faces = torch.randn(48, 1, 48, 48, generator=draw) * 0.2
    faces[kinds == 1, :, 20:28] += 2
    targets = torch.eye(2)[kinds]
    recipe = recipe_of(phases=[(16, 4), (32, 1)], batch=8, learning_rate=0.05, weight_decay=0.0, label_smoothing=0.0,
                    rotation=5.0, scale=0.0, shift=0.0, erase=0.0, seed=0)  # fmt: skip
    state = train(faces[:40], targets[:40], (faces[40:], targets[40:]), recipe, CPU, tmp_path / "c", say=lambda _: None)
    assert [row["edge"] for row in state.history] == [16, 16, 16, 16, 32]
    assert state.best_accuracy == 100
    network = DenseFace.of(state.best)
    assert (probabilities(network, faces[40:], CPU).argmax(1) == kinds[40:]).all()


def test_a_killed_training_ends_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMATH_CHECKPOINT_SECONDS", "0")
    write_face_params(tmp_path / "params.yaml", write_faces(tmp_path / "fer"))
    outputs = [tmp_path / "models/face/denseface.safetensors", tmp_path / "results/face/metrics.json",
               tmp_path / "results/face/history.csv"]  # fmt: skip
    assert command(tmp_path, "pipeline.train_face").wait() == 0
    whole = [file.read_bytes() for file in outputs]
    for file in outputs:
        file.unlink()
    shutil.rmtree(tmp_path / "cache")  # which keeps what was trained

    def in_the_second_epoch() -> bool:
        checkpoints = list(tmp_path.glob("cache/trainings/*/state.pt"))
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
    plain = recipe_of(phases=[(48, 1)], batch=8, learning_rate=0.1, weight_decay=0.0, label_smoothing=0.0,
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
    file = PROJECT / "extractors/visual/weights/denseface.safetensors"
    assert file.stat().st_size <= 2_000_000
    trained = face_encoder.load(file)
    assert trained.classes == EMOTIONS
    card = file.with_suffix(".md").read_text()
    assert float(re.search(r"\| accuracy \| ([\d.]+) \|", card)[1]) >= 62


STILL = changed(RECIPE, phases=[(48, 1)], rotation=0.0, scale=0.0, shift=0.0, erase=0.0)


def blobs(recipe: FaceTrainingSettings, long: float, number: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Centres [N, 2] and covariances [N, 2, 2], in pixels (x, y), of an upright blob that was augmented N times."""
    place = torch.arange(48) - 23.5
    blob = torch.exp(-(place[:, None] ** 2) / (2 * long**2) - place**2 / (2 * 3.0**2))
    torch.manual_seed(0)
    pictures = augmented(blob.expand(number, 1, 48, 48).clone(), 48, recipe)[:, 0].double().numpy()
    pictures -= pictures.min(axis=(1, 2), keepdims=True)  # the light
    pictures /= pictures.sum(axis=(1, 2), keepdims=True)
    rows, columns = np.mgrid[0:48, 0:48] - 23.5
    places = np.stack([columns, rows])
    centres = np.einsum("nhw,phw->np", pictures, places)
    away = places[None] - centres[:, :, None, None]
    return centres, np.einsum("nhw,nphw,nqhw->npq", pictures, away, away)


def test_faces_are_moved_both_ways_by_no_more_than_the_shift() -> None:
    centres, _ = blobs(changed(STILL, shift=0.1), 3.0)
    assert (np.abs(centres).max(axis=0) <= 4.8 + 0.1).all()
    assert (centres.max(axis=0) > 3).all()
    assert (centres.min(axis=0) < -3).all()
    assert np.abs(blobs(STILL, 3.0)[0]).max() < 0.1


def test_faces_are_enlarged_and_shrunk_alike_in_both_directions() -> None:
    _, covariances = blobs(changed(STILL, scale=0.2), 3.0)
    sizes = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2)) / 3
    np.testing.assert_allclose(sizes[:, 0], sizes[:, 1], rtol=0.03)
    assert 0.8 < sizes.min() < 0.9
    assert 1.1 < sizes.max() < 1.3  # 1 / 0.8


def test_faces_are_turned_as_they_are_to_either_side() -> None:
    _, covariances = blobs(changed(STILL, rotation=20.0), 6.0)
    widths = np.sqrt(np.linalg.eigvalsh(covariances))
    np.testing.assert_allclose(widths, np.tile([3.0, 6.0], (len(widths), 1)), rtol=0.04)  # neither sheared nor scaled
    angles = np.degrees(0.5 * np.arctan2(2 * covariances[:, 0, 1], covariances[:, 1, 1] - covariances[:, 0, 0]))
    assert 15 < angles.max() < 20.5
    assert -20.5 < angles.min() < -15


def test_about_half_of_the_faces_are_mirrored() -> None:
    face = torch.zeros(200, 1, 48, 48)
    face[:, :, :, :10] = 5.0  # its left
    torch.manual_seed(0)
    seen = augmented(face, 48, STILL)
    mirrored = (seen[:, 0, :, -5:].mean(dim=(1, 2)) > seen[:, 0, :, :5].mean(dim=(1, 2))).sum()
    assert 70 < mirrored < 130


def test_a_rectangle_is_covered_as_often_as_the_recipe_says() -> None:
    face = torch.full((200, 1, 48, 48), 5.0)
    for erase, least, most in ((0.0, 0, 0), (0.5, 70, 130), (1.0, 200, 200)):
        torch.manual_seed(0)
        covered = (augmented(face, 48, changed(STILL, erase=erase)) == 0).float().mean(dim=(1, 2, 3))
        assert least <= (covered > 0).sum() <= most
        assert covered.max() < 0.17  # at most 0.4 x 0.4


def trained_on_noise(folder: Path, **changes: object) -> FaceTrainingState:
    draw = torch.Generator().manual_seed(0)
    faces, targets = torch.randn(24, 1, 16, 16, generator=draw), torch.eye(2)[torch.arange(24) % 2]
    recipe = changed(STILL, phases=[(16, 1)], **changes)
    return train(faces[:16], targets[:16], (faces[16:], targets[16:]), recipe, CPU, folder / str(changes),
                 say=lambda _: None)  # fmt: skip


def test_label_smoothing_and_weight_decay_are_the_recipes(tmp_path: Path) -> None:
    before, smooth, decayed = (
        trained_on_noise(tmp_path, **changes) for changes in ({}, {"label_smoothing": 0.5}, {"weight_decay": 5.0})
    )
    assert smooth.history[0]["loss"] != before.history[0]["loss"]
    name = "features.denseblock1.denselayer1.conv1.weight"
    assert decayed.best[name].norm() < 0.95 * before.best[name].norm()


def test_the_rate_rises_to_its_peak_in_a_fifth_of_the_steps_and_falls_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step",
                        lambda self: rates.append(self.param_groups[0]["lr"]) or step(self))  # fmt: skip
    trained_on_noise(tmp_path, batch=2)
    assert len(rates) == 8
    assert rates[:3] == pytest.approx([0, 0.025, 0.05])  # a fifth of 8 steps are 2
    assert rates[2:] == pytest.approx(0.025 * (1 + np.cos(np.pi * np.arange(6) / 6)))


def test_each_phase_trains_at_its_own_edge_and_is_scored_at_the_extractors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_at, scored_at = [], []
    forward = DenseFace.forward

    def watched(network: DenseFace, faces: torch.Tensor) -> torch.Tensor:
        (trained_at if network.training else scored_at).append(tuple(faces.shape[-2:]))
        return forward(network, faces)

    monkeypatch.setattr(DenseFace, "forward", watched)
    faces, targets = torch.randn(12, 1, 16, 16), torch.eye(2)[torch.arange(12) % 2]
    train(faces, targets, (faces[:4], targets[:4]), changed(STILL, phases=[(16, 1), (24, 2)], batch=6), CPU,
          tmp_path / "c", say=lambda _: None)  # fmt: skip
    assert trained_at == [(16, 16)] * 2 + [(24, 24)] * 4
    assert set(scored_at) == {(64, 64)}


def test_faces_are_normalised_by_those_alone_that_are_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EnoughError(Exception):
        pass

    given: list[tuple] = []

    def caught(*arguments: object) -> None:
        given.append(arguments)
        raise EnoughError

    monkeypatch.setattr(train_face, "train", caught)
    params = load_params(PROJECT / "params.yaml")
    face = params.face.model_copy(update={"held_out": 0.25})
    write_faces(tmp_path / "fer")
    for file in (tmp_path / "fer" / "train").rglob("*.png"):  # no two of a class are of one brightness
        cv2.imwrite(str(file), cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) // 2 + 15 * int(file.stem))
    with pytest.raises(EnoughError):
        train_face.run(argparse.Namespace(data=str(tmp_path / "fer"), evaluate=False),
                       params.model_copy(update={"face": face}))  # fmt: skip
    faces, targets, (held_out, _), recipe = given[0][:4]
    assert (len(faces), len(targets), len(held_out)) == (42, 42, 14)
    assert float(faces.mean()) == pytest.approx(0, abs=1e-5)
    assert float(faces.std()) == pytest.approx(1, abs=1e-4)
    assert abs(float(held_out.mean())) > 0.01
    assert {tuple(face.ravel().tolist()) for face in faces}.isdisjoint(
        tuple(face.ravel().tolist()) for face in held_out
    )
    assert (recipe.phases, recipe.seed) == (face.phases, face.seed)
