"""The settings that one name writes into both params.yaml, and the form of these files."""

import errno
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import dumps_yaml, loads_yaml

from foundation.errors import UserError
from paper import estimate, plan, reports, settings
from paper.params import NO_CORPUS, load_report
from paper.search import Point, at_point
from pipeline.params import load_params, read_yaml
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


@pytest.mark.slow
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


SPEAKERS = {"iemocap": (0.0, 0.0, 0.0), "meld": (1.5, 0.5, 0.5)}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["meld", "iemocap"])
def test_every_baseline_gets_the_form_that_its_authors_published_for_the_corpus(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "iemocap" if name == "meld" else "meld"
    choose(monkeypatch, other, "--raw", "/corpora/other")  # what the other set wrote must not stay
    choose(monkeypatch, name, "--raw", "/corpora/it")
    of, meld = load_params().baselines, name == "meld"
    # From the authors' scripts: exec_*.sh, train_*.py, the READMEs, run.sh, run_train_*.sh, iemocap.py and meld.py.
    assert (of.sdt.gate, of.sdt.temperature) == (("identity", 8.0) if meld else ("learned", 1.0))
    assert (of.sdt.dim, of.sdt.heads) == (1024, 8)
    rnn = of.dialogue_rnn
    widths = (rnn.global_dim, rnn.party_dim, rnn.emotion_dim, rnn.head_dim)
    assert widths == ((150, 150, 100, 100) if meld else (500, 500, 300, 300))
    assert (of.dialogue_gcn.dropout, of.dialogue_gcn.window) == (0.4, 10)
    assert (of.mmgcn.loss, of.mmgcn.layers) == ("mmgcn_focal" if meld else "cross_entropy", 64)
    assert of.mmgcn.focal_gamma == 2.5
    dfn = of.mm_dfn.speaker_weights
    assert (dfn.text, dfn.audio, dfn.visual) == ((1.5, 0.5, 0.5) if meld else (1.0, 3.0, 0.0))
    assert of.mm_dfn.layers in ((16, 32, 64) if meld else (16, 32))
    assert (of.multidag.layers, of.multidag.buckets, of.multidag.dropout) == (4, 12, 0.4)
    ada = of.adaign
    assert (ada.layers, ada.focal_gamma, ada.text_dim) == ((32, 1.0, 600) if meld else (16, 0.5, 100))
    assert (ada.speaker_weights.text, ada.speaker_weights.audio, ada.speaker_weights.visual) == SPEAKERS[name]
    start = load_report().search.start
    found = {model: (at.learning_rate, at.batch, at.weight_decay) for model, at in start.items()}
    assert set(found) == {*load_report().models} - {"cmath"}
    ours = load_params().train[name]  # so that `printed`, which changes train, changes what the report trains
    found["cmath"] = ours.learning_rate, ours.batch, ours.weight_decay
    published = {
        "meld": {"cmath": (2e-4, 4, 1e-5), "sdt": (5e-6, 8, 1e-5), "dialogue_rnn": (5e-4, 30, 1e-5),
                 "mmgcn": (1e-3, 16, 0.0), "adaign": (1e-3, 32, 5e-4)},
        "iemocap": {"cmath": (3e-3, 16, 1e-5), "sdt": (1e-4, 16, 1e-5), "dialogue_rnn": (1e-4, 30, 1e-5),
                    "dialogue_gcn": (3e-4, 32, 0.0), "mmgcn": (3e-4, 16, 3e-5), "multidag": (5e-4, 16, 0.0),
                    "adaign": (3e-4, 32, 1e-4)},
    }  # fmt: skip
    assert {model: found[model] for model in published[name]} == published[name]
    rate, batch, decay = found["mm_dfn"]
    assert (rate in ((5e-4, 1e-3) if meld else (1e-4, 3e-4)), batch, decay) == (True, 32, 1e-4)


@pytest.mark.slow
def test_what_is_not_published_for_the_corpus_is_printed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    choose(monkeypatch, "meld", "--raw", "/corpora/it")
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "Not published for meld, by the authors of:"
    assert [line.split(":")[0].strip() for line in lines[:-1]] == [
        "cmath", "dialogue_gcn", "multidag", "ctnet", "scmm", "cmcf_srnet"
    ]  # fmt: skip
    assert lines[1] == "  dialogue_gcn: any settings; it has those for IEMOCAP"
    choose(monkeypatch, "iemocap", "--raw", "/corpora/it")
    said = capsys.readouterr().out
    assert "dialogue_gcn" not in said
    assert "  cmath: weight decay, dropout and class weights; they are ours\n" in said
    choose(monkeypatch, "demo")
    assert "ublished" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_printed_form_is_complete_and_of_every_corpus(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (folder / "params.yaml").read_text("utf-8").replace("modality_dropout: 0.0 ", "modality_dropout: 0.3 ")
    (folder / "params.yaml").write_text(text, "utf-8")
    before, report = load_params(), (folder / "paper/params.yaml").read_bytes()
    choose(monkeypatch, "printed")
    params = load_params()
    assert before.model.modality_dropout == 0.3
    printed = {"reduction": "sum", "detach_teacher": False, "embedding_scale": 1.0, "feature_dropout": 0.0,
               "modality_dropout": 0.0}  # fmt: skip
    assert params.model == before.model.model_copy(update=printed)
    of_train = {"gamma1": 1.0, "weight_decay": 0.0, "ema_decay": 0.0, "class_weights": False}
    assert list(params.train) == list(before.train)
    for corpus, settings_of in params.train.items():
        assert settings_of == before.train[corpus].model_copy(update=of_train)
    assert params.model_copy(update={"model": before.model, "train": before.train}) == before
    assert (folder / "paper/params.yaml").read_bytes() == report
    assert "it collapses to one class (docs/distillation.md); go on with: dvc repro" in capsys.readouterr().out
    comments = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert all(line in (folder / "params.yaml").read_text("utf-8").splitlines() for line in comments)


@pytest.mark.slow
def test_the_printed_form_is_trained_without_weight_decay_in_a_report_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, "meld", "--raw", "/corpora/it")
    choose(monkeypatch, "printed")
    trained = at_point(load_params(), "meld", "cmath", load_report(), Point(0.001, 0.2, 8)).train["meld"]
    assert (trained.weight_decay, trained.learning_rate, trained.batch) == (0.0, 0.001, 8)


def test_a_key_that_the_file_lacks_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (folder / "params.yaml").read_text("utf-8")
    (folder / "params.yaml").write_text(text.replace("    temperature: 1.0        # temperature of self", "    # self"))
    with pytest.raises(SystemExit, match=r"error: params.yaml: baselines.sdt.temperature is missing"):
        choose(monkeypatch, "iemocap", "--raw", "/corpora/it")


@pytest.mark.slow
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


def test_on_a_full_disk_the_settings_that_there_were_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = texts(folder), Path.write_text

    def half(self: Path, text: str, *how: object, **more: object) -> int:
        write(self, text[: len(text) // 2], *how, **more)  # type: ignore[arg-type]
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(SystemExit, match=r"error: .*params\.yaml.*full"):
        choose(monkeypatch, "printed")
    monkeypatch.undo()
    assert texts(folder) == before


OF_A_CORPUS = ("emorynlp_text", "iemocap", "iemocap_mini", "iemocap_text", "meld", "meld_mini", "meld_text")


def arguments_of(name: str, text: str = "context") -> list[str]:
    kinds = settings.read_set(name).text
    return [name, "--raw", f"/corpora/{name}", *(["--text", text] if kinds else [])]


def test_the_defaults_are_what_is_committed_of_all_that_a_set_of_a_corpus_changes() -> None:
    main, report = (read_yaml(PROJECT / file) for file in FILES)
    found, asked = settings.read_defaults(), set[str]()
    for values, committed in ((found.main, main), (found.report, report)):
        for key, value in values.items():
            there: object = committed
            for name in key.split("."):
                there = there[name]  # type: ignore[index]
            assert value == there, key
    for name in OF_A_CORPUS:
        one = settings.read_set(name)
        assert not one.on_top
        asked |= {*one.main, *one.report, *(key for kind in one.text.values() for key in kind)}
    asked.add("report.search.given")  # which `python -m paper.reports --search` writes on top of a set
    assert {*found.main, *found.report} == {key for key in asked if "_mini." not in key}
    assert {name for name in settings.names() if settings.read_set(name).on_top} == {"demo", "off", "printed"}


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_A_CORPUS)
def test_a_set_of_a_corpus_is_the_same_whatever_was_chosen_before(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = texts(folder)
    choose(monkeypatch, *arguments_of(name))
    assert not load_report().search.given
    after_a_clone = load_params(), load_report()
    choose(monkeypatch, *arguments_of(name))
    assert (load_params(), load_report()) == after_a_clone
    for file, before in zip(FILES, committed, strict=True):
        (folder / file).write_text(before, "utf-8")
    for other in (one for one in OF_A_CORPUS if one != name):
        choose(monkeypatch, *arguments_of(other, "tuned"))
    point = {"learning_rate": 0.001, "dropout": 0.2, "batch": 4, "score": 50.0}
    given = {corpus: {"cmath": [point]} for corpus in settings.read_set(name).corpora}
    settings.write(settings.read_set("off"), None, None, {"report.search.given": given})
    assert load_report().search.given
    choose(monkeypatch, "demo")
    if settings.read_set(name).text:
        choose(monkeypatch, *arguments_of(name, "tuned"))
    choose(monkeypatch, *arguments_of(name))
    params, report = after_a_clone
    assert load_report() == report
    # The corpora that other sets have made stay, and so do the folders that --raw has given.
    for section in ("index", "text", "audio", "visual", "train"):
        ours, theirs = ({corpus: of for corpus, of in getattr(one, section).items() if "_mini" not in corpus}
                        for one in (load_params(), params))  # fmt: skip
        if section == "index":
            ours, theirs = (
                {corpus: of.model_copy(update={"raw": ""}) for corpus, of in one.items()} for one in (ours, theirs)
            )
        assert ours == theirs, section
    (corpus,) = report.corpora
    assert [getattr(load_params(), section)[corpus] for section in ("index", "text", "audio", "visual", "train")] == [
        getattr(params, section)[corpus] for section in ("index", "text", "audio", "visual", "train")
    ]
    for section in ("model", "baselines", "recipes", "datasets"):
        assert getattr(load_params(), section) == getattr(params, section)


@pytest.mark.slow
def test_demo_and_off_leave_what_they_do_not_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (folder / "params.yaml").read_text("utf-8")
    (folder / "params.yaml").write_text(text.replace("  dim: 200 ", "  dim: 300 ", 1), "utf-8")
    assert load_params().model.dim == 300
    for name in ("demo", "printed", "off"):
        choose(monkeypatch, name)
        assert load_params().model.dim == 300


def test_an_empty_folder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = texts(folder)
    for raw in ("", "  "):  # as of "$MELD" that is not set
        with pytest.raises(SystemExit, match="error: --raw is empty; give the folder or file of the corpus"):
            choose(monkeypatch, "meld", "--raw", raw)
    assert texts(folder) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "has no settings"), ("- a", "has no settings"), ("main: {}\nreport: {}\nmian: {}\n", "mian: "),
     ("main: {}\n", "report: "), ("main: 5\nreport: {}\n", "main: "),
     ("based_on: a\nmain: {}\nreport: {}\n", "based_on = a: must be one of b, off, whole"),
     ("based_on: nothing\nmain: {}\nreport: {}\n", "based_on = nothing: must be one of b, off, whole"),
     ("based_on: [b]\nmain: {}\nreport: {}\n", "based_on: "),
     ("based_on: b\nmain: {}\nreport: {}\n", "based_on = a: must be one of off, whole")],
)  # fmt: skip
def test_a_set_that_is_broken_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, content: str, said: str) -> None:
    home, before = folder / "sets", texts(folder)
    home.mkdir()
    (home / "off.yaml").write_bytes((PROJECT / "paper/sets/off.yaml").read_bytes())
    (home / "whole.yaml").write_text("main: {}\nreport: {}\n")
    (home / "b.yaml").write_text("based_on: a\nmain: {}\nreport: {}\n")
    (home / "a.yaml").write_text(content)
    monkeypatch.setattr(settings, "SETS", home)
    with pytest.raises(SystemExit, match=rf"^error: {home}/[ab]\.yaml: {said}.*; `git restore sets/[ab]\.yaml` brings"):
        choose(monkeypatch, "a")
    monkeypatch.setattr("sys.argv", ["reports", "a", "--raw", "/it"])
    with pytest.raises(SystemExit, match=rf"^error: {home}/[ab]\.yaml: "):
        reports.main()
    assert texts(folder) == before


