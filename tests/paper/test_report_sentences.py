"""What the report's sentences and pictures say of runs whose predictions are written here, held against scikit-learn.

Each variant of CMATH is wrong in another number of utterances, so the best, the worst and every order are known.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sklearn.metrics import f1_score

from extractors.utterance import Utterance
from paper import sections, study_sections
from paper.model_table import Comparison, read
from paper.pictures import draw_comparison
from paper.sections import Damage
from pipeline.scoring.pictures import draw_confusion
from tests.paper.small import PROJECT

CLASSES = ("joy", "anger", "neutral")
LABELS = [CLASSES[place % 3] for place in range(90)]
NEXT = {"joy": "anger", "anger": "neutral", "neutral": "joy"}


def told(wrong: int) -> list[str]:
    """The labels, of which the first `wrong` are taken for the next class."""
    return [NEXT[label] if place < wrong else label for place, label in enumerate(LABELS)]


def f1(wrong: int) -> float:
    return 100 * float(f1_score(LABELS, told(wrong), average="weighted"))


def write_run(folder: Path, *wrong: int, oracle: float = 0.0, error: float = 5.0) -> Path:
    """A run with a seed for each number of wrong utterances, and a metrics.json that fits."""
    folder.mkdir(parents=True)
    lines = [f"u{place},{seed},{label},{said}" for seed, one in enumerate(wrong)
             for place, (label, said) in enumerate(zip(LABELS, told(one), strict=True))]  # fmt: skip
    (folder / "predictions.csv").write_text("\n".join(["utterance_id,seed,label,prediction", *lines]) + "\n")
    scores = [f1(one) for one in wrong]
    score, deviation = mean(scores), stdev(scores) if len(scores) > 1 else 0.0
    ensemble = dict.fromkeys(("accuracy", "weighted_f1", "macro_f1", "calibration_error"), score)
    metrics = {
        "accuracy": 50.0, "accuracy_std": 9.0, "weighted_f1": score, "weighted_f1_std": deviation, "macro_f1": 40.0,
        "macro_f1_std": 1.0, "oracle_weighted_f1": score + oracle, "oracle_weighted_f1_std": 1.0,
        "calibration_error": 7.0, "calibration_error_calibrated": 6.0, "validation": {"weighted_f1": 60.0},
        "majority": {"accuracy": 30.0, "weighted_f1": 20.0, "macro_f1": 10.0}, "learning_rate": 0.001, "dropout": 0.2,
        "batch": 4, "weight_decay": 0.0, "parameters": 10, "seeds": len(wrong), "utterances": len(LABELS),
        "reimplementation": False, "ensemble": ensemble | {"calibration_error_calibrated": error},
        "f1": dict.fromkeys(CLASSES, 50.0), "f1_std": dict.fromkeys(CLASSES, 1.0), "edge": [], "seconds": None,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    bins = [f"{when},90,{wrong[0]},9" for when in ("before", "after")]
    (folder / "reliability.csv").write_text("\n".join(["calibration,confidence,accuracy,utterances", *bins]) + "\n")
    return folder


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    """CMATH with 10 and 13 wrong utterances, two baselines, and CMATH's studies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.scoring.scores.RESAMPLES", 200)
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper/published.yaml").write_bytes((PROJECT / "paper/published.yaml").read_bytes())
    write_run(Path("paper/runs/custom/cmath"), 10, 13, oracle=0.5, error=4.0)
    write_run(Path("paper/runs/custom/ctnet"), 16, 17, oracle=2.25, error=3.0)
    write_run(Path("paper/runs/custom/multidag"), 40, 43, oracle=1.0, error=9.0)
    return read("custom", ["cmath", "ctnet", "multidag"])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that are drawn, as long as the test runs."""
    figures: list[Figure] = []
    for module in ("paper.pictures", "pipeline.scoring.pictures"):
        monkeypatch.setattr(f"{module}.save", lambda figure, _: figures.append(figure))
    yield figures
    plt.close("all")


def variants(study: str, **wrong: tuple[int, ...]) -> dict[str, Path]:
    home = Path("paper/studies/custom") / study
    return {name: write_run(home / name, *counts) for name, counts in wrong.items()}


def less(ours: tuple[int, ...], other: tuple[int, ...]) -> str:
    """The difference of two runs, as it is printed."""
    return f"{mean(map(f1, ours)) - mean(map(f1, other)):+.2f} points"


def test_the_ablation_that_costs_most_is_named(one: Comparison) -> None:
    found = study_sections.ablations(one, variants("ablations", mr=(12, 15), cma_t=(51, 54), lld=(8, 9), hd=(30, 33)))
    assert found.seen[0] == (
        "Beyond chance CMATH is better than 2 of 4 variants: without the CMA-Transformer, without any distillation."
    )
    assert found.seen[1].startswith(
        f"Furthest behind CMATH is the model without the CMA-Transformer: CMATH less that, {less((10, 13), (51, 54))} ("
    )
    cells = {row[0]: row[3] for row in found.rows}
    assert cells["without low-level distillation"] == less((10, 13), (8, 9)).removesuffix(" points")
    assert cells["without any distillation"] == less((10, 13), (30, 33)).removesuffix(" points")


def test_the_best_smaller_set_is_named_and_single_modalities_are_ranked(one: Comparison) -> None:
    sets = {"audio": (40, 42), "text": (20, 22), "visual": (60, 62), "text+audio": (14, 17), "text+visual": (18, 19)}
    found = study_sections.modality_sets(one, variants("modalities", **sets))
    assert found.seen[0].startswith(
        f"The best set but the whole is text + audio ({mean(map(f1, (14, 17))):.2f}); the whole less that: "
        f"{less((10, 13), (14, 17))} ("
    )
    values = {name: f"{mean(map(f1, counts)):.2f}" for name, counts in sets.items()}
    assert found.seen[1] == (
        f"Alone, text ({values['text']}), then audio ({values['audio']}), then visual ({values['visual']})."
    )


def test_the_best_width_is_held_against_the_worst(one: Comparison, drawn: list[Figure]) -> None:
    sizes = {"20": (30, 32), "40": (9, 11), "60": (50, 51)}
    found = study_sections.widths(one, variants("widths", **sizes), Path("figures"))
    spread = stdev(map(f1, sizes["40"]))
    assert found.seen[0].startswith(
        f"Best on test is 40 ({mean(map(f1, sizes['40'])):.2f} ± {spread:.2f}); less the worst, 60: "
        f"{less(sizes['40'], sizes['60'])} ("
    )
    [axes] = drawn[0].axes
    assert axes.lines[0].get_xydata().tolist() == pytest.approx(
        np.array([[int(name), mean(map(f1, counts))] for name, counts in sizes.items()])
    )
    assert reach(axes) == pytest.approx([stdev(map(f1, counts)) for counts in sizes.values()])


def reach(axes: plt.Axes, bars: int = 0) -> list[float]:
    """Half the length of each error bar."""
    return [float(np.ptp(line, axis=0).max()) / 2 for line in axes.containers[bars].lines[2][0].get_segments()]


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_the_best_pair_of_weights_is_named_and_stands_in_its_row_and_column(
    one: Comparison, drawn: list[Figure], seeds: list[int]
) -> None:
    counts = {"0.5-0.5": 30, "0.5-1": 9, "1-0.5": 44, "1-1": 21}
    folders = variants("gammas", **{name: (wrong, wrong + 2)[: len(seeds)] for name, wrong in counts.items()})
    scores = {name: mean(f1(wrong + 2 * seed) for seed in seeds) for name, wrong in counts.items()}
    report = type("Report", (), {})()
    report.studies = type("Studies", (), {"gammas": [0.5, 1.0], "gamma_seeds": seeds})()
    [said] = study_sections.gammas(one, folders, report, Path("figures")).seen
    assert said == (
        f"Best on test is gamma1 = 0.5, gamma2 = 1 ({scores['0.5-1']:.2f}); best and worst of the 4 lie "
        f"{scores['0.5-1'] - scores['1-0.5']:.2f} points apart, where the seeds of one setting deviate by "
        f"{stdev(map(f1, (10, 13))):.2f}; seeds a setting: {len(seeds)}."
    )
    axes = drawn[0].axes[0]
    assert "γ2" in axes.get_xlabel()
    assert "γ1" in axes.get_ylabel()
    at = {text.get_position(): text.get_text() for text in axes.texts}
    assert at[1, 0].startswith(f"{scores['0.5-1']:.1f}")  # gamma2, to the right, is 1; gamma1, upwards, is 0.5
    assert at[0, 1].startswith(f"{scores['1-0.5']:.1f}")
    assert all(("±" in text) == (len(seeds) > 1) for text in at.values())


def test_what_the_oracle_would_have_added_is_said_of_both_ends(one: Comparison, drawn: list[Figure]) -> None:
    found = sections.compared(one, Path("figures"))
    assert found.seen[1] == (
        "Choosing the epoch on test would have flattered the models, by 0.50 (CMATH) to 2.25 points (CTNet)."
    )
    for run in one.runs.values():
        run["calibration"] = {"decision": "balanced"}
    # The oracle's classes are not adjusted, so the gap is of two things at once.
    assert sections.compared(one, Path("figures")).seen[1].startswith("The *oracle* is of the likeliest classes, ")


def test_the_bars_of_the_comparison_are_deviations_of_weighted_f1(one: Comparison, drawn: list[Figure]) -> None:
    draw_comparison(one, Path("comparison.png"))
    [axes] = drawn[0].axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["MultiDAG", "CTNet", "CMATH"]
    for height, wrong in enumerate([(40, 43), (16, 17), (10, 13)]):
        assert reach(axes, height) == pytest.approx([stdev(map(f1, wrong))])
        assert axes.containers[height].lines[0].get_xdata()[0] == pytest.approx(mean(map(f1, wrong)))


def test_mistakes_are_counted_by_what_was_said(one: Comparison, drawn: list[Figure]) -> None:
    folder = Path("paper/runs/custom/cmath")
    said = ["neutral" if label == "joy" else "joy" if place < 6 else label for place, label in enumerate(LABELS)]
    lines = [f"u{place},0,{label},{one}" for place, (label, one) in enumerate(zip(LABELS, said, strict=True))]
    (folder / "predictions.csv").write_text("\n".join(["utterance_id,seed,label,prediction", *lines]) + "\n")
    [sentence] = sections.confusions(one, Path("figures")).seen
    wrong = Counter((label, one) for label, one in zip(LABELS, said, strict=True) if label != one)
    assert wrong == {("joy", "neutral"): 30, ("anger", "joy"): 2, ("neutral", "joy"): 2}
    assert sentence == (
        "The most frequent mistake is joy taken for neutral (88 % of all mistakes); most mistakes fall into neutral "
        "(88 %)."
    )


def test_the_colour_of_a_confusion_is_a_share_of_the_annotated_class(drawn: list[Figure]) -> None:
    label, predicted = np.array([0, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 1])
    draw_confusion(label, [predicted], ("joy", "anger"), Path("confusion.png"))
    axes = drawn[0].axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0.0, 1.0]]
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "3", (1, 0): "1", (0, 1): "0", (1, 1): "1"
    }  # fmt: skip
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "annotated")


def test_calibration_is_ranked_from_the_smallest_error(one: Comparison, drawn: list[Figure]) -> None:
    found = sections.calibration(one, Path("figures"))
    before = mean(map(f1, (10, 13)))  # the number that `write_run` gives
    assert found.seen[1] == (
        f"Expected calibration error of the ensemble: CMATH {before:.2f} % before calibration and 4.00 % after it, "
        "number 2 of 3; best is CTNet (3.00 %)."
    )
    left = drawn[0].axes[0]
    points = {line.get_label(): line.get_xydata().tolist() for line in left.lines if len(line.get_xydata()) == 1}
    assert points == {"CMATH": [[90.0, 10.0]], "CTNet": [[90.0, 16.0]]}  # confidence, and what is right of it
    assert (left.get_xlabel(), left.get_ylabel()) == ("confidence, %", "right answers, %")


def test_each_bar_of_the_lengths_is_of_its_own_conversations(one: Comparison, drawn: list[Figure]) -> None:
    rows = [
        Utterance(utterance_id=f"u{place}", dialogue_id="long" if place < 30 else f"short{place // 5}", turn=place,
                  speaker=0, split="test", text="x", label=label)
        for place, label in enumerate(LABELS)
    ]  # fmt: skip
    found = sections.lengths("custom", "meld", rows, Path("figures"))
    [axes] = drawn[0].axes
    for number, seeds in enumerate([(10, 13), (40, 43)]):
        scores = [
            [100 * f1_score(LABELS[part], told(wrong)[part], average="weighted") for wrong in seeds]
            for part in (slice(30, None), slice(None, 30))
        ]
        # A container holds the bars, the one before it their error bars.
        bars = [one for one in axes.containers if hasattr(one, "patches")][number]
        assert [bar.get_height() for bar in bars.patches] == pytest.approx([mean(part) for part in scores])
        lines = bars.errorbar.lines[2][0].get_segments()
        assert [np.ptp(line[:, 1]) / 2 for line in lines] == pytest.approx([stdev(part) for part in scores])
    assert [text.get_text().split("\n")[1] for text in axes.get_xticklabels()] == ["(60 utterances)", "(30 utterances)"]
    assert found.seen[0].startswith("C1: 1-9 utterances: CMATH less MultiDAG, ")


def damages(levels: dict[float, tuple[float, float]], model: str, kind: str = "missing") -> list[Damage]:
    return [Damage(model, "text", kind, level, score) for level, scores in levels.items() for score in scores]


@pytest.mark.parametrize(
    ("levels", "instead"), [((0.0, 0.6), ","), ((0.2, 0.6), ", instead of missing in 20 % of the clips,")]
)
def test_what_damage_costs_is_said_from_its_first_level(
    drawn: list[Figure], levels: tuple[float, float], instead: str
) -> None:
    first, last = levels
    every = damages({first: (50.0, 54.0), last: (44.0, 46.0)}, "cmath") + damages(
        {first: (40.0, 40.0), last: (31.0, 31.0)}, "ctnet"
    ) + damages({first: (30.0, 30.0), last: (31.0, 31.0)}, "multidag")  # fmt: skip
    [said] = sections.robustness(every, Path("figures")).seen
    assert said == (
        f"With text missing in 60 % of the clips{instead} weighted F1 changes by -7.00 points for CMATH, by -9.00 "
        "(CTNet) to +1.00 (MultiDAG) among all."
    )
    axes = drawn[0].axes[0]
    [cmath] = [bars for bars in axes.containers if bars.get_label() == "CMATH"]
    assert cmath.lines[0].get_xydata().tolist() == [[100 * first, 52.0], [60.0, 45.0]]
    segments = cmath.lines[2][0].get_segments()
    assert [np.ptp(line[:, 1]) / 2 for line in segments] == pytest.approx([stdev((50, 54)), stdev((44, 46))])


def test_noise_is_said_in_deviations(drawn: list[Figure]) -> None:
    [said] = sections.robustness(damages({1.0: (50.0, 50.0), 2.0: (45.0, 45.0)}, "cmath", "noise"), Path("x")).seen
    assert said.startswith(
        "With text with noise of 2 standard deviations, instead of with noise of 1 standard deviations, weighted F1 "
    )


@pytest.mark.parametrize(("value", "sentences"), [(0.25, 2), (None, 1)])
def test_maps_of_one_class_have_no_silhouette(
    one: Comparison, tmp_path: Path, value: float | None, sentences: int
) -> None:
    home = Path("paper/robustness/custom")
    home.mkdir(parents=True)
    (home / "silhouettes.json").write_text(json.dumps({"cmath": value}))
    (home / "tsne_cmath.png").write_bytes(sections.PNG + sections.PNG_END)
    (tmp_path / "figures").mkdir()
    found = sections.maps("custom", tmp_path / "figures")
    assert len(found.seen) == sentences
    assert ("CMATH 0.250." in found.seen[0]) == (value is not None)
    assert found.seen[-1] == "A map by t-SNE keeps neighbours and no distances, so it shows and does not prove."
