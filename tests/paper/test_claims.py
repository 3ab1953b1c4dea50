"""The paper's claims beside our results: intervals, verdicts, and a page that has them."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.f1 import weighted_f1_of
from paper import claims
from paper.claims import CLAIMS, Results, found_of, lines, verdict
from paper.params import FILE as PARAMS
from paper.published import FILE, published_best, published_margins
from paper.settings import with_values
from paper.significance import interval
from pipeline.corpora.index_file import read_index, write_index
from pipeline.corpora.labels import IEMOCAP, MELD
from pipeline.params import MODALITIES, Params, read_yaml
from pipeline.scoring.comparison import Predictions, compare

PROJECT = Path(__file__).parents[2]
PAPER = PROJECT.parent / "shared" / "paper" / "cmath.txt"
LABELS = "abb" * 40
BY_KEY = {claim.key: claim for claim in CLAIMS}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.scoring.scores.RESAMPLES", 200)


def said(wrong: int, step: int = 1) -> str:
    """The labels, of which each `step`-th is wrong until `wrong` of them are."""
    swap = {"a": "b", "b": "a"}
    at = set(range(0, step * wrong, step))
    return "".join(swap[label] if place in at else label for place, label in enumerate(LABELS))


def predictions(*wrong: int) -> Predictions:
    names = [f"u{place}" for place in range(len(LABELS))]
    return Predictions(names, list(LABELS), {seed: list(said(one)) for seed, one in enumerate(wrong)})


def write_run(folder: Path, *wrong: int, f1: float = 0.0, text: str = "frozen") -> None:
    folder.mkdir(parents=True)
    rows = [f"u{place},{seed},{label},{told}" for seed, one in enumerate(wrong)
            for place, (label, told) in enumerate(zip(LABELS, said(one), strict=True))]  # fmt: skip
    (folder / "predictions.csv").write_text("\n".join(["utterance_id,seed,label,prediction", *rows]) + "\n")
    write_metrics(folder, f1, MELD, text)


def write_metrics(folder: Path, f1: float, order: tuple[str, ...], text: str) -> None:
    content = {"weighted_f1": f1, "f1": dict.fromkeys(order, f1), "text": text}
    (folder / "metrics.json").write_text(json.dumps(content))


def scores(*wrong: int) -> np.ndarray:
    number = {"a": 0, "b": 1}
    label = [number[one] for one in LABELS]
    return np.array([weighted_f1_of(label, [number[told] for told in said(one)]) for one in wrong])


def test_an_interval_has_both_kinds_of_chance() -> None:
    a, b = predictions(5, 9, 7), predictions(20, 19, 30)
    found, over_utterances = interval(a, b), compare(a, b)
    assert found["difference"] == over_utterances["difference"]
    gaps = scores(5, 9, 7) - scores(20, 19, 30)
    reach = t.ppf(0.975, 2) * gaps.std(ddof=1) / np.sqrt(3)
    assert found["low"] == pytest.approx(min(over_utterances["low"], gaps.mean() - reach), abs=0.006)
    assert found["high"] == pytest.approx(max(over_utterances["high"], gaps.mean() + reach), abs=0.006)
    assert found["low"] < over_utterances["low"]  # the seeds of this pair are the more uncertain
    assert (found["seeds"], found["utterances"]) == (3, 120)


def test_seeds_that_are_all_alike_widen_nothing_and_one_seed_tells_nothing() -> None:
    a, b = predictions(5, 5), predictions(20, 20)
    assert [interval(a, b)[end] for end in ("low", "high")] == [compare(a, b)[end] for end in ("low", "high")]
    one = interval(predictions(5), predictions(20))
    assert (one["low"], one["high"], one["seeds"]) == (None, None, 1)
    unequal = interval(predictions(5, 30, 12), predictions(20, 19))
    assert unequal["seeds"] == 2
    # Welch: each side has its own deviation, and the degrees of freedom follow from both.
    ours, theirs = scores(5, 30, 12), scores(20, 19)
    parts = [side.var(ddof=1) / len(side) for side in (ours, theirs)]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 1)
    reach = t.ppf(0.975, freedom) * np.sqrt(sum(parts))
    over_utterances = compare(predictions(5, 30, 12), predictions(20, 19))
    assert unequal["low"] == pytest.approx(min(over_utterances["low"], ours.mean() - theirs.mean() - reach), abs=0.006)
    assert unequal["high"] == pytest.approx(
        max(over_utterances["high"], ours.mean() - theirs.mean() + reach), abs=0.006
    )


def test_at_most_five_utterances_tell_nothing() -> None:
    def cut(run: Predictions, count: int) -> Predictions:
        return Predictions(run.utterances[:count], run.labels[:count],
                           {seed: told[:count] for seed, told in run.by_seed.items()})  # fmt: skip

    a, b = predictions(0, 0), predictions(20, 20)
    five, six = (interval(cut(a, count), cut(b, count)) for count in (5, 6))
    assert (five["difference"], five["low"], five["high"], five["utterances"]) == (100.0, None, None, 5)
    assert (six["low"], six["high"]) == (100.0, 100.0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.01, 3.0, "holds"), (-3.0, -0.01, "does not"), (0.0, 3.0, "cannot be told"), (-1.0, 1.0, "cannot be told"),
     (-1.0, 0.0, "cannot be told"), (None, None, "cannot be told")],
)  # fmt: skip
def test_the_verdict_follows_from_the_interval(low: float | None, high: float | None, expected: str) -> None:
    assert verdict({"low": low, "high": high, "difference": 5.0}) == expected
    assert verdict(None) == "not run"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with runs of which each claim needs another pair."""
    monkeypatch.chdir(tmp_path)
    for name in (FILE, Path("params.yaml"), claims.PAGE, PARAMS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((PROJECT / name).read_bytes())
    studies, runs = tmp_path / "paper/studies/meld", tmp_path / "paper/runs/meld"
    write_run(runs / "cmath", 10, 12)
    write_run(runs / "sdt", 40, 41, f1=70.0)  # the best baseline
    write_run(runs / "ctnet", 60, 61, f1=60.0)
    write_run(studies / "ablations/lld", 30, 31)
    write_run(studies / "ablations/hld", 2, 3)
    write_run(studies / "widths/400", 5, 6, f1=99.0)
    write_run(studies / "widths/100", 7, 6, f1=50.0)
    write_run(studies / "widths/200", 8, 6, f1=60.0)
    write_run(studies / "gammas/1-1.2", 5, f1=80.0)
    write_run(studies / "gammas/1-1.8", 6, f1=81.0)
    write_run(studies / "modalities/text", 20, 22, f1=80.0)
    write_run(studies / "modalities/text+audio", 11, 14, f1=85.0)
    rows = [
        Utterance(utterance_id=f"u{place}", dialogue_id="long" if place >= 12 else f"short{place}", turn=place,
                  speaker=0, split="test", text="x", label=label)
        for place, label in enumerate(LABELS)
    ]  # fmt: skip
    write_index(rows, tmp_path / "data/meld/index.csv")
    return tmp_path


def test_each_claim_is_held_against_the_pair_that_it_is_about(folder: Path) -> None:
    results = Results("meld", "meld", "meld", MODALITIES)
    found = {key: found_of(claim, results) for key, claim in BY_KEY.items()}
    assert {key for key, one in found.items() if one} == {
        "best", "lld", "hld", "high_low", "whole", "audio_helps", "width", "gammas"
    }  # fmt: skip

    def gap(key: str, ours: tuple[int, ...], other: tuple[int, ...]) -> str:
        one: dict[str, Any] = found[key]  # type: ignore[assignment]
        assert one["difference"] == pytest.approx(scores(*ours).mean() - scores(*other).mean(), abs=0.006)
        return f"{one['against']}: {verdict(one)}"

    assert gap("best", (10, 12), (40, 41)) == "SDT: holds"
    assert gap("lld", (10, 12), (30, 31)) == ": holds"
    assert gap("hld", (10, 12), (2, 3)) == ": does not"
    assert gap("high_low", (30, 31), (2, 3)) == ": does not"
    assert gap("whole", (10, 12), (11, 14)) == "text + audio: cannot be told"
    assert gap("audio_helps", (11, 14), (20, 22)) == ": holds"
    assert gap("width", (5, 6), (8, 6)) == "200: cannot be told"
    assert gap("gammas", (5,), (6,)) == "1, 1.8: cannot be told"
    # Of a corpus of text and voice the whole is text + audio, and nothing is said of three modalities.
    two = Results("meld", "meld", "meld", ("text", "audio"))
    assert found_of(BY_KEY["whole"], two) is None
    helps: dict[str, Any] = found_of(BY_KEY["audio_helps"], two)  # type: ignore[assignment]
    assert helps["difference"] == pytest.approx(scores(10, 12).mean() - scores(20, 22).mean(), abs=0.006)
    write_run(folder / "paper/runs/meld/multidag", 0, 24)
    long = found_of(BY_KEY["C3"], results)
    assert long
    assert long["utterances"] == len(LABELS) - 12
    assert found_of(BY_KEY["C1"], results)["utterances"] == 12  # type: ignore[index]
    assert found_of(BY_KEY["C2"], results) is None
    # A copy of IEMOCAP has IEMOCAP's groups, whatever reader reads it: 39 turns are short, 69 middle-sized.
    assert found_of(BY_KEY["C1"], Results("meld", "iemocap", "meld", MODALITIES))["utterances"] == 12  # type: ignore[index]
    rows = read_index(folder / "data/meld/index.csv")
    write_index([replace(row, dialogue_id="one" if row.turn < 12 else f"d{row.turn // 60}") for row in rows],
                folder / "data/meld/index.csv")  # fmt: skip
    found = {paper: [(found_of(BY_KEY[group], Results("meld", paper, reader, MODALITIES)) or {}).get("utterances")
                     for group in ("C1", "C2", "C3")]
             for paper, reader in (("iemocap", "meld"), ("meld", "iemocap"), ("", "iemocap"))}  # fmt: skip
    assert found == {"iemocap": [12, 108, None], "meld": [None, 12, 108], "": [12, 108, None]}


def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(claims.SCORES.read_text())
    return found


def say_kind(kind: str, where: str = "**") -> None:
    """Write to the metrics of all runs and studies, or of those in `where`, that they read text of this kind."""
    for file in Path("paper").glob(f"{where}/metrics.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"text": kind}))


@pytest.mark.parametrize(
    ("kind", "column"), [("frozen", "meld (frozen)"), ("tuned", "meld (tuned)"), ("context", "meld (context)"),
                         ("", "meld")]
)  # fmt: skip
def test_a_corpus_has_a_column_for_the_kind_of_text_that_its_runs_read(folder: Path, kind: str, column: str) -> None:
    changes = {"text.meld.finetune": True, "text.meld.context.past": 1}  # another report's, written since
    Path("params.yaml").write_text(with_values(Path("params.yaml"), changes, Params))
    say_kind(kind)
    claims.run([("meld", "meld")])
    assert [*kept()] == [column]


def test_runs_that_read_no_text_name_no_kind_and_hinder_none(folder: Path) -> None:
    say_kind("context")
    say_kind("", "studies/meld/modalities/*")
    say_kind("", "runs/meld/cmath")
    claims.run([("meld", "meld")])
    assert [*kept()] == ["meld (context)"]


@pytest.mark.parametrize("other", ["studies/meld/widths/200", "runs/meld/sdt"])
def test_runs_on_text_of_different_kinds_are_not_compared(folder: Path, other: str) -> None:
    say_kind("context")
    say_kind("frozen", other)
    with pytest.raises(UserError, match="^paper/runs/meld/cmath was made with text features of the kind context, and "
                       f"paper/{other} with frozen: they cannot be compared; `dvc repro paper"):  # fmt: skip
        claims.run([("meld", "meld")])
    assert not claims.SCORES.exists()


def test_the_study_of_the_other_text_is_in_no_claim(folder: Path) -> None:
    write_run(folder / "paper/studies/meld/text/fine-tuned", 3, 4, text="tuned")
    claims.run([("meld", "meld")])
    assert [*kept()] == ["meld (frozen)"]


def test_a_run_that_does_not_say_its_kind_is_made_anew(folder: Path) -> None:
    file = folder / "paper/runs/meld/sdt/metrics.json"
    file.write_text(json.dumps({"weighted_f1": 1.0, "f1": dict.fromkeys(MELD, 1.0)}))
    with pytest.raises(UserError, match=r"^paper/runs/meld/sdt/metrics\.json: lacks the key text; `dvc repro paper"):
        claims.run([("meld", "meld")])


def test_the_page_says_what_was_found_on_each_corpus(folder: Path) -> None:
    claims.run([("meld", "meld")])
    page = claims.PAGE.read_text()
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| ")}
    one = kept()["meld (frozen)"]["claims"]["best"]
    best = rows["CMATH is better than every baseline (against the best one)"]
    # The paper's +0.14 is out of this interval.
    assert best == ("| CMATH is better than every baseline (against the best one) | **holds** on meld (frozen) | "
                    f"+3.22, +0.14 | **+{one['difference']:.2f} ({one['low']:.2f} to {one['high']:.2f})**\\*, "
                    "against SDT |")  # fmt: skip
    assert rows["Both distillations together help"].endswith("| not run | +2.30, +0.30 | not run |")
    assert "(one seed), against 1, 1.8 |" in page
    before = (PROJECT / claims.PAGE).read_text()
    assert page.partition(claims.MARKS[0])[0] == before.partition(claims.MARKS[0])[0]
    assert page.partition(claims.MARKS[1])[2] == before.partition(claims.MARKS[1])[2]
    with pytest.raises(UserError, match="paper/runs/demo: has no two runs to compare"):
        claims.run([("demo", "")])
    with pytest.raises(UserError, match="meld=mosei: the paper's corpora are iemocap and meld"):
        claims.run([("meld", "mosei")])


@pytest.mark.parametrize(
    ("changes", "fused"),
    [({}, True), ({"index.meld.modalities": ["text"]}, False), ({"model.modalities": ["audio"]}, False),
     ({"index.meld.modalities": ["text", "audio"], "model.modalities": ["audio", "visual"]}, False),
     ({"index.meld.modalities": ["text", "visual"]}, True)],
)  # fmt: skip
def test_the_fusion_is_not_judged_where_nothing_is_fused(
    folder: Path, changes: dict[str, list[str]], fused: bool
) -> None:
    write_run(folder / "paper/studies/meld/ablations/cma_t", 50, 51)
    write_run(folder / "paper/studies/meld/ablations/mr", 50, 51)
    Path("params.yaml").write_text(with_values(Path("params.yaml"), changes, Params))
    claims.run([("meld", "meld")])
    [one] = kept().values()
    found = one["claims"]
    assert ("cma_t" in found) is fused
    assert "mr" in found  # the other parts do something with one modality, too


def publish(**published: str) -> None:
    """Say in paper/params.yaml which of the paper's corpora a corpus is."""
    content: Any = read_yaml(PARAMS)
    content["report"]["published"] = published
    PARAMS.write_text(json.dumps(content))


def test_which_of_the_papers_corpora_it_is_is_said_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "paper/runs/meld").rename(folder / "paper/runs/demo")
    for published, words, paper in (({}, "demo", ""), ({"demo": "meld"}, "demo", "meld"), ({}, "demo=meld", "meld")):
        publish(**published)
        monkeypatch.setattr("sys.argv", ["paper.claims", words])
        claims.main()
        assert kept()["demo (frozen)"]["paper"] == paper
    (folder / "paper/runs/demo").rename(folder / "paper/runs/meld")
    claims.run([("meld", "")])
    assert kept()["meld (frozen)"]["paper"] == "meld"


def test_a_corpus_of_other_labels_is_none_of_the_papers(folder: Path) -> None:
    said = (r"^meld=iemocap: paper/runs/meld/cmath/metrics\.json has the labels neutral, .*, and the paper's iemocap "
            r"has happy, .*: it is another corpus; leave `=iemocap` out")  # fmt: skip
    with pytest.raises(UserError, match=said):
        claims.run([("meld", "iemocap")])
    publish(meld="iemocap")
    with pytest.raises(UserError, match=said):
        claims.run([("meld", "")])
    for file in Path("paper/runs/meld").glob("*/metrics.json"):
        write_metrics(file.parent, 1.0, IEMOCAP, "frozen")
    claims.run([("meld", "")])
    assert kept()["meld (frozen)"]["paper"] == "iemocap"


def test_claims_that_were_kept_and_are_not_there_any_more_are_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    claims.run([("meld", "meld")])
    assert "kept before" not in caplog.text
    shutil.rmtree("paper/studies/meld/ablations")
    shutil.rmtree("paper/studies/meld/gammas")
    claims.run([("meld", "meld")])
    [record] = [one for one in caplog.records if "kept before" in one.message]
    assert record.levelname == "WARNING"
    assert record.message.startswith("meld (frozen): kept before and not any more")
    assert record.message.endswith(": gammas, high_low, hld, lld")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"<<<<<<< HEAD\n{}", "is no JSON"), (b"\xff", "is no JSON"),
     (b"[]", "its content is no map"),
     (b'{"meld": {"claims": {}}}', "lacks the key meld.paper"),
     (b'{"meld": {"paper": "", "claims": {"mr": {"difference": 1, "low": 0, "high": 2}}}}',
      "lacks the key meld.claims.mr.against"),
     (b'{"meld": {"paper": "", "claims": {"mr": {"difference": "1", "low": 0, "high": 2, "against": ""}}}}',
      "the value of meld.claims.mr.difference is no number"),
     (b'{"meld": {"paper": "", "claims": {"mr": {"difference": 1, "low": 0, "high": NaN, "against": ""}}}}',
      "is no JSON"),
     (b'{"meld": {"paper": "", "claims": {"mr": {"difference": 1e999, "low": 0, "high": 2, "against": ""}}}}',
      "is no JSON"),
     (b'{"meld": {"paper": "", "claims": {"mr": {"difference": 1%s, "low": 0, "high": 2, "against": ""}}}}'
      % (b"0" * 400),
      "is no JSON"),
     (b'{"meld": {"paper": "", "claims": {"mr": {"difference": 1, "low": 0, "high": null, "against": ""}}}}',
      "meld.claims.mr: low and high are not both numbers or both null"),
     (b'{"meld": {"paper": "", "claims": {"mr": {"difference": 1, "low": 0, "high": 2, "against": "", "seen": [5]}}}}',
      "meld.claims.mr: seen is no list of texts"),
     (b'{"meld": {"paper": "", "claims": {"mr": {"difference": 1, "low": 0, "high": 2, "against": "", "seen": 5}}}}',
      "meld.claims.mr: seen is no list of texts")],
)  # fmt: skip
def test_kept_claims_that_are_lost_or_broken_are_restored_from_git(
    folder: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, said: str
) -> None:
    monkeypatch.setattr("sys.argv", ["paper.claims"])
    page = claims.PAGE.read_bytes()
    if content is not None:
        claims.SCORES.write_bytes(content)
    with pytest.raises(
        SystemExit, match=rf"^error: {claims.SCORES}: {said}; `git restore {claims.SCORES}` brings back"
    ):
        claims.main()
    assert claims.PAGE.read_bytes() == page


