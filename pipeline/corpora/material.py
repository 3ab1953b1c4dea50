"""Public material of one modality each, from which the corpus `starter` is put together (reader `assembled`).

The stage `raw` copies into the folder `index.D.raw`:

text/                        MELD's three annotation files
voices/SPLIT/EMOTION/*       RAVDESS's speech: recordings of actors, divided by actor
faces/SPLIT/EMOTION/*.mkv    FER-2013's faces, each enlarged on a plain ground, as a film of one picture

No actor and no face is in two splits. The faces of train are those that the published face encoder was not trained on:
the vectors of others would tell their labels better than those of any new face.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from foundation.errors import UserError
from foundation.files import is_file, is_folder, read_file, write_whole
from pipeline.corpora import fer2013, meld
from pipeline.corpora.assembled import FACES, RECORDING, TEXT, VOICES

DONE = "README.txt"
"""File that is written last."""
MARK = ".assembled"
"""File that marks a folder of this kind; written first, so that it is there after an interrupted run, too."""
FORM = 1
"""Raise it with every change of what is written."""
VOICE_EMOTIONS = {"01": "neutral", "03": "joy", "04": "sadness", "05": "anger", "06": "fear", "07": "disgust",
                  "08": "surprise"}  # fmt: skip
"""MELD's words for RAVDESS's codes. Its 02, calm, is none of MELD's seven."""
FACE_EMOTIONS = {"angry": "anger", "happy": "joy", "sad": "sadness"}
"""MELD's words for those of FER-2013 that differ."""
ENLARGED, GROUND = 144, 240
"""Edge in pixels of a face and of its picture: detectors look for faces that have something around them."""
PARTS = {"train": 5 / 8, "validation": 1 / 8, "test": 1 / 4}
"""Shares of the actors of each sex."""
FACES_HELD_OUT = {"train": 0.6, "validation": 0.2, "test": 0.2}
"""Shares of FER-2013's PublicTest."""


@dataclass(frozen=True, slots=True)
class Material:
    """Where the material lies, and which faces the face encoder has not seen."""

    meld: Path
    voices: Path
    faces: Path
    held_out: float
    """Fraction of FER-2013's Training that is held out when the face encoder is trained."""
    seed: int
    """Seed by which these faces are drawn."""


def require(material: Material) -> None:
    """Raise UserError unless all three folders are there."""
    for key, folder in (("meld", material.meld), ("voices", material.voices), ("faces", material.faces)):
        if not folder.is_dir():
            raise UserError(f"params.yaml: material.{key}: there is no such folder ({folder}); docs/starter.md says "
                            "what it should hold")  # fmt: skip


def assemble(material: Material, folder: Path) -> None:
    """Copy the material into `folder`, unless it is there.

    Raises:
        UserError: the material is not what it should be, or `folder` is something else.
    """
    said = f"Put together by the stage raw, form {FORM}, of {material}\n"
    done = folder / DONE
    if is_file(done) and read_file(done) == said.encode():
        return
    if folder.exists() and not is_folder(folder):
        raise UserError(f"{folder}: is no folder, and the corpus becomes one; name another place as the key `raw` of "
                        "this corpus in params.yaml")  # fmt: skip
    require(material)
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARK).exists():
            raise UserError(f"{folder}: is not empty, and not a corpus that was put together; name another folder as "
                            "the key `raw` of this corpus in params.yaml")  # fmt: skip
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    (folder / TEXT).mkdir()
    for annotations, _ in meld.FILES.values():
        source = next((place for place in material.meld.rglob(annotations) if place.is_file()), None)
        if source is None:
            raise UserError(f"{material.meld}: has no {annotations}; `material.meld` in params.yaml names the folder "
                            "with MELD's annotations")  # fmt: skip
        shutil.copyfile(source, folder / TEXT / annotations)
    for split, emotion, recording in voices_in(material.voices):
        place = folder / VOICES / split / emotion
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(recording, place / recording.name)
    pictures = list(faces_in(material))
    for number, (split, emotion, pixels) in enumerate(tqdm(pictures, "faces", unit="face", disable=None)):
        place = folder / FACES / split / emotion
        place.mkdir(parents=True, exist_ok=True)
        write_picture(pixels, place / f"face{number:05}.mkv")
    write_whole(done, said)


def voices_in(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield split, emotion and file of each recording of speech in `folder` and its subfolders, sorted by name.

    Actors with even numbers are women. Of each sex the last actors are test, those before them validation.

    Raises:
        UserError: there are no recordings, or too few actors for three splits.
    """
    found = {
        file.name: (file, match["emotion"], int(match["actor"]))
        for file in sorted(folder.rglob("*"))
        if (match := RECORDING.fullmatch(file.name)) and match["emotion"] in VOICE_EMOTIONS
    }
    split_of: dict[int, str] = {}
    for sex in (0, 1):
        actors = sorted({actor for _, _, actor in found.values() if actor % 2 == sex})
        if len(actors) < len(PARTS):
            raise UserError(f"{folder}: has speech of {len(actors)} {('women', 'men')[sex]}, and each split needs one; "
                            "`material.voices` in params.yaml names the folder of RAVDESS's recordings "
                            "(03-01-…-ACTOR.wav)")  # fmt: skip
        split_of |= dict(zip(actors, _splits(len(actors), PARTS), strict=True))
    for _, (file, code, actor) in sorted(found.items()):
        yield split_of[actor], VOICE_EMOTIONS[code], file


def _splits(number: int, parts: dict[str, float]) -> list[str]:
    """Split of each of `number` things in their order; none is empty."""
    validation, test = (max(1, round(number * parts[split])) for split in ("validation", "test"))
    return ["train"] * (number - validation - test) + ["validation"] * validation + ["test"] * test


def faces_in(material: Material) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield split, emotion and pixels, uint8 [48, 48], of the faces on which the face encoder was not trained.

    Raises:
        FerError: the folder is not FER-2013.
    """
    data = fer2013.read(material.faces, "fer2013")
    words = [FACE_EMOTIONS.get(name, name) for name in data.classes]
    _, unseen = fer2013.held_out(data.train, material.held_out, material.seed)
    for place in unseen:
        yield "train", words[data.train.targets[place].argmax()], data.train.pixels[place]
    classes = data.test.targets.argmax(axis=1)
    train, others = train_test_split(np.arange(len(classes)), train_size=FACES_HELD_OUT["train"], random_state=0,
                                     stratify=classes)  # fmt: skip
    validation, test = train_test_split(others, train_size=0.5, random_state=0, stratify=classes[others])
    for split, places in (("train", train), ("validation", validation), ("test", test)):
        for place in sorted(places):
            yield split, words[classes[place]], data.test.pixels[place]


def write_picture(pixels: np.ndarray, file: Path) -> None:
    """Write a face, uint8 [48, 48], as a film of one picture, with the same bytes in every run."""
    face = cv2.resize(pixels, (ENLARGED, ENLARGED), interpolation=cv2.INTER_CUBIC)
    edge = (GROUND - ENLARGED) // 2
    ground = int(pixels.mean())
    picture = np.asarray(cv2.copyMakeBorder(face, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=ground), np.uint8)
    with av.open(str(file), "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("ffv1", 1)
        video.width, video.height, video.pix_fmt = GROUND, GROUND, "gray"
        container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "gray")))
        container.mux(video.encode(None))
