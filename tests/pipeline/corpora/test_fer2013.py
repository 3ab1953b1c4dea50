"""FER-2013's two forms, FER+'s votes, and what is said of broken files."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.corpora.fer2013 import EMOTIONS, FERPLUS, FerError, read

DRAW = np.random.default_rng(0)
FACES = DRAW.integers(0, 256, (5, 48, 48)).astype(np.uint8)
USAGES = ("Training", "Training", "Training", "PublicTest", "PrivateTest")


def write_csv(folder: Path, usages: tuple[str, ...] = USAGES) -> Path:
    lines = [f"{n},{' '.join(map(str, FACES[n].ravel()))},{usage}" for n, usage in enumerate(usages)]
    (folder / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *lines]) + "\n")
    return folder


def write_votes(folder: Path, *votes: list[int]) -> None:
    names = ["Usage", "Image name", *FERPLUS, "unknown", "NF"]
    lines = [",".join(["Training", f"fer{n}.png", *map(str, row)]) for n, row in enumerate(votes)]
    (folder / "fer2013new.csv").write_text("\n".join([",".join(names), *lines]) + "\n")


def test_the_csv_form_gives_training_and_public_test_but_never_private_test(tmp_path: Path) -> None:
    data = read(write_csv(tmp_path), "fer2013")
    np.testing.assert_array_equal(data.train.pixels, FACES[:3])
    np.testing.assert_array_equal(data.test.pixels, FACES[3:4])
    assert data.classes == EMOTIONS
    assert [data.classes[n] for n in data.train.targets.argmax(1)] == ["angry", "disgust", "fear"]


def test_the_folder_form_is_read_and_apple_doubles_are_passed_over(tmp_path: Path) -> None:
    for part, names in (("train", ("sad", "angry")), ("test", ("happy",))):
        for name in names:
            (tmp_path / part / name).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / part / name / "a.png"), FACES[EMOTIONS.index(name)])
            (tmp_path / part / name / "._a.png").write_bytes(b"\0")
    data = read(tmp_path, "fer2013")
    np.testing.assert_array_equal(data.train.pixels, FACES[[EMOTIONS.index("angry"), EMOTIONS.index("sad")]])
    assert [EMOTIONS[n] for n in data.test.targets.argmax(1)] == ["happy"]
    with pytest.raises(FerError, match=r"fer2013new\.csv"):
        read(tmp_path, "soft")


def test_votes_become_the_most_frequent_emotion_or_shares_and_no_face_is_left_out(tmp_path: Path) -> None:
    votes = [[5, 4, 0, 0, 0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0, 0, 0, 2, 8], [0, 0, 0, 9, 0, 0, 0, 1, 0, 0]]
    write_votes(write_csv(tmp_path), *votes, votes[0], votes[0])
    majority, soft = read(tmp_path, "majority"), read(tmp_path, "soft")
    assert majority.classes == soft.classes == FERPLUS
    np.testing.assert_array_equal(majority.train.pixels, FACES[[0, 2]])
    np.testing.assert_array_equal(majority.train.targets.argmax(1), [0, 3])
    np.testing.assert_allclose(soft.train.targets[0, :2], [5 / 9, 4 / 9])
    np.testing.assert_allclose(soft.train.targets.sum(1), 1)


@pytest.mark.parametrize(
    "broken", ["3,1 2 3,Training", "9,0,Training", "x", "0,,Nowhere", f"0,{'300 ' * 2304},Training"]
)
def test_a_malformed_row_is_named_by_its_line(tmp_path: Path, broken: str) -> None:
    file = write_csv(tmp_path) / "fer2013.csv"
    file.write_text(file.read_text() + broken + "\n")
    with pytest.raises(FerError, match=r"fer2013.csv, line 7"):
        read(tmp_path, "fer2013")


@pytest.mark.parametrize("count", [-1, 1001, 10**39, 10**400], ids=["negative", "too many", "infinite", "overflow"])
def test_votes_that_cannot_be_are_named_by_their_line(tmp_path: Path, count: int) -> None:
    usual = [5, 4, 0, 0, 0, 0, 0, 0, 1, 0]
    write_votes(write_csv(tmp_path), usual, [5, count, 0, 0, 0, 0, 0, 0, 0, 0], usual, usual, usual)
    with pytest.raises(FerError, match=r"fer2013new.csv, line 3: is no row of FER\+ \(a face has ten votes\)"):
        read(tmp_path, "soft")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FerError, match=r"face\.data"):
        read(tmp_path, "fer2013")
    write_csv(tmp_path, ("Training",) * 5)
    with pytest.raises(FerError, match="PublicTest"):
        read(tmp_path, "fer2013")
    with pytest.raises(FerError, match=r"fer2013new.csv: no such file"):
        read(tmp_path, "soft")
    (tmp_path / "fer2013.csv").unlink()
    for part in ("train", "test"):
        (tmp_path / part / "happy").mkdir(parents=True)
    (tmp_path / "train" / "happy" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(FerError, match=r"a\.jpg: is no picture"):
        read(tmp_path, "fer2013")
