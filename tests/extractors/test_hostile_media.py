"""Media that are no media, claim what they do not hold, or would take a machine for hours."""

import os
import resource
import struct
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from extractors.audio.extractor import AudioExtractor
from extractors.decoding.files import MOST_PIXELS, clip_seconds
from extractors.decoding.sound import LONGEST
from extractors.media import RATE, MediaError, OverBudgetError, media_info, pictures, read_sound
from extractors.settings import AudioSettings
from extractors.utterance import Utterance
from foundation.errors import UserError
from tests.conftest import in_this_process, write_clip
from tests.extractors.shown import frames

PCM, FLOAT = 1, 3


def write_wav(file: Path, samples: np.ndarray, rate: int = RATE, form: int = PCM, claimed: int | None = None) -> Path:
    """A wav file by hand; `claimed` is the size of its data that the header states."""
    data, width = samples.tobytes(), samples.itemsize
    size = len(data) if claimed is None else claimed
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", min(36 + size, 2**32 - 1), b"WAVE", b"fmt ", 16, form, 1, rate,
                         rate * width % 2**32, width, 8 * width, b"data", size)  # fmt: skip
    file.write_bytes(header + data)
    return file


def write_film(file: Path, width: int, height: int, codec: str = "png", pixel: Fraction | None = None) -> Path:
    """One black picture."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        if pixel:
            stream.codec_context.sample_aspect_ratio = pixel
        frame = av.VideoFrame(width, height, "rgb24")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def memory() -> int:
    """Largest memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    return (np.sin(np.arange(round(seconds * rate)) * 0.2) * 9000).astype(np.int16)


def make_loop(file: Path) -> None:
    file.symlink_to(file.name)


