"""The receipts of published rows: nothing without a source, and the page says what the file says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError
from paper import receipts
from paper.names import NAMES
from paper.published import FILE, published_scores
from paper.published import receipts as read_receipts
from paper.receipts import CORPORA, UNKNOWN, lines, ours, take

PROJECT = Path(__file__).parents[2]
CONTENT = read_receipts(PROJECT / FILE)
ROWS = {row["name"]: row for row in CONTENT["rows"]}
KEYS = {"name", "weighted_f1", "kind", "features", "epoch", "seeds", "reproductions", "source"}


@pytest.mark.parametrize("row", CONTENT["rows"], ids=list(ROWS))
def test_every_claim_has_its_source(row: dict[str, Any]) -> None:
    assert KEYS <= row.keys() <= KEYS | {"model"}
    assert set(row["weighted_f1"]) == set(CORPORA)
    assert row["kind"] in CONTENT["kinds"]
    assert row["source"]
    epoch = row["epoch"]
    assert epoch.keys() <= {"chosen_on", "note", "repository", "commit", "places"}
    assert epoch["chosen_on"] in ("validation", "test", UNKNOWN)
    if epoch["chosen_on"] != UNKNOWN or "places" in epoch:
        assert re.fullmatch(r"[\w-]+/[\w-]+", epoch["repository"])
        assert re.fullmatch(r"[0-9a-f]{40}", epoch["commit"])
        assert all(re.fullmatch(r"[\w./-]+\.(py|sh):[1-9]\d*", place) for place in epoch["places"])
    # Who repeats a number names where it was said.
    if re.search(r"\d\d\.\d", row["reproductions"]):
        assert "(issue" in row["reproductions"] or "authors' own" in row["reproductions"]
    for number in re.findall(r"\(?issue (\d+)\)?", row["reproductions"]):
        assert any(source.endswith(f"/issues/{number}") for source in row["source"])


def test_the_rows_of_the_paper_have_its_numbers() -> None:
    of_corpus = {corpus: published_scores(corpus, PROJECT / FILE)[1] for corpus in CORPORA}
    for row in CONTENT["rows"]:
        if "model" in row:
            assert row["name"] == NAMES[row["model"]]
            assert row["weighted_f1"] == {
                corpus: rows.get(row["model"], {}).get("weighted_f1") for corpus, rows in of_corpus.items()
            }
    of_paper = {row.get("model") for row in CONTENT["rows"]} - {None}
    assert of_paper == NAMES.keys() - {"ctnet", "scmm", "cmcf_srnet"}  # of which no code is public


def test_the_page_has_what_the_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    begin, end = receipts.MARKS
    inside = receipts.PAGE.read_text("utf-8").partition(begin)[2].partition(end)[0]
    assert inside.strip().splitlines() == lines(CONTENT, receipts.read_scores())


def test_a_line_of_code_is_a_link_to_its_commit() -> None:
    [row] = [line for line in lines(CONTENT, {}) if line.startswith("| SDT | four layers")]
    base = "https://github.com/butterfliesss/SDT/blob/60af9218231843939da4ddd82fd5e201adeec63a/train.py"
    assert f"**test**. butterfliesss/SDT: [train.py:197]({base}#L197), [train.py:225]({base}#L225)" in row
    assert "[1](https://github.com/" in row


def scores(f1: float, validation: float, **more: Any) -> dict[str, Any]:
    return {"weighted_f1": f1, "weighted_f1_std": 0.5, "oracle_weighted_f1": f1 + 2, "oracle_weighted_f1_std": 0.25,
            "seeds": 5, "utterances": 2610, "validation": {"weighted_f1": validation}, **more}  # fmt: skip


def write(folder: Path, name: str, content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content))


def test_our_runs_stand_beside_rows_of_their_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").mkdir()
    (tmp_path / FILE).write_bytes((PROJECT / FILE).read_bytes())
    write(tmp_path / "paper/runs/meld/cmath", "metrics.json", scores(60.0, 55.0))
    write(tmp_path / "paper/runs/meld/sdt", "metrics.json", scores(59.0, 56.0))
    take("three", "meld", [Path("paper/runs/meld")])
    write(tmp_path / "paper/runs/iemocap_sdt/cmath", "metrics.json", scores(60.0, 55.0, utterances=1623))
    take("text", "iemocap", [Path("paper/runs/iemocap_sdt/cmath")])
    kept = receipts.read_scores()
    assert ours(ROWS["SDT"], "meld", kept) == ("59.00 ± 0.50 (SDT, 5 seeds)", "61.00 ± 0.25")
    # Of all models the one that is best on validation, whatever test says.
    assert ours(ROWS["TelME"], "meld", kept)[0] == "59.00 ± 0.50 (SDT, 5 seeds)"
    assert ours(ROWS["CMATH"], "meld", kept)[0] == "60.00 ± 0.50 (CMATH, 5 seeds)"
    assert ours(ROWS["MMGCN"], "meld", kept) == ours(ROWS["TelME"], "iemocap", kept) == ("-", "-")
    assert ours(ROWS["EmoBERTa"], "iemocap", kept)[0] == "60.00 ± 0.50 (CMATH, 5 seeds)"
    [row] = [line for line in lines(CONTENT, kept) if line.startswith("| TelME | three |")]
    assert row.endswith("| not known | 59.00 ± 0.50 (SDT, 5 seeds) | 61.00 ± 0.25 |")


def test_what_is_no_run_or_no_fair_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").mkdir()
    (tmp_path / FILE).write_bytes((PROJECT / FILE).read_bytes())
    with pytest.raises(UserError, match="the kinds are text, llm, speech_llm, three, the corpora iemocap, meld"):
        take("four", "meld", [])
    with pytest.raises(UserError, match="paper/runs/meld: has no scores"):
        take("three", "meld", [Path("paper/runs/meld")])
    write(tmp_path / "paper/runs/meld/cmath", "metrics.json", scores(60.0, 55.0, seen=["text: was taught"]))
    with pytest.raises(
        UserError, match="cmath: is no fair score, and stands beside no published one: text: was taught"
    ):
        take("three", "meld", [Path("paper/runs/meld")])
    assert not receipts.SCORES.exists()


def test_a_run_on_another_test_stands_beside_no_published_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").mkdir()
    (tmp_path / FILE).write_bytes((PROJECT / FILE).read_bytes())
    write(tmp_path / "paper/runs/meld_mini/cmath", "metrics.json", scores(60.0, 55.0, utterances=47))
    said = r"^paper/runs/meld_mini/cmath: has 47 utterances in test, where the published meld has 2610"
    with pytest.raises(UserError, match=said):
        take("three", "meld", [Path("paper/runs/meld_mini")])
    assert not receipts.SCORES.exists()


def test_scores_that_are_lost_or_broken_are_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (FILE, receipts.PAGE):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    page = receipts.PAGE.read_bytes()
    monkeypatch.setattr("sys.argv", ["paper.receipts"])
    restore = r"; `git restore paper/receipts\.json` brings back the committed one"
    with pytest.raises(SystemExit, match=rf"^error: paper/receipts\.json: no such file{restore}"):
        receipts.main()
    for model, said in (("sdt", r"lacks the key three\.meld\.sdt\.\w+"),
                        ("bert", r"three\.meld\.bert is no model \(cmath, sdt, .+, adaign\)")):  # fmt: skip
        receipts.SCORES.write_text(json.dumps({"three": {"meld": {model: {"validation": 1.0}}}}))
        with pytest.raises(SystemExit, match=rf"^error: paper/receipts\.json: {said}{restore}"):
            receipts.main()
    assert receipts.PAGE.read_bytes() == page
    receipts.SCORES.unlink()
    for name, remedy in (("metrics.json", "`dvc repro paper/dvc.yaml` makes"), ("scores.json", "`dvc repro` makes")):
        write(tmp_path / "results/sdt", name, {})
        with pytest.raises(UserError, match=rf"^results/sdt/{name}: lacks the key weighted_f1; {remedy}"):
            take("three", "meld", [Path("results/sdt")] if name == "scores.json" else [Path("results")])
    write(tmp_path / "results/sdt", "scores.json", scores(60.0, 55.0))
    monkeypatch.setattr("sys.argv", ["paper.receipts", "--take", "three", "meld", "--run", "results/sdt"])
    receipts.main()
    assert b"60.00 \xc2\xb1 0.50 (SDT, 5 seeds)" in receipts.PAGE.read_bytes()
