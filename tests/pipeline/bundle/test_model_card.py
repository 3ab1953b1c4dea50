"""The card of a published model: the hub's own reader understands it, and its numbers are those of the results."""

import json
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from foundation.errors import UserError
from pipeline.bundle.card import CardOptions
from pipeline.bundle.publishing import publish, text_of_card

SCORES = {
    "accuracy": 61.5, "accuracy_std": 1.25, "weighted_f1": 60.0, "weighted_f1_std": 0.5, "macro_f1": 41.0,
    "macro_f1_std": 2.0, "weighted_f1_low": 57.75, "weighted_f1_high": 62.25, "calibration_error": 24.0,
    "calibration_error_calibrated": 3.5, "f1": {"joy": 70.0, "sadness": 20.0, "neutral": 80.5},
    "majority": {"accuracy": 48.12, "weighted_f1": 31.27, "macro_f1": 21.66},
    "logistic_regression": {"accuracy": 58.0, "weighted_f1": 57.5, "macro_f1": 40.25, "C": 0.01},
    "by_modalities": {
        "text": {"weighted_f1": 55.5, "utterances": 12, "majority": 31.25, "logistic_regression": 54.5},
        "text+audio": {"weighted_f1": 63.0, "utterances": 30},
    },
    "notes": ["THE SENTENCE"], "oracle_weighted_f1": 99.0,
}  # fmt: skip
CENSUS = {
    "splits": {
        "train": {"dialogues": 7, "utterances": 90, "labels": {"joy": 30, "sadness": 5, "neutral": 55}},
        "test": {"dialogues": 3, "utterances": 42, "labels": {"joy": 12, "neutral": 30}},
    },
    "notes": ["dia1_utt2.mp4: THE SENTENCE"], "problems": {"reasons": {"THE SENTENCE": 1}},
}  # fmt: skip


def published(small: Path, scores: dict | None, census: dict | None, options: CardOptions | None = None) -> str:
    """The card of the bundle with these results beside it."""
    results, out = small.parents[2] / "results/small", small.parents[2] / "out"
    results.mkdir(parents=True, exist_ok=True)
    for name, content in (("scores.json", scores), ("corpus.json", census)):
        if content is not None:
            (results / name).write_text(json.dumps(content))
    publish(str(small.parent), str(out), options or CardOptions())
    return (out / "README.md").read_text("utf-8")


def test_a_card_has_the_results_the_majority_class_and_the_metadata(small: Path) -> None:
    options = CardOptions(licence="cc-by-nc-4.0", languages=("en", "de"))
    text = published(small, SCORES, CENSUS, options)
    for line in (
        "| score | each network alone | majority class | logistic regression |",
        "| accuracy | 61.50 ± 1.25 | 48.12 | 58.00 |",
        "| weighted F1 | 60.00 ± 0.50 | 31.27 | 57.50 |",
        "| macro F1 | 41.00 ± 2.00 | 21.66 | 40.25 |",
        "| calibration error | 24.00 | - | - |",
        "| calibration error, calibrated | 3.50 | - | - |",
        "| sadness | 20.00 |",
        "| utterances of test that have | number | weighted F1 | majority class | logistic regression |",
        "| text | 12 | 55.50 | 31.25 | 54.50 |",
        "| text + audio | 30 | 63.00 | - | - |",
        "| train | 7 | 90 | 30 | 5 | 55 |",
        "| test | 3 | 42 | 12 | 0 | 30 |",
        "$ python -m pipeline.predict talk.mp4 --transcript talk.srt --model out",
        "## Limits",
        "## What it must not be used for",
    ):
        assert line in text.splitlines()
    assert "a weighted F1 between 57.75 and 62.25" in text
    assert "SENTENCE" not in text
    assert "99" not in text.partition("## How it was made")[0]
    data = ModelCard(text).data
    assert (data.license, data.language, data.library_name) == ("cc-by-nc-4.0", ["en", "de"], "cmath-erc")
    assert data.pipeline_tag == "text-classification"
    assert data.tags == ["emotion-recognition", "emotion-recognition-in-conversation", "cmath", "text"]
    assert [(one.dataset_name, one.dataset_split, one.metric_type, one.metric_name, one.metric_value)
            for one in data.eval_results] == [
        ("small", "test", "accuracy", "accuracy", 61.5), ("small", "test", "f1", "weighted F1", 60.0),
        ("small", "test", "f1", "macro F1", 41.0),
    ]  # fmt: skip


