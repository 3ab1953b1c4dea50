"""A transformers vision encoder by one parameter: from a folder to metrics, in a bundle, and to a prediction."""

from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from pipeline import cache, faces
from pipeline.bundle import read_bundle
from pipeline.corpora.index_file import read_index
from pipeline.params import load_params
from pipeline.prediction.extractors import make_extractor
from pipeline.prediction.predictor import Predictor
from pipeline.prediction.recordings import read_recording
from pipeline.prediction.transcripts import read_transcript
from pipeline.stage import parser
from tests.extractors.vision_encoders import write_vision
from tests.pipeline.prediction.test_predict import clip_table, compare_with_evaluate
from tests.pipeline.trained import train_small, write_demo

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("family", "crop", "dim"), [("clip", "face", 24), ("videomae", "frame", 32)])
def test_a_prediction_is_that_of_evaluate_and_shows_the_faces_that_it_saw(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    family: str,
    crop: str,
    dim: int,
) -> None:
    raw, project, encoder = tmp_path / "raw", tmp_path / "project", f"encoders/{family}"
    write_demo(raw)
    write_vision(project / encoder, family)
    train_small(project, "demo", raw, lambda content: content["visual"]["demo"].update(encoder=encoder, crop=crop))
    monkeypatch.chdir(project)
    compare_with_evaluate(project, "demo", raw, tmp_path)
    bundle = read_bundle(Path("models/demo"))
    assert (bundle.visual_encoder, bundle.config["dims"]["visual"]) == (encoder, dim)
    rows = [row for row in read_index(Path("data/demo/index.csv")) if row.split == "test"]
    table = clip_table(rows, raw, tmp_path / "test.csv", ("Ann", "Bob", "Cy", "Di"))
    recording = read_recording("test", None, read_transcript(table), tmp_path)
    [found] = Predictor(bundle.folder).predict([recording])
    for one in found:
        if crop == "frame":
            assert (one.faces, one.crops is None or len(one.crops)) == (0, 0)
        elif one.crops is not None:
            assert one.crops.shape == (min(one.faces, 6), 64, 64, 3)
            assert np.ptp(one.crops.mean(axis=(0, 1, 2))) > 5  # which is not grey
    assert crop == "frame" or any(one.faces for one in found)
    monkeypatch.setenv("CMATH_CACHE", str(project / "cache"))
    cache.run(cache.arguments().parse_args([]), load_params())
    used = [line.split() for line in capsys.readouterr().out.splitlines() if "visual" in line or "faces" in line]
    assert {line[2] for line in used} == {"demo"}
    assert len(used) == (2 if crop == "face" else 1)
    faces.run(parser("").parse_args(["demo"]), load_params())
    assert Path("results/demo/faces.png").stat().st_size > 1000
    write_vision(project / encoder, family, seed=1)
    with pytest.raises(UserError, match=r"is another one than the model was trained with \(its checksum differs\)"):
        make_extractor("visual", bundle)
