"""report.html in a real browser: what it shows, at which widths, and what a click does."""

import base64
import gc
import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import av
import cv2
import numpy as np
import pytest

from extractors.media import pictures
from foundation.progress import Progress
from pipeline.prediction import report
from pipeline.prediction.recordings import Recording, read_recording
from pipeline.prediction.report import colours_of, write_copy, write_report
from pipeline.prediction.summary import by_speaker
from pipeline.prediction.transcripts import read_transcript
from tests.conftest import write_clip
from tests.extractors.test_pictures import film
from tests.pipeline.browser import opened
from tests.pipeline.prediction.transcripts.files import srt

pytestmark = pytest.mark.slow

LABELS = ["neutral", "joy", "anger"]
TABLE = "start,end,text,speaker\n0,1,<b>Hi</b> & bye.,Ann\n1,2,Yes?,Bob\n2,3,Hm.,Ann\n"
OVERFLOWING = """[...document.querySelectorAll('.lane button')].filter((bar) => {
    const word = bar.querySelector('span').getBoundingClientRect(), box = bar.getBoundingClientRect();
    return word.width && (word.left < box.left || word.right > box.right || word.bottom > box.bottom);
}).length"""


def content_of(recording: Recording, labels: list[str], synthetic: bool = False) -> dict:
    """What predictions.json could say of `recording`: the labels in turn are predicted, with 80 %."""
    utterances = [
        {
            "utterance_id": row.utterance_id, "speaker": line.speaker, "start": line.start, "end": line.end,
            "text": row.text, "prediction": labels[turn % len(labels)], "sure": True,
            "probabilities": {
                label: 0.8 if place == turn % len(labels) else 0.2 / (len(labels) - 1)
                for place, label in enumerate(labels)
            },
            "present": {"text": True, "audio": True, "visual": turn == 0},
            "missing": {} if turn == 0 else {"visual": "no face"}, "faces": 3 if turn == 0 else 0,
            "without": {"text": 0.41, "audio": 0.75, "visual": 0.8 if turn == 0 else None},
        }
        for turn, (row, line) in enumerate(zip(recording.rows, recording.lines, strict=True))
    ]  # fmt: skip
    return {"recording": recording.name, "labels": labels, "notes": ["a note"], "utterances": utterances,
            "warning": "nothing for <real> people" if synthetic else "", "speakers": by_speaker(utterances, labels),
            "model": {"name": "cmath", "corpus": "demo", "synthetic": synthetic, "seeds": [0, 1]}}  # fmt: skip


def write_for(recording: Recording, folder: Path, labels: list[str] = LABELS, synthetic: bool = False) -> Path:
    crops = [np.full((3, 64, 64), 90, np.uint8), *[None] * (len(recording.rows) - 1)]
    write_report(content_of(recording, labels, synthetic), crops, recording, folder / "report.html")
    return folder / "report.html"


def test_faces_in_colour_are_shown_in_their_colours(tmp_path: Path) -> None:
    recording = recording_of(tmp_path, TABLE)
    red = np.full((2, 64, 64, 3), (250, 10, 20), np.uint8)
    crops = [red, *[None] * (len(recording.rows) - 1)]
    write_report(content_of(recording, LABELS, False), crops, recording, tmp_path / "report.html")
    [content] = re.findall(r'src="data:image/png;base64,([^"]+)"', (tmp_path / "report.html").read_text("utf-8"))
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (64, 128, 3)
    assert (shown == (20, 10, 250)).all()  # OpenCV reads blue first


def recording_of(folder: Path, table: str, media: Path | None = None) -> Recording:
    (folder / "talk.csv").write_text(table, "utf-8")
    return read_recording("talk", media, read_transcript(folder / "talk.csv"), folder)


def write(folder: Path, suffix: str, name: str = "talk") -> Path:
    """A report on a film of three seconds."""
    film = write_clip(folder / f"{name}{suffix}", 3.0)
    return write_for(recording_of(folder, TABLE, film), folder)


