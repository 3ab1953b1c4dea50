"""The numbers typed in from the paper, against its text."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from foundation.errors import UserError
from paper.names import NAMES
from paper.published import (
    FILE,
    published_best,
    published_margins,
    published_scores,
    published_statistics,
    published_study,
)
from paper.sections import statistics
from pipeline.corpora import meld
from pipeline.params import read_yaml

PROJECT = Path(__file__).parents[2]
PAPER = PROJECT.parent / "shared" / "paper" / "cmath.txt"
ANNOTATIONS = PROJECT.parent / "shared" / "data" / "meld_csv"


def cells(line: str) -> list[str]:
    marks = ("[†]", "<u>", "</u>", "^\\dagger", "$")
    for mark in marks:
        line = line.replace(mark, "")
    return [cell.strip() for cell in line.split("\t")]


def printed(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here")
@pytest.mark.parametrize("corpus", ["iemocap", "meld"])
def test_the_published_rows_are_the_papers(corpus: str) -> None:
    number, rows = published_scores(corpus, PROJECT / FILE)
    text = PAPER.read_text(encoding="utf-8")
    text = text[text.index(f"Table {number}\n") : text.index(f"Table {number + 1}\n")]
    there = {row[0]: row[1:] for row in map(cells, text.splitlines()) if row[0] in NAMES.values() and len(row) > 8}
    assert len(there) == 10
    typed = {
        NAMES[model]: [printed(value) for value in [*row["f1"].values(), row["accuracy"], row["weighted_f1"]]]
        for model, row in rows.items()
    }
    assert typed == there


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here")
def test_the_published_statistics_are_the_papers() -> None:
    lines = [line.strip() for line in PAPER.read_text(encoding="utf-8").splitlines()]
    for corpus, values in read_yaml(PROJECT / FILE)["statistics"]["rows"].items():
        assert "\t".join([corpus.upper(), *map(str, values)]) in lines


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper's text is not here")
@pytest.mark.parametrize(
    ("study", "printed_names"),
    [
        ("ablations", {"mr": "w/o MR", "cma_t": "w/o CMA-T", "lld": "w/o LLD", "hld": "w/o HLD", "hd": "w/o HD"}),
        ("modalities", {"text": "Text", "audio": "Audio", "visual": "Visual", "text+audio": "Text+Audio",
                        "text+visual": "Text+Visual", "audio+visual": "Audio+Visual"}),
    ],
)  # fmt: skip
def test_the_published_studies_are_the_papers(study: str, printed_names: dict[str, str]) -> None:
    there = {row[0]: row[1:5] for row in map(cells, PAPER.read_text(encoding="utf-8").splitlines()) if len(row) > 4}
    _, iemocap = published_study(study, "iemocap", PROJECT / FILE)
    _, meld = published_study(study, "meld", PROJECT / FILE)
    assert set(iemocap) == set(meld) == set(printed_names)
    for name, printed_name in printed_names.items():
        assert [float(value) for value in there[printed_name]] == [*iemocap[name], *meld[name]]


@pytest.mark.skipif(not ANNOTATIONS.is_dir(), reason="MELD's annotations are not here")
def test_melds_own_statistics_differ_from_the_papers_by_the_dialogue_without_utterances(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(PROJECT)
    rows = meld.read(ANNOTATIONS, ["text"]).rows
    part = statistics("meld", rows)
    assert part.rows[0] == ["here", "1152", "280", "11098", "2610", "9.63", "9.32", "7"]
    assert part.rows[1][1:] == ["1153", "280", "11098", "2610", "9.62", "9.32", "7"]
    assert part.seen[0] == "5 of the 7 numbers are the paper's."
    assert "number 60 has no utterance in any published copy" in part.seen[1]
    part = statistics("meld", rows[::2])
    assert "a copy of the corpus with 6854 utterances, where the paper's has 13708" in part.seen[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: None, "has no numbers"),
        (lambda _: [], "has no numbers"),
        (lambda content: {**content, "comparison": {"meld": content["comparison"]["meld"] | {"rows": {}}}},
         "comparison.meld"),
        (lambda content: {**content, "lengths": {"meld": [1.0]}}, "lengths.meld"),
        (lambda content: {key: value for key, value in content.items() if key != "ablations"}, "ablations"),
        (lambda content: {**content, "gammas": 5}, "gammas"),
    ],
)  # fmt: skip
def test_numbers_of_the_paper_that_are_lost_are_restored_from_git(
    tmp_path: Path, change: Callable[[dict], object], said: str
) -> None:
    file = tmp_path / "published.yaml"
    content = read_yaml(PROJECT / FILE)
    with file.open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(change(content), stream)  # type: ignore[arg-type]
    for read in (published_scores, published_margins, published_best, published_statistics):
        with pytest.raises(
            UserError, match=rf"(?s)^{file}: .*{said}.*; `git restore {file}` brings back the committed"
        ):
            read("meld", file)
