"""The visual extractor: faces found once, normalised by those of train, encoded and pooled."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from extractors.cache import WorkCache
from extractors.media import ContentError
from extractors.result import Clip
from extractors.settings import VisualSettings
from extractors.utterance import Utterance
from extractors.visual import denseface, face_encoder, faces
from extractors.visual import extractor as visual
from extractors.visual.extractor import VisualExtractor, pooled
from extractors.visual.faces import Faces, crop
from foundation.workers import TaskLost
from tests.conftest import change_in_secret, in_this_process, write_clip
from tests.extractors.shown import frames

PROJECT = Path(__file__).parents[2]
SETTINGS = VisualSettings(
    fps=5.0, detector="mtcnn", min_face=40, first_look=0, detect_every=1, margin=0.1, weights="random", pooling="mean"
)


def rows(*splits: str) -> dict[str, Utterance]:
    made = [
        Utterance(utterance_id=f"u{n}", dialogue_id="d", turn=n, speaker=0, split=split, text="", label="joy",
                  video=f"{n}.mp4", video_hash=f"hash{n}")
        for n, split in enumerate(splits)
    ]  # fmt: skip
    extractor = VisualExtractor(SETTINGS, Path("raw"))
    return {str(key): row for key, row in zip(extractor.keys(made), made, strict=True)}


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


def extracted(settings: VisualSettings, cache: WorkCache, which: dict[str, Utterance]):
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


@pytest.mark.slow
def test_faces_are_found_once_however_they_are_encoded(found: list[str], tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    utterances = rows("train", "train", "test")
    one, _ = extracted(SETTINGS, cache, utterances)
    assert found == ["0", "1", "2"]
    other, results = extracted(SETTINGS.model_copy(update={"pooling": "mean_std"}), cache, utterances)
    assert found == ["0", "1", "2"]
    assert results[2].vector.shape == (684,) == (other.dim,)
    assert one.identity != other.identity
    extracted(SETTINGS.model_copy(update={"fps": 2.0}), cache, utterances)
    assert found == ["0", "1", "2"] * 2


@pytest.mark.slow
def test_faces_of_train_alone_decide_the_normalisation(found: list[str], tmp_path: Path) -> None:
    of_one, _ = extracted(SETTINGS, WorkCache(tmp_path / "a"), rows("test", "train", "test"))
    of_two, _ = extracted(SETTINGS, WorkCache(tmp_path / "b"), rows("test", "train", "train"))
    pixels = np.random.default_rng(1).integers(0, 80, (1, 64, 64))
    assert of_one.normalisation == (round(pixels.mean()), round(pixels.std()))
    assert of_one.identity["whitening"] == list(of_one.normalisation)
    assert of_two.normalisation[0] > of_one.normalisation[0]


@pytest.mark.slow
def test_without_faces_in_train_the_weights_own_normalisation_serves(found: list[str], tmp_path: Path) -> None:
    extractor, _ = extracted(SETTINGS, WorkCache(tmp_path), rows("train", "test"))
    weights = denseface.untrained()
    assert extractor.normalisation == (weights.mean, weights.std)
    file = tmp_path / "face.safetensors"
    face_encoder.save(weights.weights, (), 101.5, 47.25, file)
    other, _ = extracted(SETTINGS.model_copy(update={"weights": str(file)}), WorkCache(tmp_path), rows("train", "test"))
    assert other.normalisation == (101.5, 47.25)


def test_the_encoder_sees_normalised_faces() -> None:
    extractor = VisualExtractor(SETTINGS, Path("raw"))
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
    extractor.normalisation = (100.0, 50.0)
    with torch.inference_mode():
        network = denseface.DenseFace.of(denseface.untrained().weights)
        expected = network.pooled(torch.from_numpy((crops[:, None] - 100.0) / 50.0).float())
    np.testing.assert_allclose(extractor.encode(crops), expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
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


@pytest.mark.slow
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


BOX = (12, 10, 30, 40)


class Looking:
    """Finds faces of a clip of 2 s, 10 pictures a second; every picture has one in BOX."""

    def __init__(self, folder: Path) -> None:
        self.clip, self.cache = write_clip(folder / "clip.mp4", 2.0), WorkCache(folder)
        digest = hashlib.sha256(self.clip.read_bytes()).hexdigest()
        self.row = replace(next(iter(rows("test").values())), video="clip.mp4", video_hash=digest)
        self.made: list[tuple] = []
        """How detectors were asked for."""
        self.searched = 0

    def detector(self, *how: object):
        self.made.append(how)
        return self.detect

    def detect(self, _: np.ndarray):
        self.searched += 1
        return [BOX]

    def crops(self, settings: VisualSettings = SETTINGS, **of_row: object) -> np.ndarray:
        self.searched = 0
        extractor = VisualExtractor(settings, self.clip.parent)
        row = replace(self.row, **of_row)
        key = str(extractor.keys([row])[0])
        extractor.prepare({key: row}, self.cache)
        return Faces.from_bytes(self.cache.get(extractor.faces, [key])[key]).crops


@pytest.fixture
def looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Looking:
    made = Looking(tmp_path)
    monkeypatch.setattr(visual, "spread", in_this_process)
    monkeypatch.setattr(faces, "detector", made.detector)
    return made


@pytest.mark.slow
def test_faces_are_looked_for_as_each_setting_says_and_anew_when_it_says_something_else(looking: Looking) -> None:
    whole = list(frames(looking.clip, 10))
    assert len(whole) == 20

    def changed(**settings: object) -> np.ndarray:
        return looking.crops(SETTINGS.model_copy(update=settings))

    of_five = np.stack([crop(picture, BOX, 0.1) for picture in whole[::2]])
    np.testing.assert_array_equal(changed(), of_five)
    assert (looking.made[-1], looking.searched) == (("mtcnn", 40, 0), 10)
    np.testing.assert_array_equal(changed(fps=10.0), [crop(picture, BOX, 0.1) for picture in whole])
    np.testing.assert_array_equal(changed(margin=0.5), [crop(picture, BOX, 0.5) for picture in whole[::2]])
    np.testing.assert_array_equal(changed(detect_every=3), of_five)
    assert looking.searched == 4
    for place, (name, value) in enumerate((("detector", "haar"), ("min_face", 24), ("first_look", 240))):
        changed(**{name: value})
        assert looking.made[-1][place] == value
        assert looking.searched == 10
    changed(pooling="max")
    assert looking.searched == 0  # it is no matter of finding


def test_faces_are_looked_for_between_start_and_end_and_in_the_region(looking: Looking) -> None:
    whole = list(frames(looking.clip, 10))
    of_five = [crop(picture, BOX, 0.1) for picture in whole]
    np.testing.assert_array_equal(looking.crops(), of_five[::2])
    np.testing.assert_array_equal(looking.crops(start=1.0), of_five[10::2])
    np.testing.assert_array_equal(looking.crops(end=1.0), of_five[:10:2])
    np.testing.assert_array_equal(looking.crops(start=0.5, end=1.5), of_five[5:15:2])
    part = [crop(picture[20:75, 30:95], BOX, 0.1) for picture in whole[::2]]
    np.testing.assert_array_equal(looking.crops(region="30,20,65,55"), part)
    looking.crops(audio_start=1.0, audio_end=2.0, text="Oh.")
    assert looking.searched == 0  # the same pictures


def test_a_film_that_was_changed_since_the_index_was_made_is_refused(looking: Looking) -> None:
    content = bytearray(looking.clip.read_bytes())
    content[-1] ^= 1
    change_in_secret(looking.clip, bytes(content))
    with pytest.raises(ContentError, match=r"clip\.mp4: was changed since the index was made"):
        looking.crops()


def test_a_clip_that_is_lost_is_no_part_of_the_normalisation_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    level = Faces(np.full((2, 64, 64), 7, np.uint8), 2)
    monkeypatch.setattr(visual, "spread", lambda _, clips, *__: [(clips[0], TaskLost("died")), (clips[1], level)])
    extractor, results = extracted(SETTINGS, WorkCache(tmp_path), rows("train", "train"))
    assert extractor.normalisation == (7.0, 1.0)
    assert [(result.reason, result.lasting) for result in results] == [("died", False), ("", True)]


def test_whatever_a_clip_raises_costs_this_clip_alone(looking: Looking, monkeypatch: pytest.MonkeyPatch) -> None:
    looking.crops()  # which prepares this process

    def fails(*_: object) -> None:
        raise cv2.error("the picture is odd")

    monkeypatch.setattr(faces, "faces_of_speaker", fails)
    found = faces.faces_of_clip(Clip("key", looking.clip, looking.row.video_hash, None, None))
    assert found == TaskLost("failed (error: the picture is odd)")


def test_a_region_outside_the_picture_is_a_missing_face_with_a_reason(looking: Looking) -> None:
    looking.crops()
    found = faces.faces_of_clip(Clip("key", looking.clip, looking.row.video_hash, None, None, "900,900,10,10"))
    assert isinstance(found, Faces)
    assert len(found.crops) == 0
    assert found.problem.startswith("has nothing in the region 900,900,10,10")


def test_a_share_looks_at_its_own_clips_and_is_done_when_all_are(found: list[str], tmp_path: Path) -> None:
    cache, which = WorkCache(tmp_path), rows("train", "train", "test")
    first, second, third = which
    extractor = VisualExtractor(SETTINGS, Path("raw"))
    assert not extractor.prepare(which, cache, {second})
    assert "whitening" not in extractor.identity
    assert extractor.prepare(which, cache, {first, third})
    assert found == ["1", "0", "2"]
    assert "whitening" in extractor.identity


def test_pooling() -> None:
    values = np.array([[1.0, 4.0], [3.0, 0.0]], np.float32)
    np.testing.assert_allclose(pooled(values, "mean"), [2, 2])
    np.testing.assert_allclose(pooled(values, "max"), [3, 4])
    np.testing.assert_allclose(pooled(values, "mean_std"), [2, 2, 1, 2])


def test_faces_of_one_grey_level_are_normalised_without_a_division_by_zero(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    level = Faces(np.full((2, 64, 64), 7, np.uint8), 2)
    monkeypatch.setattr(visual, "spread", lambda _, clips, *__: [(clip, level) for clip in clips])
    extractor, results = extracted(SETTINGS, WorkCache(tmp_path), rows("train"))
    assert extractor.normalisation == (7.0, 1.0)
    assert np.isfinite(results[0].vector).all()


@pytest.mark.slow
def test_features_are_made_without_torchvision_which_takes_a_second_to_load() -> None:
    code = (
        "import sys; from pathlib import Path; from extractors.visual.extractor import VisualExtractor\n"
        "from pipeline.params import load_params; import numpy as np\n"
        "extractor = VisualExtractor(load_params().visual['demo'], Path())\n"
        "assert extractor.encode(np.zeros((1, 64, 64), np.uint8)).shape == (1, extractor.dim)\n"
        "print('torch' in sys.modules, 'torchvision' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["True", "False"]
