"""The settings that one name writes into both params.yaml, and the form of these files."""

from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import dumps_yaml, loads_yaml

from paper import estimate, plan, settings
from paper.params import NO_CORPUS, load_report
from pipeline.params import load_params
from tests.paper.small import PROJECT

FILES = ("params.yaml", "paper/params.yaml")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with both files as they are committed; also the working one."""
    (tmp_path / "paper").mkdir()
    for file in FILES:
        (tmp_path / file).write_bytes((PROJECT / file).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def choose(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["settings", *arguments])
    settings.main()


def texts(folder: Path) -> list[str]:
    return [(folder / file).read_text("utf-8") for file in FILES]


@pytest.mark.parametrize("name", ["meld", "iemocap"])
def test_a_named_set_is_written_into_both_files(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_params()
    choose(monkeypatch, name, "--raw", "/corpora/it")
    params, chosen = load_params(), load_report()
    assert params.datasets == chosen.corpora == [name]
    assert params.index[name].raw == "/corpora/it"
    assert params.text[name].finetune
    paper = {"meld": (400, 0.0002, 4, 1.0, 1.2), "iemocap": (500, 0.003, 16, 1.0, 1.8)}[name]  # sections 5.3 and 5.8
    train_of = params.train[name]
    assert (params.model.dim, train_of.learning_rate, train_of.batch, train_of.gamma1, train_of.gamma2) == paper
    assert len(chosen.seeds) == 5
    assert params.train["demo"] == before.train["demo"]
    assert "Figure 6" in (folder / "paper/params.yaml").read_text("utf-8")


def test_demo_and_off_change_one_line_of_what_is_committed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed = texts(folder)
    first_look = [committed[0], committed[1].replace("  corpora: []\n", "  corpora:\n  - demo\n")]
    choose(monkeypatch, "demo")
    assert texts(folder) == first_look
    choose(monkeypatch, "off")
    assert texts(folder) == committed
    choose(monkeypatch, "meld", "--raw", "/corpora/it")
    choose(monkeypatch, "demo")
    assert load_params().datasets == ["demo"]
    assert texts(folder)[1] == first_look[1]


@pytest.mark.parametrize("arguments", [["meld"], ["demo", "--raw", "/corpora/it"], ["off", "--raw", "/corpora/it"]])
def test_a_folder_is_named_for_a_whole_corpus_only(
    arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = texts(folder)
    with pytest.raises(SystemExit):
        choose(monkeypatch, *arguments)
    assert f"{arguments[0]} {'needs' if arguments == ['meld'] else 'has no'} --raw" in capsys.readouterr().err
    assert texts(folder) == before


def test_where_no_corpus_is_chosen_one_line_says_how(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (plan, estimate):
        monkeypatch.setattr("sys.argv", ["command"])
        command.main()
        assert capsys.readouterr().out == f"{NO_CORPUS}\n"


def test_dvc_changes_nothing_but_what_it_is_told(folder: Path) -> None:
    # `dvc exp run -S` writes the whole file anew, all lists as plain ones: their comments, and the comment that follows
    # a list, would be lost, and an empty list with a comment behind it would break the file.
    before = (folder / "paper/params.yaml").read_text("utf-8")
    report = load_report().model_dump()
    lists = {f"report.{key}": value for key, value in report.items() if isinstance(value, list)}
    lists |= {f"report.{section}.{key}": value for section in ("search", "studies", "robustness")
              for key, value in report[section].items() if isinstance(value, list)}  # fmt: skip
    apply_overrides("paper/params.yaml", ["report.epochs=4"])
    assert (folder / "paper/params.yaml").read_text("utf-8") == before
    for value in ("[0.5]", "[]"):
        apply_overrides("paper/params.yaml", [f"{key}={value}" for key in lists])
    apply_overrides("paper/params.yaml", [f"{key}={value}" for key, value in lists.items()])
    assert (folder / "paper/params.yaml").read_text("utf-8") == before


@pytest.mark.parametrize(
    "file", ["params.yaml", *(f"sets/{file.name}" for file in sorted(settings.SETS.glob("*.yaml")))]
)
def test_the_files_are_in_the_form_in_which_dvc_writes_yaml(file: str) -> None:
    text = (PROJECT / "paper" / file).read_text("utf-8")
    assert dumps_yaml(loads_yaml(text, typ="rt")) == text
