"""The reports of docs/reports: which steps make one, and what stands on its page."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from extractors.features import Features, read_features, write_features
from foundation.errors import UserError
from foundation.folders import cache_folder
from paper import overview, reports
from paper.params import load_report
from paper.reports import Spent
from paper.settings import Set
from pipeline.corpora.index_file import read_index
from pipeline.params import load_params
from tests.paper.small import PROJECT, SEARCH, write_params
from tests.random_features import write_features_of_meld

pytestmark = pytest.mark.slow
SMALL = Set(
    "meld_small",
    main={"datasets": ["meld"], "text.meld.model": "minilm"},
    report={"report.corpora": ["meld"], "report.models": ["ctnet"], "report.seeds": [0]},
    raw="index.meld.raw",
    text={"frozen": {"text.meld.finetune": False}, "tuned": {"text.meld.finetune": True}},
    about="A corpus of random numbers.",
    on_top=True,  # of small.py
)
FEATURES = ["dvc", "repro", "leakage@meld", "extract@meld-text", "extract@meld-audio", "extract@meld-visual"]
TABLES = ["dvc", "repro", "paper/dvc.yaml"]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that are run, in a project's folder with features; DVC's are only noted, and a page is there."""
    write_features_of_meld(tmp_path)
    write_params(tmp_path, models=["ctnet"], search=SEARCH)
    for name in ("extractors", "foundation", "model", "paper", "pipeline"):
        if not (tmp_path / name).exists() or name == "paper":
            for file in (PROJECT / name).rglob("*.py"):
                target = tmp_path / file.relative_to(PROJECT)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMATH_DEVICES", "cpu")
    page = tmp_path / "paper/results/meld"
    (page / "figures").mkdir(parents=True)
    (page / "report.md").write_text("# CMATH on meld\n\nWords.\n\n![a picture](figures/one.png)\n", "utf-8")
    row = "cmath,here,50.5,,60.5,,,,,51\nmajority,here,20,,,,,,,\n"
    (page / "comparison.csv").write_text(
        "model,source,weighted_f1,weighted_f1_std,validation_weighted_f1,cmath_difference,cmath_p_seeds_holm,"
        f"cmath_p_utterances_holm,seen,ensemble_weighted_f1\n{row}"
    )
    (page / "search.csv").write_text("model,learning_rate\nctnet,0.001\n")
    (tmp_path / "paper/sets").mkdir()
    monkeypatch.setattr("paper.settings.SETS", tmp_path / "paper/sets")
    (tmp_path / "paper/sets/meld_small.yaml").write_text("main: {}\nreport: {}\ntext: {frozen: {}, tuned: {}}\n")
    (tmp_path / overview.PAGE).parent.mkdir()
    marks = "\n\n".join([*overview.GLANCE, *overview.MARKS])
    (tmp_path / overview.PAGE).write_text(f"# Results\n\n{marks}\n\nMore.\n")
    for name in ("one", "other"):
        (page / f"figures/{name}.png").write_bytes(name.encode())
    seen: list[list[str]] = []
    run = subprocess.run

    def noted(words: tuple[str, ...]) -> subprocess.CompletedProcess:
        seen.append(list(words))
        return run(words) if words[0] == sys.executable else subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(subprocess, "run", noted)
    return seen


def page(text: str) -> str:
    return Path(f"docs/reports/meld_small_{text}/README.md").read_text("utf-8")


