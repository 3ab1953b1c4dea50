"""faces@D: the sheet that shows what was found."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from extractors.features import Features, write_features
from extractors.utterance import Utterance
from pipeline import faces
from pipeline.corpora.index_file import write_index
from pipeline.params import load_params
from pipeline.stage import parser
from tests.conftest import write_clip

PROJECT = Path(__file__).parents[2]


def sheet(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    video: str,
    digest: str,
    identity: dict | None = None,
    crop: str = "face",
) -> NDArray[np.uint8]:
    monkeypatch.chdir(folder)
    row = Utterance(utterance_id="dia0_utt0", dialogue_id="dia0", turn=0, speaker=0, split="train", text="",
                    label="joy", video=video, video_hash=digest)  # fmt: skip
    write_index([row], Path("data/demo/index.csv"))
    features = Features(np.zeros((1, 342)), np.zeros(1, bool), identity or {"whitening": [100.0, 50.0]})
    write_features(features, Path("data/demo/features/visual.safetensors"))
    text = (PROJECT / "params.yaml").read_text().replace("raw: corpora/demo", f"raw: {folder}")
    Path("params.yaml").write_text(text)
    params = load_params()
    settings = params.visual["demo"].model_copy(update={"crop": crop})
    params = params.model_copy(update={"visual": {**params.visual, "demo": settings}})
    faces.run(parser("").parse_args(["demo"]), params)
    picture = cv2.imread("results/demo/faces.png")
    assert picture is not None
    return picture


def test_the_box_of_the_speaker_and_the_crop_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "detector", lambda *_: lambda _: [(60, 10, 20, 20), (10, 10, 40, 40)])
    monkeypatch.setattr(faces, "require_parts", lambda *_: None)
    write_clip(tmp_path / "a.mp4")
    picture = sheet(tmp_path, monkeypatch, "a.mp4", "x")
    vermilion, blue = (
        np.abs(picture.astype(int) - colour).sum(axis=2) < 40 for colour in ((0, 94, 213), (233, 180, 86))
    )
    assert vermilion.sum() > blue.sum() > 50  # the speaker's box is thicker
    again = sheet(tmp_path, monkeypatch, "a.mp4", "x")
    np.testing.assert_array_equal(picture, again)


def test_an_encoder_that_sees_colours_has_its_crops_in_colour_and_one_of_frames_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    red = np.full((80, 96, 3), (200, 0, 0), np.uint8)
    monkeypatch.setattr(faces, "watched", lambda *_: (iter([(0.0, red)]), None))
    monkeypatch.setattr(faces, "detector", lambda *_: lambda _: [(10, 10, 40, 40)])
    monkeypatch.setattr(faces, "require_parts", lambda *_: None)

    def red_halves(**how: object) -> list[bool]:
        picture = sheet(tmp_path, monkeypatch, "a.mp4", "x", **how)  # type: ignore[arg-type]
        found = np.abs(picture.astype(int) - (0, 0, 200)).sum(axis=2) < 40
        return [bool(half.any()) for half in np.array_split(found, 2, axis=1)]

    assert red_halves() == [True, False]
    assert red_halves(identity={"colour": 224}) == [True, True]
    assert red_halves(identity={"colour": 256}, crop="frame") == [True, False]


def test_a_corpus_without_video_has_an_empty_sheet_and_a_broken_clip_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sheet(tmp_path, monkeypatch, "", "").size
    monkeypatch.setattr(faces, "require_parts", lambda *_: None)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    assert sheet(tmp_path, monkeypatch, "b.mp4", "x").size
