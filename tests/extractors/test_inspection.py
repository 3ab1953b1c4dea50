"""What a file is, how long it lasts, which of its tracks is used, and sound of every form that files have."""

import contextlib
import struct
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from extractors.media import RATE, MediaError, media_info, read_sound
from tests.conftest import write_clip
from tests.extractors.known import second_heard, second_seen, tone, write_known
from tests.extractors.shown import frames

HOSTILE = Path(__file__).parents[3] / "shared" / "data" / "cases" / "hostile"


def encoded(codec: str, seconds: float, bit_rate: int, suffix: str, folder: Path) -> bytes:
    """Sound of seconds that are known, without a header that says how long it is."""
    file = folder / f"{codec}{bit_rate}{suffix}"
    with av.open(str(file), "w", container_options={"write_xing": "0"} if suffix == ".mp3" else {}) as output:
        stream: Any = output.add_stream(codec, rate=44_100)
        stream.layout, stream.format, stream.bit_rate = "mono", "fltp", bit_rate
        stream.codec_context.open(strict=False)
        samples = stream.codec_context.frame_size
        time = np.arange(round(seconds * 44_100)) / 44_100
        sound = (0.4 * np.sin(2 * np.pi * 500 * time)).astype(np.float32)
        for begin in range(0, len(sound), samples):
            frame = av.AudioFrame.from_ndarray(sound[None, begin : begin + samples], format="fltp", layout="mono")
            frame.rate, frame.pts, frame.time_base = 44_100, begin, Fraction(1, 44_100)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.read_bytes()


@pytest.mark.parametrize(("codec", "suffix"), [("libmp3lame", ".mp3"), ("aac", ".aac")])
@pytest.mark.parametrize("rates", [(160_000, 32_000), (32_000, 160_000)])
def test_a_duration_that_ffmpeg_guesses_from_the_bit_rate_is_measured(
    tmp_path: Path, codec: str, suffix: str, rates: tuple[int, int]
) -> None:
    file = tmp_path / f"varying{suffix}"
    file.write_bytes(b"".join(encoded(codec, 6, rate, suffix, tmp_path) for rate in rates))
    with av.open(str(file)) as container:
        assert abs((container.duration or 0) / av.time_base - 12) > 1  # FFmpeg's guess
    assert media_info(file).seconds == pytest.approx(12, abs=0.15)
    assert len(read_sound(file)) == pytest.approx(12 * RATE, abs=0.15 * RATE)
    assert tone(read_sound(file, 10.5, 11.5)) == pytest.approx(500, abs=5)


def test_a_recording_of_a_browser_has_a_duration(tmp_path: Path) -> None:
    how = {"video": "libvpx", "audio": "libopus", "rate": 48_000, "options": {"live": "1"}}
    file = write_known(tmp_path / "meeting.webm", 5, **how)
    with av.open(str(file)) as container:
        assert not container.duration
    assert media_info(file).seconds == pytest.approx(5, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["broken.mkv", "broken.mp4", "broken.webm", "broken.avi", "broken.wav", "broken.ts"])
def test_a_recording_that_breaks_off_lasts_as_long_as_what_is_there(tmp_path: Path, name: str) -> None:
    suffix = Path(name).suffix
    how: dict[str, Any] = {
        ".mp4": {"options": {"movflags": "faststart"}},
        ".webm": {"video": "libvpx", "audio": "libopus", "rate": 48_000},
        ".avi": {"video": "mpeg4", "audio": "libmp3lame", "rate": 44_100},
        ".wav": {"video": "", "audio": "pcm_s16le"},
    }.get(suffix, {})
    whole = write_known(tmp_path / f"whole{suffix}", 8, **how).read_bytes()
    file = tmp_path / name
    file.write_bytes(whole[: round(0.6 * len(whole))])
    found = media_info(file)
    assert found.audio_problem == ""
    assert 3.2 < found.seconds < 6.2
    assert second_heard(read_sound(file, 2.2, 2.8)) == 2
    assert not len(read_sound(file, 7.0, 7.5))
    if how.get("video") != "":
        assert second_seen(next(frames(file, 5, 2.2, 2.8))) == 2
        with pytest.raises(MediaError, match=r"no picture between 7 s and 7.5 s"):
            list(frames(file, 5, 7.0, 7.5))


def test_a_header_that_counts_from_the_files_own_clock_does_not_lengthen_a_recording(tmp_path: Path) -> None:
    file = write_known(tmp_path / "cut.mkv", 4, starts=20)
    with av.open(str(file)) as container:
        assert (container.duration or 0) / av.time_base == pytest.approx(24, abs=0.2)
    assert media_info(file).seconds == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".mpg", ".flv", ".mp3", ".aac", ".mp4"])
