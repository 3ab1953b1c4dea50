"""Looking at many clips: a decoder that crashes on one takes no other with it, and changes of nothing are kept."""

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from foundation.errors import UserError
from pipeline.corpora.media_files import MANY, inspected, inspected_now
from tests.conftest import write_clip
from tests.extractors import dying


@pytest.mark.slow
def test_a_clip_that_crashes_its_decoder_takes_no_other_with_it(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.mp4" for name in ["kills", *map(str, range(MANY))]}
    found = {key: (content, lasting) for key, content, lasting in inspected_now(files, dying.look)}
    assert set(found) == set(files)
    content, lasting = found.pop("kills")
    assert not lasting
    problem = "its worker process died twice: a crash of the decoder, or too little memory"
    digest, info = json.loads(content)
    assert (digest, info["audio_problem"], info["video_problem"]) == ("", problem, problem)
    assert all(value == (f"{key}.mp4".encode(), True) for key, value in found.items())


@pytest.mark.slow
def test_processes_find_what_threads_find(tmp_path: Path, clip: Path) -> None:
    for number in range(MANY):
        (tmp_path / f"{number}.mp4").write_bytes(clip.read_bytes() + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"))
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    files = sorted(tmp_path.glob("*.mp4"))
    many = list(inspected(files))
    assert len({digest for digest, _ in many}) == len(files)
    (tmp_path / "cache/work.sqlite").unlink()
    assert [one for file in files[:3] + files[-1:] for one in inspected([file])] == many[:3] + many[-1:]


def test_what_takes_too_long_is_looked_at_again_and_what_is_no_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, pipe = write_clip(tmp_path / "film.mp4", 2.0), tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    monkeypatch.setenv("CMATH_CLIP_SECONDS", "0.000001")
    (digest, info), (_, of_pipe) = inspected([file, pipe])
    assert info.audio_problem == "takes more than 1e-06 s of processor time (CMATH_CLIP_SECONDS)"
    assert digest == ""
    assert of_pipe.video_problem == "is a pipe or a device and no file"
    monkeypatch.delenv("CMATH_CLIP_SECONDS")
    pipe.unlink()
    write_clip(pipe)
    assert [info.audio_problem for _, info in inspected([file, pipe])] == ["", ""]


@pytest.mark.parametrize("number", [1, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_wrong_variable_stops_the_look_and_stays_in_no_cache(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "0.mp4").read_bytes()
    files = [tmp_path / f"{place}.mp4" for place in range(number)]
    for file in files:
        file.write_bytes(clip)
    monkeypatch.setenv("CMATH_CLIP_SECONDS", "10min")
    with pytest.raises(UserError, match=r"^CMATH_CLIP_SECONDS = '10min': must be a number of seconds above 0$"):
        list(inspected(files))
    monkeypatch.delenv("CMATH_CLIP_SECONDS")
    assert [info.audio_problem for _, info in inspected(files)] == [""] * number


def test_a_disk_that_fails_once_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_clip(tmp_path / "film.mp4")

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as once:
        once.setattr(hashlib, "file_digest", fails)
        [(digest, info)] = inspected([file])
        assert (digest, info.audio_problem) == ("", "cannot be read (Input/output error)")
    [(digest, info)] = inspected([file])
    assert (len(digest), info.audio_problem) == (64, "")
