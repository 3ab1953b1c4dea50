"""The check stage: a slip is refused before anything is lost, and what DVC took away comes back."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from extractors.result import ExtractorError
from foundation.errors import UserError
from pipeline import check, stage
from pipeline.params import ParamsError, load_params

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the project's params.yaml and face weights, also the working one."""
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    (tmp_path / "extractors/visual/weights").mkdir(parents=True)
    shutil.copy(PROJECT / "extractors/visual/weights/denseface.safetensors", tmp_path / "extractors/visual/weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


LONG = "n" * 300
"""A name that no file can have."""


def write(folder: Path, **values: object) -> None:
    """Change values of params.yaml, `index__meld__raw="x"` for index.meld.raw."""
    yaml = YAML(typ="safe")
    content = yaml.load((folder / "params.yaml").read_text())
    for key, value in values.items():
        *path, last = key.split("__")
        section = content
        for name in path:
            section = section[name]
        section[last] = value
    with (folder / "params.yaml").open("w") as stream:
        yaml.dump(content, stream)


def write_lock(folder: Path, stage: str, params: dict) -> None:
    with (folder / "dvc.lock").open("w") as stream:
        YAML(typ="safe").dump({"stages": {stage: {"params": {"params.yaml": params}, "outs": []}}}, stream)


def test_the_projects_own_parameters_pass_and_the_mark_never_changes(project: Path) -> None:
    check.run()
    before = check.DONE.read_bytes()
    write(project, model__dim=500)
    check.run()
    assert check.DONE.read_bytes() == before


def test_git_sees_the_change_of_a_refused_run(project: Path) -> None:
    """As `-S` leaves it: other content of the same size, at the very time that git has noted."""
    for command in (
        ["init", "-q"],
        ["config", "core.trustctime", "false"],
        ["add", "params.yaml"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=project, check=True)
    file = project / "params.yaml"
    text, noted = file.read_text(), file.stat()
    os.utime(file, ns=(noted.st_atime_ns, noted.st_mtime_ns - 5_000_000_000))  # long before the index was written
    subprocess.run(["git", "update-index", "--refresh"], cwd=project, check=True)
    noted = file.stat()
    file.write_text(text.replace("dim: 200", "dim: 501"))
    os.utime(file, ns=(noted.st_atime_ns, noted.st_mtime_ns))
    with pytest.raises(ParamsError):
        check.run()
    subprocess.run(["git", "checkout", "-q", "HEAD", "--", "params.yaml"], cwd=project, check=True)
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model__name": "mmgnc"}, "model.name = 'mmgnc': must be 'cmath', 'sdt', .*'mmgcn'"),
        ({"datasets": ["mled"]}, "datasets.0 = 'mled': must be a corpus of index: "),
        ({"model__dim": 10**21}, "model.dim = 10+: must be less than or equal to 1000000"),
        ({"audio__demo__min_seconds": 1e308}, r"audio\.demo\.min_seconds = 1e\+308: must be less than or equal to 600"),
        ({"model__dim": 501}, "model.dim = 501: must be a multiple of model.heads = 10"),
        ({"train__iemocap__epochs": 0}, "train.iemocap.epochs = 0"),  # of a corpus that is not processed
    ],
)
def test_a_wrong_value_anywhere_is_refused(project: Path, values: dict, said: str) -> None:
    write(project, **values)
    with pytest.raises(ParamsError, match=said):
        check.run()
    assert not check.DONE.exists()


