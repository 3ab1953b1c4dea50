"""An utterance in several pieces: sound joined to the sample, pictures on one time line, and pieces as text."""

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import wavfile

from extractors.media import MediaError, joined_pictures, joined_sound, joints_of, read_sound
from extractors.utterance import Part, Piece, as_text, pieces_of
from tests.conftest import write_clip
from tests.extractors.shown import frames

RATE = 16_000


def write_counting(file: Path, first: int, seconds: float) -> np.ndarray:
    """A recording whose samples are `first`, `first` + 1, …; returns them as they are read."""
    samples = (first + np.arange(round(seconds * RATE)) % 8000).astype(np.int16)
    wavfile.write(file, RATE, samples)
    return samples.astype(np.float32) / 32_768


def write_film(file: Path, first: int, pictures: int, rate: int = 25) -> Path:
    """A film whose picture n has the grey level `first` + 2 n."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        for number in range(pictures):
            picture = np.full((48, 64, 3), first + 2 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file


def test_sound_is_joined_to_the_sample(tmp_path: Path) -> None:
    one, two = tmp_path / "one.wav", tmp_path / "two.wav"
    first, second = write_counting(one, 1, 2.0), write_counting(two, 9000, 1.0)
    # 0.3081875 s are 4931 samples; so every time of a list that was made at 16 kHz is a sample's.
    parts = [
        Part(two, "", 0.3081875, 0.75),
        Part(one, "", None, 0.0000625),
        Part(one, "", 1.9),
        Part(two, "", 0.0, 0.1),
    ]
    expected = [second[4931:12_000], first[:1], first[30_400:], second[:1600]]
    np.testing.assert_array_equal(joined_sound(parts), np.concatenate(expected))


def test_a_part_whose_file_ends_before_it_does_is_as_long_as_its_sound(tmp_path: Path) -> None:
    one, two = tmp_path / "one.wav", tmp_path / "two.wav"
    first, second = write_counting(one, 1, 0.5), write_counting(two, 9000, 0.5)
    found = joined_sound([Part(one, "", 0.25, 3.0), Part(two, "", 0.0, 0.25)])
    np.testing.assert_array_equal(found, np.concatenate([first[4000:], second[:4000]]))


def test_one_part_is_what_it_is_alone(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 1.2)
    np.testing.assert_array_equal(joined_sound([Part(clip, "", 0.2, 0.9)]), read_sound(clip, 0.2, 0.9))
    np.testing.assert_array_equal(joined_sound([Part(clip, "")]), read_sound(clip))
    for start, end in ((0.2, 0.9), (None, None)):
        times, pictures = zip(*joined_pictures([Part(clip, "", start, end)], 5, "8,8,40,40"), strict=True)
        np.testing.assert_array_equal(np.stack(pictures), np.stack(list(frames(clip, 5, start, end, "8,8,40,40"))))
        assert times[0] == pytest.approx(0, abs=1e-6)  # since the part's start


def test_a_part_without_sound_is_an_error_and_so_is_more_than_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, mute = write_clip(tmp_path / "a.mp4"), write_clip(tmp_path / "b.mp4", sound=False)
    with pytest.raises(MediaError, match="has no audio stream"):
        joined_sound([Part(clip, ""), Part(mute, "")])
    monkeypatch.setattr("extractors.decoding.joined.LONGEST", 1.0)
    with pytest.raises(MediaError, match=r"more than .* hour of sound for one utterance"):
        joined_sound([Part(clip, "")] * 2)


A, B = 20, 140
"""First grey levels of two films of 50 pictures."""


def sampled(parts: list[Part], fps: float) -> list[tuple[float, str]]:
    """Times to the millisecond, and which picture of which film it is."""
    levels = [(round(time, 3), float(picture.mean())) for time, picture in joined_pictures(parts, fps)]
    return [(time, f"a{round((level - A) / 2)}" if level < B - 2 else f"b{round((level - B) / 2)}")
            for time, level in levels]  # fmt: skip


def test_the_steps_go_on_over_a_joint(tmp_path: Path) -> None:
    """Each second has pictures 25 a second; sampled are 5. The first part has 0.44 s, so the step from 0.4 to 0.6 s is
    its last one, and the second part is entered 0.16 s after its start, which is picture 4 behind its fifth."""
    one, two = write_film(tmp_path / "a.mp4", A, 50), write_film(tmp_path / "b.mp4", B, 50)
    parts = [Part(one, "", 0.2, 0.64), Part(two, "", 0.2, 0.8)]
    assert joints_of(parts) == pytest.approx([0.44])
    assert sampled(parts, 5) == [(0.0, "a5"), (0.2, "a10"), (0.4, "a15"), (0.6, "b9"), (0.8, "b14"), (1.0, "b19")]


def test_a_joint_at_a_step_loses_no_picture_to_rounding(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", A, 50)
    parts = [Part(film, "", 0.2, 0.8), Part(film, "", 0.0, 0.6), Part(film, "", 1.2, 1.4)]  # 0.8 - 0.2 is more than 0.6
    assert [one for _, one in sampled(parts, 5)] == ["a5", "a10", "a15", "a0", "a5", "a10", "a30"]


def test_a_part_within_a_step_has_no_picture_of_its_own(tmp_path: Path) -> None:
    one, two = write_film(tmp_path / "a.mp4", A, 50), write_film(tmp_path / "b.mp4", B, 50)
    parts = [Part(one, "", 0.0, 0.48), Part(two, "", 0.0, 0.04), Part(one, "", 0.48, 0.8)]
    assert sampled(parts, 5) == [(0.0, "a0"), (0.2, "a5"), (0.4, "a10"), (0.6, "a14"), (0.8, "a19")]


def test_a_part_without_a_picture_leaves_the_others_and_all_such_parts_are_an_error(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", A, 25)
    late = Part(film, "", 3.0, 3.5)
    assert [one for _, one in sampled([late, Part(film, "", 0.0, 0.4)], 5)] == ["a3", "a8"]
    with pytest.raises(MediaError, match=r"has no picture between 3 s and 3\.5 s"):
        list(joined_pictures([late, late], 5))
    with pytest.raises(MediaError, match="has no video stream"):
        list(joined_pictures([Part(film, "", 0, 1), Part(write_clip(tmp_path / "b.mp4", picture=False), "")], 5))


NAMES = (
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="|"), min_size=1).map(str.strip).filter(bool)
)
TIMES = st.none() | st.floats(0, 3600, allow_subnormal=False)


@given(st.lists(st.tuples(NAMES, TIMES, TIMES), min_size=1))
def test_pieces_are_read_as_they_were_written(found: list[tuple[str, float | None, float | None]]) -> None:
    pieces = [Piece(name, start, end if end is None or end > (start or 0.0) else None) for name, start, end in found]
    assert pieces_of(as_text(pieces)) == pieces


def test_times_of_a_piece_may_be_left_out() -> None:
    assert pieces_of("a b@2.mp4 | c.mp4@1.5- |d.mp4@-2") == [
        Piece("a b@2.mp4"), Piece("c.mp4", 1.5), Piece("d.mp4", None, 2.0)
    ]  # fmt: skip


@pytest.mark.parametrize(("written", "said"), [
    ("a.mp4 | ", "a piece without a file"), ("a.mp4@2-1", "ends at 1 s, not after its start at 2 s"),
    ("a.mp4@-0", "ends at 0 s"), ("a.mp4@1.2.3-5", "could not convert")])  # fmt: skip
def test_what_is_no_piece_is_said(written: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pieces_of(written)
