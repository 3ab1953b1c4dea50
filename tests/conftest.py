"""Media and corpora made on the spot: the tests need neither data nor network."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # with a test process a core, two threads each would wait for one another

import pipeline  # noqa: F401, I001 (before numpy, which reads the arithmetic that it sets)

import csv
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings

for name in [name for name in os.environ if name.startswith(("CMATH_", "DVC_"))]:
    del os.environ[name]  # no test depends on what the shell has set
os.environ["CMATH_WORKERS"] = "1"  # seeds in the test's own process; what tests several sets it
settings.register_profile("project", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("project")
# A shell starts what runs in its background deaf to Ctrl-C, and processes that the tests start would be so too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow files first, and of them those named in LONGEST: none is then left to run alone at the end."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, item.path.name not in LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Write names that are no UTF-8 as others can read them: a test process could not send its report otherwise."""
    report = yield
    report.sections = [(name, said.encode("utf-8", "backslashreplace").decode()) for name, said in report.sections]
    return report


LONGEST = ("test_repro.py", "test_resume.py", "test_demo.py", "test_train_face.py")
"""Files that take minutes."""


MELD_COLUMNS = [
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode",
    "StartTime", "EndTime",
]  # fmt: skip


def write_clip(
    file: Path,
    seconds: float = 0.6,
    *,
    sound: bool = True,
    picture: bool = True,
    loud: float = 0.3,
    rate: int = 48_000,
    layout: str = "stereo",
) -> Path:
    """A clip with a rising tone and a moving gradient; without `sound` or `picture`, without that stream."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        video = audio = None
        if picture:
            video = container.add_stream("libx264", rate=10)
            video.width, video.height, video.pix_fmt = 96, 80, "yuv420p"
        if sound:
            audio = container.add_stream("aac", rate=rate)
            audio.layout = layout
        if video:
            for number in range(max(1, round(seconds * 10))):
                shade = np.add.outer(np.arange(80), np.arange(96) + 5 * number).astype(np.uint8)
                frame = av.VideoFrame.from_ndarray(np.repeat(shade[:, :, None], 3, axis=2), format="rgb24")
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio:
            time = np.arange(round(seconds * rate)) / rate
            wave = (loud * np.sin(2 * np.pi * (180 + 60 * time) * time)).astype(np.float32)
            for begin in range(0, len(wave), 1024):
                part = np.repeat(wave[None, begin : begin + 1024], audio.channels, axis=0)
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout=layout)
                frame.rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return file


def write_meld_csv(file: Path, rows: list[dict[str, object]], encoding: str = "utf-8") -> None:
    """An annotation file with MELD's header; what a row does not say is filled in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    usual = {"Utterance": "Well.", "Speaker": "Ann", "Emotion": "neutral", "StartTime": "00:16:16,059",
             "EndTime": "0:16:17,425"}  # fmt: skip
    with file.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, MELD_COLUMNS, restval="")
        writer.writeheader()
        for row in rows:
            writer.writerow({**usual, **row})


def in_this_process(work: Callable, items: Iterable, prepare: Callable, *arguments: object) -> Iterator[tuple]:
    """`foundation.workers.spread` without the seconds that a process takes to start."""
    prepare(*arguments)
    yield from ((item, work(item)) for item in items)


def change_in_secret(file: Path, content: bytes) -> None:
    """Other content of the same size, and the time of change as it was before."""
    before = file.stat()
    assert len(content) == before.st_size
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole clip, 0.6 s, with sound and picture."""
    return write_clip(tmp_path_factory.mktemp("clip") / "whole.mp4")


@pytest.fixture(scope="session")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like roberta-large's, with a random encoder of four layers."""
    from tests.extractors.encoders import write_roberta  # which imports transformers: seconds that few tests need

    return write_roberta(tmp_path_factory.mktemp("roberta"))


@pytest.fixture
def meld(tmp_path: Path, clip: Path) -> Callable[..., Path]:
    """Makes a MELD.Raw tree of one three-turn dialogue a split; `clips=False` leaves the folders out."""

    def make(folder: Path = tmp_path / "raw", *, clips: bool = True, encoding: str = "utf-8") -> Path:
        for annotations, clip_folder in (
            ("train_sent_emo.csv", "train_splits"),
            ("dev_sent_emo.csv", "dev_splits_complete"),
            ("test_sent_emo.csv", "output_repeated_splits_test"),
        ):
            rows = [
                {"Dialogue_ID": 0, "Utterance_ID": turn, "Speaker": speaker, "Emotion": emotion}
                for turn, (speaker, emotion) in enumerate([("Ann", "joy"), ("Bob", "neutral"), ("Ann", "anger")])
            ]
            write_meld_csv(folder / annotations, rows, encoding)
            for turn in range(3) if clips else ():
                target = folder / clip_folder / f"dia0_utt{turn}.mp4"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(clip.read_bytes())
        return folder

    return make


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test meets another's work cache."""
    monkeypatch.setenv("CMATH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return
