"""Base class of extractors of pictures of one's own: what they are given, what is missing, and what their key has."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from extractors.result import ExtractorError, Result
from extractors.settings import VisualSettings
from extractors.utterance import Utterance
from extractors.visual import faces
from extractors.visual.faces import EDGE, Faces
from extractors.visual.pictures import PictureExtractor
from tests.conftest import in_this_process, write_clip


class Colours(PictureExtractor):
    """Mean of each colour, or of the grey levels."""

    def vector(self, pictures: np.ndarray) -> np.ndarray:
        return pictures.reshape(-1, pictures.shape[-1] if pictures.ndim == 4 else 1).mean(axis=0)

    def code_version(self) -> int:
        return 1


class Bad(Colours):
    def vector(self, pictures: np.ndarray) -> np.ndarray:
        return pictures


class Undefined(Colours):
    def vector(self, pictures: np.ndarray) -> np.ndarray:
        return np.array([1.0, np.nan])


class Uneven(Colours):
    """As many values as pictures."""

    def vector(self, pictures: np.ndarray) -> np.ndarray:
        return np.ones(len(pictures))


class Weighted(Colours):
    """Depends on a file."""

    def files(self) -> list[Path]:
        return [self.raw / "weights.bin"]


SETTINGS = VisualSettings(encoder="colours", fps=5.0, detector="haar", crop="frame")


def results(
    kind: type[PictureExtractor],
    settings: VisualSettings,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    other: bool = False,
) -> list[Result]:
    """Results of a clip of 0.6 s, and of one of a second, which has pictures if `other`."""
    write_clip(folder / "a.mp4", 0.6)
    write_clip(folder / "b.mp4", 1.0, picture=other)
    monkeypatch.setattr("extractors.clips.spread", in_this_process)
    rows = [
        Utterance(utterance_id=name, dialogue_id="d", turn=0, speaker=0, split="test", text="", label="joy", video=name,
                  video_hash=sha256((folder / name).read_bytes()).hexdigest())
        for name in ("a.mp4", "b.mp4")
    ]  # fmt: skip
    extractor = kind(settings, folder)
    found: dict[str, Result] = {}
    keys = extractor.keys(rows)
    for part in extractor.extract({str(key): row for key, row in zip(keys, rows, strict=True)}, set()):
        found |= part
    return [found[str(key)] for key in keys]


def test_whole_frames_come_in_colour_and_what_has_none_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film, sound = results(Colours, SETTINGS, tmp_path, monkeypatch)
    assert film.vector is not None
    assert film.vector.shape == (3,)
    assert film.used == 3  # 0.6 s, five a second
    assert np.ptp(film.vector) < 3  # the clip is grey
    assert (sound.vector, sound.reason, sound.lasting) == (None, "has no video stream", True)


def test_faces_come_in_grey_and_a_clip_without_one_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SETTINGS.model_copy(update={"crop": "face"})
    film, _ = results(Colours, settings, tmp_path, monkeypatch)
    assert (film.vector, film.reason) == (None, "no face")
    crops = np.full((2, EDGE, EDGE), 7, np.uint8)
    monkeypatch.setattr(faces, "faces_of_clip", lambda _: Faces(crops, 4))
    film, _ = results(Colours, settings, tmp_path, monkeypatch)
    assert film.vector is not None
    assert (film.vector.tolist(), film.used) == ([7.0], 2)


def test_what_is_no_vector_stops_with_the_name_of_the_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExtractorError, match=r"Bad.vector returns uint8 \[3, 80, 96, 3\], where a vector of numbers"):
        results(Bad, SETTINGS, tmp_path, monkeypatch)


def test_a_vector_that_is_not_finite_is_missing_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film, _ = results(Undefined, SETTINGS, tmp_path, monkeypatch)
    assert (film.vector, film.lasting) == (None, False)
    assert "the vector has values that are not finite" in film.reason


def test_vectors_of_two_widths_stop_with_both_widths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExtractorError, match=r"Uneven: makes a vector of 5 values of b.mp4, and of 3 of others"):
        results(Uneven, SETTINGS, tmp_path, monkeypatch, other=True)


def test_what_is_in_a_file_of_weights_is_part_of_the_identity(tmp_path: Path) -> None:
    names = []
    for content in (b"one", b"two"):
        (tmp_path / "weights.bin").write_bytes(content)
        names.append(Weighted(SETTINGS, tmp_path).identity["files"])
    assert names == [[sha256(b"one").hexdigest()], [sha256(b"two").hexdigest()]]
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ExtractorError, match=r"weights.bin: cannot be read"):
        Weighted(SETTINGS, tmp_path).identity  # noqa: B018


def test_settings_of_faces_and_frames_are_in_the_identity_and_denseface_s_are_not() -> None:
    def identity(**changes: object) -> dict[str, object]:
        return Colours(SETTINGS.model_copy(update=changes), Path()).identity

    assert identity() == identity(weights="random", pooling="max", allow_seen=True)
    for changes in ({"encoder": "x"}, {"crop": "face"}, {"fps": 1.0}, {"detector": "mtcnn"}, {"margin": 0.5}):
        assert identity() != identity(**changes)


def test_an_extractor_outside_of_the_room_is_refused_in_a_line(tmp_path: Path) -> None:
    class Elsewhere(Colours):
        code_version = PictureExtractor.code_version  # type: ignore[assignment]

    with pytest.raises(ExtractorError, match="must lie in extractors/audio or extractors/visual"):
        Elsewhere(SETTINGS, tmp_path).identity  # noqa: B018