def test_what_the_parameters_name_must_be_there(project: Path) -> None:
    write(project, datasets=["meld"], index__meld__raw="/nowhere", text__meld__model="minilm")
    with pytest.raises(UserError, match=r"index\.meld\.raw = '/nowhere': there is no such folder"):
        check.run()
    (project / "MELD.Raw").mkdir()
    write(project, index__meld__raw="MELD.Raw", index__meld__cuts="fair", index__meld__fair="nowhere")
    with pytest.raises(UserError, match=r"^params\.yaml: index\.meld\.fair = 'nowhere': there is no such folder; set "
                       r"it to the folder of MELD-FAIR, or .*\.cuts to released: docs/meld_fair\.md$"):  # fmt: skip
        check.run()
    write(project, index__meld__cuts="released")
    write(project, index__meld__raw="MELD.Raw", text__meld__model="no/such/encoder")
    with pytest.raises(UserError, match="no/such/encoder"):
        check.run()
    write(project, text__meld__model="minilm", visual__meld__weights="nowhere.safetensors")
    with pytest.raises(UserError, match=r"^params\.yaml: visual\.meld\.weights = 'nowhere\.safetensors': there is no "
                       r"such file; `git restore extractors/visual/weights`.*, and `random` needs none$"):  # fmt: skip
        check.run()
    write(project, visual__meld__weights="random", face__datasets=["fer2013"], face__data="nowhere")
    with pytest.raises(UserError, match=r"^params\.yaml: face\.data = 'nowhere': there is no such folder; set it to "
                       r"the folder of FER-2013, or face\.datasets to \[\]: docs/faces\.md$"):  # fmt: skip
        check.run()
    write(project, face__datasets=[])
    check.run()


@pytest.mark.parametrize(
    "values",
    [{"index__meld__raw": LONG}, {"index__meld__cuts": "fair", "index__meld__fair": LONG}, {"text__meld__model": LONG},
     {"audio__meld__encoder": LONG}, {"visual__meld__weights": LONG},
     {"face__datasets": ["fer2013"], "face__data": LONG}],
)  # fmt: skip
def test_a_name_that_no_file_can_have_is_refused_by_its_key(project: Path, values: dict) -> None:
    (project / "MELD.Raw").mkdir()
    write(project, datasets=["meld"], index__meld__raw="MELD.Raw", text__meld__model="minilm")
    write(project, **values)
    with pytest.raises(SystemExit, match=rf"^error: .*{LONG}") as refused:
        stage.command(check.run)
    assert "\n" not in str(refused.value)


def test_a_corpus_of_public_material_needs_its_three_folders_until_it_is_put_together(project: Path) -> None:
    folders = {name: project / name for name in ("meld", "voices", "faces")}
    write(project, datasets=["starter"], index__starter__raw="starter",
          **{f"material__{name}": str(folder) for name, folder in folders.items()})  # fmt: skip
    for name, folder in folders.items():
        with pytest.raises(UserError, match=rf"^params\.yaml: material\.{name} = '.*{name}': there is no such folder"):
            check.run()
        folder.mkdir()
    check.run()
    folders["voices"].rmdir()
    with pytest.raises(UserError, match=r"material\.voices"):
        check.run()
    (project / "starter").mkdir()  # put together before, so that nothing is needed of them
    check.run()


@pytest.mark.parametrize(("changes", "key"), [
    ({"datasets": ["custom"], "index__custom__raw": "~nobody_of_this_name/x"}, r"index\.custom\.raw"),
    ({"datasets": ["meld_sdt"], "index__meld_sdt__raw": "~nobody_of_this_name/x"}, r"index\.meld_sdt\.raw"),
    ({"datasets": ["meld"], "index__meld__raw": ".", "index__meld__cuts": "fair",
      "index__meld__fair": "~nobody_of_this_name/x"}, r"index\.<corpus>\.fair"),
    ({"datasets": ["starter"], "index__starter__raw": "starter", "material__meld": "~nobody_of_this_name/x"},
     r"material\.meld"),
])  # fmt: skip
def test_the_home_of_a_user_who_is_not_there_is_named(project: Path, changes: dict, key: str) -> None:
    write(project, **changes)
    with pytest.raises(UserError, match=rf"^params\.yaml: {key} = '~nobody_of_this_name/x': the home folder of "
                       "~nobody_of_this_name is not known; write the whole path$"):  # fmt: skip
        check.run()


def test_a_home_folder_is_where_material_may_lie(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project))
    for name in ("meld", "voices", "faces"):
        (project / name).mkdir()
        write(project, **{f"material__{name}": f"~/{name}"})
    write(project, datasets=["starter"], index__starter__raw="starter")
    check.run()


