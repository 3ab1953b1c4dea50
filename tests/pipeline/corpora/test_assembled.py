"""A corpus put together from texts, voices and faces: nothing of train in another split, and trust as it was stated."""

import argparse
import csv
import dataclasses
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from extractors.media import media_info, pictures
from foundation.errors import UserError
from pipeline import raw as raw_stage
from pipeline.corpora import assembled, fer2013, material
from pipeline.corpora.labels import MELD, labels
from pipeline.corpora.raw_corpus import RawCorpus
from pipeline.corpora.seen import seen_by
from pipeline.corpora.settings import AssembledSettings
from pipeline.params import Params, load_params

PROJECT = Path(__file__).parents[3]
CODES = {"neutral": "01", "joy": "03", "sadness": "04", "anger": "05", "fear": "06", "disgust": "07", "surprise": "08"}
FACES = {"anger": "angry", "joy": "happy", "sadness": "sad"}
ACTORS = range(1, 17)
DIALOGUES = {"train": 150, "dev": 20, "test": 20}
TURNS = 7


def write_texts(folder: Path) -> None:
    """Seven turns a dialogue, one of each emotion; the first turn of each is `Hello!` or `hello`."""
    folder.mkdir()
    for split, number in DIALOGUES.items():
        with (folder / f"{split}_sent_emo.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime"])
            for dialogue in range(number):
                for turn, label in enumerate(MELD):
                    text = ("Hello!" if split == "train" else "hello") if turn == 0 else f"{split} {dialogue} {turn}."
                    times = [f"00:00:{turn:02},000", f"00:00:{turn + 1:02},000"]
                    writer.writerow([text, ("Ann", "Bob")[turn % 2], label, dialogue, turn, *times])


def write_voices(folder: Path) -> None:
    """Names alone: neither the stage nor the reader opens a recording."""
    for actor in ACTORS:
        (folder / f"Actor_{actor:02}").mkdir(parents=True)
        for code in (*CODES.values(), "02"):
            name = f"03-01-{code}-01-01-01-{actor:02}.wav"
            (folder / f"Actor_{actor:02}" / name).write_text(name)
        (folder / f"Actor_{actor:02}" / f"03-02-03-01-01-01-{actor:02}.wav").write_text("a song")


def write_faces(folder: Path) -> None:
    """Forty faces of train and twenty of PublicTest for each emotion, each of a grey level and texture of its own."""
    draw = np.random.default_rng(0)
    for part, number in (("train", 40), ("test", 20)):
        for emotion in fer2013.EMOTIONS:
            (folder / part / emotion).mkdir(parents=True)
            for face in range(number):
                cv2.imwrite(
                    str(folder / part / emotion / f"{face}.png"), draw.integers(256, size=(48, 48), dtype=np.uint8)
                )


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    write_texts(folder / "meld")
    write_voices(folder / "voices")
    write_faces(folder / "faces")
    material.assemble(of(folder), folder / "corpus")
    return folder / "corpus"


def of(folder: Path) -> material.Material:
    return material.Material(folder / "meld", folder / "voices", folder / "faces", held_out=0.1, seed=0)


def read(raw: Path, **changes: object) -> RawCorpus:
    return assembled.read(raw, AssembledSettings(reader="assembled", raw="-", **changes))


def by_split(raw: Path, field: str) -> dict[str, set[str]]:
    rows = read(raw).rows
    return {split: {getattr(row, field) for row in rows if row.split == split} - {""}
            for split in ("train", "validation", "test")}  # fmt: skip


def test_no_text_voice_or_face_of_train_is_in_another_split(raw: Path) -> None:
    texts = {split: {text.strip("!.").lower() for text in found} for split, found in by_split(raw, "text").items()}
    assert "hello" in texts["validation"] & texts["test"]
    assert not texts["train"] & (texts["validation"] | texts["test"])
    actors = {split: {path[-6:-4] for path in found} for split, found in by_split(raw, "audio").items()}
    # Of eight actors of each sex five, one and two: the last of each are test.
    assert actors == {"train": {f"{actor:02}" for actor in range(1, 11)}, "validation": {"11", "12"},
                      "test": {"13", "14", "15", "16"}}  # fmt: skip
    seen = {split: {next(pictures(raw / path, 1))[1].tobytes() for path in found}
            for split, found in by_split(raw, "video").items()}  # fmt: skip
    assert len(seen["train"] | seen["validation"] | seen["test"]) == sum(map(len, seen.values()))
    # A tenth of 280, and of PublicTest's 140 faces three fifths, a fifth and a fifth.
    assert {split: len(found) for split, found in seen.items()} == {"train": 28 + 84, "validation": 28, "test": 28}


