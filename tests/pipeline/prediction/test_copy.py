"""The film inside report.html: what is shown at a time is what was predicted at it."""

import base64
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from extractors.media import RATE, media_info, read_sound
from pipeline.prediction.recordings import read_recording
from pipeline.prediction.report import make_player, write_copy
from pipeline.prediction.transcripts import read_transcript
from tests.extractors.known import second_heard, second_seen, write_known
from tests.extractors.shown import frames

VP8 = {"video": "libvpx", "audio": "libopus", "rate": 48_000}


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("cut.ts", {"starts": 1.4}),
        ("cut.mkv", {"starts": 30}),
        ("gap.mkv", {"gap": (2.0, 4.8)}),
        ("still.mkv", {"times": [0, 4, 6.5]}),
        ("browser.webm", VP8 | {"options": {"live": "1"}}),
    ],
)
def test_the_copy_shows_and_sounds_at_each_second_what_the_recording_does(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    file = write_known(tmp_path / name, 8, **how)
    write_copy([file], tmp_path / "copy.mp4")
    assert media_info(tmp_path / "copy.mp4").seconds == pytest.approx(8, abs=0.3)
    for second in range(8):
        span = second + 0.3, second + 0.8
        expected = (
            second_heard(read_sound(file, *span)),
            {second_seen(picture) for picture in frames(file, 5, *span)},
        )
        assert second_heard(read_sound(tmp_path / "copy.mp4", *span)) == expected[0]
        assert {second_seen(picture) for picture in frames(tmp_path / "copy.mp4", 5, *span)} == expected[1]


def test_the_copy_is_upright_and_two_clips_follow_one_another(tmp_path: Path) -> None:
    def turned(stream: Any) -> None:
        stream.set_display_matrix([0, 65_536, 0, -65_536, 0, 0, 0, 0, 1 << 30])

    files = [write_known(tmp_path / f"{name}.mp4", 2, prepare=turned) for name in ("one", "two")]
    write_copy(files, tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (64, 96)
    assert [second_seen(next(frames(tmp_path / "copy.mp4", 5, at, at + 0.4))) for at in (0.3, 1.3, 2.3, 3.3)] == [
        0,
        1,
        0,
        1,
    ]


def player_of(file: Path, folder: Path) -> dict[str, Any]:
    (folder / "talk.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nHello.\n\n2\n00:00:05,000 --> 00:00:06,000\nYes.\n"
    )
    recording = read_recording("talk", file, read_transcript(folder / "talk.srt"), folder)
    player, places = make_player(recording, folder / "report.html")
    assert places[str(file.resolve())] == (0.0, pytest.approx(8, abs=0.3))
    return player


@pytest.mark.parametrize(
    ("name", "how", "as_it_is"),
    [
        ("talk.mp4", {}, True),
        ("talk.webm", VP8, True),
        ("talk.mp3", {"video": "", "audio": "libmp3lame", "rate": 44_100}, True),
        ("meeting.webm", VP8 | {"options": {"live": "1"}}, False),  # without a duration a browser cannot jump
        ("talk.mkv", {}, False),
        ("voice.opus", {"video": "", "audio": "libopus", "rate": 48_000}, False),  # as a phone sends it
    ],
)
def test_a_recording_is_embedded_as_it_is_where_browsers_can_jump_in_it(
    tmp_path: Path, name: str, how: dict[str, Any], as_it_is: bool
) -> None:
    file = write_known(tmp_path / name, 8, **how)
    player = player_of(file, tmp_path)
    assert player["seconds"] == pytest.approx(8, abs=0.3)
    kind = player["source"].split(";")[0].removeprefix("data:")
    assert kind == ("audio/mp4" if how.get("video") == "" else "video/mp4") or as_it_is
    assert player["kind"] == kind
    assert (len(player["source"]) == pytest.approx(4 / 3 * file.stat().st_size, rel=0.01)) == as_it_is


@pytest.mark.parametrize(
    ("name", "how"), [("crashed.mkv", {}), ("crashed.webm", VP8), ("crashed.webm", VP8 | {"options": {"live": "1"}})]
)
def test_a_recording_that_was_never_finished_is_on_the_page_as_far_as_it_goes(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    file = write_known(tmp_path / name, 8, **how)
    file.write_bytes(file.read_bytes()[: round(0.6 * file.stat().st_size)])
    (tmp_path / "talk.csv").write_text("text,start,end\nOne.,2,3\nTwo.,6.5,7\n")
    recording = read_recording("talk", file, read_transcript(tmp_path / "talk.csv"), tmp_path)
    assert [bool(row.video) for row in recording.rows] == [True, False]
    player, _ = make_player(recording, tmp_path / "report.html")
    shown = tmp_path / "shown.mp4"
    shown.write_bytes(base64.b64decode(player["source"].split(",")[1]))
    with av.open(str(shown)) as container:  # what a browser takes for the length
        assert (container.duration or 0) / av.time_base == pytest.approx(media_info(file).seconds, abs=0.15)
    assert second_heard(read_sound(shown, 2.2, 2.8)) == second_seen(next(frames(shown, 5, 2.2, 2.8))) == 2


def test_what_cannot_be_shown_is_noted_and_the_page_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise PermissionError("a codec's whim")

    monkeypatch.setattr("pipeline.prediction.report.write_copy", fails)
    player = player_of(write_known(tmp_path / "talk.mkv", 8), tmp_path)
    assert player["note"] == "The recording cannot be shown here (a codec's whim)."


def test_the_copy_is_silent_where_the_recording_is(tmp_path: Path) -> None:
    write_copy([write_known(tmp_path / "gap.mka", 8, video="", gap=(2.0, 4.8))], tmp_path / "copy.mp4")
    assert np.abs(read_sound(tmp_path / "copy.mp4", 3.0, 4.0)).max() < 0.01
    assert len(read_sound(tmp_path / "copy.mp4")) == pytest.approx(8 * RATE, abs=0.1 * RATE)
