"""Corpora of any name: a copied entry of params.yaml, and no code."""

import json
from copy import deepcopy
from pathlib import Path

import pytest

from pipeline.corpora.index_file import read_index
from tests.pipeline.trained import train_small

pytestmark = pytest.mark.slow

TABLE = "dialogue,speaker,label,split,text\n" + "".join(
    f"{split}{dialogue},{'AB'[turn % 2]},{('wry', 'calm')[turn % 2]},{split},{('Oh.', 'Quite so.')[turn % 2]}\n"
    for split in ("train", "dev", "test")
    for dialogue in range(3)
    for turn in range(4)
)


@pytest.mark.parametrize("name", ["my_therapy", "meld2"])
def test_a_copied_entry_under_another_name_goes_from_table_to_scores(name: str, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "utterances.csv").write_text(TABLE)

    def copy(content: dict) -> None:
        for section in ("index", "text", "audio", "visual", "train"):
            content[section][name] = deepcopy(content[section]["custom"])
        content["datasets"] = [name]

    folder = train_small(tmp_path / "project", name, raw, copy, like="custom")
    assert len(read_index(folder / "data" / name / "index.csv")) == 36
    scores = json.loads((folder / "results" / name / "scores.json").read_text())
    assert list(scores["f1"]) == ["calm", "wry"]
    assert scores["majority"]["accuracy"] == 50.0  # of two labels that are equally frequent
    assert (folder / "models" / name / "bundle" / "bundle.json").is_file()
