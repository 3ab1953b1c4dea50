"""The studies, the tests of robustness and the report on a small corpus of random features."""

import csv
import json
import re
import shutil
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from sklearn.metrics import f1_score, silhouette_score

from foundation.errors import UserError
from model.training import predict
from paper import report, robustness, study, train
from paper.names import NAMES
from paper.params import load_report
from paper.pictures import draw_robustness
from paper.studies import settings as settings_of
from paper.trainings import Trainings
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.labels import MELD
from pipeline.params import MODALITIES, load_params, read_yaml
from tests.paper.small import PROJECT, write_params
from tests.random_features import write_features_of_meld

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder in which every stage of paper/dvc.yaml has run."""
    folder = tmp_path_factory.mktemp("paper")
    write_features_of_meld(folder)
    write_params(folder)
    (folder / "paper/published.yaml").write_bytes((PROJECT / "paper/published.yaml").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("CMATH_CACHE", str(folder / "cache"))
        patch.setattr("pipeline.scoring.scores.RESAMPLES", 50)
        for model in ("cmath", "ctnet", "multidag"):
            train.run(Namespace(corpus="meld", model=model), load_params())
        with pytest.raises(UserError, match=r"robustness\.csv: no such file; `dvc repro paper/dvc.yaml` makes it anew"):
            report.run(Namespace(corpus="meld"), load_params())
        for name in ("ablations", "modalities", "widths", "gammas", "text"):
            study.run(Namespace(corpus="meld", study=name), load_params())
        robustness.run(Namespace(corpus="meld"), load_params())
        report.run(Namespace(corpus="meld"), load_params())
    return folder


def test_a_setting_that_is_the_comparisons_own_is_not_trained_again(finished: Path) -> None:
    # CMATH, CTNet and MultiDAG: two points and two seeds each. Two ablations, two sets and one width (the other one is
    # the comparison's), two seeds each; four pairs of gammas with one.
    assert len(list(finished.glob("cache/trainings/*/seed*.json"))) == 3 * 4 + 5 * 2 + 4
    same = "predictions.csv"
    ours = (finished / "paper/runs/meld/cmath" / same).read_bytes()
    assert (finished / "paper/studies/meld/widths/20" / same).read_bytes() == ours
    assert (finished / "paper/studies/meld/widths/40" / same).read_bytes() != ours


def test_the_report_has_every_table_and_figure(finished: Path) -> None:
    html = (finished / "paper/results/meld/report.html").read_text()
    text = (finished / "paper/results/meld/report.md").read_text()
    titles = ["Table 1", "Labels", "Tables 2 and 3", "What the search chose", "What test knows", "Table 4", "Table 5",
              *(f"Figure {number}" for number in range(3, 8)), "Missing and noisy", "Calibration"]  # fmt: skip
    for title in titles:
        assert f"<h2>{title}" in html
        assert f"\n## {title}" in text
    figures = list((finished / "paper/results/meld/figures").glob("*.png"))
    assert len(figures) == html.count('<img src="data:image/png;base64,iVBOR') == 9
    assert all(f"](figures/{figure.name})" in text for figure in figures)
    assert "http" not in html
    assert "<h1>CMATH and its baselines on meld: " in html
    assert "synthetic" not in html + text
    assert "<em>oracle</em>" in html
    assert "*oracle*" not in html
    assert "| without the CMA-Transformer |" in text
    assert "67.86 | 66.69 |" in text
    assert "beyond chance" in text
    run = json.loads((finished / "paper/runs/meld/cmath/metrics.json").read_text())
    cells = [run["calibration_error"], run["calibration_error_calibrated"], *(run["ensemble"][name] for name in (
        "accuracy", "weighted_f1", "macro_f1", "calibration_error", "calibration_error_calibrated"))]  # fmt: skip
    assert f"| CMATH | {' | '.join(f'{cell:.2f}' for cell in cells)} |" in text
    assert f"CMATH {run['ensemble']['calibration_error']:.2f} % before calibration and " in text


def test_what_has_seen_labels_is_marked_on_the_page(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "†" not in (finished / "paper/results/meld/report.md").read_text()
    copy = shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    monkeypatch.chdir(copy)
    marked = [*Path("paper/runs/meld").glob("*/metrics.json"), Path("paper/studies/meld/modalities/text/metrics.json")]
    for file in marked:
        file.write_text(json.dumps({**json.loads(file.read_text()), "seen": ["text: the encoder x has seen labels"]}))
    report.run(Namespace(corpus="meld"), load_params())
    for name in ("report.html", "report.md"):
        page = (Path("paper/results/meld") / name).read_text()
        assert page.count("† No fair score; text: the encoder x has seen labels.") == 2  # at the top, and in the legend
    lines = page.splitlines()
    assert any(line.startswith("## †: scores that are not fair") for line in lines)
    named = [line.split(" | ")[0] for line in lines if line.startswith("| ") and "†" in line]
    assert named == [
        "| CMATH †", "| CTNet † (reimplementation)", "| MultiDAG †",
        *["| CMATH †", "| CTNet †", "| MultiDAG †"] * 2,  # of what the search chose, and of what test knows of train
        "| CMATH †", "| CMATH †", "| text †",
        "| CMATH †", "| CTNet †", "| MultiDAG †",  # of calibration
    ]  # fmt: skip


def test_a_corpus_that_is_the_papers_under_another_name_has_its_rows_and_its_lengths(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    monkeypatch.chdir(copy)
    content = read_yaml(Path("paper/published.yaml"))
    content["comparison"]["iemocap"]["classes"] = list(MELD)  # else it were another corpus
    rows = content["comparison"]["iemocap"]["rows"]
    rows.update({model: [50.0, *row] for model, row in rows.items()})
    Path("paper/published.yaml").write_text(json.dumps(content))
    write_params(copy, published={"meld": "iemocap"})
    report.run(Namespace(corpus="meld"), load_params())
    text = Path("paper/results/meld/report.md").read_text()
    assert "| - paper, Table 1 | 120 | 31 | 5810 | 1623 |" in text
    assert "This is a copy of the corpus with 108 utterances, where the paper's has 7433." in text
    assert "- paper, Table 2 |" in text
    [without] = [line for line in text.splitlines() if line.startswith("| without the CMA-Transformer |")]
    assert without.endswith("| 68.15 | 68.48 |")  # Table 4, IEMOCAP
    assert "C1: 1-39 utterances: CMATH less MultiDAG" in text
    assert "C1: 1-9 utterances" in (finished / "paper/results/meld/report.md").read_text()


def test_damage_at_level_zero_is_none(finished: Path) -> None:
    with (finished / "paper/robustness/meld/robustness.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3 * 3 * 4 * 2  # models, modalities, levels, seeds
    whole = {(row["model"], row["seed"]): {r["weighted_f1"] for r in rows if float(r["level"]) == 0
             and (r["model"], r["seed"]) == (row["model"], row["seed"])} for row in rows}  # fmt: skip
    assert all(len(scores) == 1 for scores in whole.values())
    assert {row["weighted_f1"] for row in rows if row["modality"] == "text"} != set.union(*whole.values())


def test_what_is_missing_at_a_share_is_missing_at_a_larger_one(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    corpus = Trainings("meld", load_params()).corpus(load_params())
    where = torch.cat(corpus.dialogues["test"])
    there = [robustness.without(corpus, "audio", share, where).present["audio"] for share in (0.25, 0.5, 1.0)]
    assert [int((~present).sum()) for present in there] == [9, 18, 36]
    assert (there[0] | ~there[1]).all()
    assert (there[1] | ~there[2]).all()
    noisy = robustness.with_noise(corpus, "audio", 2.0, where)
    train_rows = torch.cat(corpus.dialogues["train"])
    assert torch.equal(noisy.features["audio"][train_rows], corpus.features["audio"][train_rows])
    moved = noisy.features["audio"][where] - corpus.features["audio"][where]
    assert 1.5 < float(moved.std()) < 2.5


@pytest.fixture
def copy(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished folder, as the working folder."""
    copy = shutil.copytree(finished, tmp_path / "copy", ignore=shutil.ignore_patterns("cache"))
    monkeypatch.chdir(copy)
    return copy