@pytest.mark.parametrize("file", FILES)
def test_files_without_settings_are_restored_from_git(folder: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    (folder / file).write_text("# nothing\n")
    with pytest.raises(SystemExit, match=rf"^error: {file}: has no settings; `git restore {file}` brings back"):
        choose(monkeypatch, "meld_text", "--raw", "/it", "--text", "frozen")


def test_if_one_file_cannot_be_written_both_are_as_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = texts(folder), settings.write_whole

    def refused(file: Path, text: str) -> None:
        if file == settings.FILE:
            raise UserError(f"{file}: Permission denied")
        write(file, text)

    monkeypatch.setattr(settings, "write_whole", refused)
    with pytest.raises(SystemExit, match=r"error: paper/params\.yaml: Permission denied"):
        choose(monkeypatch, "meld", "--raw", "/corpora/it")
    assert texts(folder) == before


REPORTS = ("emorynlp_text", "iemocap_mini", "iemocap_text", "meld_mini", "meld_text")


@pytest.mark.slow
@pytest.mark.parametrize("name", REPORTS)
def test_a_set_of_a_report_differs_between_its_kinds_of_text_in_nothing_else(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed, found = texts(folder), {}
    for text in ("frozen", "tuned", "context"):
        choose(monkeypatch, name, "--raw", "/corpora/it", "--text", text)
        found[text] = load_params(), load_report()
        for file, before in zip(FILES, committed, strict=True):
            (folder / file).write_text(before, "utf-8")
    params, report = found["context"]
    (corpus,) = report.corpora
    assert params.datasets == [corpus]
    assert params.index[corpus].raw == "/corpora/it"
    kinds = {text: (of.text[corpus].finetune, of.text[corpus].crossfit) for text, (of, _) in found.items()}
    assert kinds == {"frozen": (False, 1), "tuned": (True, 5), "context": (True, 5)}
    assert [of.text[corpus].context.past > 0 for of, _ in found.values()] == [False, False, True]
    none = {"ablations": [], "widths": [], "gammas": []}
    studied = {"context"} if name.endswith("_text") else {"context", "frozen"}
    for text, (other, also) in found.items():
        left_out = {} if text in studied else none  # a quarter of the trainings
        assert also == report.model_copy(update={"studies": report.studies.model_copy(update=left_out)})
        assert other.model_copy(update={"text": params.text}) == params
        assert {one: of for one, of in other.text.items() if one != corpus} == {
            one: of for one, of in params.text.items() if one != corpus
        }
    assert (report.studies.ablations, len(report.studies.gammas)) == (["mr", "cma_t", "lld", "hld", "hd"], 2)
    assert params.model.dim in report.studies.widths
    assert report.printed(corpus) == {"iemocap_text": "iemocap", "meld_text": "meld"}.get(name, corpus)
    assert len(report.models) == 11
    assert report.seeds == [0, 1, 2, 3, 4]
    assert report.search.points >= 7  # fewer do not reach all neighbours of any point
    # CMATH's form is that of params.yaml, and not the paper's.
    assert params.train[corpus].gamma1 == load_params().train["meld"].gamma1 == 0.1


def test_a_new_corpus_is_a_copy_of_the_one_that_it_is_like(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_params()
    for _ in range(2):  # the second time it is there already
        choose(monkeypatch, "meld_mini", "--raw", "/corpora/small", "--text", "tuned")
        params = load_params()
        assert set(params.index) == {*before.index, "meld_mini"}
        assert params.index["meld_mini"] == before.index["meld"].model_copy(update={"raw": "/corpora/small"})
        assert params.visual["meld_mini"] == before.visual["meld"]
        changes = {"set": "IS10", "reduce": "none"}
        assert params.audio["meld_mini"] == before.audio["meld"].model_copy(update=changes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["meld_text", "--raw", "/corpora/it"], "meld_text needs --text frozen | tuned | context"),
     (["meld_text", "--raw", "/corpora/it", "--text", "best"], "meld_text needs --text frozen | tuned | context"),
     (["meld_text", "--text", "frozen"], "meld_text needs --raw"),
     (["demo", "--text", "frozen"], "demo has no --text")],
)  # fmt: skip
def test_a_kind_of_text_is_named_for_the_sets_that_have_some(
    arguments: list[str],
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = texts(folder)
    with pytest.raises(SystemExit):
        choose(monkeypatch, *arguments)
    assert message in capsys.readouterr().err
    assert texts(folder) == before


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
