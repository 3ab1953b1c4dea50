"""The model that comes with the project: small, whole, used where none is named, and better than a guess."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.bundle.places import open_bundle
from pipeline.corpora.labels import MELD
from pipeline.predictor import Predictor

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
STARTER = PROJECT / "starter"
SAID = {
    "I can't believe it, we won! This is the best day of my life!": "joy",
    "Thank you so much, I love it!": "joy",
    "Get out of my house! I hate you!": "anger",
    "Shut up! Just leave me alone, you idiot!": "anger",
    "What?! Oh my God, are you serious?": "surprise",
    "I'm so sorry. She died last night.": "sadness",
    "I put the papers on the table.": "neutral",
    "The meeting is on the second floor.": "neutral",
}
"""Lines whose emotion nobody doubts; none is in the corpus."""


def test_it_is_small_and_holds_nothing_but_weights_and_their_description() -> None:
    files = [file for file in STARTER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 15e6
    assert {file.suffix for file in files} <= {".json", ".safetensors", ".md", ".txt"}
    bundle = open_bundle(STARTER)
    assert bundle.assembled
    assert not bundle.synthetic
    assert bundle.labels == MELD
    assert set(bundle.config["dims"]) == {"text", "audio", "visual"}


def test_it_is_found_from_every_folder_and_knows_plain_emotions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # which its user could do nothing about
        emotions = Predictor()
        found: pd.DataFrame = pd.concat([emotions([line]) for line in SAID])
    right = np.mean([said == expected for said, expected in zip(found["prediction"], SAID.values(), strict=True)])
    assert right >= 7 / 8
    assert "put together by chance" in found.attrs["warning"]


def test_a_model_of_ones_own_by_this_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "starter").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match="it is no trained model"):
        open_bundle("starter")
