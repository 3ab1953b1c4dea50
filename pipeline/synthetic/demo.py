"""A synthetic conversation corpus in the layout of MELD.Raw, to run the whole pipeline without a licensed corpus.

It has real files and codecs, voices in which openSMILE finds a pitch, and faces that a detector finds. Models can gain
from fusion and context: an emotion depends on the turns before; text shows it best, the voice less, the face least, and
each is sometimes wrong. Everything is made from fixed seeds, so a second run writes the same bytes.
"""

import csv
from hashlib import sha256
from pathlib import Path

import av
import numpy as np
from tqdm import tqdm

from pipeline.synthetic.cast import EMOTIONS
from pipeline.synthetic.face import HEIGHT, WIDTH, pictures
from pipeline.synthetic.script import FPS, ODD, SPLITS, ScriptedTurn, script
from pipeline.synthetic.voice import RATE, voice

HEADER = ("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season",
          "Episode", "StartTime", "EndTime")  # fmt: skip
MARK = ".demo"
"""File that marks a folder of this corpus; written first, so it also exists after an interrupted run."""
SOURCES = [Path(__file__).with_name(f"{name}.py") for name in ("demo", "cast", "face", "lines", "script", "voice")]
README = (
    "This corpus is synthetic: its sentences, voices and faces were made by pipeline/synthetic/demo.py. "
    "Scores on it mean only that the machinery works.\n"
    f"Version {sha256(b''.join(file.read_bytes() for file in SOURCES)).hexdigest()[:12]}\n"
)
"""Content of the file that is written last; its version shows which code made the corpus."""


def make_demo(folder: Path) -> None:
    """Write the corpus into `folder`; README.txt is written last and shows that the corpus is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    turns = [turn for split in SPLITS for turn in script(split)]
    for split, (annotations, clips, _) in SPLITS.items():
        (folder / clips).mkdir(exist_ok=True)
        write_rows(folder / annotations, [turn for turn in turns if turn.split == split])
    for number, turn in enumerate(tqdm(turns, "demo corpus", unit="clip", disable=None)):
        path = _path(folder, turn.key)
        if turn.key in ODD["twin"]:
            write_clip(path.with_name(f"final_videos_test{path.name}"), turn)
            write_clip(path, turns[number - 1])
        elif turn.key not in ODD["missing"]:
            write_clip(path, turn)
    for key in ODD["stray"]:
        write_clip(_path(folder, key), turns[0])
    for key in ODD["appledouble"]:
        _path(folder, key).write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(96))
    (folder / "README.txt").write_text(README, encoding="utf-8")


def _path(folder: Path, key: str) -> Path:
    split, name = key.split("/")
    return folder / SPLITS[split][1] / f"{name}.mp4"


def write_rows(file: Path, turns: list[ScriptedTurn]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(HEADER)
        for number, turn in enumerate(turns, 1):
            what = (turn.text, turn.speaker, turn.emotion, EMOTIONS[turn.emotion].sentiment)
            where = (turn.dialogue, turn.utterance, 1, turn.dialogue + 1)
            rows.writerow((number, *what, *where, _time(turn.start), _time(turn.start + turn.frames)))


def _time(frames: int) -> str:
    seconds, part = divmod(frames, FPS)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{part * 1000 // FPS:03}"


def write_clip(path: Path, turn: ScriptedTurn) -> None:
    """Write the clip of `turn` as MP4 (H.264, AAC), with the same bytes in every run."""
    sound, mouth = voice(turn)
    if turn.key in ODD["silent"]:
        sound = np.zeros_like(sound)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        # x264's "macroblock tree" is not deterministic: with it, 8 of 2,640 copies of a clip written on a busy machine
        # had different bytes; without it, none of 4,730.
        options = {"crf": "26", "preset": "veryfast", "threads": "1", "mbtree": "0"}
        video = container.add_stream("libx264", FPS, options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = None
        if turn.key not in ODD["soundless"]:
            audio = container.add_stream("aac", RATE, {"flags": "+bitexact"}, layout="mono", bit_rate=40_000)
        for picture in pictures(turn, mouth):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
        if audio:
            samples = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
            samples.sample_rate = RATE
            container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