def write_report() -> str:
    report.run(Namespace(corpus="meld"), load_params())
    return Path("paper/results/meld/report.md").read_text()


AGAIN = r".*; `dvc repro paper/dvc.yaml` makes it anew"
RELIABILITY = "runs/meld/cmath/reliability.csv"
ROBUST = "robustness/meld/robustness.csv"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("robustness/meld/silhouettes.json", None, ": no such file"),
        ("robustness/meld/silhouettes.json", b"\xff", ": is no JSON"),
        ("robustness/meld/silhouettes.json", b'{"cmath": "x"}', ": the value of cmath is no number or null"),
        ("robustness/meld/silhouettes.json", b'{"other": 0.5}', ": 'other' is no model"),
        ("robustness/meld/tsne_cmath.png", None, ": no such file"),
        ("robustness/meld/tsne_cmath.png", b"\x89PNG\r\n\x1a\nhalf", ": is no whole PNG"),
        (ROBUST, None, ": no such file"),
        (ROBUST, b"model,level\n", ": has no column modality"),
        (ROBUST, b"model,modality,kind,level,weighted_f1\n", ": has no row of cmath with any modality missing at 0"),
        (ROBUST, b"model,modality,kind,level,weighted_f1\ncmath,text,missing,0,x\n", ", line 2: could not convert"),
        (ROBUST, b"model,modality,kind,level,weighted_f1\ncmath,text,missing,0,5\n", ": has no row of cmath with text "
         "missing at 1"),
        (RELIABILITY, None, ": no such file"),
        (RELIABILITY, b"calibration,confidence\n", ": has no column accuracy"),
        (RELIABILITY, b"calibration,confidence,accuracy,utterances\nbefore,50,50,9\n", ": has no answers after"),
        ("studies/meld/widths/40/metrics.json", b"{}", ": lacks the key accuracy"),
        ("studies/meld/widths/40/predictions.csv", None, ": no such file"),
    ],
)  # fmt: skip
def test_a_result_that_is_missing_or_broken_is_said_with_the_remedy(
    copy: Path, name: str, content: bytes | None, said: str
) -> None:
    file = Path("paper", name)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(UserError, match=rf"^{file}{said}{AGAIN}"):
        write_report()