def test_settings_features_trainings_and_tables_in_this_order(commands: list[list[str]]) -> None:
    reports.make(SMALL, "/corpora/it", "frozen", as_it_is=False)
    assert commands == [FEATURES, [sys.executable, "-m", "paper.ahead", "meld"], TABLES]
    assert load_params().index["meld"].raw == "/corpora/it"
    title, about, how, words, picture, *_ = page("frozen").split("\n\n")
    assert (title, words) == ("# CMATH on meld", "Words.")
    assert about == "A corpus of random numbers. The text encoder is as published."
    # Two points of the search of two epochs with seed 0, and the reported seed 0 of four.
    assert "`python -m paper.reports meld_small --raw … --text frozen` writes this page. It has 3 trainings" in how
    assert "; 3 were done now, in " in how
    assert "by one process (" in how
    assert "a minute)." in how
    assert picture.startswith("![a picture]")
    figures = Path("docs/reports/meld_small_frozen/figures")
    assert [file.name for file in figures.iterdir()] == ["one.png"]  # those that the page shows
    for name in ("comparison.csv", "search.csv"):
        copied, made = (folder / name for folder in (figures.parent, Path("paper/results/meld")))
        assert copied.read_bytes() == made.read_bytes()
    results = overview.PAGE.read_text("utf-8")
    assert "| meld_small | [frozen](reports/meld_small_frozen/README.md) | tuned |" in results
    assert "| CMATH | 50.50 | - |" in results
    assert results.endswith("\n\nMore.\n")

    # What was trained is there, pictures of an older page are not. The records now say 100 seconds for each epoch.
    for record in cache_folder().rglob("seed*.json"):
        record.write_text(json.dumps(json.loads(record.read_text("utf-8")) | {"seconds": 100.0}), "utf-8")
    (figures / "old.png").write_bytes(b"")
    del commands[:]
    reports.make(SMALL, "/corpora/it", "frozen", as_it_is=True)
    probe = [sys.executable, "-m", "pipeline.leakage", "meld"]
    assert commands == [probe, [sys.executable, "-m", "paper.ahead", "meld"], TABLES]
    assert load_params().datasets == ["demo"]  # DVC takes data/meld as it is
    assert "It has 3 trainings" in page("frozen")
    assert page("frozen").split("\n\n")[2].endswith(" 13 min of one process in all; all of them were there.")
    assert [file.name for file in figures.iterdir()] == ["one.png"]

    # Features that say that they are of another kind stop it before anything is trained.
    file = Path("data/meld/features/text.safetensors")
    kept = read_features(file, len(read_index(Path("data/meld/index.csv"))))
    write_features(replace(kept, identity={"encoders": TUNED}), file)
    del commands[:]
    with pytest.raises(UserError, match=r"are of 5 encoder\(s\), and not of 1: they are not of --text frozen"):
        reports.make(SMALL, "/corpora/it", "frozen", as_it_is=True)
    assert commands == [probe]


def test_a_search_that_was_made_before_is_not_trained_again(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path("search.csv")
    file.write_text(
        "corpus,model,learning_rate,dropout,batch,seeds,validation_weighted_f1,chosen,edge\n"
        "meld,ctnet,0.001,0.2,4,1,12.5,,\nmeld,ctnet,0.01,0.2,4,1,12.6,yes,batch\n"
    )
    monkeypatch.setattr(reports, "read_set", lambda _: SMALL)
    monkeypatch.setattr(
        "sys.argv", ["reports", "meld_small", "--raw", "/it", "--text", "frozen", "--search", str(file)]
    )
    reports.main()
    (point, chosen) = load_report().search.given_of("meld", "ctnet")
    assert (point.learning_rate, point.score, chosen.learning_rate, chosen.score) == (0.001, 12.5, 0.01, 12.6)
    assert "`python -m paper.reports meld_small --raw … --text frozen --search …` writes this page." in page("frozen")
    assert "It has 1 trainings" in page("frozen")  # the reported seed 0, of the point that was chosen
    assert len(list(cache_folder().glob("trainings/*/seed0.json"))) == 1
    file.write_text(file.read_text().replace("meld,", "other,"))
    del commands[:]
    with pytest.raises(SystemExit, match=r"search\.csv: is a search on other, and not on meld"):
        reports.main()
    assert commands == []
    # What is refused leaves the settings as they were.
    before = [Path(name).read_bytes() for name in ("params.yaml", "paper/params.yaml")]
    file.unlink()
    with pytest.raises(SystemExit, match=r"^error: search\.csv: no such file"):
        reports.main()
    assert [Path(name).read_bytes() for name in ("params.yaml", "paper/params.yaml")] == before


PUBLISHED = ["0" * 64]
"""Weights of the published encoder."""
TUNED = [str(number) * 64 for number in range(1, 6)]
"""Weights of five cross-fitted encoders."""
AROUND = {"past": 2, "future": 0, "names": "index"}


@pytest.mark.parametrize(
    ("made", "finetune", "crossfit", "past", "said"),
    [({"encoders": PUBLISHED}, False, 1, 0, ""), ({"encoders": TUNED}, True, 5, 0, ""),
     ({"encoders": TUNED, "context": AROUND}, True, 5, 2, ""), ({"encoders": TUNED[:1]}, True, 1, 0, ""),
     ({"encoders": TUNED[:1]}, False, 1, 0, "are of a fine-tuned encoder"),
     ({"encoders": PUBLISHED}, True, 1, 0, "are of the published encoder"),
     ({"encoders": PUBLISHED}, True, 5, 0, "are of 1 encoder(s), and not of 5"),
     ({"encoders": TUNED}, False, 1, 0, "are of 5 encoder(s), and not of 1"),
     ({"encoders": TUNED}, True, 5, 2, "are of utterances read alone, and not with other turns ("),
     ({"encoders": TUNED, "context": AROUND}, True, 5, 0, "are of utterances read with other turns ({")],
)  # fmt: skip
def test_features_of_another_kind_of_text_are_refused(
    made: dict, finetune: bool, crossfit: int, past: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"finetune": finetune, "crossfit": crossfit, "context": AROUND | {"past": past}})
    monkeypatch.setattr(reports, "identity_of", lambda settings, fitted: {"encoders": PUBLISHED})
    file = Path("data/meld/features/text.safetensors")
    file.parent.mkdir(parents=True)
    write_features(Features(np.ones((1, 2), np.float32), np.array([True]), made), file)
    if not said:
        reports.require_kind("meld", "tuned")
        return
    with pytest.raises(UserError, match=f"^{file}: these features {re.escape(said)}.*they are not of --text tuned; "):
        reports.require_kind("meld", "tuned")


