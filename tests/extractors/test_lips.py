"""Of several faces the one is taken whose mouth moves with the sound."""

import json
from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
import pytest

from bench import speaker
from extractors.media import RATE
from extractors.report import write_report
from extractors.result import Clip, Result
from extractors.settings import VisualSettings
from extractors.utterance import Part, Utterance
from extractors.visual import colour, faces
from extractors.visual.colour import Pictures, picture_of
from extractors.visual.faces import Faces
from extractors.visual.lips import Loudness, Mouth, correlation
from extractors.visual.tracks import Box, tracks
from pipeline import faces as sheet

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"
FPS = 25
SMALL, LARGE = (20, 20, 60, 80), (120, 10, 90, 120)
"""Boxes of two faces; the first is darker."""


def talk(seconds: float, seed: int) -> np.ndarray:
    """How far a mouth is open, 0 to 1, [frames]: syllables of some tenths of a second, and pauses."""
    draw = np.random.default_rng(seed)
    syllables = np.repeat(draw.random(100) * (draw.random(100) < 0.6), draw.integers(3, 8, 100))
    return np.convolve(syllables, np.full(3, 1 / 3), "same")[: round(seconds * FPS)]


def write_film(file: Path, mouths: Sequence[np.ndarray], loud: np.ndarray | None, boxes: Sequence[Box]) -> Path:
    """A film of faces whose mouths open as `mouths` say, with a tone as loud as `loud` says, 0 to 1 for each frame."""
    draw = np.random.default_rng(0)
    wall = draw.integers(100, 140, (160, 240))
    with av.open(str(file), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 240, 160, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono") if loud is not None else None
        for number in range(len(mouths[0])):
            picture = wall.copy()
            for place, ((left, top, width, height), mouth) in enumerate(zip(boxes, mouths, strict=True)):
                skin = 150 + 40 * place + np.arange(width) // 4
                picture[top : top + height, left : left + width] = skin
                lips = top + round(0.7 * height), left + round(0.35 * width)
                open_ = round(0.25 * height * mouth[number])
                picture[lips[0] : lips[0] + open_, lips[1] : lips[1] + round(0.3 * width)] = 30
            rgb = np.repeat(picture.astype(np.uint8)[:, :, None], 3, axis=2)
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None:
            tone = np.sin(np.arange(len(loud) * RATE // FPS)) * np.repeat(loud, RATE // FPS) * 0.5
            for begin in range(0, len(tone), 1024):
                part = tone[None, begin : begin + 1024].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout="mono")
                frame.rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return file


def found(
    file: Path,
    rule: str = "lips",
    start: float | None = None,
    end: float | None = None,
    boxes: Sequence[Box] = (SMALL, LARGE),
    region: str = "",
) -> Faces:
    """What a worker finds in `file`, whose faces are at `boxes`."""
    faces.prepare(VisualSettings(speaker=rule, min_face=12).model_dump())  # type: ignore[arg-type]
    faces._worker["detect"] = lambda _: list(boxes)
    result = faces.faces_of_clip(Clip("k", file, sha256(file.read_bytes()).hexdigest(), start, end, region))
    assert isinstance(result, Faces)
    return result


def is_small(result: Faces) -> bool:
    """Whether all crops show the first, darker face."""
    skin = result.crops[:, 20:28, 28:36].mean(axis=(1, 2))
    assert ((skin < 175) == (skin[0] < 175)).all()
    return bool(skin[0] < 175)


@pytest.fixture(scope="module")
def one_talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds in which the small face speaks, and the large one moves its mouth as much."""
    mine, other = talk(4, 1), talk(4, 2)
    return write_film(tmp_path_factory.mktemp("films") / "film.mp4", (mine, other), mine, (SMALL, LARGE))


def test_the_face_is_taken_whose_mouth_moves_with_the_sound_and_not_the_larger_one(one_talks: Path) -> None:
    by_lips, largest = found(one_talks), found(one_talks, "largest")
    assert (is_small(by_lips), is_small(largest)) == (True, False)
    assert len(by_lips.crops) == len(largest.crops) == by_lips.frames == 20
    assert (by_lips.chosen_by, largest.chosen_by) == ("lips", "")


def test_the_larger_face_is_taken_where_it_is_the_one_that_speaks(tmp_path: Path) -> None:
    mine, other = talk(4, 1), talk(4, 2)
    film = write_film(tmp_path / "film.mp4", (other, mine), mine, (SMALL, LARGE))
    assert not is_small(found(film))
    assert found(film).chosen_by == "lips"


def test_a_mouth_that_is_still_does_not_speak(tmp_path: Path) -> None:
    mine = talk(4, 3)
    film = write_film(tmp_path / "film.mp4", (mine, np.full(len(mine), 0.5)), mine, (SMALL, LARGE))
    assert is_small(found(film))


def test_sound_and_mouths_are_those_between_start_and_end_and_in_the_region(tmp_path: Path) -> None:
    """First the small face speaks, and then the large one; who speaks in all of it does not matter."""
    first, second = talk(6, 1), talk(6, 2)
    loud = np.r_[first[:75], second[75:]]
    film = write_film(tmp_path / "film.mp4", (first, second), loud, (SMALL, LARGE))
    before, after = found(film, start=0.0, end=3.0), found(film, start=3.0, end=6.0)
    assert (is_small(before), is_small(after)) == (True, False)
    assert before.frames == after.frames == 15
    shifted = [(left - 2, top - 8, *size) for left, top, *size in (SMALL, LARGE)]
    within = found(film, start=0.0, end=3.0, boxes=shifted, region="2,8,238,152")  # type: ignore[arg-type]
    np.testing.assert_array_equal(within.crops, before.crops)


def test_sound_and_mouths_of_an_utterance_in_two_pieces_are_joined(tmp_path: Path) -> None:
    """In the first piece nobody is heard, and in the second, of a later time of its film, the small face is."""
    still, mine, other = talk(2, 5), talk(6, 1), talk(6, 2)
    quiet = write_film(tmp_path / "quiet.mp4", (still, still[::-1]), 0 * still, (SMALL, LARGE))
    loud = write_film(tmp_path / "loud.mp4", (np.r_[other[:50], mine[50:]], np.r_[mine[:50], other[50:]]), mine,
                      (SMALL, LARGE))  # fmt: skip
    content = {file: sha256(file.read_bytes()).hexdigest() for file in (quiet, loud)}
    faces.prepare(VisualSettings(speaker="lips", min_face=12).model_dump())
    faces._worker["detect"] = lambda _: [SMALL, LARGE]
    joined = faces.faces_of_clip(
        Clip("k", quiet, content[quiet], 0.0, 2.0, more=(Part(loud, content[loud], 2.0, 6.0),))
    )
    assert isinstance(joined, Faces)
    assert (joined.chosen_by, is_small(joined), joined.frames) == ("lips", True, 30)
    assert found(quiet).chosen_by == "silent"
    assert not is_small(found(loud, start=0.0, end=2.0))  # there the large one is heard


@pytest.mark.parametrize(("case", "why"), [("soundless", "no sound"), ("quiet", "silent"), ("brief", "too short")])
def test_where_lips_do_not_tell_the_largest_is_taken_and_it_is_said_why(case: str, why: str, tmp_path: Path) -> None:
    mine, other = talk(0.8 if case == "brief" else 2, 1), talk(0.8 if case == "brief" else 2, 2)
    loud = {"soundless": None, "quiet": 0 * mine, "brief": mine}[case]
    film = write_film(tmp_path / "film.mp4", (mine, other), loud, (SMALL, LARGE))
    by_lips = found(film)
    assert by_lips.chosen_by == why
    np.testing.assert_array_equal(by_lips.crops, found(film, "largest").crops)


def test_a_face_that_is_there_for_a_moment_is_not_compared(one_talks: Path) -> None:
    faces.prepare(VisualSettings(speaker="lips", detect_every=1).model_dump())
    shown = iter([[LARGE, SMALL]] * 3 + [[LARGE]] * 17)
    faces._worker["detect"] = lambda _: next(shown)
    brief = faces.faces_of_clip(Clip("k", one_talks, sha256(one_talks.read_bytes()).hexdigest(), None, None))
    assert isinstance(brief, Faces)
    assert (brief.chosen_by, is_small(brief)) == ("too short", False)


def test_a_clip_with_one_face_is_read_once_and_has_that_face(one_talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractors.visual.lips.joined_sound", None)
    by_lips = found(one_talks, boxes=[SMALL])
    assert by_lips.chosen_by == "one face"
    np.testing.assert_array_equal(by_lips.crops, found(one_talks, "largest", boxes=[SMALL]).crops)
    assert found(one_talks, boxes=[]).chosen_by == ""


def test_encoders_of_colours_see_the_same_face(one_talks: Path) -> None:
    clip = Clip("k", one_talks, sha256(one_talks.read_bytes()).hexdigest(), None, None)
    taken = {}
    for rule in ("lips", "largest"):
        colour.prepare(VisualSettings(speaker=rule).model_dump())  # type: ignore[arg-type]
        colour._worker["detect"] = lambda _: [SMALL, LARGE]
        result = colour.pictures_of_clip(clip)
        assert isinstance(result, Pictures)
        face = picture_of(result.jpegs[0])
        taken[rule] = result.chosen_by, face[len(face) // 3, len(face) // 2].mean() < 175
        assert Pictures.from_bytes(result.to_bytes()) == result
    assert taken == {"lips": ("lips", True), "largest": ("", False)}


def test_what_chose_is_kept_with_the_faces_and_the_result_and_is_counted(one_talks: Path, tmp_path: Path) -> None:
    by_lips = found(one_talks)
    again = Faces.from_bytes(by_lips.to_bytes())
    assert (again.frames, again.problem, again.chosen_by) == (20, "", "lips")
    np.testing.assert_array_equal(again.crops, by_lips.crops)
    assert Faces(by_lips.crops, 20).to_bytes().startswith(b'[20, ""]\n')  # as before there was a choice
    vector = np.arange(3, dtype=np.float32)
    kept = {f"of {why}": Result(vector, used=2, chosen_by=why) for why in ("", "lips", "one face")}
    for name, result in kept.items():
        why = name.removeprefix("of ")
        loaded = Result.from_bytes(result.to_bytes())
        assert (loaded.chosen_by, loaded.used, loaded.lasting) == (why, 2, True)
        np.testing.assert_array_equal(loaded.vector, vector)
    rows = [Utterance(utterance_id=f"u{n}", dialogue_id="d", turn=n, speaker=0, split="test", text="", label="joy")
            for n in range(4)]  # fmt: skip
    write_report(kept, rows, ["of lips", "of one face", "of lips", "of "], tmp_path / "visual", set())
    report = json.loads((tmp_path / "visual.report.json").read_text())
    assert report["face chosen by"] == {"lips": 2, "one face": 1}
    write_report(kept, rows[:1], ["of "], tmp_path / "visual", set())
    assert "face chosen by" not in json.loads((tmp_path / "visual.report.json").read_text())


def test_faces_are_followed_by_overlap_and_for_a_second_after_they_were_last_seen() -> None:
    left, right, far = (0, 0, 40, 40), (100, 0, 40, 40), (200, 0, 40, 40)
    moved = (8, 4, 40, 40)
    assert tracks([[left, right], [right, moved], [far]], [0.0, 0.2, 0.4]) == [[0, 1], [1, 0], [2]]
    assert tracks([[left], [right], [moved]], [0.0, 0.5, 1.0]) == [[0], [1], [0]]
    assert tracks([[left], [right], [moved]], [0.0, 0.5, 1.1]) == [[0], [1], [2]]
    assert tracks([[left], [(30, 0, 40, 40)]], [0.0, 0.2]) == [[0], [1]]  # overlaps by a seventh
    # Of two that could continue it, the nearer one does, and a face continues but one.
    assert tracks([[left], [(9, 0, 40, 40), (3, 0, 40, 40)]], [0.0, 0.2]) == [[0], [1, 0]]
    assert tracks([[left, (6, 0, 40, 40)], [(5, 0, 40, 40)]], [0.0, 0.2]) == [[0, 1], [1]]


def test_loudness_is_the_root_mean_square_around_a_time_of_the_utterance() -> None:
    sound = np.zeros(2 * RATE, np.float32)
    sound[RATE:] = 0.5 * np.sin(np.arange(RATE))
    loudness = Loudness(sound)
    assert loudness.at(np.array([0.5, 1.0, 1.5])) == pytest.approx([0, 0.5 / 2, 0.5 / np.sqrt(2)], rel=0.02, abs=1e-9)
    assert loudness.at(np.array([-9.0, 2.5, 99.0])).tolist() == [0, 0, 0]
    assert not loudness.is_silent
    assert Loudness(sound[:RATE]).is_silent
    assert Loudness(np.zeros(0, np.float32)).is_silent
    assert Loudness(np.full(RATE, 0.5e-3, np.float32)).is_silent
    assert not Loudness(np.full(RATE, 2e-3, np.float32)).is_silent


def test_motion_and_opening_of_a_mouth_are_read_where_the_face_is_then() -> None:
    """The face goes to the right, its mouth opens once, and what is beside or above it may do what it wants."""
    mouth = Mouth(np.array([1.0, 2.0]), np.array([[10, 0, 44, 64], [110, 0, 44, 64]]))  # in squares of 64
    for number in range(30):
        time = 0.9 + number / 25
        left = round(100 * (time - 1))
        picture = np.full((64, 300, 3), 100, np.uint8)
        picture[:, max(left, 0) : max(left, 0) + 64] = 200
        picture[:30, max(left, 0) + number % 7 : max(left, 0) + 30] = 220
        if number % 2:  # beside the mouth
            picture[48:56, max(left, 0) + 52 : max(left, 0) + 62] = 0
        if number >= 15:
            picture[48:56, max(left, 0) + 24 : max(left, 0) + 40] = 0
        mouth.see(picture, time)
    assert mouth.times == pytest.approx([1.06 + 0.04 * step for step in range(24)])
    opened = int(np.argmax(mouth.motion))
    assert mouth.times[opened] == pytest.approx(0.9 + 15 / 25)
    assert min(mouth.opening[opened:]) > max(mouth.opening[:opened]) + 1


def test_motion_and_opening_count_alike_and_more_the_longer_they_agree_with_the_sound() -> None:
    def synchrony(seconds: int, motion: bool, opening: bool) -> float:
        steps = np.arange(seconds * FPS)
        loud = np.sin(steps / 4) ** 2
        mouth = Mouth(np.array([0.0, seconds]), np.array([SMALL, SMALL]))
        mouth.times = list(steps / FPS)
        mouth.motion, mouth.opening = list(loud * motion), list(loud * opening)
        sound = np.repeat(loud, RATE // FPS) * np.sin(np.arange(seconds * RATE))
        return mouth.synchrony(Loudness(sound))

    alone = synchrony(4, motion=True, opening=False)
    assert alone == pytest.approx(100**0.5, rel=0.05)  # of 100 pictures; the correlation is nearly 1
    assert synchrony(4, motion=False, opening=True) == pytest.approx(alone)
    assert synchrony(4, motion=True, opening=True) == pytest.approx(2 * alone)
    assert synchrony(16, motion=True, opening=False) == pytest.approx(2 * alone, rel=0.05)
    assert synchrony(4, motion=False, opening=False) == 0


def test_correlation_is_pearsons_and_0_of_what_does_not_change() -> None:
    draw = np.random.default_rng(0)
    one, other = draw.normal(size=(2, 50))
    assert correlation(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert correlation(one, 3 - 2 * one) == pytest.approx(-1)
    assert correlation(one, np.ones(50)) == 0


def test_the_sheet_shows_whose_lips_move(one_talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet, "detector", lambda *_: lambda _: [SMALL, LARGE])
    digest = sha256(one_talks.read_bytes()).hexdigest()
    row = Utterance(utterance_id="u", dialogue_id="d", turn=0, speaker=0, split="test", text="", label="joy",
                    video=one_talks.name, video_hash=digest)  # fmt: skip
    for rule, place in (("lips", 0), ("largest", 1)):
        shown = sheet.sample(row, one_talks.parent, VisualSettings(speaker=rule))  # type: ignore[arg-type]
        assert shown.chosen == [place] * 20


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs real clips")
def test_of_two_real_faces_the_one_is_taken_that_talks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaker, "SIZES", {"speaker smaller": speaker.SIZES["speaker smaller"]})
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("1001_DFA_ANG_XX.flv", "bbaf2n.mpg"):
        (folder / name).symlink_to(CLIPS / name)
    outcomes = {
        film.heard: (speaker.is_right(film, "largest"), speaker.is_right(film, "lips"))
        for film in speaker.films(speaker.talks_in(folder), 0, tmp_path)
        if film.case == "one talks, speaker smaller"
    }
    assert outcomes == {"1001": (False, True), "bbaf2n": (False, True)}