def test_a_run_that_is_broken_is_said(folder: Path) -> None:
    (folder / "paper/studies/meld/widths/100/metrics.json").write_text("{")
    with pytest.raises(UserError, match=r"^paper/studies/meld/widths/100/metrics\.json: is no JSON; `dvc repro paper"):
        claims.run([("meld", "meld")])


def test_verdicts_of_several_corpora_stand_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    up, down = ({"difference": one, "low": one - 0.5, "high": one + 0.5, "seeds": 5, "utterances": 9, "against": ""}
                for one in (1.0, -1.0))  # fmt: skip
    kept = {"x": {"paper": "meld", "claims": {"mr": up}}, "y": {"paper": "", "claims": {"mr": down}},
            "z": {"paper": "", "claims": {"mr": {**up, "seen": ["text: was taught"]}}}}  # fmt: skip
    found = lines(kept)
    [row] = [line for line in found if line.startswith("| Reconstructing")]
    assert row.endswith("| **holds** on x, z; **does not** on y | +1.29, +0.33 | **+1.00 (0.50 to 1.50)**\\* | "
                        "**-1.00 (-1.50 to -0.50)** | **+1.00 (0.50 to 1.50)**† |")  # fmt: skip
    assert found[-1] == "† No fair score; text: was taught."


def test_one_verdict_of_all_corpora_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    level = {"difference": 0.5, "low": -0.5, "high": 1.5, "seeds": 5, "utterances": 9, "against": "SDT"}
    kept = {"x": {"paper": "", "claims": {"mr": level, "best": level}}, "y": {"paper": "", "claims": {"mr": level}}}
    found = {line.split(" | ")[0]: line for line in lines(kept)}
    cells = "+0.50 (-0.50 to 1.50), against SDT"
    assert found["| Reconstructing each modality from its compressed form helps"].endswith(
        f"| **cannot be told** on both | +1.29, +0.33 | {cells} | {cells} |"
    )
    assert found["| CMATH is better than every baseline (against the best one)"].endswith(
        f"| **cannot be told** on x | +3.22, +0.14 | {cells} | not run |"
    )