def test_damage_in_the_middle_costs_no_more_than_it_hits(tmp_path: Path, suffix: str) -> None:
    how: dict[str, Any] = {
        ".mpg": {"video": "mpeg2video", "audio": "mp2", "rate": 48_000, "fps": 25},
        ".mp3": {"video": "", "audio": "libmp3lame", "rate": 44_100},
        ".aac": {"video": ""},
    }.get(suffix, {})
    content = bytearray(write_known(tmp_path / f"whole{suffix}", 8, **how).read_bytes())
    random = np.random.default_rng(0)
    for begin in random.integers(len(content) // 3, len(content) // 2, 6):
        content[begin : begin + 40] = random.bytes(40)
    file = tmp_path / f"damaged{suffix}"
    file.write_bytes(bytes(content))
    assert media_info(file).audio_problem == ""
    assert [second_heard(read_sound(file, start, start + 0.6)) for start in (0.2, 7.1)] == [0, 7]
    read_sound(file)
    if how.get("video") != "":
        list(frames(file, 10))


@pytest.mark.parametrize("marked", [0, 1])
def test_the_sound_track_is_the_one_that_players_begin_with(tmp_path: Path, marked: int) -> None:
    file = tmp_path / "two.mkv"
    with av.open(str(file), "w") as output:
        tracks: list[Any] = [output.add_stream("aac", rate=16_000) for _ in range(2)]
        for place, track in enumerate(tracks):
            track.layout = "mono"
            track.disposition = Disposition.default if place == marked else Disposition(0)
        time = np.arange(2 * RATE) / RATE
        for begin in range(0, len(time), 1024):
            for track, pitch in zip(tracks, (400, 900), strict=True):
                part = 0.4 * np.sin(2 * np.pi * pitch * time[None, begin : begin + 1024])
                frame = av.AudioFrame.from_ndarray(part.astype(np.float32), format="fltp", layout="mono")
                frame.rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
                output.mux(track.encode(frame))
        for track in tracks:
            output.mux(track.encode(None))
    assert tone(read_sound(file)) == pytest.approx((400, 900)[marked], abs=5)
    assert media_info(file).note == f"has 2 sound tracks; number {marked + 1} is used, with which players begin"


def wav(file: Path, sound: np.ndarray, rate: int = 16_000) -> Path:
    """Write int16 [samples, channels] as wav, without saying where which channel is."""
    with wave.open(str(file), "wb") as output:
        output.setnchannels(sound.shape[1])
        output.setsampwidth(2)
        output.setframerate(rate)
        output.writeframes(sound.astype("<i2").tobytes())
    return file


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 7, 8, 9, 11, 12, 13, 17, 18, 24, 32, 64])
def test_any_number_of_channels_becomes_one(tmp_path: Path, channels: int) -> None:
    time = np.arange(RATE) / RATE
    one = 10_000 * np.sin(2 * np.pi * 500 * time)
    file = wav(tmp_path / "mixer.wav", np.repeat(one[:, None], channels, axis=1))
    sound = read_sound(file)
    assert len(sound) == RATE
    assert tone(sound) == pytest.approx(500, abs=5)
    assert np.abs(sound).max() == pytest.approx(10_000 / 32_768, rel=0.35)  # FFmpeg leaves out the channel for bass
    if channels in (9, 11, 13, 17, 18, 32):
        only_last = np.zeros((RATE, channels))
        only_last[:, -1] = one
        np.testing.assert_allclose(
            read_sound(wav(tmp_path / "last.wav", only_last)), one / channels / 32_768, atol=2 / 32_768
        )


def test_sound_that_is_as_it_is_needed_is_read_too(tmp_path: Path) -> None:
    file = write_known(tmp_path / "ready.flac", 2, video="", audio="flac")  # 16 kHz, mono, 16 bits
    assert len(read_sound(file)) == 2 * RATE