def places(file: Path) -> list[tuple[float, float]]:
    """Begin and end of each utterance on the page's time line."""
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', file.read_text("utf-8"), re.DOTALL)
    assert data
    return [(one["begin"], one["until"]) for one in json.loads(data[1])["utterances"]]


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


def test_a_linked_recording_of_any_name_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "EMBEDDED", 1000)
    name = "what? 50% of #1 & 'that' \"é\""
    file = write(tmp_path, ".mp4", name)
    source = re.search('id="player" [^>]*src="([^"]+)"', file.read_text("utf-8"))
    assert source
    assert not set("?# %'\"&") & set(source[1].replace("%", "", source[1].count("%")))
    assert unquote(source[1]) == f"{name}.mp4"
    with opened(file.as_uri()) as (page, _):
        page.wait_for_function("document.getElementById('player').readyState >= 2")
        assert page.evaluate("document.getElementById('player').duration") == pytest.approx(3, abs=0.2)


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
        said = page.locator("#detail").inner_text().replace("\u202f", " ")
        assert "Probability of joy without a modality" in said
        assert "without text: 41 % instead of 80 %" in said
        assert "without voice: 75 % instead of 80 %" in said
        assert "face is missing: no face" in said
        page.wait_for_function("document.getElementById('player').currentTime > 1.05")
        page.wait_for_function("document.getElementById('player').paused")
        assert page.evaluate("document.getElementById('player').currentTime") == pytest.approx(2, abs=0.9)
        page.locator("#timeline .lane button").nth(0).click()
        assert page.locator("tr[aria-current=true] td").nth(1).inner_text() == "Ann"
        shown = page.locator("#detail .bars").first.inner_text().split()
        assert [word for word in shown if word in LABELS] == LABELS
    assert [address for address in asked if not address.startswith("data:")] == [file.as_uri()]


def test_each_modality_has_its_effect_and_an_absent_one_a_dash(tmp_path: Path) -> None:
    file = write(tmp_path, ".mp4")
    with opened(file.as_uri()) as (page, _):
        shown = [text.replace("\u202f", " ").split("\n") for text in page.locator("td.did .effects").all_inner_texts()]
        assert shown[0] == ["text", "41 %", "voice", "75 %", "face", "80 %"]
        assert shown[1] == shown[2] == ["text", "41 %", "voice", "75 %", "face", "–"]
        assert page.locator("td.did .why").all_inner_texts() == ["face: no face"] * 2


def test_the_voice_is_drawn_beside_the_faces_and_of_silence_there_is_none(tmp_path: Path) -> None:
    spoken = write(tmp_path, ".mp4")
    with opened(spoken.as_uri()) as (page, _):
        assert page.locator("tbody td.sound svg .loudness").count() == 3
        # The clip's tone rises from 180 Hz by 120 Hz a second: 240, 360 and 480 Hz in the middle of each second.
        words = page.locator("tbody td.sound svg").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
        pitches = [int(re.search(r"pitch (\d+) Hz", one)[1]) for one in words]  # type: ignore[index]
        assert pitches == pytest.approx([240, 360, 480], rel=0.05)
        assert page.locator("#detail svg.voice").count() == 1
    mute = write_clip(tmp_path / "mute.mp4", 3.0, sound=False)
    file = write_for(recording_of(tmp_path, TABLE, mute), tmp_path)
    assert '<svg class="voice"' not in file.read_text("utf-8")


