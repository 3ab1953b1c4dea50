"""The time line: at second s is what a player shows at s, wherever the file's own clock starts and however it jumps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extractors.decoding import inspection
from extractors.decoding.matroska import is_one_recording
from extractors.media import RATE, MediaError, media_info, pictures, read_sound
from tests.extractors.known import second_heard, second_seen, write_known
from tests.extractors.shown import frames

VP8 = {"video": "libvpx", "audio": "libopus", "rate": 48_000}
MPEG2 = {"video": "mpeg2video", "audio": "mp2", "rate": 48_000, "fps": 25}
SOUND = {"video": ""}
KINDS: dict[str, dict[str, Any]] = {
    "plain.mp4": {},
    "plain.mov": {},
    "plain.mkv": {},
    "plain.webm": VP8,
    "plain.flv": {},
    "plain.avi": {"video": "mpeg4", "audio": "libmp3lame", "rate": 44_100},
    "plain.3gp": {"video": "mpeg4"},
    "plain.wmv": {"video": "wmv2", "audio": "wmav2", "rate": 44_100},
    "plain.ts": {},
    "plain.mts": {"container": "mpegts", "audio": "ac3", "rate": 48_000},
    "plain.mpg": MPEG2,
    "plain.vob": MPEG2 | {"container": "dvd"},
    "fragments.mp4": {"video": "mpeg4", "options": {"movflags": "frag_keyframe+empty_moov"}},
    "browser.webm": VP8 | {"options": {"live": "1"}},
    "cut.mkv": {"starts": 500},
    "cut.flv": {"starts": 500},
    "cut.ts": {"starts": 1.4},
    "cut.vob": MPEG2 | {"container": "dvd", "starts": 3},
    "sound.wav": SOUND | {"audio": "pcm_s16le"},
    "sound.aiff": SOUND | {"audio": "pcm_s16be"},
    "sound.flac": SOUND | {"audio": "flac"},
    "sound.mp3": SOUND | {"audio": "libmp3lame", "rate": 44_100},
    "sound.aac": SOUND,
    "sound.m4a": SOUND,
    "sound.mka": SOUND,
    "sound.opus": SOUND | {"audio": "libopus", "rate": 48_000},
    "sound.wma": SOUND | {"audio": "wmav2", "rate": 44_100},
    "sound.oga": SOUND | {"audio": "flac"},
    "dictated.wav": SOUND | {"audio": "adpcm_ima_wav"},
}
"""Recordings as programs write them; a key frame comes every 4 s."""


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes a recording of KINDS once."""
    folder = tmp_path_factory.mktemp("recorded")

    def get(name: str) -> Path:
        return folder / name if (folder / name).exists() else write_known(folder / name, **KINDS[name])

    return get


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_what_a_player_shows_at_a_second_is_what_is_read(recorded: Callable[[str], Path], name: str) -> None:
    file = recorded(name)
    assert media_info(file).seconds == pytest.approx(8, abs=0.25)
    for start in (6.2, 0.2, 3.2, 5.2):  # in any order: what was read before does not matter
        assert second_heard(read_sound(file, start, start + 0.6)) == int(start)
        if KINDS[name].get("video") != "":
            seen = [second_seen(picture) for picture in frames(file, 5, start, start + 0.6)]
            assert set(seen) == {int(start)}
            assert len(seen) in (3, 4)
    whole = read_sound(file)
    assert len(whole) == pytest.approx(8 * RATE, abs=0.1 * RATE)
    parts = [whole[round((second + 0.2) * RATE) :][: RATE // 2] for second in range(8)]
    assert [second_heard(part) for part in parts] == list(range(8))


@pytest.mark.parametrize(
    "name",
    ["browser.webm", "plain.ts", "plain.vob", "sound.aac", "sound.mp3", "plain.flv", "sound.oga", "dictated.wav"],
)
def test_an_interval_has_the_same_samples_whatever_was_read_before(
    recorded: Callable[[str], Path], name: str, tmp_path: Path
) -> None:
    fresh = tmp_path / name
    fresh.write_bytes(recorded(name).read_bytes())
    alone = read_sound(fresh, 4.31, 5.17)
    for start in (7.0, 1.0, 4.3):
        read_sound(recorded(name), start, start + 0.9)
    np.testing.assert_array_equal(read_sound(recorded(name), 4.31, 5.17), alone)
    # And it is the whole file's interval, but for the phase of the resampler and 1 ms of rounded times.
    whole = read_sound(fresh)
    best = max(np.corrcoef(alone, whole[begin : begin + len(alone)])[0, 1] for begin in range(68_930, 68_991))
    assert best > 0.99


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("gap.mkv", {}),
        ("gap.mp4", {}),
        ("gap.ts", {}),
        ("gap.flv", {}),
        ("gap.webm", VP8),
        ("gap.mka", {"video": ""}),
    ],
)
def test_a_gap_is_silence_of_its_length(tmp_path: Path, name: str, how: dict[str, Any]) -> None:
    file = write_known(tmp_path / name, gap=(2.0, 4.8), **how)
    sound = read_sound(file, 1.2, 6.8)
    assert len(sound) == round(5.6 * RATE)
    heard = [second_heard(sound[round((at - 1.2) * RATE) :][: RATE // 2]) for at in (1.3, 2.4, 4.0, 5.2, 6.2)]
    assert heard == [1, -1, -1, 5, 6]
    assert len(read_sound(file)) == pytest.approx(8 * RATE, abs=0.1 * RATE)
    silent = read_sound(file, 3.0, 4.0)
    assert (len(silent), np.abs(silent).max() < 0.01) == (RATE, True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_a_stream_that_starts_late_has_nothing_before(tmp_path: Path, suffix: str) -> None:
    file = write_known(tmp_path / f"sound{suffix}", sound_starts=2.0)
    assert np.abs(read_sound(file, 0.0, 1.8)).max(initial=0) < 0.01
    assert [second_heard(read_sound(file, start, start + 0.6)) for start in (2.2, 6.2)] == [0, 4]
    assert second_heard(read_sound(file)[round(6.2 * RATE) :][: RATE // 2]) == 4
    file = write_known(tmp_path / f"picture{suffix}", picture_starts=2.0)
    with pytest.raises(MediaError, match=r"no picture between 0.2 s and 1.2 s"):
        list(frames(file, 5, 0.2, 1.2))
    assert [second_seen(next(frames(file, 5, start, start + 0.6))) for start in (2.2, 6.2)] == [0, 4]
    assert second_heard(read_sound(file, 6.2, 6.8)) == 6


@pytest.mark.parametrize("name", ["clicks.m4a", "clicks.mp4", "clicks.mp3", "clicks.opus", "clicks.mka", "clicks.flac"])
def test_what_an_encoder_adds_in_front_shifts_nothing(tmp_path: Path, name: str) -> None:
    how = {".mp3": ("libmp3lame", 44_100), ".opus": ("libopus", 48_000), ".flac": ("flac", 16_000)}
    audio, rate = how.get(Path(name).suffix, ("aac", 16_000))
    video = "libx264" if name.endswith("mp4") else ""
    file = write_known(tmp_path / name, 3, audio=audio, rate=rate, video=video)
    sound = read_sound(file)
    # From 300 to 400 Hz at 1 s: a period of the first second ends there, and the first of the next lasts 2.5 ms.
    crossings = np.flatnonzero((sound[:-1] < 0) & (sound[1:] >= 0))
    periods = np.diff(crossings)
    change = crossings[np.flatnonzero(periods <= 46)[0]] if (periods <= 46).any() else 0
    assert change == pytest.approx(RATE, abs=0.006 * RATE)
    assert len(sound) == pytest.approx(3 * RATE, abs=0.03 * RATE)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("two.ts", {}), ("two.vob", MPEG2 | {"container": "dvd"}), ("two.ogg", KINDS["sound.opus"]), ("two.mkv", {}),
        ("two.webm", KINDS["browser.webm"]),
    ],
)  # fmt: skip
def test_time_goes_on_where_files_were_put_one_behind_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, how: dict[str, Any]
) -> None:
    monkeypatch.setattr(inspection, "SMALL", 0)  # as if the file were too large to be read to its end without need
    one = write_known(tmp_path / f"one{Path(name).suffix}", 4, **how).read_bytes()
    file = tmp_path / name
    file.write_bytes(one + one)
    assert media_info(file).seconds == pytest.approx(8, abs=0.2)
    assert [second_heard(read_sound(file, start, start + 0.5)) for start in (1.3, 5.4, 7.4)] == [1, 1, 3]
    if how.get("video") != "":
        assert [second_seen(next(frames(file, 5, start, start + 0.5))) for start in (1.3, 5.4, 7.4)] == [1, 1, 3]


def test_sound_that_overlaps_is_heard_once(tmp_path: Path) -> None:
    """Two streams of packets whose times overlap by half a second, as a recorder writes them that starts anew."""
    import av

    first = write_known(tmp_path / "first.mka", 4, video="")
    with av.open(str(tmp_path / "overlap.mka"), "w") as output, av.open(str(first)) as given:
        stream = output.add_stream_from_template(given.streams.audio[0])
        packets = [packet for packet in given.demux(given.streams.audio[0]) if packet.size]
        for shift in (0, 3500):
            for packet in packets:
                copy = av.Packet(bytes(packet))
                copy.stream, copy.time_base, copy.is_keyframe = stream, packet.time_base, True
                copy.pts = copy.dts = (packet.pts or 0) + shift
                try:
                    output.mux(copy)
                except av.error.FFmpegError:  # the writer refuses times that run backwards
                    continue
    sound = read_sound(tmp_path / "overlap.mka")
    assert len(sound) == pytest.approx(7.5 * RATE, abs=0.1 * RATE)
    assert [second_heard(sound[round(at * RATE) :][: RATE // 2]) for at in (1.2, 5.8)] == [1, 2]


def bytes_read() -> int:
    """Bytes that this process has read from files so far."""
    return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])


@pytest.mark.parametrize(
    ("options", "behind", "is_one"), [({}, b"", True), ({"live": "1"}, b"", False), ({}, b"x", False)]
)
def test_what_a_matroska_file_says_of_its_length(
    tmp_path: Path, options: dict[str, str], behind: bytes, is_one: bool
) -> None:
    file = write_known(tmp_path / "talk.mkv", 1, options=options)
    file.write_bytes(file.read_bytes() + behind)
    assert is_one_recording(file) is is_one
    file.write_bytes(file.read_bytes()[:30])  # it breaks off in its header
    assert not is_one_recording(file)


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux says how much a process has read")
@pytest.mark.parametrize(
    ("name", "how"),
    [
        (
            "long.mkv",
            {"video": "mpeg4", "audio": "pcm_s16le", "rate": 48_000, "layout": "7.1", "options": {"live": "1"}},
        ),
        ("long.flv", {"video": "flv", "audio": "pcm_s16le", "rate": 44_100, "layout": "stereo"}),
        (
            "long.ts",
            {"video": "mpeg2video", "fps": 25, "audio": "mp2", "rate": 48_000, "options": {"muxrate": "5000000"}},
        ),
    ],
)
def test_a_long_file_without_an_index_is_not_read_from_its_beginning_for_every_utterance(
    tmp_path: Path, name: str, how: dict[str, Any]
) -> None:
    file = write_known(tmp_path / name, 40, **how)
    before = bytes_read()
    for second in range(2, 38, 2):
        assert second_heard(read_sound(file, second + 0.2, second + 0.8)) == second
    assert (
        bytes_read() - before < 3 * file.stat().st_size + 1_000_000
    )  # from the beginning it would be 9 times the size


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux says how much a process has read")
def test_pictures_are_not_read_from_the_beginning_where_the_sound_was_read_before(tmp_path: Path) -> None:
    file = write_known(tmp_path / "long.wmv", 40, video="wmv2", audio="wmav2", rate=44_100)
    for second in range(2, 38, 2):
        assert second_heard(read_sound(file, second + 0.2, second + 0.8)) == second
    before = bytes_read()
    for second in range(2, 38, 2):
        assert {second_seen(picture) for picture in frames(file, 5, second + 0.2, second + 0.8)} == {second % 12}
    assert (
        bytes_read() - before < 3 * file.stat().st_size + 1_000_000
    )  # from the beginning it would be 9 times the size


@pytest.mark.parametrize("name", ["plain.ts", "cut.ts", "plain.vob"])
def test_the_delay_of_a_sounds_codec_does_not_move_the_pictures(recorded: Callable[[str], Path], name: str) -> None:
    (first, _), *_ = pictures(recorded(name), 5, 3.0, 4.0)
    assert first == pytest.approx(3.0, abs=0.01)
