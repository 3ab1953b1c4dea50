"""report.html in a real browser: what it shows and what a click does."""

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.prediction import report
from pipeline.prediction.recordings import read_recording
from pipeline.prediction.report import write_report
from pipeline.prediction.transcripts import read_transcript
from tests.conftest import write_clip
from tests.pipeline.browser import opened

pytestmark = pytest.mark.slow

LABELS = ["neutral", "joy", "anger"]
TABLE = "start,end,text,speaker\n0,1,<b>Hi</b> & bye.,Ann\n1,2,Yes?,Bob\n2,3,Hm.,Ann\n"


def write(folder: Path, suffix: str) -> Path:
    """A report on a film of three seconds."""
    film = write_clip(folder / f"talk{suffix}", 3.0)
    (folder / "talk.csv").write_text(TABLE)
    recording = read_recording("talk", film, read_transcript(folder / "talk.csv"), folder)
    utterances = [
        {
            "utterance_id": row.utterance_id, "speaker": line.speaker, "start": row.start, "end": row.end,
            "text": row.text, "prediction": LABELS[turn],
            "probabilities": {label: 0.8 if place == turn else 0.1 for place, label in enumerate(LABELS)},
            "present": {"text": True, "audio": True, "visual": turn == 0},
            "missing": {} if turn == 0 else {"visual": "no face"}, "faces": 3 if turn == 0 else 0,
            "gates": {"text": 0.5, "audio": 0.3, "visual": 0.2},
            "centres": {"text": {"text": 0.5, "audio": 0.3, "visual": 0.2}},
        }
        for turn, (row, line) in enumerate(zip(recording.rows, recording.lines, strict=True))
    ]  # fmt: skip
    content = {"recording": "talk", "labels": LABELS, "notes": ["a note"], "utterances": utterances,
               "model": {"name": "cmath", "corpus": "demo", "seeds": [0, 1]}}  # fmt: skip
    crops = [np.full((3, 64, 64), 90, np.uint8), None, None]
    write_report(content, crops, recording, folder / "report.html")
    return folder / "report.html"


def test_the_page_holds_all_that_it_shows(tmp_path: Path) -> None:
    text = write(tmp_path, ".mp4").read_text("utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)[^"']|https?://|url\(|@import""", text)
    assert 'src="data:video/mp4;base64,' in text
    assert "<b>Hi</b>" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "report.html", "talk.csv", "talk.mp4"]


def test_a_large_recording_is_linked_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "EMBEDDED", 1000)
    text = write(tmp_path, ".mp4").read_text("utf-8")
    assert 'src="talk.mp4"' in text
    assert "too large to be inside this page, which looks for it at talk.mp4" in text
    assert 'src="recording.mp4"' in write(tmp_path, ".mkv").read_text("utf-8")
    assert (tmp_path / "recording.mp4").stat().st_size > 1000


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_click_shows_and_plays_an_utterance(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path, suffix)
    with opened(file.as_uri()) as (page, asked):
        assert page.locator("#timeline .lane").count() == 2
        assert page.locator("#timeline .lane button").all_inner_texts() == ["neutral", "anger", "joy"]
        assert "<b>Hi</b> & bye." in page.locator("#detail").inner_text()
        page.wait_for_function("document.getElementById('player').readyState >= 2")
        assert page.evaluate("document.getElementById('player').duration") == pytest.approx(3, abs=0.2)
        page.locator("tbody tr").nth(1).click()
        assert "visual is missing: no face" in page.locator("#detail").inner_text()
        page.wait_for_function("document.getElementById('player').currentTime > 1.05")
        page.wait_for_function("document.getElementById('player').paused")
        assert page.evaluate("document.getElementById('player').currentTime") == pytest.approx(2, abs=0.9)
        page.locator("#timeline .lane button").nth(0).click()
        assert page.locator("tr[aria-current=true] td").nth(1).inner_text() == "Ann"
        shown = page.locator("#detail .bars").first.inner_text().split()
        assert [word for word in shown if word in LABELS] == LABELS
    assert [address for address in asked if not address.startswith("data:")] == [file.as_uri()]