def test_predictions_of_another_class_than_the_scores_have_are_said(copy: Path) -> None:
    file = Path("paper/runs/meld/cmath/predictions.csv")
    file.write_text(re.sub(r",\w+(?=,\d\.)", ",bliss", file.read_text(), count=1))
    with pytest.raises(UserError, match=rf"^{file}: 'bliss' is none of the classes of its metrics\.json{AGAIN}"):
        write_report()


@pytest.mark.parametrize(
    ("study_of", "asked", "setting"),
    [("gammas", [0.5, 1.0, 2.0], "0.5-2"), ("widths", [20, 60], "60"), ("ablations", ["hd", "mr"], "mr"),
     ("modalities", [["text"], ["audio"]], "audio")],
)  # fmt: skip
def test_a_setting_that_was_not_trained_is_said(copy: Path, study_of: str, asked: list, setting: str) -> None:
    studies = load_report().studies.model_dump() | {study_of: asked}
    write_params(copy, studies=studies)
    said = rf"{study_of}/{setting}: has no results, and report\.studies\.{study_of} of paper/params\.yaml asks for the"
    with pytest.raises(UserError, match=rf"^paper/studies/meld/{said} setting {setting}{AGAIN}"):
        write_report()


def test_a_study_without_settings_has_no_section_and_of_earlier_settings_nothing_is_kept(copy: Path) -> None:
    home = Path("paper/studies/meld")
    less = {"ablations": [], "modalities": [["text", "audio", "visual"]], "widths": [20], "gammas": []}
    studies = load_report().studies.model_dump() | less
    write_params(copy, studies=studies, robustness={"missing": [], "noise": []})
    text = write_report()
    for title in ("Table 4", "Table 5", "Figure 6", "Missing and noisy"):
        assert f"\n## {title}" not in text
    assert "\n## Figure 4" in text
    assert (home / "widths/40").is_dir()
    for name in less:
        study.run(Namespace(corpus="meld", study=name), load_params())
    assert [str(folder.relative_to(home)) for folder in home.glob("*/*")] == ["widths/20"]
    shutil.rmtree(home / "gammas")
    with pytest.raises(UserError, match=rf"^paper/studies/meld/gammas: has no results{AGAIN}"):
        write_report()


def test_a_report_without_cmath_or_without_labels_in_test_is_refused(copy: Path) -> None:
    index = Path("data/meld/index.csv")
    rows = read_index(index)
    for split in ("test", "train"):
        write_index([replace(row, label="") if row.split == split else row for row in rows], index)
        with pytest.raises(UserError, match=rf"^data/meld/index\.csv: no utterance of {split} has a label.*; give the"):
            write_report()
    write_index([row for row in rows if row.split != "test"], index)
    with pytest.raises(UserError, match=r"^data/meld/index\.csv: no utterance of test has a label"):
        write_report()
    write_params(copy, models=["ctnet", "multidag"])
    with pytest.raises(UserError, match=r"^paper/params\.yaml: report\.models: lacks cmath, .*; add it"):
        write_report()


