"""The visual extractor: faces found once, whitened by those of train, encoded and pooled."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from extractors import denseface, visual
from extractors.cache import WorkCache
from extractors.faces import Faces
from extractors.result import Clip
from extractors.visual import VisualExtractor, pooled
from pipeline.params import VisualOf
from pipeline.utterances import Utterance

PROJECT = Path(__file__).parents[2]
SETTINGS = VisualOf(fps=5.0, detector="mtcnn", min_face=40, first_look=0, detect_every=1, margin=0.1, weights="random",
                    pooling="mean")  # fmt: skip


def rows(*splits: str) -> dict[str, Utterance]:
    made = [
        Utterance(utterance_id=f"u{n}", dialogue_id="d", turn=n, speaker=0, split=split, text="", label="joy",
                  video=f"{n}.mp4", video_hash=f"hash{n}")
        for n, split in enumerate(splits)
    ]  # fmt: skip
    extractor = VisualExtractor(SETTINGS, Path("raw"))
    return {str(extractor.key(row)): row for row in made}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Clips in which faces were looked for; clip n has n faces of random pixels, the last one's file is broken."""
    asked: list[str] = []

    def fake(_: object, clips: list[Clip], *__: object):
        for clip in clips:
            asked.append(clip.path.stem)
            number = int(clip.path.stem)
            crops = np.random.default_rng(number).integers(0, 40 * (number + 1), (number, 64, 64)).astype(np.uint8)
            yield clip, Faces(crops, 9, "is broken" if number == 3 else "")

    monkeypatch.setattr(visual, "spread", fake)
    return asked


def extracted(settings: VisualOf, cache: WorkCache, which: dict[str, Utterance]):
    extractor = VisualExtractor(settings, Path("raw"))
    extractor.prepare(which, cache)
    results = {key: result for part in extractor.extract(which, set()) for key, result in part.items()}
    return extractor, [results[key] for key in which]


def test_a_clip_without_a_face_or_a_broken_one_is_missing_and_the_faces_are_counted(
    found: list[str], tmp_path: Path
) -> None:
    _, results = extracted(SETTINGS, WorkCache(tmp_path), rows("train", "train", "test", "test"))
    assert [result.used for result in results] == [0, 1, 2, 0]
    assert results[0].reason == "no face"
    assert results[3].reason == "is broken"
    assert results[1].vector.shape == (342,)


def test_faces_are_found_once_however_they_are_encoded(found: list[str], tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    utterances = rows("train", "train", "test")
    one, _ = extracted(SETTINGS, cache, utterances)
    assert found == ["0", "1", "2"]
    other, results = extracted(SETTINGS.model_copy(update={"pooling": "mean_deviation"}), cache, utterances)
    assert found == ["0", "1", "2"]
    assert results[2].vector.shape == (684,) == (other.dim,)
    assert one.identity != other.identity
    extracted(SETTINGS.model_copy(update={"fps": 2.0}), cache, utterances)
    assert found == ["0", "1", "2"] * 2


def test_faces_of_train_alone_decide_the_whitening(found: list[str], tmp_path: Path) -> None:
    of_one, _ = extracted(SETTINGS, WorkCache(tmp_path / "a"), rows("test", "train", "test"))
    of_two, _ = extracted(SETTINGS, WorkCache(tmp_path / "b"), rows("test", "train", "train"))
    pixels = np.random.default_rng(1).integers(0, 80, (1, 64, 64))
    assert of_one.whitening == (round(pixels.mean()), round(pixels.std()))
    assert of_one.identity["whitening"] == list(of_one.whitening)
    assert of_two.whitening[0] > of_one.whitening[0]


def test_without_faces_in_train_the_weights_own_whitening_serves(found: list[str], tmp_path: Path) -> None:
    extractor, _ = extracted(SETTINGS, WorkCache(tmp_path), rows("train", "test"))
    weights = denseface.untrained()
    assert extractor.whitening == (weights.mean, weights.deviation)


def test_the_encoder_sees_whitened_faces() -> None:
    extractor = VisualExtractor(SETTINGS, Path("raw"))
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
    extractor.whitening = (100.0, 50.0)
    with torch.inference_mode():
        network = denseface.DenseFace.of(denseface.untrained().weights)
        expected = network.pooled(torch.from_numpy((crops[:, None] - 100.0) / 50.0).float())
    np.testing.assert_allclose(extractor.encode(crops), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_a_face_has_the_same_bytes_in_any_company_and_with_any_number_of_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extractor = VisualExtractor(SETTINGS, Path("raw"))
    crops = np.random.default_rng(0).integers(0, 256, (visual.BATCH["cpu"] * 2 + 3, 64, 64)).astype(np.uint8)
    monkeypatch.setenv("CMATH_WORKERS", "1")
    together = extractor.encode(crops)
    for number in (0, 7, len(crops) - 1):
        assert extractor.encode(crops[number : number + 1]).tobytes() == together[number].tobytes()
    monkeypatch.setenv("CMATH_WORKERS", "2")
    assert extractor.encode(crops[::-1]).tobytes() == together[::-1].tobytes()


def test_clips_encoded_together_have_what_each_has_alone(
    found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = rows("test", "test", "test", "test", "test", "train")
    extractor, together = extracted(SETTINGS, WorkCache(tmp_path), which)
    monkeypatch.setattr(visual, "GROUP", 1)
    keys = list(which)
    parts = list(extractor.extract(which, {keys[4]}))
    assert [list(part) for part in parts] == [[keys[n]] for n in (0, 1, 2, 3, 5)]
    alone = {key: result for part in parts for key, result in part.items()}
    for key, result in zip(which, together, strict=True):
        assert key == keys[4] or result.to_bytes() == alone[key].to_bytes()


def test_other_ways_to_look_for_faces_are_other_faces(found: list[str], tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    for change in ({}, {"first_look": 240}, {"detect_every": 5}):
        extracted(SETTINGS.model_copy(update=change), cache, rows("train"))
    assert found == ["0"] * 3


def test_pooling() -> None:
    values = np.array([[1.0, 4.0], [3.0, 0.0]], np.float32)
    np.testing.assert_allclose(pooled(values, "mean"), [2, 2])
    np.testing.assert_allclose(pooled(values, "max"), [3, 4])
    np.testing.assert_allclose(pooled(values, "mean_deviation"), [2, 2, 1, 2])


def test_faces_of_one_grey_level_are_whitened_without_a_division_by_zero(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    level = Faces(np.full((2, 64, 64), 7, np.uint8), 2)
    monkeypatch.setattr(visual, "spread", lambda _, clips, *__: [(clip, level) for clip in clips])
    extractor, results = extracted(SETTINGS, WorkCache(tmp_path), rows("train"))
    assert extractor.whitening == (7.0, 1.0)
    assert np.isfinite(results[0].vector).all()


def test_features_are_made_without_torchvision_which_takes_a_second_to_load() -> None:
    code = (
        "import sys; from pathlib import Path; from extractors.visual import VisualExtractor\n"
        "from pipeline.params import load_params; import numpy as np\n"
        "extractor = VisualExtractor(load_params().visual['demo'], Path())\n"
        "assert extractor.encode(np.zeros((1, 64, 64), np.uint8)).shape == (1, extractor.dim)\n"
        "print('torch' in sys.modules, 'torchvision' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "False"]
