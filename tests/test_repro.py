"""The whole thing as a user runs it: `dvc` on a tiny corpus, from raw clips to metrics."""

import copy
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.synthetic import demo
from tests.conftest import write_clip

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[1]
DIALOGUES = 2
"""Of each split: enough for every stage, few enough for a minute."""


def introduce(repository: Path) -> None:
    """Tell git who works here: DVC wants to know for every experiment, and a fresh machine does not."""
    for key, value in (("user.name", "t"), ("user.email", "t@t")):
        subprocess.run(["git", "config", key, value], cwd=repository, check=True)


class Workspace:
    """A copy of the project with a git history and a corpus beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.raw = folder / "project", folder / "corpus"
        for name in ("foundation", "pipeline", "extractors", "model", "paper", ".dvc"):
            ignored = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
            shutil.copytree(PROJECT / name, self.folder / name, ignore=ignored)
        for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvcignore"):
            shutil.copy(PROJECT / name, self.folder / name)
        self.set_params()
        self.make_corpus()
        subprocess.run(["git", "init", "-q"], cwd=self.folder, check=True)
        introduce(self.folder)
        self.commit("start")

    def set_params(self) -> None:
        yaml = YAML()
        content = yaml.load((self.folder / "params.yaml").read_text())
        content["datasets"] = ["meld"]
        content["index"]["meld"]["raw"] = str(self.raw)
        content["text"]["meld"]["model"] = "minilm"
        content["visual"]["meld"] |= {"fps": 2, "min_face": 60}
        content["model"] |= {"dim": 20, "heads": 2}
        content["train"]["meld"] |= {"epochs": 2, "seeds": [0, 1]}
        with (self.folder / "params.yaml").open("w") as stream:
            yaml.dump(content, stream)

    def make_corpus(self) -> None:
        for split, (annotations, clips, _) in demo.SPLITS.items():
            turns = [turn for turn in demo.script(split) if turn.dialogue < DIALOGUES]
            (self.raw / clips).mkdir(parents=True)
            demo.write_rows(self.raw / annotations, turns)
            for turn in turns:
                demo.write_clip(self.raw / clips / f"dia{turn.dialogue}_utt{turn.utterance}.mp4", turn)

    def restore(self) -> None:
        """The README's way back to the last commit."""
        files = [self.folder / name for name in ("params.yaml", "dvc.lock")]
        for file in files:
            file.touch()
        subprocess.run(["git", "checkout", "-q", "HEAD", "--", "params.yaml", "dvc.lock", "results"], cwd=self.folder,
                       check=True)  # fmt: skip
        self.run("checkout")

    def commit(self, message: str) -> None:
        for command in (["add", "."], ["commit", "-qm", message]):
            subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *command], cwd=self.folder, check=True)

    def run(self, *command: str, fails: bool = False, folder: Path | None = None) -> str:
        """What a DVC command prints, in `folder` instead of the workspace; checks that it succeeds, or `fails`."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "CMATH_"))}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(["dvc", *command], cwd=folder or self.folder, env=environment, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def at(self, folder: Path) -> "Workspace":
        """The same, of a clone of it."""
        clone = copy.copy(self)
        clone.folder = folder
        return clone

    def git_status(self) -> str:
        done = subprocess.run(["git", "status", "--porcelain"], cwd=self.folder, text=True, check=True,
                              stdout=subprocess.PIPE)  # fmt: skip
        return done.stdout

    def locked(self) -> dict[str, str]:
        """Checksums of all outputs."""
        lock = YAML(typ="safe").load((self.folder / "dvc.lock").read_text())
        return {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("repro"))
    made.run("repro")
    made.commit("first result")
    return made


def test_repro_goes_from_clips_to_the_promised_files(workspace: Workspace) -> None:
    metrics = json.loads((workspace.folder / "results/meld/scores.json").read_text())
    few = json.loads((workspace.folder / "results/meld/metrics.json").read_text())
    assert few.pop("validation_weighted_f1") == metrics["validation"]["weighted_f1"]
    assert few.pop("validation_macro_f1") == metrics["validation"]["ensemble"]["macro_f1"]
    assert few.pop("ensemble").items() <= metrics["ensemble"].items()
    names = ("accuracy", "accuracy_std", "weighted_f1", "weighted_f1_std", "macro_f1", "macro_f1_std",
             "calibration_error", "calibration_error_calibrated")  # fmt: skip
    assert few == {name: metrics[name] for name in names}
    assert {"accuracy", "accuracy_std", "weighted_f1", "weighted_f1_std", "oracle_weighted_f1", "f1"} <= set(metrics)
    assert metrics["weighted_f1_low"] <= metrics["weighted_f1"] <= metrics["weighted_f1_high"]
    assert metrics["present"]["text"] == 100
    with (workspace.folder / "results/meld/history.csv").open() as stream:
        history = [(row["seed"], float(row["validation_weighted_f1"])) for row in csv.DictReader(stream)]
    best = [max(score for seed, score in history if seed == one) for one in dict(history)]
    assert metrics["validation"]["weighted_f1"] == pytest.approx(sum(best) / len(best), abs=0.006)
    assert 0 <= metrics["present"]["visual"] <= metrics["present"]["audio"] <= 100
    for groups in ("by_length", "by_modalities"):
        assert sum(group["utterances"] for group in metrics[groups].values()) == metrics["utterances"]
    assert set(metrics["majority"]) == {"accuracy", "weighted_f1", "macro_f1"}
    assert set(metrics["logistic_regression"]) == {*metrics["majority"], "C", "validation_weighted_f1"}
    assert set(metrics["f1"]) == {"neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger"}
    with (workspace.folder / "results/meld/predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * metrics["utterances"]
    assert sum(float(rows[0][label]) for label in metrics["f1"]) == pytest.approx(1, abs=1e-5)
    counts = json.loads((workspace.folder / "results/meld/corpus.json").read_text())["splits"]
    assert counts["test"]["utterances"] == metrics["utterances"]
    assert sorted(path.name for path in (workspace.folder / "models/meld/bundle").iterdir()) == [
        "bundle.json", "encoders", "seed0.safetensors", "seed1.safetensors", "statistics.safetensors",
    ]  # fmt: skip
    assert (workspace.folder / "results/meld/tsne.png").read_bytes().startswith(b"\x89PNG")
    # Its bytes differ between machines.
    assert "results/meld/tsne.png" not in workspace.locked()


def test_a_second_repro_finds_nothing_to_do(workspace: Workspace) -> None:
    assert "Data and pipelines are up to date" in workspace.run("repro")


def test_plots_are_a_page_that_needs_no_network_also_where_nothing_ran(workspace: Workspace, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", str(workspace.folder), str(tmp_path / "clone")], check=True)
    (tmp_path / "clone/.dvc/config.local").write_text(f"[cache]\n    dir = {workspace.folder / '.dvc/cache'}\n")
    for folder in (workspace.folder, tmp_path / "clone"):
        if folder != workspace.folder:
            workspace.run("checkout", folder=folder)
            assert not (folder / "results/meld/tsne.png").exists()
        said = workspace.run("plots", "show", folder=folder)
        assert "failed to load" not in said
        page = (folder / "dvc_plots/index.html").read_text()
        (script,) = re.findall(r'<script src="([^"]+)"', page)
        assert (folder / "dvc_plots" / script).stat().st_size > 100_000
        for what in ("training, one line per seed", "F1 per class on test", "confusion on test"):
            assert f'"meld, cmath: {what}"' in page
        assert page.count("vegaEmbed('#") == 5
        assert page.count("<img") == 1  # of the faces


def test_a_width_re_runs_train_and_evaluate_only(workspace: Workspace) -> None:
    before = workspace.locked()
    said = workspace.run("exp", "run", "-S", "model.dim=40")
    for stage in ("index@meld", "extract@meld-text", "extract@meld-audio", "extract@meld-visual"):
        assert f"Stage '{stage}' didn't change, skipping" in said
    for stage in ("train@meld", "evaluate@meld"):
        assert f"Running stage '{stage}'" in said
    assert workspace.locked()["models/meld"] != before["models/meld"]
    difference = json.loads(workspace.run("metrics", "diff", "--all", "--json"))
    scores = difference["results/meld/metrics.json"]
    assert {"old", "new", "diff"} <= set(scores["weighted_f1"])
    said = workspace.run("exp", "run", "-S", "model.dim=20")
    assert "cached - skipping run" in said
    assert workspace.locked() == before


def test_a_baseline_is_one_name_and_the_others_settings_re_run_nothing(workspace: Workspace) -> None:
    params = workspace.folder / "params.yaml"
    chosen, before = params.read_text(), workspace.locked()
    params.write_text(chosen.replace("balance_weight: 0.01", "balance_weight: 0.02"))  # of scmm
    said = workspace.run("repro")
    assert [line for line in said.splitlines() if "Running stage" in line] == ["Running stage 'check':"]
    params.write_text(chosen)
    said = workspace.run("exp", "run", "-S", "model.name=multidag", "-S", "baselines.multidag.hidden=20")
    assert "multidag of text + audio + visual" in said
    assert "Stage 'extract@meld-text' didn't change, skipping" in said
    assert workspace.locked()["models/meld"] != before["models/meld"]
    params.write_text(chosen)
    workspace.run("repro")
    assert workspace.locked() == before


def test_everything_made_again_has_the_same_bytes(workspace: Workspace) -> None:
    before = workspace.locked()
    shutil.rmtree(workspace.folder / ".cache")
    workspace.run("repro", "--force", "--no-run-cache")
    assert workspace.locked() == before


def test_one_changed_clip_of_a_watched_corpus_costs_one_extraction(workspace: Workspace) -> None:
    said = workspace.run("exp", "run", "-S", "watch=[meld]")
    assert "Running stage 'watch@meld'" in said
    assert "Stage 'extract@meld-audio' didn't change, skipping" in said
    assert "Data and pipelines are up to date" in workspace.run("status")
    write_clip(workspace.raw / "train_splits" / "dia0_utt1.mp4", seconds=1.0)
    said = workspace.run("repro")
    assert "audio: 1 to extract" in said
    assert "visual: faces of 1 clips to find" in said  # of train: its grey levels may move the normalisation of all
    assert "text: 0 to extract" in said
    assert "Running stage 'train@meld'" in said
    workspace.commit("a changed clip")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model.heads=7", "error: params.yaml: model.dim = 20: must be a multiple of model.heads = 7"),
        ("model.name=mmgnc", "error: params.yaml: model.name = 'mmgnc': must be 'cmath', 'sdt'"),
        ("datasets=[mled]", "error: params.yaml: datasets.0 = 'mled': must be a corpus of index: "),
        ("index.meld.raw=/corpora/nowhere", "index.meld.raw = '/corpora/nowhere': there is no such folder"),
        ("visual.meld.weights=nowhere", "visual.meld.weights = 'nowhere': there is no such file"),
    ],
)
def test_a_slip_is_one_line_and_costs_nothing(workspace: Workspace, change: str, said: str) -> None:
    printed = workspace.run("exp", "run", "-S", "watch=[]", "-S", change, fails=True)
    assert sum(said in line for line in printed.splitlines()) == 1
    assert "Running stage 'check'" in printed
    assert printed.count("Running stage") == 1
    assert "Traceback" not in printed
    for made in ("models/meld/bundle/bundle.json", "results/meld/history.csv", "data/meld/features/audio.safetensors"):
        assert (workspace.folder / made).is_file()
    workspace.restore()
    assert "Data and pipelines are up to date" in workspace.run("status")
    assert workspace.git_status() == ""


def test_a_deleted_model_is_not_trained_again(workspace: Workspace) -> None:
    before = workspace.locked()
    shutil.rmtree(workspace.folder / "models")
    cache = workspace.folder / ".dvc/cache"
    away = cache.rename(cache.with_name("away"))  # or DVC alone would bring the model back
    said = workspace.run("repro")
    shutil.rmtree(cache)
    away.rename(cache)
    assert "Running stage 'train@meld'" in said
    assert workspace.locked() == before


def test_a_comment_in_a_model_trains_nothing(workspace: Workspace) -> None:
    file = workspace.folder / "model/cmath.py"
    text, before = file.read_text(), workspace.locked()
    trained = {path: path.stat().st_mtime_ns for path in (workspace.folder / ".cache/trainings").rglob("*.safetensors")}
    file.write_text(text + "# a comment\n")
    workspace.run("repro")
    assert workspace.locked() == before
    now = {path: path.stat().st_mtime_ns for path in (workspace.folder / ".cache/trainings").rglob("*.safetensors")}
    assert now == trained
    file.write_text(text)
    workspace.run("repro")


def test_an_experiment_apart_needs_no_corpus(workspace: Workspace) -> None:
    workspace.run("exp", "run", "-S", "watch=[]")
    workspace.commit("not watched")
    away = workspace.raw.rename(workspace.raw.with_name("away"))
    try:
        assert "Data and pipelines are up to date" in workspace.run("status")
        small = ("-S", "model.dim=10", "-S", "train.meld.epochs=1", "-S", "train.meld.seeds=[0]")
        said = workspace.run("exp", "run", "--temp", "--name", "narrow", *small)
        for stage in ("index@meld", "extract@meld-text", "extract@meld-audio", "extract@meld-visual"):
            assert f"Stage '{stage}' didn't change, skipping" in said
        for stage in ("train@meld", "evaluate@meld"):
            assert f"Running stage '{stage}'" in said
        compared = json.loads(workspace.run("metrics", "diff", "--all", "--json", "HEAD", "narrow"))
        scores = compared["results/meld/metrics.json"]
        assert {"accuracy", "weighted_f1"} <= set(scores)
        assert "index.meld.raw" in workspace.run("repro", "--force", "--single-item", "index@meld", fails=True)
    finally:
        away.rename(workspace.raw)
    workspace.restore()


def test_a_colleague_without_the_corpus_goes_on_from_what_was_pushed(workspace: Workspace, tmp_path: Path) -> None:
    workspace.run("remote", "add", "--default", "shared", str(tmp_path / "remote"))
    workspace.run("push")
    workspace.commit("a remote")
    away = workspace.raw.rename(workspace.raw.with_name("away"))
    try:
        subprocess.run(["git", "clone", "-q", str(workspace.folder), str(tmp_path / "clone")], check=True)
        introduce(tmp_path / "clone")
        colleague = workspace.at(tmp_path / "clone")
        colleague.run("pull")
        assert "Data and pipelines are up to date" in colleague.run("repro")
        said = colleague.run("exp", "run", "-S", "model.dim=10", "-S", "train.meld.epochs=1")
        for stage in ("train@meld", "evaluate@meld"):
            assert f"Running stage '{stage}'" in said
        assert "Running stage 'index@meld'" not in said
        colleague.run("get", str(workspace.folder), "models/meld", "-o", str(tmp_path / "model"))
        assert (tmp_path / "model/bundle/bundle.json").is_file()
    finally:
        away.rename(workspace.raw)


def test_fine_tuning_re_runs_what_is_text_and_leaves_the_others_alone(workspace: Workspace) -> None:
    features = [f"extract@meld-{modality}" for modality in ("text", "audio", "visual")]
    workspace.run("repro", *features)
    before = workspace.locked()
    yaml = YAML()
    content = yaml.load((workspace.folder / "params.yaml").read_text())
    content["text"]["meld"]["finetune"] = True
    content["recipes"]["minilm"]["epochs"] = 1
    with (workspace.folder / "params.yaml").open("w") as stream:
        yaml.dump(content, stream)
    said = workspace.run("repro", *features)
    for stage in ("finetune_text@meld", "extract@meld-text"):
        assert f"Running stage '{stage}'" in said
    for stage in ("extract@meld-audio", "extract@meld-visual"):
        assert f"Running stage '{stage}'" not in said
    changed = {path for path, checksum in workspace.locked().items() if checksum != before[path]}
    made = ("encoder/text", "encoder/text_predictions.csv", "features/text.safetensors")
    assert changed == {f"data/meld/{name}" for name in made}
    workspace.restore()


def test_dvc_itself_cannot_freeze_a_stage_of_a_matrix(workspace: Workspace) -> None:
    # Should this fail one day, the watching of raw corpora may become simpler.
    assert "cannot dump a parametrized stage: 'index@meld'" in workspace.run("freeze", "index@meld", fails=True)
