"""The table of published feature files: filled by the command for a file that is there, empty for the others."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundation.errors import UserError
from paper import feature_files
from pipeline import extract, index, leakage
from pipeline.params import Params, load_params
from tests.extractors.published import written
from tests.extractors.published.written import MELD, TURNS

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page, the rows, and the index and features of a small file of SDT's layout for MELD."""
    for name in ("docs/feature_files.md", "paper/feature_files.yaml", "paper/published.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.scoring.scores.RESAMPLES", 20)
    there = dict(zip(written.TUPLES["SDT (MELD)"].split(), written.tuple_of("SDT (MELD)"), strict=True))
    there["audio"] = {key: [np.full(300, 1 + place, "f4") for place in range(TURNS)] for key in MELD}
    raw = written.save(tuple(there.values()), tmp_path / "file.pkl")
    loaded: dict[str, Any] = load_params(PROJECT / "params.yaml").model_dump()
    loaded["index"]["meld_sdt"]["raw"] = str(raw)
    loaded["model"] |= {"dim": 20, "heads": 2}
    loaded["baselines"]["sdt"] |= {"dim": 16}
    loaded["train"]["meld_sdt"] |= {"epochs": 1, "seeds": [0, 1], "batch": 2}
    params = Params.model_validate(loaded)
    monkeypatch.setattr(feature_files, "load_params", lambda: params)
    index.run(argparse.Namespace(corpus="meld_sdt"), params)
    for modality in ("text", "audio", "visual"):
        args = argparse.Namespace(corpus="meld_sdt", modality=modality, shard=extract.WHOLE, engine=None)
        extract.run(args, params)
    leakage.run(argparse.Namespace(corpus="meld_sdt"), params)
    return tmp_path


def lines() -> list[str]:
    page = Path("docs/feature_files.md").read_text()
    return page.partition(feature_files.BEGIN)[2].partition(feature_files.END)[0].strip().splitlines()


@pytest.mark.slow
def test_the_rows_of_a_file_that_is_there_are_filled_and_marked(workspace: Path) -> None:
    before = Path("docs/feature_files.md").read_text()
    feature_files.run("meld_sdt", [])
    scores = json.loads(Path("paper/feature_files.json").read_text())
    of_file = scores["`meld_multimodal_features.pkl` of SDT"]
    assert of_file.keys() == {"sdt", "cmath"}
    found = of_file["cmath"]
    assert found["seeds"] == 2
    assert found["oracle_weighted_f1"] >= found["weighted_f1"] - 1e-9
    ours = f"{found['weighted_f1']:.2f} ± {found['weighted_f1_std']:.2f}"
    [row] = [line for line in lines() if line.startswith("| `meld_multimodal_features.pkl` of SDT | CMATH |")]
    assert row.split(" | ")[2:4] == ["66.93", f"{ours} [1]"]
    assert any(line.startswith("[1] audio: its audio vectors, 300 wide") for line in lines())
    others = [line for line in lines() if line.startswith("| `") and "meld_multimodal" not in line]
    assert len(others) == 16
    assert all(line.endswith("| file not at hand |  |  |") for line in others)
    assert row.endswith(" | 2 |")
    assert any("| MMGCN | 66.26 |" in line for line in others)
    after = Path("docs/feature_files.md").read_text()
    assert after.partition(feature_files.BEGIN)[0] == before.partition(feature_files.BEGIN)[0]
    assert after.partition(feature_files.END)[2] == before.partition(feature_files.END)[2]


def test_a_part_of_a_files_vectors_is_no_row_of_the_table(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    less = feature_files.load_params()
    less = less.model_copy(update={"model": less.model.model_copy(update={"modalities": ["text", "audio"]})})
    monkeypatch.setattr(feature_files, "load_params", lambda: less)
    with pytest.raises(UserError, match=r"meld_sdt: its visual vectors are not used \(index\.meld_sdt\.vectors, model"):
        feature_files.run("meld_sdt", [])
    assert not Path("paper/feature_files.json").exists()


def test_the_page_has_the_table_of_the_scores_that_are_kept() -> None:
    page = (PROJECT / feature_files.PAGE).read_text()
    scores = (
        json.loads((PROJECT / feature_files.SCORES).read_text()) if (PROJECT / feature_files.SCORES).is_file() else {}
    )
    inside = page.partition(feature_files.BEGIN)[2].partition(feature_files.END)[0]
    assert inside.strip().splitlines() == feature_files.table(scores)


def test_a_corpus_of_another_reader_and_a_file_without_a_row_are_said(workspace: Path) -> None:
    with pytest.raises(UserError, match=r"meld: is no corpus of params\.yaml whose reader is `features`"):
        feature_files.run("meld", [])
    unknown = {"name": "x.pkl", "git_blob": "0" * 40}
    with pytest.raises(
        UserError, match=r"x\.pkl: has no row in paper/feature_files\.yaml; add one with its layout 'MMSA'"
    ):
        feature_files.row_of({"files": [unknown], "layout": "MMSA"})
    speakers = {"name": "Speakers.pkl", "git_blob": "a21501009647eb0774a638ccd123aba6668768cc"}
    with pytest.raises(UserError, match="has no row"):  # DialogueRNN's file, but in MultiEMO's folder
        feature_files.row_of({"files": [speakers, unknown], "layout": "MultiEMO"})
    assert feature_files.row_of({"files": [speakers], "layout": "MMGCN"})["models"] == ["dialogue_rnn", "cmath"]


def test_what_is_known_of_the_file_may_be_lost_or_broken(workspace: Path) -> None:
    file = Path("results/meld_sdt/corpus.json")
    whole = json.loads(file.read_text())
    less = {**whole, "published": {**whole["published"], "files": [{"name": "x.pkl"}]}}
    for content, said in ((json.dumps(less), r"lacks the key published\.files\.git_blob"),
                          ("{}", r"lacks the key published\.vectors"), (None, "no such file")):  # fmt: skip
        file.unlink() if content is None else file.write_text(content)
        with pytest.raises(UserError, match=rf"^{file}: {said}; `dvc repro index@meld_sdt` makes it anew"):
            feature_files.run("meld_sdt", [])
    assert not feature_files.SCORES.exists()


def test_scores_that_are_lost_or_broken_are_restored_from_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("docs/feature_files.md", "paper/feature_files.yaml", "paper/published.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(PROJECT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["paper.feature_files"])
    broken = json.dumps({"x": {"cmath": {"weighted_f1": 1.0}}})
    other = json.dumps({"x": {"bert": {"weighted_f1": 1.0}}})
    for content, said in ((None, "no such file"), (broken, r"lacks the key x\.cmath\.weighted_f1_std"),
                          (other, r"x\.bert is no model \(cmath, sdt, .+, adaign\)")):  # fmt: skip
        if content:
            feature_files.SCORES.write_text(content)
        restore = r"`git restore paper/feature_files\.json` brings back the committed one"
        with pytest.raises(SystemExit, match=rf"^error: paper/feature_files\.json: {said}; {restore}"):
            feature_files.main()