def test_the_faces_of_train_are_those_that_the_encoder_was_not_trained_on(raw: Path) -> None:
    data = fer2013.read(raw.parent / "faces", "fer2013")
    fitted, _ = fer2013.held_out(data.train, 0.1, 0)
    known = {data.train.pixels[place].tobytes() for place in fitted}
    found = {pixels.tobytes() for split, _, pixels in material.faces_in(of(raw.parent)) if split == "train"}
    assert found
    assert not found & known


def test_turns_of_train_whose_words_are_in_test_teach_nothing_and_are_counted(raw: Path) -> None:
    corpus = read(raw)
    first = [
        row for row in corpus.rows if row.split == "train" and row.turn == 0 and row.dialogue_id.startswith("train")
    ]
    assert len(first) == DIALOGUES["train"]
    assert {(row.text, row.label) for row in first} == {("", "")}
    assert any(note.startswith("150 turns of train have no text and no label") for note in corpus.notes)
    tested = [row for row in corpus.rows if row.split == "test" and row.dialogue_id.startswith("test_dia")]
    assert Counter(row.label for row in tested) == dict.fromkeys(MELD, DIALOGUES["test"])
    assert {row.text for row in tested if row.turn == 0} == {"hello"}


def test_each_dialogue_is_there_as_text_and_once_more_in_a_mixture(raw: Path) -> None:
    rows = read(raw).rows
    plain = {row.dialogue_id for row in rows if row.dialogue_id.startswith(("train_", "validation_", "test_"))}
    assert len(plain) == sum(DIALOGUES.values())
    assert not any(row.audio or row.video for row in rows if row.dialogue_id in plain)
    others = {row.dialogue_id: row for row in rows if row.dialogue_id.startswith("with_") and row.turn == 1}
    assert {name.partition("dia")[2] for name in others} == {name.partition("dia")[2] for name in plain}
    assert len(others) == len(plain)
    found = Counter((bool(row.text), bool(row.audio), bool(row.video)) for row in others.values())
    shares = {kind: count / len(others) for kind, count in found.items()}
    expected = {(True, True, True): 0.4, (True, True, False): 0.2, (True, False, True): 0.2, (False, True, True): 0.2}
    assert shares == pytest.approx(expected, abs=0.1)


def test_voices_and_faces_agree_with_the_label_as_often_as_was_stated(raw: Path) -> None:
    for agreement in (0.2, 0.9):
        rows = [row for row in read(raw, agreement=agreement).rows if row.dialogue_id.startswith("with_") and row.label]
        for kind in ("audio", "video"):
            shown = [(Path(getattr(row, kind)).parent.name, row.label) for row in rows if getattr(row, kind)]
            same = np.mean([of_media == label for of_media, label in shown if label != "neutral"])
            neutral = np.mean([of_media == "neutral" for of_media, label in shown if label != "neutral"])
            # Half of the rest is neutral; the other half is any of the seven.
            assert same == pytest.approx(agreement + (1 - agreement) / 14, abs=0.05)
            assert neutral == pytest.approx((1 - agreement) * 8 / 14, abs=0.06)