def test_an_encoder_of_the_hub_is_asked_for_and_not_fetched(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(name: str, file: str) -> str:
        asked.append((name, file))
        if name == "roberta-lagre":
            raise OSError("404: no such repository")
        return file

    monkeypatch.setattr("huggingface_hub.hf_hub_download", answer)
    write(project, text__demo__model="roberta-large")
    check.run()
    write(project, text__demo__model="roberta-lagre")
    with pytest.raises(UserError, match=r"roberta-lagre.*404: no such repository"):
        check.run()
    assert asked == [("roberta-large", "config.json"), ("roberta-lagre", "config.json")]
    write(project, index__demo__modalities=["audio"])  # then nobody needs it
    check.run()


def test_who_has_the_index_and_the_features_needs_neither_corpus_nor_encoder(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(name: str) -> None:
        raise ExtractorError(f"{name} was asked for")

    monkeypatch.setattr("extractors.text.folders.require_encoder", never)
    write(project, datasets=["meld"], index__meld__raw="/of/a/colleague")
    params = load_params()
    with pytest.raises(UserError, match="of/a/colleague"):
        check.run()
    write_lock(project, "index@meld", {"index.meld": params.index["meld"].model_dump()})
    with pytest.raises(UserError, match="roberta-large was asked for"):
        check.run()
    locked = {
        "index@meld": {"params": {"params.yaml": {"index.meld": params.index["meld"].model_dump()}}},
        "extract@meld-text": {"params": {"params.yaml": {"text.meld": params.text["meld"].model_dump()}}},
    }
    check.refuse_what_is_not_there(params, locked)
    write(project, index__meld__raw="/another/place")
    with pytest.raises(UserError, match="another/place"):
        check.refuse_what_is_not_there(load_params(), locked)


@pytest.mark.parametrize("section", ["audio", "visual"])
def test_an_encoder_of_sound_or_pictures_is_needed_only_where_its_features_are_to_be_made(
    section: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    write(project, **{f"{section}__demo__encoder": "no-such/encoder"})
    params = load_params()
    with pytest.raises(UserError, match=f"{section}'s `encoder` in params.yaml is 'no-such/encoder'"):
        check.refuse_what_is_not_there(params, {})
    made = {f"{section}.demo": getattr(params, section)["demo"].model_dump()}
    check.refuse_what_is_not_there(params, {f"extract@demo-{section}": {"params": {"params.yaml": made}}})
    # Vectors of a published file are made by nobody.
    write(
        project, datasets=["meld_sdt"], index__meld_sdt__raw=str(project), **{f"{section}__meld_sdt__encoder": "no/one"}
    )
    check.refuse_what_is_not_there(load_params(), {})


def test_the_time_of_the_parameters_is_moved_by_a_second_and_nothing_else(project: Path) -> None:
    file = project / "params.yaml"
    os.utime(file, ns=(5_000_000_007, 9_000_000_013))
    check.let_git_look(file)
    assert (file.stat().st_atime_ns, file.stat().st_mtime_ns) == (5_000_000_007, 10_000_000_013)
    check.let_git_look(project / "none.yaml")


def test_a_lock_that_is_missing_or_empty_knows_no_stage(project: Path) -> None:
    assert check.read_lock() == {}
    for content in ("", "schema: '2.0'\n", "stages:\n"):
        (project / "dvc.lock").write_text(content)
        assert check.read_lock() == {}
    (project / "dvc.lock").write_text("stages:\n  index@meld:\n    cmd: x\n")
    assert check.read_lock() == {"index@meld": {"cmd": "x"}}


@pytest.mark.parametrize(
    "content",
    ["<<<<<<< HEAD\nschema: '2.0'\n=======\n", "- index@meld\n", "stages: [1]\n", "stages: {index@meld: null}\n",
     "stages: {1: {}}\n", "stages: {a@b: {params: []}}\n", "stages: {a@b: {outs: [x]}}\n",
     "stages: {}\n".encode("utf-16"), "[" * 5000],
)  # fmt: skip
def test_a_broken_lock_is_one_line_with_the_remedy(project: Path, content: str | bytes) -> None:
    (project / "dvc.lock").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"^dvc\.lock: is no lock file .*git checkout HEAD -- dvc\.lock") as said:
        check.run()
    assert "\n" not in str(said.value)


def test_the_corpora_and_outputs_of_a_lock_are_those_of_its_stages() -> None:
    locked: dict[str, dict] = {
        "check": {"outs": [{"path": "data/checked.txt"}]},
        "train_face@fer2013": {"outs": [{"path": "face"}]},
        "watch@meld": {"outs": [{"path": "watched"}]},
        "index@meld": {"outs": [{"path": "index"}, {"path": "counts"}]},
        "extract@meld-text": {"outs": [{"path": "text"}]},
        "extract@own-audio-visual": {"outs": [{"path": "of another"}]},
        "raw@meld": {},
    }
    assert check.corpora_of(locked) == ["meld", "own-audio"]
    assert [out["path"] for out in check.outputs_of(locked, "meld")] == ["index", "counts", "text"]
    assert [out["path"] for out in check.outputs_of(locked, "own-audio")] == ["of another"]


def test_what_was_made_by_other_settings_or_an_older_schema_is_not_made(project: Path) -> None:
    settings = load_params().text["meld"]

    def made(parameters: dict) -> bool:
        return check.is_made({"extract@meld-text": {"params": {"params.yaml": parameters}}}, "extract@meld-text",
                             "text.meld", settings)  # fmt: skip

    assert made({"text.meld": settings.model_dump()})
    assert not made({"text.meld": {**settings.model_dump(), "max_tokens": 7}})
    assert not made({"text.meld": {"gone": 1}})
    assert not made({})
    assert not check.is_made({}, "extract@meld-text", "text.meld", settings)


GRAPH = """\
stages:
  train:
    matrix:
      dataset: [demo, meld]
    cmd: mkdir -p models/${item.dataset} && echo ${item.dataset} > models/${item.dataset}/weights
    outs:
    - models/${item.dataset}
"""


@pytest.fixture
def trained(project: Path) -> Path:
    """A DVC project that has trained on demo and meld, and whose models DVC has removed."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    (project / "dvc.yaml").write_text(GRAPH)
    for command in (["dvc", "init", "-q", "--no-scm"], ["dvc", "repro", "-q"]):
        subprocess.run(command, cwd=project, env=environment, check=True)
    shutil.rmtree(project / "models")
    return project


@pytest.mark.slow
def test_models_of_corpora_that_are_not_processed_now_come_back(trained: Path) -> None:
    check.run()  # of demo
    assert (trained / "models/meld/weights").read_text() == "meld\n"
    assert not (trained / "models/demo").exists()  # its own stage decides


@pytest.mark.slow
def test_what_a_refused_run_removed_comes_back(trained: Path) -> None:
    write(trained, datasets=["mled"])
    with pytest.raises(ParamsError):
        check.run()
    assert (trained / "models/demo/weights").read_text() == "demo\n"
    assert (trained / "models/meld/weights").read_text() == "meld\n"


@pytest.mark.slow
def test_what_was_removed_comes_back_whatever_the_check_fails_of(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "refuse_what_is_not_there", fails)
    with pytest.raises(KeyboardInterrupt):
        check.run()
    assert (trained / "models/demo/weights").read_text() == "demo\n"


@pytest.mark.slow
def test_nothing_is_put_into_the_folder_of_an_experiment_apart(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path.parent))
    check.put_back(check.read_lock(), ("demo", "meld"))
    assert not (trained / "models").exists()


def test_a_corpus_that_is_no_longer_watched_leaves_nothing_of_it(project: Path) -> None:
    for corpus in ("demo", "meld"):
        (project / f"data/{corpus}/source").mkdir(parents=True)
        (project / f"data/{corpus}/source/files.txt").touch()
        (project / f"data/{corpus}/watched").symlink_to(project)
    write(project, watch=["demo"])
    check.run()
    assert sorted(path.parts[-3] for path in project.glob("data/*/source/files.txt")) == ["demo"]
    assert (project / "data/demo/watched").is_symlink()
    assert not (project / "data/meld/watched").is_symlink()
    assert (project / "params.yaml").exists()


@pytest.mark.slow
def test_what_is_not_in_dvcs_cache_is_no_error(trained: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(trained / ".dvc/cache")
    with caplog.at_level("DEBUG", "cmath"):
        check.run()
    [said] = caplog.messages
    assert said.startswith("models/meld: is not in DVC's cache ([Errno 2] No such file or directory: ")
    assert not (trained / "models/meld/weights").exists()