def test_speakers_are_counted_and_the_emotions_drawn_over_time(tmp_path: Path) -> None:
    file = write(tmp_path, ".mp4")
    with opened(file.as_uri()) as (page, _):
        people = [
            text.replace("\u202f", " ").split("\n") for text in page.locator("#people .people > div").all_inner_texts()
        ]
        # Ann: neutral and anger, each with 0.8, 0.1, 0.1; Bob: joy.
        assert people[0] == ["Ann: 2 utterances", "neutral", "45 % · 1", "joy", "10 % · 0", "anger", "45 % · 1"]
        assert people[1] == ["Bob: 1 utterance", "neutral", "10 % · 0", "joy", "80 % · 1", "anger", "10 % · 0"]
        lines = page.locator("#curves svg path:nth-child(2)").evaluate_all(
            "all => all.map(one => one.getAttribute('d'))"
        )
        # A point in the middle of each second, and one at either end; 40 high, with 80 % at 8 and 10 % at 36.
        length = page.evaluate("length")
        ends = [f"{1000 * second / length:.1f}" for second in (0, 0.5, 1.5, 2.5, 3)]
        heights = {"neutral": (8, 8, 36, 36, 36), "joy": (36, 36, 8, 36, 36), "anger": (36, 36, 36, 8, 8)}
        for line, height in zip(lines, heights.values(), strict=True):
            expected = "L".join(f"{at} {up:.1f}" for at, up in zip(ends, height, strict=True))
            assert line == f"M{expected}"
        assert page.locator("#curves .who").all_inner_texts() == LABELS


LONG = ["frustrated", "enthusiastically surprised", "🙂 高兴", "радость"]


def test_a_phone_shows_emotions_and_no_word_is_cut_off(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "talk.mp4", 3.0)
    edges = [0.05, 0.1, 0.8, 0.9, 1.9, 2.0, 2.9]
    table = "start,end,text,speaker\n" + "".join(
        f"{begin},{end},Well then.,{'Bob' if place % 2 else 'Somebody with an endless-name-that-has-no-blank'}\n"
        for place, (begin, end) in enumerate(pairwise(edges))
    )
    file = write_for(recording_of(tmp_path, table, film), tmp_path, LONG)
    with opened(file.as_uri()) as (page, _):
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.wait_for_timeout(100)
            assert page.evaluate(OVERFLOWING) == 0
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for chip in page.locator("tbody td.chip").all():
                box = chip.bounding_box()
                assert box["x"] >= 0
                assert box["x"] + box["width"] <= width
                assert chip.evaluate("one => one.scrollWidth <= one.clientWidth")
            shown = [word for word in page.locator("#timeline .lane button").all_inner_texts() if word]
            assert shown
            assert set(shown) <= set(LONG)
        assert len(shown) < 6  # on a phone few fit


COVERED = """[...document.querySelectorAll('.lane button span')].filter((word) => {
    const box = word.getBoundingClientRect(), middle = (box.top + box.bottom) / 2;
    return box.width && [box.left + 1, box.right - 1].some((x) =>
        !word.parentElement.contains(document.elementFromPoint(x, middle)));
}).length"""


def test_no_word_is_covered_by_an_utterance_that_overlaps(tmp_path: Path) -> None:
    table = "start,end,text,speaker\n0,1.5,One.,Ann\n0.05,1.2,Two.,Ann\n1.1,2.9,Three.,Ann\n"
    recording = recording_of(tmp_path, table, write_clip(tmp_path / "talk.mp4", 3.0))
    with opened(write_for(recording, tmp_path).as_uri()) as (page, _):
        shown = []
        for chosen in (0, 1, 2, 0):
            page.locator("tbody tr").nth(chosen).click()
            page.locator("#timeline").scroll_into_view_if_needed()
            assert page.evaluate(COVERED) == 0
            shown.append([word for word in page.locator("#timeline .lane button").all_inner_texts() if word])
        assert shown == [["neutral"], ["joy"], ["joy", "anger"], ["neutral"]]


def test_what_the_model_was_trained_on_stands_at_the_head(tmp_path: Path) -> None:
    recording = recording_of(tmp_path, TABLE, write_clip(tmp_path / "talk.mp4", 3.0))
    file = write_for(recording, tmp_path, synthetic=True)
    with opened(file.as_uri()) as (page, _):
        assert page.locator("#warning").inner_text() == "nothing for <real> people"
        assert "trained on the synthetic corpus demo" in page.locator("main").inner_text()
    text = write_for(recording, tmp_path).read_text("utf-8")
    assert "synthetic" not in text
    assert 'id="warning"' not in text