def test_a_speaker_keeps_one_voice_and_every_recording_is_there_alone(raw: Path) -> None:
    rows = read(raw).rows
    voices: dict[tuple[str, int], set[str]] = {}
    for row in rows:
        if row.dialogue_id.startswith("with_") and row.audio:
            voices.setdefault((row.dialogue_id, row.speaker), set()).add(row.audio[-6:-4])
    assert voices
    assert all(len(actors) == 1 for actors in voices.values())
    assert len({tuple(found) for found in voices.values()}) > 8
    alone = [row for row in rows if row.dialogue_id.startswith("voice_")]
    assert len(alone) == len(ACTORS) * len(CODES)  # neither calm voices nor songs
    for row in alone:
        assert (row.text, row.video, row.turn) == ("", "", 0)
        assert f"-01-{CODES[row.label]}-" in row.audio
    faces = [row for row in rows if row.dialogue_id.startswith("face")]
    assert len(faces) == 28 + 140
    assert all(Path(row.video).parent.name == row.label and not row.audio for row in faces)
    assert len({row.utterance_id for row in rows}) == len(rows)


def test_the_same_seed_gives_the_same_corpus_and_another_one_another(raw: Path) -> None:
    assert read(raw).rows == read(raw).rows
    assert read(raw).rows != read(raw, seed=1).rows


def test_modalities_that_the_corpus_is_not_to_have_are_missing(raw: Path) -> None:
    rows = read(raw, modalities=["audio"]).rows
    assert not any(row.text or row.video for row in rows)
    assert any(row.audio for row in rows)


def test_a_face_is_a_film_of_one_picture_with_a_ground(raw: Path) -> None:
    file = next((raw / "faces" / "train" / "joy").glob("*.mkv"))
    assert not media_info(file).video_problem
    ((_, picture),) = pictures(file, 5)
    assert picture.shape[:2] == (240, 240)
    assert picture[:40].std() == 0
    assert picture[60:180, 60:180].std() > 10


def test_the_folder_is_made_once_and_anew_for_other_material(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    there = of(raw.parent)
    material.assemble(there, folder)
    (folder / "text" / "test_sent_emo.csv").write_text("changed")
    material.assemble(there, folder)
    assert (folder / "text" / "test_sent_emo.csv").read_text() == "changed"
    material.assemble(dataclasses.replace(there, seed=1), folder)
    assert (folder / "text" / "test_sent_emo.csv").read_text() != "changed"


def test_the_stage_raw_puts_it_together_of_the_folders_that_the_parameters_name(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(raw.parent))  # a relative path starts at the project's root
    content = load_params(PROJECT / "params.yaml").model_dump()
    content["material"] = {"faces": "faces", "voices": str(raw.parent / "voices"), "meld": "meld"}
    content["face"] |= {"held_out": 0.1, "seed": 0}
    content["index"]["starter"]["raw"] = str(tmp_path / "made")
    raw_stage.run(argparse.Namespace(corpus="starter"), Params.model_validate(content))
    files = {str(file.relative_to(raw)): file.read_bytes() for file in raw.rglob("*.*") if file.name != "README.txt"}
    made = tmp_path / "made"
    assert {str(file.relative_to(made)): file.read_bytes() for file in made.rglob("*.*") if file.name != "README.txt"
            } == files  # fmt: skip
    assert (tmp_path / "data/starter/source/note.txt").is_file()


def test_nothing_else_is_ever_removed(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="is not empty, and not a corpus that was put together"):
        material.assemble(of(raw.parent), tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("field", "words"),
    [("meld", "has no train_sent_emo.csv"), ("voices", "has speech of 0 women"), ("faces", "has neither fer2013.csv")],
)
def test_material_that_is_something_else_is_named(raw: Path, tmp_path: Path, field: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=words):
        material.assemble(dataclasses.replace(of(raw.parent), **{field: tmp_path / "empty"}), tmp_path / "corpus")
    with pytest.raises(UserError, match=f"material.{field}: there is no such folder"):
        material.assemble(dataclasses.replace(of(raw.parent), **{field: tmp_path / "none"}), tmp_path / "corpus")


def test_labels_are_melds_in_its_order() -> None:
    assert labels("assembled", ["joy", "anger"]) == MELD


@pytest.mark.parametrize(
    "encoder", ["tae898/emoberta-base", "emotion2vec/emotion2vec_plus_large", "x/emotion-english-y"]
)
def test_an_encoder_that_saw_melds_labels_has_seen_these(encoder: str) -> None:
    assert seen_by(encoder, "assembled")