@pytest.mark.parametrize("finetune", [True, False])
def test_without_the_published_encoder_its_features_are_not_told_from_tuned_ones(
    finetune: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path, {"finetune": finetune, "model": str(tmp_path / "not/here")})
    file = Path("data/meld/features/text.safetensors")
    file.parent.mkdir(parents=True)
    made = Features(np.ones((1, 2), np.float32), np.array([True]), {"encoders": PUBLISHED})
    write_features(made, file)
    reports.require_kind("meld", "frozen")
    write_features(replace(made, identity={"encoders": TUNED}), file)
    with pytest.raises(UserError, match="are of 5 encoder"):  # their number is known all the same
        reports.require_kind("meld", "frozen")


@pytest.mark.parametrize("identity", [{"of": "elsewhere"}, None])
def test_features_that_do_not_say_what_made_them_are_believed(
    identity: dict | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path)
    file = Path("data/meld/features/text.safetensors")
    file.parent.mkdir(parents=True)
    save_file({"features": np.ones((1, 2), np.float32)}, file, identity and {"identity": json.dumps(identity)})
    with caplog.at_level("WARNING"):
        reports.require_kind("meld", "frozen")
    assert f"{file}: does not say which encoders made it, and is taken for the features of --text frozen" in caplog.text


def test_an_older_report_stays_until_the_new_one_is_whole(commands: list[list[str]]) -> None:
    folder = Path("docs/reports/old")
    (folder / "figures").mkdir(parents=True)
    (folder / "README.md").write_text("older")
    (folder / "figures/one.png").write_bytes(b"older")
    for name in ("search.csv", "figures/one.png", "report.md"):
        lost = Path("paper/results/meld") / name
        content = lost.read_bytes()
        lost.unlink()
        with pytest.raises(UserError, match=rf"{lost}: no such file; `dvc repro paper/dvc\.yaml` makes it anew"):
            reports.copy(Path("paper/results/meld"), folder, iter(["about"]))
        assert (folder / "README.md").read_text() == "older"
        assert (folder / "figures/one.png").read_bytes() == b"older"
        lost.write_bytes(content)
    reports.copy(Path("paper/results/meld"), folder, iter(["about"]))
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "comparison.csv", "figures", "search.csv"]
    assert (folder / "figures/one.png").read_bytes() == b"one"


def test_all_kinds_of_text_are_those_that_the_set_has(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []
    monkeypatch.setattr(reports, "make", lambda chosen, raw, text, *, as_it_is, search: made.append(text))
    monkeypatch.setattr("sys.argv", ["reports", "meld_small", "--raw", "/corpora/it"])
    reports.main()
    assert made == ["frozen", "tuned"]
    monkeypatch.setattr("sys.argv", ["reports", "meld_small", "--raw", "/corpora/it", "--text", "frozen", "context"])
    with pytest.raises(SystemExit):
        reports.main()
    assert "meld_small has no --text context; it has frozen, tuned" in capsys.readouterr().err


def test_a_step_that_fails_ends_the_command_in_one_line(
    commands: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reports, "read_set", lambda _: SMALL)
    monkeypatch.setattr(subprocess, "run", lambda words: subprocess.CompletedProcess(words, 1))
    monkeypatch.setattr("sys.argv", ["reports", "meld_small", "--raw", "/corpora/it", "--text", "frozen"])
    with pytest.raises(SystemExit) as ended:
        reports.main()
    said = str(ended.value) + capsys.readouterr().err
    assert "`dvc repro leakage@meld extract@meld-text extract@meld-audio extract@meld-visual` failed" in said
    assert not Path("docs/reports").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["demo", "--raw", "/corpora/it"], "invalid choice: 'demo'"),
     (["meld_text"], "required: --raw"),
     (["meld_text", "--raw", "/corpora/it", "--as-it-is"], "--as-it-is needs one --text"),
     (["meld_text", "--raw", "/corpora/it", "--search", "search.csv"], "--search needs one --text")],
)  # fmt: skip
def test_what_the_command_refuses(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["reports", *arguments])
    with pytest.raises(SystemExit):
        reports.main()
    assert message in capsys.readouterr().err


def test_times_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMATH_DEVICES", "cpu,cpu,cpu")
    before, now = str(Spent(trainings=40, seconds=7200.0, now=30, clock=600.0)).split("; ")
    assert before == "40 trainings, 2.0 h of one process in all"
    assert now == "30 were done now, in 10 min by 3 processes (3.0 a minute)"