def test_a_length_of_which_no_conversation_has_a_label_is_no_group(copy: Path) -> None:
    index = Path("data/meld/index.csv")
    rows = read_index(index)
    one = next(row for row in rows if row.split == "test")
    context = [
        replace(one, utterance_id=f"context{turn}", dialogue_id="context", turn=turn, label="") for turn in range(25)
    ]
    write_index([*rows, *context], index)
    text = write_report()
    assert "C1: 1-9 utterances: CMATH less MultiDAG" in text
    assert "C3" not in text


def test_what_was_chosen_is_read_from_a_run_that_may_be_broken(copy: Path) -> None:
    file = Path("paper/runs/meld/cmath/metrics.json")
    file.write_text('{"learning_rate": 0.001, "dropout": 0.2}')
    for stage in (Namespace(corpus="meld", study="widths"), Namespace(corpus="meld")):
        with pytest.raises(UserError, match=rf"^{file}: lacks the key batch{AGAIN}"):
            (study if "study" in stage else robustness).run(stage, load_params())


def test_a_corpus_of_one_modality_has_no_sets_of_them(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    asked = load_report()
    assert list(settings_of("modalities", "meld", asked, set(MODALITIES))) == ["text", "text+audio"]
    assert list(settings_of("modalities", "meld", asked, {"text", "audio"})) == ["text"]
    assert not settings_of("modalities", "meld", asked, {"text"})


@pytest.mark.parametrize("modalities", [["text"], ["text", "visual"], list(MODALITIES)])
def test_nothing_of_the_picture_of_robustness_lies_outside_it(tmp_path: Path, modalities: list[str]) -> None:
    scores = {
        (model, modality, kind, level): [50.0, 52.0]
        for model in NAMES
        for modality in modalities
        for kind in ("missing", "noise")
        for level in (0.0, 1.0)
    }
    draw_robustness(scores, tmp_path / "robustness.png")
    picture = plt.imread(tmp_path / "robustness.png")
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    assert all((edge == 1).all() for edge in edges), "something is cut off: the legend, most likely"


def test_turns_without_a_label_are_damaged_and_read_and_enter_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = write_features_of_meld(tmp_path)
    write_params(tmp_path, models=["multidag"])
    monkeypatch.chdir(tmp_path)
    context = {row.utterance_id for place, row in enumerate(rows) if place % 4 == 0}
    write_index([replace(row, label="") if row.utterance_id in context else row for row in rows],
                tmp_path / "data/meld/index.csv")  # fmt: skip
    train.run(Namespace(corpus="meld", model="multidag"), load_params())
    robustness.run(Namespace(corpus="meld"), load_params())
    with Path("paper/runs/meld/multidag/predictions.csv").open() as stream:
        said = [row for row in csv.DictReader(stream) if row["utterance_id"] not in context]
    with Path("paper/robustness/meld/robustness.csv").open() as stream:
        whole = [row for row in csv.DictReader(stream) if float(row["level"]) == 0]
    assert len(whole) == 3 * 2 * 2  # modalities, kinds of damage, seeds
    for row in whole:
        of_seed = [one for one in said if one["seed"] == row["seed"]]
        expected = f1_score(
            [one["label"] for one in of_seed], [one["prediction"] for one in of_seed], average="weighted"
        )
        assert float(row["weighted_f1"]) == pytest.approx(100 * expected, abs=0.006)
    job = robustness.jobs_of("meld", "multidag", load_params(), load_report())[0]
    trainings = Trainings("meld", load_params())
    corpus, (network, _) = trainings.corpus(job.params), trainings.model(job.params, job.seed)
    where = torch.cat(corpus.dialogues["test"])
    there = np.array([rows[place].utterance_id not in context for place in where.tolist()])
    label = np.array([rows[place].label for place in where.tolist()])
    values = predict(network, corpus, "test", torch.device("cpu"))[1].numpy()
    silhouettes = json.loads(Path("paper/robustness/meld/silhouettes.json").read_text())
    assert silhouettes["multidag"] == pytest.approx(silhouette_score(values[there], label[there]), abs=6e-5)