EVIL = '</script><script>window.bad=1</script><img src=x onerror="window.bad=1">\'"'


def test_no_name_label_or_text_is_code(tmp_path: Path) -> None:
    quoted = EVIL.replace('"', '""')
    table = f'start,end,text,speaker\n0,1,"{quoted}","{quoted}"\n1,2,"{quoted}",__proto__\n'
    recording = recording_of(tmp_path, table, write_clip(tmp_path / "talk.mp4", 2.0))
    recording.name = EVIL
    file = write_for(recording, tmp_path, [EVIL, "__proto__", "joy"])
    with opened(file.as_uri()) as (page, asked):
        page.locator("tbody tr").nth(1).click()
        assert page.evaluate("window.bad") is None
        assert page.locator("h1").inner_text() == EVIL
        assert page.locator("#detail .bars > span").all_inner_texts() == [EVIL, "__proto__", "joy"]
    assert [one for one in asked if not one.startswith(("data:", "file:"))] == []


def test_a_row_whose_sound_lies_in_another_file_is_where_its_film_has_it(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", 3.0)
    write_clip(tmp_path / "own.m4a", 0.7, picture=False)
    table = "start,end,text,audio\n0,1,One.,\n1,2,Two.,own.m4a\n2,3,Three.,\n"
    assert places(write_for(recording_of(tmp_path, table, film), tmp_path)) == [(0, 1), (1, 2), (2, 3)]
    sound = write_clip(tmp_path / "sound.m4a", 3.0, picture=False)  # a film without pictures
    file = write_for(recording_of(tmp_path, table, sound), tmp_path)
    assert places(file) == [(0, 1), (1, 2), (2, 3)]
    assert 'src="data:audio/mp4' in file.read_text("utf-8")  # it is heard, and not one clip after the other


def test_clips_sounds_and_rows_without_media_follow_each_other(tmp_path: Path) -> None:
    write_clip(tmp_path / "one.mp4", 1.0)
    shutil.copy(tmp_path / "one.mp4", tmp_path / "three.mp4")
    write_clip(tmp_path / "two.m4a", 0.5, picture=False)
    table = "file,audio,text\none.mp4,,One.\n,two.m4a,Two.\nthree.mp4,,Three.\n,,Four.\nlost.mp4,,Five.\n"
    found = np.array(places(write_for(recording_of(tmp_path, table), tmp_path)))
    expected = [(0, 1), (1, 1.5), (1.5, 2.5), (2.5, 2.55), (2.55, 2.6)]
    np.testing.assert_allclose(found, expected, atol=0.12)
    np.testing.assert_allclose(found[1:, 0], found[:-1, 1], atol=1e-6)  # without a gap
    recording = recording_of(tmp_path, "text\nOne.\nTwo.\n")
    assert places(write_for(recording, tmp_path)) == [(0, 1), (1, 2)]
    recording = recording_of(tmp_path, "text,start,end\nOne.,2,2.5\nTwo.,7,\n")
    assert places(write_for(recording, tmp_path)) == [(2, 2.5), (7, 8)]  # of a text alone, as the transcript has it


def test_pictures_of_a_long_recording_are_freed_while_it_is_copied(tmp_path: Path) -> None:
    """And not when Python happens to look for them, which among the objects of torch is hours of film later."""
    long = tmp_path / "long.mkv"
    with av.open(str(long), "w") as container:
        video = container.add_stream("libx264", rate=report.FPS, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(report.FPS * 65):
            picture = np.full((48, 64, 3), number % 255, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
    gc.collect()
    gc.disable()
    try:
        write_copy([long], tmp_path / "copy.mp4")
        left = sum(type(one) is av.VideoFrame for one in gc.get_objects())  # isinstance asks proxies, too
    finally:
        gc.enable()
    assert left < report.FPS * 30
    assert not gc.get_freeze_count()


def test_how_much_of_a_recording_is_copied_and_heard_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, list[int]] = {}

    class Counted(Progress):
        def update(self, n: float | None = 1) -> bool | None:
            told.setdefault(self.desc, [self.total]).append(round(n or 0))
            return super().update(n)

    monkeypatch.setattr(report, "Progress", Counted)
    clip = write_clip(tmp_path / "a.mkv", 2.0)
    (tmp_path / "a.csv").write_text("start,end,text\n0,1,Hi\n1,2,Yes?\n")
    write_for(read_recording("a", clip, read_transcript(tmp_path / "a.csv"), tmp_path), tmp_path)
    assert told["copy for the page"] == [2, 2]  # seconds: in all, and of the only piece
    assert told["voices"] == [2, 1, 1]  # utterances


def test_the_copy_of_clips_of_several_shapes_keeps_their_proportions(tmp_path: Path) -> None:
    white = np.full((64, 96, 3), 250, np.uint8)
    clips = [film(tmp_path / name, white[:height, :width], number=10)
             for name, height, width in (("wide.mp4", 64, 96), ("tall.mp4", 64, 32), ("flat.mp4", 16, 96))]  # fmt: skip
    write_copy(clips, tmp_path / "copy.mp4")
    wide, tall, flat = (picture[:, :, 0] > 128 for _, picture in pictures(tmp_path / "copy.mp4", 1))
    assert wide.all()
    assert np.flatnonzero(tall.all(axis=0)).tolist() == pytest.approx(list(range(32, 64)))
    assert np.flatnonzero(flat.all(axis=1)).tolist() == pytest.approx(list(range(24, 40)))


def test_a_subtitle_without_length_stands_where_it_begins(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", 3.0)
    (tmp_path / "talk.srt").write_text(srt("One.", "Two.", seconds=1).replace("--> 00:00:02", "--> 00:00:01"))
    recording = read_recording("talk", film, read_transcript(tmp_path / "talk.srt"), tmp_path)
    (begin, until), (second, _) = places(write_for(recording, tmp_path))
    assert (begin, until, second) == (0, 1, 1)
    late = srt("One.", "Two.", seconds=2).replace("00:00:02,000 --> 00:00:04", "00:00:02,5 --> 00:00:02")
    (tmp_path / "talk.srt").write_text(late)
    recording = read_recording("talk", film, read_transcript(tmp_path / "talk.srt"), tmp_path)
    assert places(write_for(recording, tmp_path))[1] == (2.5, 2.55)


def test_a_speaker_whose_name_is_spelt_twice_has_one_lane_and_times_are_rounded_as_a_whole(tmp_path: Path) -> None:
    recording = recording_of(
        tmp_path, "start,end,text,speaker\n59.97,60.5,One.,Ann\n61,62,Two.,ANN\n62,63,Three.,Bob\n"
    )
    text = write_for(recording, tmp_path).read_text("utf-8")
    assert (text.count('<div class="lane">'), text.count("<button data-number=")) == (2, 3)
    assert "Ann: 2 utterances" in text
    assert re.findall(r"&#9654; ([\d:.]+)<", text) == ["1:00.0", "1:01.0", "1:02.0"]


def test_labels_have_colours_of_their_own_as_long_as_there_are_any() -> None:
    assert colours_of(["Joy", "neutral"]) == {"Joy": "#f0e442", "neutral": "#999999"}
    mixed = colours_of(["calm", "sad", "bored", "joy"])
    assert len(set(mixed.values())) == 4
    assert mixed["sad"] == "#0072b2"
    assert len(set(colours_of([f"label {number}" for number in range(8)]).values())) == 8
    assert len(colours_of([f"label {number}" for number in range(20)])) == 20