def test_scores_of_the_networks_together_stand_beside_those_of_each(small: Path) -> None:
    together = {"accuracy": 63.0, "weighted_f1": 62.0, "f1": {"joy": 71.0}, "calibration_error_calibrated": 2.25}
    text = published(small, {**SCORES, "ensemble": together, "seen": ["the encoder has seen\n|labels|"]}, CENSUS)
    lines = text.splitlines()
    assert (
        "| score | each network alone | all together, as they predict | majority class | logistic regression |" in lines
    )
    assert "| accuracy | 61.50 ± 1.25 | 63.00 | 48.12 | 58.00 |" in lines
    assert "| calibration error, calibrated | 3.50 | 2.25 | - | - |" in lines
    assert "| joy | 71.00 |" in lines
    assert r"**Not a fair score: the encoder has seen \|labels\|**" in lines
    assert [one.metric_value for one in ModelCard(text).data.eval_results] == [63.0, 62.0]


def test_what_was_not_found_is_said_and_the_card_does_without(small: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = published(small, {**SCORES, "f1": {"happy": 1.0, "sad": 2.0}}, None)
    results = small.parents[2] / "results/small"
    assert f"the card lacks numbers: {results}/scores.json is of other labels than the model" in caplog.text
    assert f"the card lacks numbers: {results}/corpus.json: no such file" in caplog.text
    assert "the card names no licence: say --license NAME" in caplog.text
    assert "No scores were at hand" in text
    assert "61.50" not in text
    data = ModelCard(text).data
    assert (data.license, data.language, data.eval_results) == (None, None, None)


@pytest.mark.parametrize("wrong", [{"accuracy": "high"}, {"majority": 3, "by_modalities": {"text": None}}, {"f1": {}}])
def test_scores_of_another_form_are_left_out(small: Path, wrong: dict) -> None:
    text = published(small, {**SCORES, **wrong}, {"splits": {"train": {"labels": CENSUS["splits"]["train"]["labels"]}}})
    assert "## Scores on test" in text


def test_results_that_cannot_be_read_are_named(small: Path) -> None:
    published(small, SCORES, CENSUS)
    (small.parents[2] / "results/small/scores.json").write_text("{")
    with pytest.raises(UserError, match=r"results/small/scores\.json: cannot be read"):
        publish(str(small), str(small.parents[2] / "other"), CardOptions())


def test_the_users_words_stand_in_the_place_of_the_free_sections(small: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("## About\n\nMine: {{ 7 * 7 }}.\n", "utf-8-sig")
    text = published(small, SCORES, CENSUS, CardOptions(words=text_of_card(tmp_path / "mine.md")))
    assert "## About\n\nMine: {{ 7 * 7 }}.\n" in text
    assert "| accuracy | 61.50 ± 1.25 | 48.12 |" in text
    for heading in ("## What it is", "## Limits", "## What it must not be used for"):
        assert heading not in text


def test_words_with_metadata_are_the_whole_card(small: Path) -> None:
    mine = "---\nlicense: mit\n---\n# Mine\n"
    assert published(small, SCORES, CENSUS, CardOptions(words=mine)) == mine
    for wrong in ("---\n- a\n---\n", "---\na: [\n---\n"):
        with pytest.raises(UserError, match="--card: its metadata cannot be read") as error:
            publish(str(small), str(small.parents[2] / "other"), CardOptions(words=wrong))
        assert "\n" not in str(error.value)


def test_a_card_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UserError, match=r"a\.md: is no text in UTF-8"):
        text_of_card(tmp_path / "a.md")
    with pytest.raises(UserError, match=r"b\.md: no such file"):
        text_of_card(tmp_path / "b.md")
