"""What `dvc plots` draws: the tables that evaluate writes, the templates and the page, drawn by a real browser."""

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from dvc_render import VegaRenderer, render_html
from dvc_render.vega_templates import TEMPLATES
from ruamel.yaml import YAML

from pipeline.calibration import Answer, Kept
from pipeline.scoring.tables import write_class_scores, write_confusion, write_coverage, write_reliability
from tests.pipeline.browser import opened
from tests.pipeline.calibrated import uncalibrated

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
PLOTS = PROJECT / ".dvc/plots"
STAGES = YAML(typ="safe").load((PROJECT / "dvc.yaml").read_text())["stages"]
DRAWN = {
    Path(path).name: properties
    for name in ("train", "evaluate")
    for plot in STAGES[name]["plots"]
    for path, properties in plot.items()
}
"""What dvc.yaml says of each table of a model that is drawn, by the table's name."""
CLASSES = ("neutral", "joy", "anger", "fear")
"""Not in the order of the alphabet: pictures must keep it."""
LABEL = np.array([0, 0, 0, 0, 1, 1, 2])
TRUTH = [0, 0, 0, 1, 0, 1, 0, 0]
RAW = np.array([0.99, 0.99, 0.98, 0.98, 0.85, 0.85, 0.6, 0.6])
"""Confidence of class 0 before calibration; after it, what is over 0.5 is halved."""
SAID = Answer(*(np.stack([one, 1 - one], axis=1) for one in (RAW, 0.25 + RAW / 2)), np.zeros(8, int))
CALIBRATION = uncalibrated([0], 2).model_copy(
    update={
        "coverage": [Kept(threshold=0.6, coverage=0.625, risk=0.2), Kept(threshold=0.0, coverage=1.0, risk=0.333333)]
    }
)
BOXES = ("history_csv", "classes_csv", "confusion_csv", "coverage_csv", "reliability_csv")
PREDICTIONS = [np.array([0, 0, 1, 1, 1, 1, 0]), np.array([0, 0, 0, 1, 1, 0, 0])]
"""Two seeds; anger is never predicted, fear neither annotated nor predicted."""


