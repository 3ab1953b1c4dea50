"""Decoding: lengths, intervals, rates, and files that are not what they should be."""

import hashlib
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from extractors.media import RATE, ContentError, MediaError, media_info, read_sound, require_content
from tests.conftest import change_in_secret, write_clip
from tests.extractors.shown import frames


def test_sound_is_16_khz_mono_and_as_long_as_the_clip(clip: Path) -> None:
    sound = read_sound(clip)
    assert sound.dtype == np.float32
    assert sound.ndim == 1
    assert len(sound) == pytest.approx(0.6 * RATE, abs=1100)  # the container counts whole AAC frames of 1,024
    assert 0.2 < np.abs(sound).max() < 0.5


@pytest.mark.parametrize("layout", ["stereo", "5.1"])
def test_sound_of_2_and_of_6_channels_at_48_khz_becomes_16_khz_mono(tmp_path: Path, layout: str) -> None:
    sound = read_sound(write_clip(tmp_path / "clip.mp4", seconds=1, layout=layout))
    assert sound.ndim == 1
    assert len(sound) == pytest.approx(RATE, abs=1100)  # the codec pads its last frame
    assert np.isfinite(sound).all()
    loudness = np.sqrt(np.square(sound[2000:14_000]).mean())
    assert loudness == pytest.approx(0.3 / np.sqrt(2), rel=0.02)  # that of a channel, however many there are


def test_an_interval_of_sound_is_the_whole_files_interval(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", seconds=3, rate=16_000)
    whole, part = read_sound(clip), read_sound(clip, 1.0, 2.0)
    assert len(part) == RATE
    # Within one AAC frame, for the first frame after a seek is decoded without its predecessor.
    best = max(
        np.corrcoef(part[2048:], whole[RATE + 2048 + shift : 2 * RATE + shift])[0, 1] for shift in range(-32, 33)
    )
    assert best > 0.99


def test_what_a_codec_pads_at_the_end_is_no_sound(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", seconds=0.61, rate=16_000, picture=False)
    assert len(read_sound(clip)) == round(0.61 * RATE)  # and not whole frames of 1,024


def test_sound_from_a_start_on_is_all_that_follows_it(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", seconds=3, rate=16_000)
    whole = read_sound(clip)
    for start in (1.0, 1.03, 1.05):  # wherever in a frame of the codec
        rest, begin = read_sound(clip, start), round(start * RATE)
        best = max(
            range(-1024, 1024, 8),
            key=lambda shift: np.corrcoef(rest[2048:20_000], whole[begin + shift :][2048:20_000])[0, 1],
        )
        assert abs(best) <= 32
        assert len(rest) == pytest.approx(len(whole) - begin, abs=1100)


def test_frames_come_at_the_rate_asked_for(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", seconds=3)
    assert len(list(frames(clip, 5))) == 15
    assert len(list(frames(clip, 10))) == 30
    assert len(list(frames(clip, 100))) == 30  # no more than there are
    assert len(list(frames(clip, 5, 1.0, 2.0))) == 5


def test_after_a_gap_pictures_come_at_the_rate_again_and_not_all_at_once(tmp_path: Path) -> None:
    file = tmp_path / "gap.mkv"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 10)
        for time in (0, 1, 2, 20, 21, 22, 23, 24, 25):  # tenths of a second
            frame = av.VideoFrame.from_ndarray(np.full((80, 96, 3), 10 * time, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    given = [round(picture.mean() / 10) for picture in frames(file, 5)]
    assert given == [0, 2, 20, 22, 24]


def test_a_region_is_that_part_of_the_picture(clip: Path) -> None:
    whole = next(frames(clip, 1))
    part = next(frames(clip, 1, region="10,20,30,40"))
    assert whole.shape == (80, 96, 3)
    np.testing.assert_array_equal(part, whole[20:60, 10:40])


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"", "is empty"), (b"not a film" * 100, "cannot be opened")],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "clip.mp4"
    if content is not None:
        file.write_bytes(content)
    assert said in media_info(file).audio_problem
    assert said in media_info(file).video_problem
    with pytest.raises(MediaError, match=said):
        read_sound(file)
    with pytest.raises(MediaError, match=said):
        list(frames(file, 5))


def test_a_clip_of_50_ms_gives_what_it_has(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "short.mp4", seconds=0.05)
    assert 0 < len(read_sound(clip)) < 0.2 * RATE
    assert len(list(frames(clip, 5))) == 1


def test_a_clip_that_breaks_off_gives_what_came_before(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "whole.mkv", seconds=3)
    broken = tmp_path / "broken.mkv"
    content = clip.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    assert 0 < len(list(frames(broken, 10))) < 30


def test_an_interval_beyond_the_end_is_a_problem_in_words(clip: Path) -> None:
    with pytest.raises(MediaError, match="no picture between 5 s and 6 s"):
        list(frames(clip, 5, 5.0, 6.0))


def test_changed_content_is_noticed(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(ContentError, match="was changed since the index was made"):
        require_content(clip, "0" * 64)
    with pytest.raises(ContentError, match="cannot be read"):
        require_content(tmp_path / "gone.mp4", "0" * 64)


def test_changed_content_is_noticed_after_it_was_once_seen_though_size_and_time_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "clip.wav"
    file.write_bytes(b"before")
    digest = hashlib.sha256(b"before").hexdigest()
    require_content(file, digest)
    change_in_secret(file, b"change")
    with pytest.raises(ContentError, match="was changed since the index was made"):
        require_content(file, digest)
    change_in_secret(file, b"before")
    require_content(file, digest)


@pytest.mark.slow
def test_pictures_come_one_by_one(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", seconds=20, rate=16_000)
    given = 0
    tracemalloc.start()
    for picture in frames(clip, 10):
        given += 1
        assert picture.shape == (80, 96, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert given == 200
    assert peak < 1_000_000  # all of them at once would be 4.6 MB
    assert len(read_sound(clip)) == pytest.approx(20 * RATE, abs=2048)