def test_the_page_has_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    inside = claims.PAGE.read_text("utf-8").partition(claims.MARKS[0])[2].partition(claims.MARKS[1])[0]
    assert inside.strip().splitlines() == lines(claims.read_found())


def test_the_papers_margins_are_differences_of_its_tables() -> None:
    iemocap, meld = (published_margins(corpus, PROJECT / FILE) for corpus in ("iemocap", "meld"))
    assert (iemocap["best"], meld["best"]) == (3.22, 0.14)  # 73.96 - 70.74, 66.93 - 66.79
    assert (iemocap["mr"], meld["whole"]) == (1.29, 0.3)  # 73.96 - 72.67, 66.93 - 66.63
    assert (iemocap["high_low"], meld["text_audio"]) == (2.58, 24.77)  # 73.76 - 71.18, 65.85 - 41.08
    assert published_margins("demo", PROJECT / FILE) == {}
    assert published_best("demo", PROJECT / FILE) is None
    assert {claim.key for claim in CLAIMS} - iemocap.keys() == {"width", "gammas"}


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here")
def test_what_the_paper_says_of_widths_lengths_and_weights_is_typed_in() -> None:
    text = PAPER.read_text("utf-8")
    assert published_best("iemocap", PROJECT / FILE) == (500, (1.0, 1.8))
    assert published_best("meld", PROJECT / FILE) == (400, (1.0, 1.2))
    for part in ("peak when the dimension size equals to 500", "obtained when the dimension size equals to 400",
                 r"\gamma_1 = 1.0$ (1.0) and $\gamma_2 = 1.8$ (1.2) on the IEMOCAP (MELD)",
                 "3.86%, 3.74% and 5.41%, respectively", "4.15%, 2.67% and 4.19% on the three"):  # fmt: skip
        assert part in text
    found = [published_margins(corpus, PROJECT / FILE) for corpus in ("iemocap", "meld")]
    assert [[one[group] for group in ("C1", "C2", "C3")] for one in found] == [[3.86, 3.74, 5.41], [4.15, 2.67, 4.19]]
