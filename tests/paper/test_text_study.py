"""The study of the text encoder, as published and fine-tuned: what it makes, finds again and reports."""

import csv
import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from extractors.features import read_features
from extractors.training import text_training
from foundation.errors import UserError
from paper import model_table, plan, sections, study, text, train
from pipeline import extract, finetune_text
from pipeline.corpora.index_file import read_index, write_index
from pipeline.params import load_params
from tests.extractors.encoders import RECIPE
from tests.paper.small import PROJECT, write_params
from tests.random_features import write_features_of_meld

pytestmark = pytest.mark.slow

STUDIES = YAML(typ="safe").load((PROJECT / "paper/params.yaml").read_text())["report"]["studies"]
STUDY = Path("paper/studies/meld/text")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with an index whose words tell the label, more or less; also the working one."""
    rows = write_features_of_meld(tmp_path)
    spoken = [replace(row, text=f"{row.label} {row.utterance_id}") for row in rows]
    write_index(spoken, tmp_path / "data/meld/index.csv")
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper/published.yaml").write_bytes((PROJECT / "paper/published.yaml").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMATH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pipeline.scoring.scores.RESAMPLES", 50)
    return tmp_path


def choose(folder: Path, encoder: Path, *, finetune: bool, wanted: bool = True) -> None:
    """Parameters of the main pipeline's text encoder, and whether the study is wanted."""
    settings = {"model": str(encoder), "finetune": finetune}
    write_params(folder, settings, recipe=RECIPE, models=["cmath"], studies={**STUDIES, "text": wanted})


def run_all() -> None:
    train.run(Namespace(corpus="meld", model="cmath"), load_params())
    text.run(Namespace(corpus="meld"), load_params())
    study.run(Namespace(corpus="meld", study="text"), load_params())


def said(name: str) -> bytes:
    return (STUDY / name / "predictions.csv").read_bytes()


def never(*_: object) -> None:
    raise AssertionError("trained again")


def test_the_other_encoder_is_fine_tuned_once_and_only_what_is_new_is_trained(
    folder: Path, tiny_roberta: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose(folder, tiny_roberta, finetune=False)
    train.run(Namespace(corpus="meld", model="cmath"), load_params())
    plan.main()
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("meld, text: 4 trainings, 2 of them done; the other 2 take at most") for line in lines)
    number = sum(row.split == "train" for row in read_index(Path("data/meld/index.csv")))
    assert f"meld: before the study text, the text encoder is to be fine-tuned on {number} utterances" in lines[-2]

    run_all()
    assert len(list(folder.glob("cache/trainings/*/seed*.json"))) == 4 + 2
    ours = Path("paper/runs/meld/cmath/predictions.csv").read_bytes()
    assert said("frozen") == ours
    assert said("fine-tuned") != ours
    made = {file: file.read_bytes() for file in Path("paper/features/meld").rglob("*") if file.is_file()}
    assert {file.name for file in made} == {
        "text.safetensors", "text.report.json", "encoder.json", "text_predictions.csv"
    }  # fmt: skip
    monkeypatch.setattr(text_training, "_step", never)
    monkeypatch.setattr("pipeline.training.store.fit", never)
    run_all()
    assert {file: file.read_bytes() for file in made} == made
    plan.main()
    said_now = capsys.readouterr().out
    assert "meld, text: 4 trainings, 4 of them done" in said_now
    assert "is to be fine-tuned" not in said_now


def test_of_a_fine_tuned_main_pipeline_the_published_encoder_is_the_other_one(
    folder: Path, tiny_roberta: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choose(folder, tiny_roberta, finetune=True)
    finetune_text.run(Namespace(corpus="meld"), load_params())
    extract.run(extract.arguments().parse_args(["meld", "text"]), load_params())
    plan.main()
    assert "features of the published text encoder are to be made" in capsys.readouterr().out
    run_all()
    assert not list(Path("paper/features/meld").rglob("encoder.json"))
    assert said("fine-tuned") == Path("paper/runs/meld/cmath/predictions.csv").read_bytes()
    assert said("frozen") != said("fine-tuned")
    Path("data/meld/encoder/text_predictions.csv").unlink()
    with pytest.raises(UserError, match=r"text_predictions\.csv: no such file"):
        study.run(Namespace(corpus="meld", study="text"), load_params())
    # The same two feature files come about whichever of them is the main pipeline's.
    tuned, published = (
        read_features(Path(name), len(read_index(Path("data/meld/index.csv")))).values
        for name in ("data/meld/features/text.safetensors", "paper/features/meld/text.safetensors")
    )
    choose(folder, tiny_roberta, finetune=False)
    extract.run(extract.arguments().parse_args(["meld", "text"]), load_params())
    text.run(Namespace(corpus="meld"), load_params())
    files = [Path("paper/features/meld/text.safetensors"), Path("data/meld/features/text.safetensors")]
    assert [(read_features(file, len(tuned)).values == there).all() for file, there in
            zip(files, (tuned, published), strict=True)] == [True, True]  # fmt: skip


def test_the_report_has_both_and_the_encoder_alone(folder: Path, tiny_roberta: Path) -> None:
    choose(folder, tiny_roberta, finetune=False)
    run_all()
    part = sections.text_encoder(model_table.read("meld", ["cmath"]))
    assert [row[0] for row in part.rows] == [
        "CMATH, encoder fine-tuned", "CMATH, encoder as published", "fine-tuned encoder alone"
    ]  # fmt: skip
    assert all(len(row) == len(part.head) for row in part.rows)
    with (STUDY / "encoder/predictions.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    tested = [row for row in read_index(Path("data/meld/index.csv")) if row.split == "test"]
    assert [(row["utterance_id"], row["label"]) for row in rows] == [(row.utterance_id, row.label) for row in tested]
    accuracy = 100 * sum(row["prediction"] == row["label"] for row in rows) / len(rows)
    assert float(part.rows[2][1]) == pytest.approx(accuracy, abs=0.01)
    tuned, frozen = (
        json.loads((STUDY / name / "metrics.json").read_text())["weighted_f1"] for name in ("fine-tuned", "frozen")
    )
    assert float(part.rows[1][4]) == pytest.approx(tuned - frozen, abs=0.011)
    assert "beyond chance" not in part.seen[1]  # which takes seeds: here is one encoder


def test_where_it_is_not_wanted_nothing_is_made(folder: Path, tiny_roberta: Path) -> None:
    choose(folder, tiny_roberta, finetune=False, wanted=False)
    run_all()
    assert not list(Path("paper/features/meld").iterdir())
    assert not list(STUDY.iterdir())
    assert not (folder / "cache/finetune_text").exists()