def read(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_tables(folder: Path, seeds: int = 2) -> None:
    write_confusion(LABEL, PREDICTIONS, CLASSES, folder / "confusion.csv")
    scores = {"f1": dict.fromkeys(CLASSES, 40.0), "f1_std": dict.fromkeys(CLASSES, 2.0)}
    write_class_scores(scores, CLASSES, folder / "classes.csv")
    lines = [
        f"{seed},{epoch},{5 - epoch},{40 + seed + 10 * (epoch == 2)}" for seed in range(seeds) for epoch in (1, 2, 3)
    ]
    write_reliability(SAID, np.array(TRUTH), folder / "reliability.csv")
    left = [{"threshold": 0.6, "coverage": 50.0, "risk": 12.5}, {"threshold": 0.0, "coverage": 100.0, "risk": 37.5}]
    write_coverage(CALIBRATION, left, folder / "coverage.csv")
    (folder / "history.csv").write_text("\n".join(["seed,epoch,loss,validation_weighted_f1", *lines]) + "\n")


def test_every_pair_of_classes_has_its_share_of_the_annotated_class(tmp_path: Path) -> None:
    write_confusion(LABEL, PREDICTIONS, CLASSES, tmp_path / "confusion.csv")
    found = {(row["label"], row["prediction"]): row for row in read(tmp_path / "confusion.csv")}
    assert list(found) == [(label, predicted) for label in CLASSES for predicted in CLASSES]
    shares = {pair: float(row["share"]) for pair, row in found.items()}
    expected = {
        ("neutral", "neutral"): 62.5,  # 2 and 3 of 4
        ("neutral", "joy"): 37.5,
        ("joy", "joy"): 75.0,  # 2 and 1 of 2
        ("joy", "neutral"): 25.0,
        ("anger", "neutral"): 100.0,
    }
    assert shares == dict.fromkeys(found, 0.0) | expected
    for label, total in zip(CLASSES, (100, 100, 100, 0), strict=True):
        assert sum(shares[label, predicted] for predicted in CLASSES) == total
    assert float(found["neutral", "joy"]["utterances"]) == 1.5
    assert sum(float(row["utterances"]) for row in found.values()) == len(LABEL)


def test_accuracy_stands_by_confidence_before_and_after(tmp_path: Path) -> None:
    write_reliability(SAID, np.array(TRUTH), tmp_path / "reliability.csv")
    found = [tuple(row.values()) for row in read(tmp_path / "reliability.csv")]
    # Ten bins; after calibration 0.745, 0.74, 0.675 and 0.55.
    assert found == [
        ("before", "60.0", "100.0", "2"), ("before", "85.0", "50.0", "2"), ("before", "98.5", "75.0", "4"),
        ("after", "55.0", "100.0", "2"), ("after", "67.5", "50.0", "2"), ("after", "74.25", "75.0", "4"),
    ]  # fmt: skip


def test_coverage_of_validation_and_of_test_stand_under_one_another(tmp_path: Path) -> None:
    write_tables(tmp_path)
    assert (tmp_path / "coverage.csv").read_text().splitlines() == [
        "split,threshold,coverage,risk", "validation,0.6,62.5,20.0", "validation,0.0,100.0,33.33", "test,0.6,50.0,12.5",
        "test,0.0,100.0,37.5",
    ]  # fmt: skip


def test_the_page_asks_for_nothing_that_is_not_in_git() -> None:
    page = (PLOTS / "page.html").read_text()
    assert not re.findall(r"https?:|//cdn|@import", page)
    scripts = re.findall(r'<script src="([^"]+)"', page)
    assert len(scripts) == 1
    assert 'name="viewport"' in page
    for script in scripts:
        file = (PROJECT / "dvc_plots" / script).resolve()
        assert 100_000 < file.stat().st_size < 1_000_000
        if (PROJECT / ".git").exists():
            subprocess.run(["git", "ls-files", "--error-unmatch", str(file)], cwd=PROJECT, check=True)


@pytest.mark.parametrize("stage", STAGES)
def test_templates_are_there_and_titles_name_corpus_and_model(stage: str) -> None:
    ours = {template.DEFAULT_NAME for template in TEMPLATES}
    for plot in STAGES[stage].get("plots", []):
        if isinstance(plot, str):
            continue  # a picture
        (properties,) = plot.values()
        model = "face encoder" if stage == "train_face" else "${model.name}"
        assert properties["title"].startswith(f"${{item.dataset}}, {model}: ")
        if properties["template"] in ours:
            continue
        text = (PLOTS / f"{properties['template']}.json").read_text()
        assert isinstance(json.loads(text), dict)
        for anchor in ("data", "title", "x", "y", "x_label", "y_label"):
            assert f"<DVC_METRIC_{anchor.upper()}>" in text


def test_the_map_of_a_machine_is_no_output() -> None:
    assert "tsne" not in (PROJECT / "dvc.yaml").read_text()


def write_page(folder: Path, revisions: tuple[str, ...], seeds: int) -> Path:
    """The page as DVC writes it, of the same tables in every revision."""
    write_tables(folder, seeds)
    shutil.copytree(PLOTS, folder / ".dvc/plots")
    renderers = []
    for name, properties in DRAWN.items():
        title = properties["title"].replace("${item.dataset}", "meld").replace("${model.name}", "sdt")
        rows = [{**row, "rev": revision} for revision in revisions for row in read(folder / name)]
        chosen = {**properties, "title": title, "template_dir": str(folder / ".dvc/plots")}
        renderers.append(VegaRenderer(rows, name, **chosen))
    page = folder / "dvc_plots/index.html"
    render_html(renderers, page, folder / ".dvc/plots/page.html")
    return page


TEXTS = "(box) => [...document.querySelectorAll(`#${box} svg.marks text`)].map((text) => text.textContent)"
AXES = """(box) => [...document.querySelectorAll(`#${box} .role-axis`)].map((axis) =>
    [...axis.querySelectorAll('.role-axis-label text')].map((text) => text.textContent))"""
LINES = """[...document.querySelectorAll('#history_csv .mark-line path')].map((line) =>
    [line.getAttribute('stroke'), line.getAttribute('stroke-dasharray')])"""
COVERED = """[...document.querySelectorAll('svg.marks')].flatMap((svg) => {
    const boxes = (chosen) => [...svg.querySelectorAll(chosen)].map((one) => one.getBoundingClientRect());
    const under = boxes('.role-mark, .role-axis, .role-title, .role-column-header, .role-row-header');
    return boxes('.role-legend').filter((a) => a.width && under.some((b) =>
        b.width && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
}).length"""


def test_one_revision_is_drawn_whole_and_without_network(tmp_path: Path) -> None:
    page = write_page(tmp_path, ("workspace",), seeds=5)
    with opened(page.as_uri()) as (tab, asked):
        tab.wait_for_function("document.querySelectorAll('svg.marks').length == 5")
        assert all(address.startswith("file:") for address in asked), asked
        for box, title in (
            ("history_csv", "meld, sdt: training, one line per seed"),
            ("classes_csv", "meld, sdt: F1 per class on test"),
            ("confusion_csv", "meld, sdt: confusion on test"),
            ("coverage_csv", "meld, sdt: wrong answers if only sure ones are kept"),
            ("reliability_csv", "meld, sdt: how sure and how often right on test"),
        ):
            assert title in tab.evaluate(TEXTS, box)
        assert tab.evaluate(AXES, "confusion_csv").count(list(CLASSES)) == 2
        assert list(CLASSES) in tab.evaluate(AXES, "classes_csv")
        assert ["0", "20", "40", "60", "80", "100"] in tab.evaluate(AXES, "classes_csv")
        cells = [text for text in tab.evaluate(TEXTS, "confusion_csv") if text in {"63", "38", "75", "25"}]
        assert sorted(cells) == ["25", "38", "63", "75"]
        lines = tab.evaluate(LINES)
        assert len(lines) == 10  # of score and loss
        assert len({stroke for stroke, _ in lines}) == len({dashes for _, dashes in lines}) == 5
        assert ["0", "20", "40", "60", "80", "100"] in tab.evaluate(AXES, "reliability_csv")
        assert {"calibration", "before", "after", "right answers, %"} <= set(tab.evaluate(TEXTS, "reliability_csv"))
        assert {"split", "validation", "test", "wrong ones of these, %"} <= set(tab.evaluate(TEXTS, "coverage_csv"))
        assert tab.locator("#reliability_csv .mark-symbol.role-mark path").count() == 6
        assert tab.locator("#reliability_csv .mark-line.role-mark path").count() == 2
        assert tab.locator("#reliability_csv .mark-rule.role-mark line").count() == 1  # as sure as right
        assert tab.locator("#coverage_csv .mark-symbol.role-mark path").count() == 4
        assert {"training loss", "weighted F1 on validation, %", "seed"} <= set(tab.evaluate(TEXTS, "history_csv"))
        assert tab.evaluate(COVERED) == 0
        assert "workspace" not in tab.evaluate(TEXTS, "confusion_csv")


def test_two_revisions_are_kept_apart_and_fit_a_phone(tmp_path: Path) -> None:
    page = write_page(tmp_path, ("HEAD", "workspace"), seeds=2)
    with opened(page.as_uri()) as (tab, asked):
        tab.wait_for_function("document.querySelectorAll('svg.marks').length == 5")
        wide = tab.locator("#confusion_csv svg.marks").bounding_box()
        tab.set_viewport_size({"width": 390, "height": 844})
        tab.reload()
        tab.wait_for_function("document.querySelectorAll('svg.marks').length == 5")
        assert not [address for address in asked if not address.startswith("file:")]
        for box in BOXES:
            said = tab.evaluate(TEXTS, box)
            assert {"HEAD", "workspace"} <= set(said)
            assert "the model named here is that of HEAD" in "\n".join(said)
        assert len(tab.evaluate(LINES)) == 8
        narrow = tab.locator("#confusion_csv svg.marks").bounding_box()
        assert narrow["width"] < wide["width"]
        assert narrow["height"] > 1.5 * wide["height"]
        for box in BOXES:
            assert tab.locator(f"#{box} svg.marks").bounding_box()["width"] <= 374
        assert tab.evaluate(COVERED) == 0
        tab.evaluate("document.querySelector('#confusion_csv svg.marks').style.width = '900px'")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390  # it scrolls in its own box