@pytest.mark.parametrize("suffix", [".aac", ".ts"])
def test_rate_and_channels_may_change_in_the_middle(tmp_path: Path, suffix: str) -> None:
    video = "libx264" if suffix == ".ts" else ""
    parts = [
        write_known(tmp_path / f"{place}{suffix}", 3, video=video, rate=rate, layout=layout)
        for place, (rate, layout) in enumerate([(48_000, "stereo"), (16_000, "mono")])
    ]
    file = tmp_path / f"both{suffix}"
    file.write_bytes(b"".join(part.read_bytes() for part in parts))
    sound = read_sound(file)
    assert len(sound) == pytest.approx(6 * RATE, abs=0.2 * RATE)
    assert [second_heard(sound[round(at * RATE) :][: RATE // 2]) for at in (1.25, 2.25, 4.4, 5.4)] == [1, 2, 1, 2]


def test_a_header_with_an_impossible_rate_is_named(tmp_path: Path) -> None:
    file = wav(tmp_path / "slow.wav", np.zeros((16_000, 1)), rate=1)
    assert media_info(file).audio_problem == "has a sampling rate of 1 Hz: a damaged header"
    with pytest.raises(MediaError, match="has a sampling rate of 1 Hz"):
        read_sound(file)


def test_a_codec_that_nobody_knows_is_named(tmp_path: Path) -> None:
    content = bytearray(wav(tmp_path / "known.wav", np.zeros((16_000, 1))).read_bytes())
    struct.pack_into("<H", content, content.index(b"fmt ") + 8, 0x7777)
    file = tmp_path / "unknown.wav"
    file.write_bytes(bytes(content))
    assert media_info(file).audio_problem == "has an audio stream of a codec that FFmpeg does not know"
    with pytest.raises(MediaError, match="has an audio stream of a codec"):
        read_sound(file)
    film = write_clip(tmp_path / "film.mp4")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(film.read_bytes().replace(b"avc1", b"zzzz"))
    found = media_info(broken)
    assert (found.audio_problem, found.video_problem[:21]) == ("", "has a video stream of")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.mp4", "Ann: Hello.\nBob: Göd dag.\n" * 200, "it is a text and no recording"),
        ("talk.srt", "1\n00:00:01,000 --> 00:00:02,000\nHello.\n", "it is a text and no recording"),
        ("notes.txt", "only words", "it is a text and no recording"),
        ("code.ts", "export const a = 1;\n" * 50, "it is a text and no recording"),
        ("wide.txt", "some words".encode("utf-16"), "it is a text and no recording"),
        ("list.mp4", "#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", "it is a playlist"),
        ("list.mkv", "ffconcat version 1.0\nfile other.mkv\n", "it is a text and no recording"),
        ("photo.mp4", b"\x89PNG\r\n\x1a\n" + bytes(500), "it is a picture and no recording"),
        ("crash.mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(3000), "an mp4 file whose index .moov. is missing"),
    ],
)
def test_what_is_no_recording_is_refused_by_what_it_is(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(MediaError, match=rf"cannot be opened \(.*{said}"):
        list(frames(file, 1))
    assert said.replace(".", "") in media_info(file).video_problem.replace("(moov)", "moov")


def test_a_playlist_opens_nothing_else(tmp_path: Path) -> None:
    write_clip(tmp_path / "secret.ts")
    for name, content in {
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:0.6,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "list.txt": "ffconcat version 1.0\nfile secret.ts\n",
    }.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(MediaError, match="cannot be opened"):
            read_sound(tmp_path / name)


def test_a_name_may_look_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "10:30 meeting.mp4").rename(tmp_path / "http:talk.mp4")
    assert media_info(Path("http:talk.mp4")).audio_problem == ""


@pytest.mark.parametrize("name", ["late.mpg", "late.flv"])
def test_sound_that_turns_up_in_the_middle_of_a_file_is_found(tmp_path: Path, name: str) -> None:
    how: dict[str, Any] = {"video": "mpeg2video", "audio": "mp2", "rate": 48_000, "fps": 25} if "mpg" in name else {}
    file = write_known(tmp_path / name, 12, gap=(0, 9), **how)
    assert media_info(file).audio_problem == ""
    assert [second_heard(read_sound(file, start, start + 0.6)) for start in (3.2, 10.2)] == [-1, 10]
    assert second_seen(next(frames(file, 5, 10.2, 10.8))) == 10


def test_whatever_a_decoder_raises_is_a_media_error(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr("extractors.decoding.timeline.decode", fails)
    for read in (read_sound, lambda file: list(frames(file, 5)), lambda file: read_sound(file, 0.55)):
        with pytest.raises(MediaError, match=r"cannot be decoded \(list index out of range\)"):
            read(clip)


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="needs the development data")
@pytest.mark.parametrize("name", ["vfourcc.mp4", "fmt_unknown.wav", "m130_4.flv", "rate1.wav"])
def test_files_that_once_ended_in_a_traceback_are_read_or_refused(name: str) -> None:
    media_info(HOSTILE / name)
    for interval in ((None, None), (0.5, 1.5), (1.5, None)):
        for read in (read_sound, lambda file, *times: list(frames(file, 5, *times))):
            with contextlib.suppress(MediaError):
                read(HOSTILE / name, *interval)