@pytest.mark.timeout(20)  # a pipe would be waited for
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is a pipe or a device and no file"),
        (lambda file: file.symlink_to("/dev/zero"), "is a pipe or a device and no file"),
        (Path.mkdir, "is a folder and no file"),
        (lambda file: file.symlink_to("/nowhere/at/all.mp4"), "is a link to a file that does not exist"),
        (make_loop, "cannot be opened (Too many levels of symbolic links)"),
        (lambda file: None, "no such file"),
        (Path.touch, "is empty (zero bytes)"),
    ],
    ids=["pipe", "device", "folder", "broken link", "link to itself", "nothing", "empty"],
)
def test_what_is_no_file_is_said_at_once(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    file = tmp_path / "talk.mp4"
    make(file)
    found = media_info(file)
    assert (found.audio_problem, found.video_problem, found.seconds) == (said, said, 0.0)
    for read in (read_sound, lambda file: list(frames(file, 2)), lambda file: read_sound(file, 5.0, 6.0)):
        with pytest.raises(MediaError) as caught:
            read(file)
        assert str(caught.value) == said


@pytest.mark.parametrize(("rate", "claimed"), [(16_000, 2**32 - 1), (16_000, 2**31 - 1), (8_000, 4_000_000_000)])
def test_a_sound_that_claims_hours_is_read_by_what_it_holds(tmp_path: Path, rate: int, claimed: int) -> None:
    file = write_wav(tmp_path / "long.wav", tone(1.5, rate), rate, claimed=claimed)
    assert len(read_sound(file)) == pytest.approx(1.5 * RATE, abs=32)
    assert media_info(file).seconds == pytest.approx(1.5, abs=0.01)


def test_a_film_that_claims_thirty_years_is_read_by_what_it_holds(tmp_path: Path) -> None:
    for name, tag, claim in (
        ("long.mkv", b"\x44\x89\x88", struct.pack(">d", 1e12)),  # Duration, a double in milliseconds
        ("long.mp4", b"mvhd", b""),
    ):
        file = write_clip(tmp_path / name)
        content = bytearray(file.read_bytes())
        place = content.index(tag) + len(tag)
        if claim:
            content[place : place + 8] = claim
        else:
            content[place + 16 : place + 20] = b"\x7f\xff\xff\xff"  # duration, in units of a thousandth
        file.write_bytes(content)
        found = media_info(file)
        assert (found.audio_problem, found.video_problem) == ("", "")
        assert found.seconds == pytest.approx(0.6, abs=0.1), name
        assert len(read_sound(file)) == pytest.approx(0.6 * RATE, abs=0.1 * RATE)


def test_a_rate_of_one_sample_a_second_is_a_recorded_skip(tmp_path: Path) -> None:
    file = write_wav(tmp_path / "rate1.wav", tone(1.0), 1)
    assert media_info(file).audio_problem == "has a sampling rate of 1 Hz: a damaged header"
    with pytest.raises(MediaError, match="sampling rate of 1 Hz"):
        read_sound(file)


def write_sound_with_gaps(file: Path, pieces: int, every: float) -> Path:
    """A piece of sound of a fortieth of a second `every` so many seconds."""
    with av.open(str(file), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for number in range(pieces):
            frame = av.AudioFrame.from_ndarray(tone(0.025)[None], "s16", "mono")
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), round(number * every * RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def test_gaps_of_an_hour_each_reserve_no_memory(tmp_path: Path) -> None:
    file = write_sound_with_gaps(tmp_path / "gaps.mkv", 200, 3500.0)
    before = memory()
    with pytest.raises(MediaError, match="has more than 1 hour of sound for one utterance: give it start and end"):
        read_sound(file)
    assert len(read_sound(file, 3499.0, 3501.0)) == 2 * RATE
    assert memory() - before < 2 * 2 * LONGEST * RATE / 2**20 + 200


def test_a_picture_of_gigabytes_is_refused_without_being_decoded(tmp_path: Path) -> None:
    file = write_film(tmp_path / "large.mov", 12_000, 8_000)
    assert file.stat().st_size < 2**20
    before = memory()
    for read in (pictures, frames):
        with pytest.raises(MediaError, match=f"pictures of .*more than .*{MOST_PIXELS:,}"):
            list(read(file, 2))
    assert "pixels" in media_info(file).video_problem
    assert memory() - before < 100  # it would take 288


def test_a_picture_that_is_larger_than_its_header_says_is_not_decoded(tmp_path: Path) -> None:
    file = write_film(tmp_path / "large.mov", 12_000, 8_000)
    content = file.read_bytes().replace(struct.pack(">HH", 12_000, 8_000), struct.pack(">HH", 96, 80))
    content = content.replace(struct.pack(">II", 12_000 << 16, 8_000 << 16), struct.pack(">II", 96 << 16, 80 << 16))
    file.write_bytes(content)
    before = memory()
    with pytest.raises(MediaError):
        list(frames(file, 2))
    assert memory() - before < 100


def test_pixels_eight_times_as_wide_as_high_do_not_make_a_large_picture_larger(tmp_path: Path) -> None:
    file = write_film(tmp_path / "wide.mov", 4000, 3000, pixel=Fraction(8))
    (picture,) = frames(file, 2)
    assert picture.shape == (3000, 4000, 3)
    small = write_film(tmp_path / "small.mov", 40, 30, pixel=Fraction(8))
    assert next(frames(small, 2)).shape == (30, 320, 3)


def test_sound_that_is_no_number_is_silence_with_a_reason(tmp_path: Path) -> None:
    wave = tone(1.0).astype(np.float32) / 32_768
    file = write_wav(tmp_path / "nan.wav", np.full_like(wave, np.nan), form=FLOAT)
    with pytest.raises(MediaError, match=r"^silent: every sample of its sound is NaN or infinite, and no number$"):
        read_sound(file)
    whole = read_sound(write_wav(tmp_path / "whole.wav", wave, form=FLOAT))
    wave[4000:8000], wave[9000] = np.nan, np.inf
    partly = read_sound(write_wav(tmp_path / "partly.wav", wave, form=FLOAT))
    assert not partly[4100:7900].any()
    assert partly[9000] == 0
    np.testing.assert_array_equal(partly[9100:], whole[9100:])
    assert media_info(tmp_path / "nan.wav").audio_problem == ""  # its first packet tells nothing of the others


def test_what_takes_longer_than_it_may_is_skipped_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_wav(tmp_path / "long.wav", tone(120.0))
    settings = AudioSettings(set="IS10", dim=1582, reduce="none", min_seconds=0.1)
    extractor = AudioExtractor(settings, tmp_path)
    monkeypatch.setattr("extractors.clips.spread", in_this_process)
    monkeypatch.setattr("extractors.clips.require_parts", lambda *_: None)
    row = Utterance(utterance_id="a", dialogue_id="d", turn=0, speaker=0, split="train", text="", label="joy",
                    audio="long.wav", audio_hash="x", audio_end=20.0)  # fmt: skip
    monkeypatch.setenv("CMATH_CLIP_SECONDS", "0.0001")
    with pytest.raises(OverBudgetError, match=r"takes more than 0.0001 s of processor time \(CMATH_CLIP_SECONDS\)"):
        read_sound(file)
    with pytest.raises(OverBudgetError):
        list(frames(write_clip(tmp_path / "film.mp4", 3.0), 5))
    (result,) = next(extractor.extract({"key": row}, set())).values()
    assert (result.vector, result.lasting) == (None, False)
    assert result.reason == "takes more than 0.0001 s of processor time (CMATH_CLIP_SECONDS)"
    monkeypatch.setenv("CMATH_CLIP_SECONDS", "60")
    (result,) = next(extractor.extract({"key": row}, set())).values()
    assert result.vector is not None


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf"])
def test_a_budget_that_is_no_number_of_seconds_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMATH_CLIP_SECONDS", value)
    with pytest.raises(UserError, match=r"CMATH_CLIP_SECONDS = .*: must be a number of seconds above 0"):
        clip_seconds()


LURE = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:0.6,\n{0}\n#EXT-X-ENDLIST\n",
    "list.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:0.6,\nfile://{1}\n#EXT-X-ENDLIST\n",
    "concat.mkv": "ffconcat version 1.0\nfile {0}\n",
    "talk.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9999 RTP/AVP 0\n",
    "manifest.mpd": "<?xml version='1.0'?><MPD type='static' profiles='urn:mpeg:dash:profile:isoff-on-demand:2011'>"
    "<Period><AdaptationSet mimeType='video/mp4'><Representation id='1' bandwidth='1'><BaseURL>{0}</BaseURL>"
    "</Representation></AdaptationSet></Period></MPD>",
    "picture.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'><image href='{0}'/></svg>",
    "imf.xml": "<?xml version='1.0'?><CompositionPlaylist xmlns='http://www.smpte-ra.org/schemas/2067-3/2016'/>",
    "talk.txt": "RTSPtext\nrtsp://127.0.0.1/x\n",
    "image%d.png": "\x89PNG",
    "subfile,,start,0,end,9,,:x.mp4": "x",
    "concat:a.mp4|b.mp4": "x",
    "pipe:0": "x",
    "crypto:x.mp4": "x",
}
"""Files, by name and content, with which FFmpeg opens other files or addresses if it may."""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", LURE)
def test_whatever_a_file_is_called_or_holds_no_other_is_opened(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret.ts"
    os.mkfifo(secret)  # whoever opens it for reading makes the writer below go on
    opened = threading.Event()

    def wait_for_a_reader() -> None:
        with secret.open("wb"):
            opened.set()

    watcher = threading.Thread(target=wait_for_a_reader, daemon=True)
    watcher.start()
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(LURE[name].format(secret.name, secret))
    assert "cannot be opened" in media_info(file).audio_problem
    for read in (read_sound, lambda file: list(frames(file, 1))):
        with pytest.raises(MediaError, match="cannot be opened"):
            read(file)
    assert not opened.is_set()
    with secret.open("rb"):  # lets the watcher end
        watcher.join(5)


def test_an_mp4_that_refers_to_another_file_opens_none(tmp_path: Path) -> None:
    """QuickTime can name the file that holds the samples, relative or absolute: `dref` with an alias."""
    other = write_clip(tmp_path / "other.mp4")
    content = bytearray(write_clip(tmp_path / "film.mov").read_bytes())
    assert content.count(b"url \0\0\0\1") >= 1
    name = str(other).encode()
    alias = b"alis\0\0\0\0" + bytes(150) + struct.pack(">hh", 18, len(name)) + name
    content = content.replace(b"url \0\0\0\1", alias[:12])
    (tmp_path / "film.mov").write_bytes(content)
    media_info(tmp_path / "film.mov")  # reads what the file itself holds, or refuses it
