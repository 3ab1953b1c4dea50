"""Logistic regression and the text encoder alone, as rows of the tables: what the stage writes."""

import csv
import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from paper import plain
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.labels import MELD
from pipeline.params import load_params
from tests.paper.small import write_params
from tests.random_features import write_features_of_meld


@pytest.mark.slow
def test_the_stage_writes_a_row_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.scoring.scores.RESAMPLES", 20)
    rows = write_features_of_meld(tmp_path)
    write_params(tmp_path)
    file = tmp_path / "paper/features/meld/encoder/text_predictions.csv"
    file.parent.mkdir(parents=True)
    plain.run(Namespace(corpus="meld"), load_params())
    assert sorted(path.name for path in Path("paper/plain/meld").iterdir()) == ["logistic", "logistic_text"]
    whole, of_text = (json.loads((plain.FOLDER / "meld" / name / "metrics.json").read_text())
                      for name in ("logistic", "logistic_text"))  # fmt: skip
    assert whole["modalities"] == ["text", "audio", "visual"]
    assert of_text["modalities"] == ["text"]
    tested = [row for row in rows if row.split == "test"]
    with (plain.FOLDER / "meld/logistic/predictions.csv").open() as stream:
        said = list(csv.DictReader(stream))
    assert [(row["utterance_id"], row["label"], row["seed"]) for row in said] == [
        (row.utterance_id, row.label, "0") for row in tested
    ]  # fmt: skip
    assert whole["accuracy"] == pytest.approx(
        100 * np.mean([row["prediction"] == row["label"] for row in said]), abs=0.01
    )
    assert whole["weighted_f1"] > whole["majority"]["weighted_f1"]

    # Where there is a fine-tuned encoder, its own predictions are a row, too.
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["utterance_id", *MELD])
        writer.writerows([row.utterance_id, *(float(name == row.label) for name in MELD)] for row in rows)
    plain.run(Namespace(corpus="meld"), load_params())
    assert json.loads((plain.FOLDER / "meld/encoder/metrics.json").read_text())["accuracy"] == 100

    # What is not made any more is removed, so that no table counts it.
    file.unlink()
    params = load_params()
    only = params.model_copy(update={"model": params.model.model_copy(update={"modalities": ["text"]})})
    plain.run(Namespace(corpus="meld"), only)
    assert [path.name for path in Path("paper/plain/meld").iterdir()] == ["logistic"]
    file.write_bytes(b"utterance\xff\n")
    with pytest.raises(
        UserError, match=r"text_predictions\.csv: has no column utterance_id; `dvc repro` makes it anew"
    ):
        plain.run(Namespace(corpus="meld"), params)


def test_of_text_alone_there_is_one_regression_and_of_a_single_class_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.scoring.scores.RESAMPLES", 20)
    rows = write_features_of_meld(tmp_path)
    write_params(tmp_path)
    params = load_params()
    text = params.model_copy(update={"model": params.model.model_copy(update={"modalities": ["text"]})})
    plain.run(Namespace(corpus="meld"), text)
    assert [path.name for path in Path("paper/plain/meld").iterdir()] == ["logistic"]
    write_index([replace(row, label="joy") for row in rows], tmp_path / "data/meld/index.csv")
    plain.run(Namespace(corpus="meld"), text)
    assert not list(Path("paper/plain").rglob("metrics.json"))
    assert read_index(tmp_path / "data/meld/index.csv")
