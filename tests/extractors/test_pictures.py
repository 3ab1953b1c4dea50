"""Pictures as a player shows them: upright, of square pixels, of whole frames, and the last one that came."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from extractors.media import MediaError, media_info
from tests.extractors.known import second_seen, write_known
from tests.extractors.shown import frames

CORNERS = ((240, 150), (60, 20))
"""Grey levels of the quarters of a test picture: upper left and right, lower left and right."""


def film(
    file: Path, picture: np.ndarray, prepare: Callable[[Any], None] = lambda stream: None, number: int = 4
) -> Path:
    with av.open(str(file), "w") as output:
        stream: Any = output.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        prepare(stream)
        for place in range(number):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = place, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file


def quarters(picture: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """The grey levels in the middle of the four quarters, to the nearest of CORNERS."""
    height, width = picture.shape[:2]
    levels = [level for row in CORNERS for level in row]

    def at(down: int, right: int) -> int:
        value = picture[down * height // 4, right * width // 4].mean()
        return min(levels, key=lambda level: abs(level - value))

    return (at(1, 1), at(1, 3)), (at(3, 1), at(3, 3))


@pytest.fixture
def cornered() -> np.ndarray:
    """A picture of 96x64 pixels with four quarters."""
    return np.repeat(np.kron(CORNERS, np.ones((32, 48)))[:, :, None], 3, axis=2).astype(np.uint8)


ONE = 65_536
FORM = "the matrix of ISO/IEC 14496-12, 6.2.2: a point (x, y) is shown at (a x + c y, b x + d y)"


@pytest.mark.parametrize(
    ("a", "b", "c", "d", "shown"),
    [
        (1, 0, 0, 1, ((240, 150), (60, 20))),
        (0, 1, -1, 0, ((60, 240), (20, 150))),  # a phone held upright: a quarter clockwise
        (-1, 0, 0, -1, ((20, 60), (150, 240))),
        (0, -1, 1, 0, ((150, 20), (240, 60))),
        (-1, 0, 0, 1, ((150, 240), (20, 60))),  # a mirror, as front cameras write
        (1, 0, 0, -1, ((60, 20), (240, 150))),
        (0, 1, 1, 0, ((240, 60), (150, 20))),  # mirrored and turned
        (0, -1, -1, 0, ((20, 150), (60, 240))),
    ],
)
def test_a_picture_is_turned_and_mirrored_as_the_file_says(
    tmp_path: Path, cornered: np.ndarray, a: int, b: int, c: int, d: int, shown: tuple
) -> None:
    matrix = [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]
    file = film(tmp_path / "phone.mp4", cornered, lambda stream: stream.set_display_matrix(matrix))
    (picture,) = frames(file, 1)
    assert picture.shape == ((96, 64, 3) if b else (64, 96, 3))
    assert quarters(picture) == shown
    (part,) = frames(file, 1, region="0,0,32,20")  # in the picture that is shown
    assert part.shape == (20, 32, 3)
    np.testing.assert_array_equal(part, picture[:20, :32])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
@pytest.mark.parametrize(("pixel", "width"), [(Fraction(2, 1), 192), (Fraction(8, 9), 85), (Fraction(1, 1), 96)])
def test_pixels_that_are_not_square_become_so(
    tmp_path: Path, cornered: np.ndarray, suffix: str, pixel: Fraction, width: int
) -> None:
    def prepare(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = pixel

    (picture,) = frames(film(tmp_path / f"wide{suffix}", cornered, prepare), 1)
    assert picture.shape == (64, width, 3)
    assert quarters(picture) == CORNERS


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("fields.mp4", "libx264", {"x264-params": "tff=1", "crf": "10"}),
        ("fields.mpg", "mpeg2video", {"flags": "+ildct+ilme", "b": "4000000"}),
        ("whole.mp4", "libx264", {"crf": "10"}),
    ],
)
def test_interlaced_pictures_lose_their_combs_and_others_stay(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    """A bar moves by 4 pixels from field to field, so that every second row of a frame is 4 pixels further."""
    bar = np.zeros((64, 96), np.uint8)
    bar[:, 20:40] = 255
    with av.open(str(tmp_path / name), "w") as output:
        stream: Any = output.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for place in range(6):
            woven = np.roll(bar, 8 * place, axis=1)
            woven[1::2] = np.roll(bar, 8 * place + 4, axis=1)[1::2]
            frame = av.VideoFrame.from_ndarray(np.repeat(woven[:, :, None], 3, axis=2), format="rgb24")
            frame.pts, frame.time_base = place, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    given = [picture[:, :, 0].astype(int) for picture in frames(tmp_path / name, 25)]
    combs = [np.abs(picture[1::2] - picture[::2]).mean() for picture in given]
    assert len(given) == 6
    if name.startswith("whole"):
        assert min(combs) > 15
    else:
        assert max(combs) < 3
    for place, picture in enumerate(given):  # each at its time
        middle = np.flatnonzero(picture.mean(axis=0) > 128).mean()
        assert middle == pytest.approx(30 + 8 * place, abs=4.5)


@pytest.mark.parametrize("name", ["still.mp4", "still.mkv", "still.webm", "still.ts"])
def test_a_picture_stays_on_the_screen_until_the_next(tmp_path: Path, name: str) -> None:
    how = {"video": "libvpx", "audio": "libopus", "rate": 48_000} if name.endswith("webm") else {}
    file = write_known(tmp_path / name, 8, times=[0, 4, 6.5], **how)

    def seen(start: float | None, end: float | None) -> list[int]:
        return [second_seen(picture) for picture in frames(file, 5, start, end)]

    assert seen(0.5, 2.5) == [0]
    assert seen(3.0, 4.5) == [0, 4]
    assert seen(4.5, 5.9) == [4]
    assert seen(7.0, 7.8) == [6]  # to the end of the recording
    assert seen(None, None) == [0, 4, 6]
    with pytest.raises(MediaError, match=r"no picture between 9 s and 10 s"):
        seen(9.0, 10.0)


def test_of_several_pictures_in_a_moment_the_last_stays(tmp_path: Path) -> None:
    """A screen that changes twice within a fifth of a second and then stands still."""
    file = write_known(tmp_path / "screen.mp4", 8, times=[0.0, 0.5, 1.95, 2.0, 3.05, 6.0], video="libx264")
    assert [second_seen(picture) for picture in frames(file, 1, 0.0, 5.9)] == [0, 1, 2, 3]
    assert [second_seen(picture) for picture in frames(file, 5, 2.2, 2.6)] == [2]
    assert [second_seen(picture) for picture in frames(file, 0.5, 0.0, 6.0)] == [0, 2, 3]


def add_cover(file: Path, kind: str) -> Path:
    """A sound file of 3 s with a cover."""
    with av.open(str(file), "w") as output:
        sound: Any = output.add_stream(kind, rate=44_100)
        sound.layout = "mono"
        if kind == "libmp3lame":
            sound.format = "fltp"
        cover: Any = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 96, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 90, np.uint8), format="rgb24")
        output.mux(cover.encode(picture))
        output.mux(cover.encode(None))
        for begin in range(0, 3 * 44_100, 1152 if kind == "libmp3lame" else 1024):
            samples = np.full((1, sound.codec_context.frame_size), 0.1, np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.rate, frame.pts, frame.time_base = 44_100, begin, Fraction(1, 44_100)
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    return file


@pytest.mark.parametrize(("name", "kind"), [("cover.mp3", "libmp3lame"), ("cover.mp4", "aac")])
def test_a_cover_is_no_film(tmp_path: Path, name: str, kind: str) -> None:
    file = add_cover(tmp_path / name, kind)
    found = media_info(file)
    assert (found.audio_problem, found.video_problem) == ("", "has no video stream, but for a cover")
    assert found.seconds == pytest.approx(3, abs=0.1)
    with pytest.raises(MediaError, match="has no video stream, but for a cover"):
        list(frames(file, 1))


def test_a_region_is_cut_at_the_pictures_edge_and_must_have_a_pixel(tmp_path: Path, cornered: np.ndarray) -> None:
    file = film(tmp_path / "film.mp4", cornered)
    (whole,) = frames(file, 1)
    (part,) = frames(file, 1, region="90,-4,40,10")
    np.testing.assert_array_equal(part, whole[:6, 90:])
    for region in ("0,0,0,0", "9000,9000,10,10", "-50,0,20,20", "10,10,-5,5"):
        with pytest.raises(MediaError, match=rf"nothing in the region {region} .*its pictures are 96x64 pixels"):
            list(frames(file, 1, region=region))
