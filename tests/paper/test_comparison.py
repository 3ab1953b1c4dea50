"""The table of a corpus' models, of runs whose numbers are written here."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from foundation.errors import UserError
from paper import model_table
from paper.model_table import (
    LEGEND,
    Comparison,
    chosen_table,
    counts,
    edges,
    given,
    legend,
    markdown,
    plain_name,
    read,
    table,
    verdict,
    write_csv,
    write_search,
)
from paper.pictures import draw_comparison
from paper.sections import searched
from pipeline.params import read_yaml
from pipeline.scoring.pictures import save
from tests.paper.small import PROJECT
from tests.paper.test_significance import write_run

CLASSES = ("b", "a")
F1 = {"cmath": 61.5, "ctnet": 58.25, "multidag": 62.75}
SAID = {"cmath": ("bbabbbab", "bbabbbaa"), "ctnet": ("abbbbbab", "aaabbbaa"), "multidag": ("bbabbbab", "bbabbbab")}


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper/published.yaml").write_bytes((PROJECT / "paper/published.yaml").read_bytes())
    for number, model in enumerate(F1):
        folder = write_run(tmp_path / "paper/runs/custom" / model, *SAID[model])
        metrics = {
            "accuracy": 50.0 + number, "accuracy_std": 1.0, "weighted_f1": F1[model], "weighted_f1_std": 2.0 + number,
            "macro_f1": 33.0 + number, "macro_f1_std": 1.5, "calibration_error_calibrated": 2.0 + number,
            "ensemble": {"accuracy": 55.0 + number, "weighted_f1": 65.0 + number, "macro_f1": 35.0 + number,
                         "calibration_error": 6.0 + number, "calibration_error_calibrated": 1.0 + number},
            "oracle_weighted_f1": 70.0 + number, "oracle_weighted_f1_std": 3.0, "calibration_error": 4.0 + number,
            "f1": {"b": 80.0 + number, "a": 40.0 + number}, "f1_std": {"b": 5.0, "a": 6.0}, "seeds": 2,
            "utterances": 8, "majority": {"accuracy": 30.0, "weighted_f1": 20.0, "macro_f1": 10.0},
            "validation": {"weighted_f1": 90.0 + number, "weighted_f1_std": 7.0}, "learning_rate": 0.001,
            "dropout": 0.2, "batch": 16, "weight_decay": 0.0001, "edge": ["batch", "dropout"] if number == 1 else [],
            "parameters": 1_250_000, "seconds": None if number else 60.0,
            "reimplementation": model == "ctnet",
        }  # fmt: skip
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "search.csv").write_text(f"model,learning_rate\n{model},1\n{model},2\n")
    return read("custom", list(F1))


def test_the_best_baseline_is_the_one_that_is_hardest_to_beat(one: Comparison) -> None:
    assert one.best_baseline == "multidag"
    assert set(one.against) == {"ctnet", "multidag"}
    assert one.against["ctnet"]["difference"] > 0
    assert one.against["ctnet"]["p_utterances_holm"] >= one.against["ctnet"]["p_utterances"]
    said = verdict(one)
    assert said.startswith("By weighted F1 CMATH (61.50 ± 2.00) is number 2 of 3; the best baseline is MultiDAG")
    assert "(62.75 ± 4.00)" in said
    assert f"CMATH less that: {one.against['multidag']['difference']:+.2f} points" in said
    assert said.endswith("(p-values after Holm, 2 baselines).")
    assert "is number 1 of 2; the best baseline is CTNet" in verdict(read("custom", ["cmath", "ctnet"]))
    assert verdict(read("custom", ["ctnet", "multidag"])) == "No comparison: it takes CMATH and a baseline."


def test_scores_of_seen_labels_are_marked_in_every_form_of_the_table(one: Comparison, tmp_path: Path) -> None:
    assert "†" not in "\n".join(markdown(one))
    one.runs["ctnet"]["seen"] = ["text: the encoder x has seen labels", "audio: its vectors were taught"]
    one.runs["multidag"]["seen"] = ["text: the encoder x has seen labels"]
    assert [row[0] for row in table(one)[1]][:3] == ["CMATH", "CTNet † (reimplementation)", "MultiDAG †"]
    said = "\n".join(markdown(one))
    assert said.count("† No fair score; text: the encoder x has seen labels.") == 1
    assert "† No fair score; audio: its vectors were taught." in said
    write_csv(one, tmp_path / "comparison.csv")
    with (tmp_path / "comparison.csv").open(encoding="utf-8", newline="") as stream:
        seen = [row["seen"] for row in csv.DictReader(stream)]
    assert seen == ["", "text: the encoder x has seen labels; audio: its vectors were taught",
                    "text: the encoder x has seen labels", ""]  # fmt: skip


def test_each_number_stands_in_its_own_column(one: Comparison, tmp_path: Path) -> None:
    write_csv(one, tmp_path / "comparison.csv")
    with (tmp_path / "comparison.csv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [(row["model"], row["source"], row["reimplementation"]) for row in found] == [
        ("cmath", "here", ""), ("ctnet", "here", "reimplementation"), ("multidag", "here", ""), ("majority", "here", "")
    ]  # fmt: skip
    second = {name: found[1][name] for name in found[1] if found[1][name] and not name.startswith("cmath_")}
    assert second == {
        "corpus": "custom", "model": "ctnet", "source": "here", "reimplementation": "reimplementation", "seeds": "2",
        "accuracy": "51.0",
        "accuracy_std": "1.0", "weighted_f1": "58.25", "weighted_f1_std": "3.0", "oracle_weighted_f1": "71.0",
        "oracle_weighted_f1_std": "3.0", "calibration_error": "5.0", "learning_rate": "0.001", "dropout": "0.2",
        "batch": "16", "weight_decay": "0.0001", "edge": "batch dropout", "parameters": "1250000",
        "macro_f1": "34.0", "macro_f1_std": "1.5", "calibration_error_calibrated": "3.0", "ensemble_accuracy": "56.0",
        "ensemble_weighted_f1": "66.0", "ensemble_macro_f1": "36.0", "ensemble_calibration_error": "7.0",
        "ensemble_calibration_error_calibrated": "2.0",
        "validation_weighted_f1": "91.0", "f1.b": "81.0", "f1_std.b": "5.0", "f1.a": "41.0", "f1_std.a": "6.0",
    }  # fmt: skip
    for name in ("difference", "low", "high", "p_seeds_holm", "p_utterances", "p_utterances_holm"):
        assert float(found[1][f"cmath_{name}"]) == pytest.approx(one.against["ctnet"][name], abs=1e-6)
        assert found[0][f"cmath_{name}"] == ""
    assert (found[3]["accuracy"], found[3]["weighted_f1"]) == ("30.0", "20.0")


def test_the_table_has_logistic_regression_and_the_encoder_alone(one: Comparison, tmp_path: Path) -> None:
    for name, said, score in (("logistic", "bbabbbaa", 58.0), ("encoder", "bbbbbbbb", 50.0)):
        folder = write_run(tmp_path / "paper/plain/custom" / name, said)
        metrics = {
            "accuracy": 60.0, "weighted_f1": score, "macro_f1": 41.0, "f1": {"b": 70.0, "a": 12.5}, "seeds": 1,
            "modalities": ["text", "audio"], "calibration_error": 9.5, "validation_weighted_f1": 61.0,
            "seen": ["text: the encoder x has seen labels"] if name == "encoder" else [],
        }  # fmt: skip
        (folder / "metrics.json").write_text(json.dumps(metrics))
    found = read("custom", ["cmath", "ctnet"])
    assert list(found.plain) == list(found.beside) == ["logistic", "encoder"]
    assert set(found.against) == {"ctnet"}  # Holm's correction of the baselines counts the baselines alone
    page = "\n".join(markdown(found))
    assert "| logistic regression (text + audio) | 60.00 | 58.00 | 41.00 | 70.00 | 12.50 |  |  | 9.50 |  |  |" in page
    assert "| fine-tuned text encoder alone † | 60.00 | 50.00 |" in page
    assert "† No fair score; text: the encoder x has seen labels." in page
    difference = found.beside["logistic"]["difference"]
    assert f"CMATH less the logistic regression (text + audio): {difference:+.2f} points (95 %" in verdict(found)
    write_csv(found, tmp_path / "comparison.csv")
    with (tmp_path / "comparison.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["model"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["cmath", "ctnet", "logistic", "encoder", "majority"]
    assert (rows["logistic"]["weighted_f1"], rows["logistic"]["f1.a"]) == ("58.0", "12.5")
    assert rows["logistic"]["cmath_difference"] == str(difference)
    assert rows["logistic"]["cmath_p_seeds"] == ""
    assert plain_name("encoder", {}) == "fine-tuned text encoder alone"


def test_the_table_to_read_has_the_same_numbers(one: Comparison) -> None:
    head, rows = table(one)
    assert head[3:9] == ["macro F1", "b", "a", "oracle", "seeds as one", "calibration error"]
    assert rows[1][1:] == ["51.00 ± 1.00", "58.25 ± 3.00", "34.00 ± 1.50", "81.00 ± 5.00", "41.00 ± 6.00",
                           "71.00 ± 3.00", "66.00", "5.00", "1.2 M", ""]  # fmt: skip
    assert rows[3][:5] == ["majority-class baseline", "30.00", "20.00", "10.00", ""]
    assert all(len(row) == len(head) for row in rows)
    assert counts(one.runs["cmath"]) == "Test, 8 utterances; percent, mean and standard deviation of 2 seeds."


def test_whose_search_ended_at_an_edge_is_said(one: Comparison) -> None:
    assert edges(one).startswith(
        "At the edge of what the search tried lies the chosen point of CTNet (batch, dropout): with"
    )
    assert edges(read("custom", ["cmath", "multidag"])) == "No chosen point lies at the edge of what its search tried."
    assert legend(one) == LEGEND
    for said in (legend(one), edges(one)):
        assert said in "\n".join(markdown(one))


def test_the_chosen_points_stand_beside_cmaths_differences(one: Comparison) -> None:
    plain = {"validation_weighted_f1": 88.25, "weighted_f1": 58.0, "modalities": ["text"]}
    against = {"difference": 3.25, "low": 1.0, "high": 5.5, "p_seeds_holm": 0.0312, "p_utterances_holm": 0.0498}
    one.against.update(ctnet=against, multidag={**against, "difference": -1.25, "p_seeds_holm": 0.0501})
    one.runs["multidag"] |= {"learning_rate": 3e-05, "dropout": 0.0, "batch": 8}
    beside = {**against, "p_seeds_holm": None, "low": -9.5}
    head, rows = chosen_table(replace(one, plain={"logistic": plain}, beside={"logistic": beside}))
    assert [len(row) for row in rows] == [len(head)] * 4
    assert rows == [
        ["CMATH", "0.001", "0.2", "16", "90.00", "61.50", "", "", "", "", ""],
        ["CTNet", "0.001", "0.2", "16", "91.00", "58.25", "+3.25", "1.00 to 5.50", "0.0312", "0.0498", "yes"],
        ["MultiDAG", "3e-05", "0", "8", "92.00", "62.75", "-1.25", "1.00 to 5.50", "0.0501", "0.0498", "no"],
        ["logistic regression (text)", "", "", "", "88.25", "58.00", "+3.25", "-9.50 to 5.50", "", "0.0498", ""],
    ]
    assert chosen_table(read("custom", ["ctnet"]))[1][0][5:] == ["58.25", "", "", "", "", ""]


def test_all_that_was_tried_is_kept_under_one_head(one: Comparison, tmp_path: Path) -> None:
    write_search(one, tmp_path / "search.csv")
    lines = (tmp_path / "search.csv").read_text().splitlines()
    assert lines == ["model,learning_rate", *(f"{model},{point}" for model in F1 for point in (1, 2))]


def test_scores_of_a_search_that_were_given_are_counted(one: Comparison) -> None:
    assert given(one) == []
    for number, model in enumerate(F1):
        lines = [f"{model},{point},{'yes' if point <= number else ''}" for point in (1, 2)]
        Path(f"paper/runs/custom/{model}/search.csv").write_text("\n".join(["model,learning_rate,given", *lines, ""]))
    (said,) = given(one)
    assert said.startswith(
        "3 of the 6 scores of the searches were not trained for here, but read from an earlier search"
    )
    assert markdown(one)[-2].endswith(said)
    assert said in searched(one).seen


def test_the_papers_own_gap_is_told_beside_ours(one: Comparison) -> None:
    printed = {"cmath": {"weighted_f1": 66.5}, "ctnet": {"weighted_f1": 60.5}, "multidag": {"weighted_f1": 64.0}}
    said = verdict(model_table.Comparison("custom", "custom", one.runs, 9, printed, one.against))
    assert "The paper's Table 9 has CMATH +2.50 points from its best baseline, MultiDAG" in said


def test_the_picture_shows_what_needs_no_model_and_nothing_is_cut_off(
    one: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr("paper.pictures.save", lambda figure, file: (figures.append(figure), save(figure, file)))
    plain = {"logistic": {"weighted_f1": 59.75, "modalities": ["text", "audio"]}, "encoder": {"weighted_f1": 58.5}}
    draw_comparison(replace(one, plain=plain, published={"ctnet": {"weighted_f1": 60.5}}), tmp_path / "one.png")
    [axes] = figures[0].axes
    lines = {str(line.get_label()): line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]}
    assert lines == {"majority-class baseline 20.0": 20.0, "logistic regression (text + audio) 59.8": 59.75,
                     "fine-tuned text encoder alone 58.5": 58.5}  # fmt: skip
    assert {text.get_text() for text in figures[0].legends[0].get_texts()} == {*lines, "as the paper prints it"}
    picture = plt.imread(tmp_path / "one.png")
    edges = [picture[0], picture[-1], picture[:, 0], picture[:, -1]]
    assert all((edge == 1).all() for edge in edges), "something is cut off: the title, most likely"
    draw_comparison(one, tmp_path / "none.png")
    assert [text.get_text() for text in figures[1].legends[0].get_texts()] == ["majority-class baseline 20.0"]


def test_a_corpus_may_be_the_papers_under_another_name(one: Comparison) -> None:
    assert (one.table, one.published) == (None, {})
    file = Path("paper/published.yaml")
    content = read_yaml(file)
    rows = {"cmath": [30.0, 80.0, 66.0, 65.5], "ctnet": [20.0, 70.0, 60.0, 64.0]}
    content["comparison"]["iemocap"] = {"table": 2, "classes": ["a", "b"], "rows": rows}
    file.write_text(json.dumps(content))
    found = read("custom", list(F1), "iemocap")
    assert (found.corpus, found.printed, found.table) == ("custom", "iemocap", 2)
    assert found.published["cmath"] == {"accuracy": 66.0, "weighted_f1": 65.5, "f1": {"a": 30.0, "b": 80.0}}
    said = verdict(found)
    assert "The paper's Table 2 has CMATH +1.50 points from its best baseline, CTNet" in said
    assert said.endswith("a copy of the corpus with 8 utterances in test, where the paper's has 1623.")
    with pytest.raises(
        UserError, match=r"report\.published: custom has the labels b, a, and the paper's meld has neutral"
    ):
        read("custom", list(F1), "meld")


AGAIN = r".*; `dvc repro paper/dvc.yaml` makes it anew"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"{", "is no JSON"), (b'{"a": "\xff"}', "is no JSON"), (b"[]", "its content is no map"),
     (b"[" * 100_000, "is no JSON"), (b"{}", "lacks the key accuracy")],
)  # fmt: skip
@pytest.mark.parametrize("run", ["runs/custom/ctnet", "plain/custom/logistic"])
def test_a_run_that_is_missing_or_broken_is_said_with_the_remedy(
    one: Comparison, run: str, content: bytes | None, said: str
) -> None:
    file = Path("paper", run, "metrics.json")
    if content is None and "plain" in run:  # of a corpus with a single class there is none
        assert not one.plain
        return
    if content is None:
        file.unlink()
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    with pytest.raises(UserError, match=rf"^paper/{run}/metrics\.json: {said}{AGAIN}"):
        read("custom", list(F1))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"validation": {}}, "lacks the key validation.weighted_f1"), ({"ensemble": 3}, "lacks the key ensemble.accuracy"),
     ({"weighted_f1": "61"}, "the value of weighted_f1 is no number"), ({"edge": None}, "the value of edge is no list"),
     ({"f1": {"b": 80.0}}, "f1 has no number of the class 'a'"), ({"f1_std": {"a": 1.0}}, "f1_std has no number of")],
)  # fmt: skip
def test_a_value_that_a_run_lacks_is_named(one: Comparison, change: dict[str, object], said: str) -> None:
    Path("paper/runs/custom/multidag/metrics.json").write_text(json.dumps(one.runs["multidag"] | change))
    with pytest.raises(UserError, match=rf"^paper/runs/custom/multidag/metrics\.json: {said}{AGAIN}"):
        read("custom", list(F1))


def test_models_of_different_labels_are_no_table(one: Comparison) -> None:
    more = {"f1": {"b": 1.0, "a": 1.0, "c": 1.0}, "f1_std": {"b": 1.0, "a": 1.0, "c": 1.0}}
    Path("paper/runs/custom/multidag/metrics.json").write_text(json.dumps(one.runs["multidag"] | more))
    with pytest.raises(UserError, match=rf"^paper/runs/custom/cmath/metrics\.json: f1 has no number .* 'c'{AGAIN}"):
        read("custom", list(F1))


def test_a_run_without_predictions_is_said(one: Comparison) -> None:
    Path("paper/runs/custom/ctnet/predictions.csv").unlink()
    with pytest.raises(UserError, match=rf"^paper/runs/custom/ctnet/predictions\.csv: no such file{AGAIN}"):
        read("custom", list(F1))


def test_models_of_different_numbers_of_seeds_are_no_table(one: Comparison) -> None:
    Path("paper/runs/custom/ctnet/metrics.json").write_text(json.dumps(one.runs["ctnet"] | {"seeds": 5}))
    with pytest.raises(
        UserError,
        match=r"^paper/runs/custom: the models of one table have different numbers of seeds \(cmath 2, ctnet 5, "
        r"multidag 2\); `dvc repro paper/dvc.yaml` trains all with report.seeds of paper/params.yaml",
    ):
        read("custom", list(F1))
    assert counts(read("custom", ["cmath", "multidag"]).runs["cmath"]).endswith("of 2 seeds.")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, ": no such file"), ("", ": has no column model"), ("model,learning_rate\n", ": has no rows"),
     ("model,learning_rate\nctnet\n", ", line 2: has more or fewer fields"),
     ("model,learning_rate,x\nctnet,1,2\n", ": has the columns of another version")],
)  # fmt: skip
def test_a_search_that_is_missing_or_broken_is_said(
    one: Comparison, tmp_path: Path, content: str | None, said: str
) -> None:
    file = Path("paper/runs/custom/ctnet/search.csv")
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(UserError, match=rf"^paper/runs/custom/ctnet/search\.csv{said}{AGAIN}"):
        write_search(one, tmp_path / "search.csv")
    assert not (tmp_path / "search.csv").exists()
