"""A synthetic conversation corpus in the layout of MELD.Raw: the whole path runs without a licensed corpus.

What is real about it: files, codecs, a voice that openSMILE finds a pitch in, a face that a detector finds,
and what fusion and context live on: an emotion depends on the turns before; text tells most of it, the voice
less, the face least, each wrong at times. All of it follows from seeds: a second run writes the same bytes.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import av
import cv2
import numpy as np
from scipy.signal import butter, lfilter, sosfilt
from tqdm import tqdm

from pipeline.corpora.demo_lines import AMBIGUOUS, LINES, OPENERS, PEOPLE, PLACES, THINGS

SEED = 1
SPLITS = {  # split: annotations, folder of clips, turns of each dialogue
    "train": ("train_sent_emo.csv", "train_splits",
              (8, 7, 9, 8, 6, 10, 7, 1, 8, 6, 9, 5, 8, 10, 7, 6, 9, 8, 7, 11, 6, 8)),
    "dev": ("dev_sent_emo.csv", "dev_splits_complete", (7, 9, 8, 6, 8)),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test", (8, 7, 9, 6, 8, 10, 7)),
}  # fmt: skip
HEADER = ("Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season",
          "Episode", "StartTime", "EndTime")  # fmt: skip
ODD = {  # what real releases have too: few, and always the same clips
    "silent": ("train/dia1_utt1", "train/dia6_utt2", "test/dia2_utt1"),  # the sound is digital zero
    "faceless": ("train/dia2_utt0", "dev/dia1_utt1", "test/dia3_utt2"),  # nobody in the picture
    "soundless": ("train/dia8_utt1",),  # no audio stream
    "missing": ("train/dia10_utt2",),  # a row without a clip
    "stray": ("train/dia4_utt19",),  # a clip without a row
    "gap": ("train/dia3_utt2",),  # Utterance_ID goes from 1 to 3
    "twin": ("test/dia1_utt1",),  # the plain clip is the turn before; final_videos_test... is right
    "appledouble": ("train/._dia0_utt0",),  # what macOS leaves in archives
}
MARK = ".demo"
"""File that a folder of this corpus has from the first moment on, even if its making was broken off."""
SOURCES = (Path(__file__), Path(__file__).with_name("demo_lines.py"))
README = (
    "This corpus is synthetic: its sentences, voices and faces were made by pipeline/corpora/demo.py. "
    "Scores on it mean only that the machinery works.\n"
    f"Version {sha256(b''.join(file.read_bytes() for file in SOURCES)).hexdigest()[:12]}\n"
)
"""Last file of a whole corpus; its version tells a corpus that other code made."""

WIDTH, HEIGHT, FPS, RATE = 240, 180, 12, 16_000
LONGEST = 3 * FPS
"""Frames of the longest clip."""


class Prosody(NamedTuple):
    """How an emotion speaks, against a speaker's normal voice."""

    pitch: float = 0.0  # semitones up
    melody: float = 2.0  # semitones of one standard deviation between syllables
    rise: float = -1.5  # semitones from the start to the end
    loudness: float = 0.0  # dB
    tempo: float = 1.0
    dull: float = 0.55  # coefficient of the low-pass that tilts the spectrum
    breath: float = 0.03
    jitter: float = 0.008


class Expression(NamedTuple):
    """Where an emotion puts the features of a face, in units of half a head's width; up is positive."""

    inner: float = 0.0  # ends of the brows
    outer: float = 0.0
    eye: float = 1.0  # opening, of the normal one
    lid: float = 0.0  # share by which the lower lid is up
    smile: float = 0.0  # corners of the mouth
    gap: float = 0.0  # between the lips
    wide: float = 1.0
    sneer: float = 0.0  # upper lip and nose


class Emotion(NamedTuple):
    """How often an emotion comes up, what follows it, and how it shows."""

    sentiment: str
    share: float  # of the turns that neither keep a mood nor answer another one
    answers: tuple[str, ...]  # what it calls up in the other speaker
    prosody: Prosody = Prosody()
    expression: Expression = Expression()


EMOTIONS = {
    "neutral": Emotion("neutral", 0.42, ("neutral", "neutral", "joy", "surprise")),
    "surprise": Emotion("positive", 0.09, ("neutral", "joy", "fear"),
                        Prosody(5, 4, 5, 3, 1.05, 0.45, 0.05),
                        Expression(0.17, 0.17, 1.45, 0, 0, 0.25, 0.68)),
    "fear": Emotion("negative", 0.09, ("fear", "neutral", "surprise"),
                    Prosody(4.5, 1.6, 1, -2, 1.25, 0.6, 0.16, 0.03),
                    Expression(0.20, 0.02, 1.35, 0, -0.05, 0.1, 1.12)),
    "sadness": Emotion("negative", 0.10, ("sadness", "neutral", "fear"),
                       Prosody(-2.5, 0.8, -3, -8, 0.78, 0.82, 0.1),
                       Expression(0.13, -0.07, 0.68, 0, -0.11, 0, 0.9)),
    "joy": Emotion("positive", 0.11, ("joy", "neutral", "surprise"),
                   Prosody(3, 3.5, 0.5, 3, 1.1, 0.4),
                   Expression(0.04, 0.05, 0.8, 0.3, 0.15, 0.09, 1.22)),
    "disgust": Emotion("negative", 0.11, ("disgust", "surprise", "anger"),
                       Prosody(-3, 1.8, -4, -1, 0.88, 0.65, 0.02, 0.035),
                       Expression(-0.06, -0.01, 0.62, 0.3, -0.06, 0.03, 0.92, 0.09)),
    "anger": Emotion("negative", 0.08, ("anger", "sadness", "neutral"),
                     Prosody(1, 2.6, -2, 7, 1.15, 0.15, 0.01, 0.015),
                     Expression(-0.14, 0.08, 0.85, 0.15, -0.06, 0.02, 0.95)),
}  # fmt: skip
RAREST = 0.05
"""Share of a split that every emotion has at least."""
KEEP, ANSWER = 0.5, 0.3
"""Chances that a speaker's mood stays, and that it answers the turn before."""
VAGUE, OTHER_LINE, OTHER_VOICE, OTHER_FACE = 0.12, 0.05, 0.25, 0.45
"""Chances that a cue tells nothing of the emotion, or shows a random one."""

Colour = tuple[float, ...]


class Speaker(NamedTuple):
    """A voice and a face; lengths in units of half a head's width."""

    pitch: float  # Hz
    tract: float  # factor on the formants: a shorter vocal tract has higher ones
    skin: Colour
    hair: Colour
    iris: Colour
    shirt: Colour
    wall: Colour
    height: float
    jaw: float  # share by which the head narrows down to the chin
    fringe: float  # where the hair begins on the forehead
    hair_end: float
    brow: float
    lips: float


SPEAKERS = {
    "Mara": Speaker(205, 1.14, (226, 178, 150), (92, 52, 30), (84, 120, 96), (70, 96, 140), (196, 204, 210),
                    1.30, 0.20, -0.74, 1.15, 0.055, 1.15),
    "Owen": Speaker(112, 0.98, (232, 188, 164), (150, 104, 56), (80, 110, 150), (90, 99, 80), (206, 196, 180),
                    1.36, 0.12, -0.86, -0.25, 0.085, 0.85),
    "Priya": Speaker(230, 1.18, (184, 130, 96), (34, 26, 26), (70, 44, 28), (160, 72, 84), (190, 200, 190),
                     1.28, 0.22, -0.80, 1.35, 0.065, 1.15),
    "Tomas": Speaker(130, 1.02, (206, 158, 126), (52, 40, 34), (88, 62, 40), (82, 78, 104), (186, 190, 204),
                     1.33, 0.08, -0.90, -0.35, 0.095, 0.90),
}  # fmt: skip


@dataclass(frozen=True)
class Turn:
    """One row, and the emotions that its voice and its face show."""

    split: str
    dialogue: int
    utterance: int
    speaker: str
    emotion: str
    text: str
    voice: str
    face: str
    start: int  # frames from the start of the episode
    frames: int

    @property
    def key(self) -> str:
        return f"{self.split}/dia{self.dialogue}_utt{self.utterance}"


def make_demo(folder: Path) -> None:
    """Write the corpus into `folder`; README.txt comes last, so that its presence says that all is there."""
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


def _random(*key: object) -> np.random.Generator:
    return np.random.default_rng(crc32("/".join(map(str, (SEED, *key))).encode()))


# --- what is said -------------------------------------------------------------------------------------------


def script(split: str) -> list[Turn]:
    """The turns of a split, drawn again until no emotion is too rare and neutral leads."""
    for draw in range(1000):
        turns: list[Turn] = []
        for number, length in enumerate(SPLITS[split][2]):
            turns += _dialogue(split, number, length, draw)
        counts = Counter(turn.emotion for turn in turns)
        neutral, others = counts["neutral"], [counts[name] for name in EMOTIONS if name != "neutral"]
        if min(others) >= RAREST * len(turns) and neutral > 1.2 * max(others):
            return turns
    raise AssertionError(f"no draw of {split} has enough of every emotion")


def _dialogue(split: str, number: int, length: int, draw: int) -> Iterator[Turn]:
    rng = _random(split, number, draw)
    cast = list(rng.permutation(list(SPEAKERS)))[: rng.integers(2, 5)]
    # A conversation is about a few things, not about new ones in each turn.
    slots = {"person": rng.choice(PEOPLE, 3), "thing": rng.choice(THINGS, 2), "place": rng.choice(PLACES, 2)}
    moods: dict[str, str] = {}
    speaker, before = "", "neutral"
    clock = int(rng.integers(60 * FPS, 20 * 60 * FPS))
    used: set[str] = set()
    for turn in range(length):
        speaker = str(rng.choice([name for name in cast if name != speaker]))
        chance = rng.random()
        if chance < KEEP and speaker in moods:
            emotion = moods[speaker]
        elif chance < KEEP + ANSWER and turn:
            emotion = str(rng.choice(EMOTIONS[before].answers))
        else:
            shares = np.array([emotion.share for emotion in EMOTIONS.values()])
            emotion = str(rng.choice(list(EMOTIONS), p=shares / shares.sum()))
        moods[speaker] = before = emotion
        utterance = turn + any(f"{split}/dia{number}_utt{gap}" in ODD["gap"] for gap in range(turn + 1))
        text = _sentence(emotion, slots, used, rng)
        voice = _astray(emotion, OTHER_VOICE, rng)
        # At a normal tempo a syllable takes a sixth of a second; a pause on both sides belongs to the clip.
        seconds = 0.4 + 0.165 * syllables(text) / EMOTIONS[voice].prosody.tempo
        frames = int(np.clip(np.ceil(seconds * FPS), FPS, LONGEST))
        face = _astray(emotion, OTHER_FACE, rng)
        yield Turn(split, number, utterance, speaker, emotion, text, voice, face, clock, frames)
        clock += frames + int(rng.integers(0, FPS))


def _astray(emotion: str, chance: float, rng: np.random.Generator) -> str:
    return str(rng.choice(list(EMOTIONS))) if rng.random() < chance else emotion


def _sentence(emotion: str, slots: dict[str, np.ndarray], used: set[str], rng: np.random.Generator) -> str:
    """A sentence from a template that its dialogue has not `used`."""
    source = _astray(emotion, OTHER_LINE, rng)
    vague = rng.random() < VAGUE
    template = str(rng.choice([line for line in (AMBIGUOUS if vague else LINES[source]) if line not in used]))
    used.add(template)
    text = template.format(**{slot: rng.choice(words) for slot, words in slots.items()})
    opener = str(rng.choice(OPENERS[source])) if not vague and rng.random() < 0.45 else ""
    if not opener.endswith(","):
        text = text[0].upper() + text[1:]
    return f"{opener} {text}".lstrip()


def syllables(text: str) -> int:
    """About as many as a speaker would make: groups of vowels."""
    return max(1, len(re.findall(r"[aeiouyé]+", text.lower())))


def write_rows(file: Path, turns: list[Turn]) -> None:
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


# --- how it sounds ------------------------------------------------------------------------------------------

VOWELS = np.array([  # formants in Hz: a, e, i, o, u
    (730, 1090, 2440, 3400), (530, 1840, 2480, 3500), (280, 2250, 2900, 3600), (560, 860, 2410, 3300),
    (310, 880, 2240, 3300),
])  # fmt: skip
BANDWIDTHS = (70, 100, 150, 220)


def _voice(turn: Turn) -> tuple[np.ndarray, np.ndarray]:
    """Sound as float32 [samples], and how open the mouth is in each frame, 0 to 1.

    A source-filter voice: glottal pulses whose rate, form and strength follow the prosody, through resonators
    whose mixture goes from vowel to vowel; noise at the onsets of syllables stands for consonants.
    """
    rng, speaker, prosody = _random("voice", turn.key), SPEAKERS[turn.speaker], EMOTIONS[turn.voice].prosody
    length = turn.frames * RATE // FPS
    time = np.arange(length) / RATE
    count = syllables(turn.text)
    edges = np.cumsum(rng.uniform(0.7, 1.3, count + 1))
    edges = 0.12 + (edges - edges[0]) / (edges[-1] - edges[0]) * (time[-1] - 0.3)
    centres, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)

    semitones = np.interp(time, centres, rng.normal(0, prosody.melody, count))
    semitones += prosody.pitch + rng.normal(0, 0.7) + prosody.rise * (time / time[-1] - 0.5)
    wobble = lfilter([0.14], [1, -0.99], rng.normal(size=length))  # of variance 1, slower than a period
    phase = np.cumsum(speaker.pitch * 2 ** (semitones / 12) * (1 + prosody.jitter * wobble)) / RATE
    part, period = phase % 1, phase.astype(int)
    closing = np.cos(np.pi * (part - 0.4) / 0.4).clip(0) * (part < 0.6)
    flow = np.where(part < 0.4, 0.5 - 0.5 * np.cos(np.pi * part / 0.4), closing)
    flow *= (1 + 3 * prosody.jitter * rng.normal(size=period[-1] + 1))[period]
    source = np.diff(flow, prepend=0.0)
    source = lfilter([1 - prosody.dull], [1, -prosody.dull], source / source.std())
    source += prosody.breath * (0.3 + flow) * rng.normal(size=length)

    turning = np.column_stack([edges[:-1], centres]).ravel()
    strength = np.column_stack([np.full(count, 0.15), rng.uniform(0.7, 1, count)]).ravel()
    envelope = np.interp(time, turning, strength)
    envelope *= np.interp(time, [edges[0] - 0.03, edges[0], edges[-1] - 0.06, edges[-1]], [0, 1, 1, 0])
    vowels = rng.integers(len(VOWELS), size=count)
    sound = np.zeros(length)
    for vowel in set(vowels):
        voiced = sosfilt(_resonators(VOWELS[vowel] * speaker.tract), source)
        sound += voiced / voiced.std() * np.interp(time, centres, (vowels == vowel).astype(float))
    sound *= envelope
    onsets = np.exp(-(((time[:, None] - edges[:-1]) / (0.2 * widths)) ** 2)) @ rng.uniform(0, 0.5, count)
    sound += onsets * sosfilt(butter(2, 2500, "highpass", fs=RATE, output="sos"), rng.normal(size=length))

    level = 0.05 * 10 ** ((prosody.loudness + rng.normal(0, 1)) / 20)
    sound = np.tanh(sound * level * (1 + 0.6 * (1 - prosody.dull))) + 0.0008 * rng.normal(size=length)
    return sound.astype(np.float32), envelope[np.arange(turn.frames) * RATE // FPS]


def _resonators(formants: np.ndarray) -> np.ndarray:
    radius = np.exp(-np.pi * np.array(BANDWIDTHS) / RATE)
    second, third = -2 * radius * np.cos(2 * np.pi * formants / RATE), radius**2
    one, zero = np.ones_like(radius), np.zeros_like(radius)
    return np.column_stack([1 + second + third, zero, zero, one, second, third])


# --- how it looks -------------------------------------------------------------------------------------------

UNIT = 104
"""Pixels of half a head's width while drawing, at twice the final size: the shrinking smooths."""
SHEET, CENTRE = (420, 360), (180, 205)
"""Height and width of the sheet that a head is drawn on, and the head's centre in x and y."""
SPAN = np.linspace(-1, 1, 15)
DOME = 1 - SPAN**2
ROUND = np.linspace(0, 2 * np.pi, 80, endpoint=False)
Points = np.ndarray | list[tuple[float, float]]


def _pixels(points: Points) -> np.ndarray:
    """As OpenCV takes them: integers, in sixteenths of a pixel."""
    return np.round((np.asarray(points) * UNIT + CENTRE) * 16).astype(np.int32)


def _curve(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.column_stack([x, y])


def _fill(image: np.ndarray, points: Points, colour: Colour | np.ndarray) -> None:
    cv2.fillPoly(image, [_pixels(points)], tuple(map(float, colour)), cv2.LINE_AA, 4)


def _line(image: np.ndarray, points: Points, colour: Colour | np.ndarray, width: float) -> None:
    thick = max(1, round(width * UNIT))
    cv2.polylines(image, [_pixels(points)], False, tuple(map(float, colour)), thick, cv2.LINE_AA, 4)


def _disc(image: np.ndarray, x: float, y: float, radius: float, colour: Colour | np.ndarray) -> None:
    _fill(image, _curve(x + radius * np.cos(ROUND), y + radius * np.sin(ROUND)), colour)


@cache
def _head(name: str) -> tuple[np.ndarray, np.ndarray]:
    """What does not move in a face, as RGB uint8 with the shading that detectors look for, and its alpha."""
    look, rng = SPEAKERS[name], _random("head", name)
    skin, hair = np.array(look.skin), np.array(look.hair)
    y, x = np.mgrid[: SHEET[0], : SHEET[1]]
    x, y = (x - CENTRE[0]) / UNIT, (y - CENTRE[1]) / UNIT

    def spot(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
        return np.exp(-(((x - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)[..., None]

    image, alpha = np.zeros((*SHEET, 3)), np.zeros((*SHEET, 1))

    def paint(colour: np.ndarray, points: Points) -> np.ndarray:
        nonlocal image, alpha
        mask = np.zeros(SHEET, np.uint8)
        _fill(mask, points, (255,))
        cover = cv2.GaussianBlur(mask, (0, 0), 1.6)[..., None] / 255
        whole = cover + alpha * (1 - cover)
        image = (colour * cover + image * alpha * (1 - cover)) / np.maximum(whole, 1e-6)
        alpha = whole
        return cover

    depth = np.sqrt(np.clip(1 - (x / 1.08) ** 2 - (y / look.height / 1.05) ** 2, 0, 1))
    face = skin * (0.60 + 0.46 * np.clip(0.86 * depth - 0.30 * x - 0.30 * y, 0, None))[..., None]
    for side in (-1, 1):
        face *= 1 - 0.20 * spot(side * 0.42, -0.16, 0.28, 0.17)  # the socket of the eye
        face += np.array([16, -6, -6]) * spot(side * 0.55, 0.32, 0.26, 0.22)  # the cheek
        face *= 1 - 0.18 * spot(side * 0.16, 0.36, 0.07, 0.06)  # the wing of the nose
        face *= 1 - 0.50 * spot(side * 0.085, 0.405, 0.045, 0.028)  # the nostril
    face *= 1 + 0.10 * spot(0, 0.12, 0.06, 0.32) - 0.13 * spot(0.15, 0.10, 0.07, 0.30)  # ridge of the nose
    face *= 1 + 0.10 * spot(0, 0.30, 0.09, 0.07) - 0.22 * spot(0, 0.45, 0.20, 0.045)  # its tip
    face *= 1 + 0.06 * spot(0, 1.08, 0.18, 0.12) - 0.16 * spot(0, 0.92, 0.22, 0.06)  # the chin

    streaks = cv2.GaussianBlur(rng.normal(0, 55, SHEET), (0, 0), sigmaX=1.2, sigmaY=9)[..., None]
    gloss = 0.9 + 0.35 * np.clip(0.2 - 0.4 * x - 0.6 * y, -1, 1)
    strands = hair * gloss[..., None] + streaks * (hair / 120 + 0.25)
    long = look.hair_end > 0
    turn = np.linspace(np.pi, 2 * np.pi, 40)
    width, end = 1.13 + 0.08 * long, look.hair_end
    ends = [(width, end * 0.6), (width * 0.86, end), (-width * 0.86, end), (-width, end * 0.6)]
    crown = _curve(1.13 * np.cos(turn), -0.1 + (look.height + 0.06) * np.sin(turn))
    paint(strands * 0.8, np.vstack([crown, ends]))
    neck = [(-0.5, 0.7), (0.5, 0.7), (0.56, 1.7), (-0.56, 1.7)]
    paint(skin * (0.80 - 0.25 * spot(0, 1.25, 0.7, 0.25)), neck)
    shirt = [(-0.55, 1.52), (0, 1.72), (0.55, 1.52), (1.3, 1.72), (1.8, 2.2), (-1.8, 2.2), (-1.3, 1.72)]
    paint(np.array(look.shirt) * (1 - 0.12 * x)[..., None], shirt)
    for side in () if long else (-1, 1):
        ear = _curve(side * (1 + 0.12 * np.cos(ROUND)), 0.05 + 0.24 * np.sin(ROUND))
        paint(skin * (0.80 - 0.2 * spot(side * 1.02, 0.05, 0.06, 0.12)), ear)
    chin = np.clip(np.sin(ROUND), 0, 1) ** 1.3
    paint(face, _curve(np.cos(ROUND) * (1 - look.jaw * chin), look.height * np.sin(ROUND)))
    temple = 0.15 if long else -0.25
    hairline = [(0.99, temple), (0.90, -0.40), (0.62, look.fringe + 0.10), (0.1, look.fringe - 0.03),
                (-0.45, look.fringe + 0.02), (-0.86, -0.45), (-0.99, temple)]  # fmt: skip
    crown = _curve(1.1 * np.cos(turn), -0.1 + (look.height + 0.05) * np.sin(turn))
    fringe = paint(strands, np.vstack([crown, hairline]))
    image *= 1 - 0.35 * np.clip(cv2.GaussianBlur(fringe, (0, 0), 9)[..., None] - fringe, 0, 1)
    image += rng.normal(0, 2.2, image.shape)
    return image.clip(0, 255).astype(np.uint8), (alpha * 255).astype(np.uint8)


def _draw_eye(image: np.ndarray, look: Speaker, mood: Expression, side: int, blink: float) -> None:
    skin, dark = np.array(look.skin), np.array(look.hair) * 0.55 + 8
    x, y = side * 0.42, -0.13
    line = y - 0.02 * side * SPAN
    across = x + 0.205 * SPAN
    upper = _curve(across, line - 0.105 * mood.eye * (1 - blink) * DOME**0.8)
    lower = 0.062 * (1 - mood.lid) * (1 - 0.6 * blink) * min(1.15, 0.5 + 0.5 * mood.eye)
    almond = np.vstack([upper, _curve(across, line + lower * DOME)[::-1]])
    (left, top), (right, bottom) = (_pixels([(x - 0.28, y - 0.28), (x + 0.28, y + 0.2)]) // 16).tolist()
    window = np.s_[top:bottom, left:right]
    ball, opening = image.copy(), np.zeros(SHEET, np.uint8)
    _fill(ball, almond, (236, 232, 228))
    _disc(ball, x, y - 0.02, 0.098, np.array(look.iris) * 0.75)
    _disc(ball, x, y - 0.02, 0.075, look.iris)
    _disc(ball, x, y - 0.02, 0.045, (14, 12, 12))
    _disc(ball, x - 0.035, y - 0.055, 0.02, (250, 250, 250))
    _fill(opening, almond, (255,))
    cover = opening[window][..., None] / 255
    image[window] = (image[window] * (1 - cover) + ball[window] * cover).astype(np.uint8)
    _line(image, upper, dark * 0.6, 0.035)
    _line(image, almond[len(SPAN) :], skin * 0.55, 0.012)
    _line(image, upper - (0, 0.065), skin * 0.62, 0.014)

    out = np.linspace(0, 1, 9)
    brow = -0.355 - 0.03 * mood.eye - 0.05 * np.sin(0.8 * np.pi * out)
    brow -= mood.inner * (1 - out) + mood.outer * out
    half = look.brow * (0.5 - 0.28 * out**2)
    across = side * (0.17 + 0.5 * out)
    _fill(image, np.vstack([_curve(across, brow - half), _curve(across, brow + half)[::-1]]), dark)
    if mood.smile > 0.05 or mood.sneer:
        _line(image, _curve(side * (0.26 + 0.22 * out), 0.38 + 0.26 * out), skin * 0.70, 0.018)
    if mood.inner < 0:
        _line(image, [(side * 0.055, -0.36), (side * 0.06, -0.24)], skin * 0.66, 0.018)


def _draw_mouth(image: np.ndarray, look: Speaker, mood: Expression, talk: float) -> None:
    skin = np.array(look.skin)
    lip = skin * 0.55 + np.array((63, 22, 25))
    x, gap = 0.35 * mood.wide * (1 - 0.12 * talk) * SPAN, mood.gap + 0.13 * talk
    middle = 0.70 - 0.25 * mood.sneer + mood.smile * (0.45 - SPAN**2)
    above, below = middle - 0.4 * gap * DOME, middle + 0.75 * gap * DOME
    top = above - 0.058 * look.lips * DOME**0.7 * (1 - 0.28 * np.exp(-((SPAN / 0.16) ** 2)))
    top -= 0.6 * mood.sneer * SPAN.clip(0) * DOME
    bottom = below + 0.082 * look.lips * DOME**0.8
    _fill(image, np.vstack([_curve(x, top), _curve(x, bottom)[::-1]]), lip)
    _fill(image, np.vstack([_curve(x, above), _curve(x, below)[::-1]]), (52, 18, 22))
    if gap > 0.04:
        teeth = np.vstack([_curve(x, above), _curve(x, above + 0.45 * gap * DOME)[::-1]])
        _fill(image, teeth * (0.86, 1), (232, 228, 222))
    _line(image, _curve(x, above), lip * 0.55, 0.016)
    chin = bottom.max() + 0.05
    _line(image, [(-0.1, chin), (0.1, chin)], skin * 0.72, 0.02)


def _pictures(turn: Turn, mouth: np.ndarray) -> Iterator[np.ndarray]:
    """A frame as RGB uint8 for each value of `mouth`, how open the voice has it."""
    rng, look = _random("face", turn.key), SPEAKERS[turn.speaker]
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    light = 1 - 0.25 * y / HEIGHT - 0.12 * x / WIDTH
    wall = np.array(look.wall) * light[..., None] + rng.normal(0, 1.5, (HEIGHT, WIDTH, 1))
    sheet, alpha = _head(turn.speaker)
    blink, strength = int(rng.integers(2, 3 * FPS)), rng.uniform(0.75, 1.15)
    calm, shown = np.array(Expression()), np.array(EMOTIONS[turn.face].expression)
    mood = Expression(*(calm + strength * (shown - calm)).tolist())
    place, speed, shift = rng.normal(0, 2, 2), rng.uniform(0.15, 0.5, 3), rng.uniform(0, 2 * np.pi, 3)
    for number, talk in enumerate(mouth):
        if turn.key in ODD["faceless"]:
            yield wall.clip(0, 255).astype(np.uint8)
            continue
        image = sheet.copy()
        shut = {0: 0.9, 1: 0.5}.get(abs(number - blink), 0.0)
        for side in (-1, 1):
            _draw_eye(image, look, mood, side, shut)
        _draw_mouth(image, look, mood, talk)
        image = cv2.GaussianBlur(image, (0, 0), 0.9)
        sway = np.sin(2 * np.pi * speed * number / FPS + shift)
        matrix = cv2.getRotationMatrix2D(CENTRE, 2.5 * sway[2], 0.5)
        matrix[:, 2] += (WIDTH / 2, HEIGHT * 0.53) + place + 2 * sway[:2] + (0, 1.5 * talk) - np.array(CENTRE)
        cover = cv2.warpAffine(alpha, matrix, (WIDTH, HEIGHT))[..., None] / np.float32(255)
        head = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        yield (wall * (1 - cover) + head * cover).clip(0, 255).astype(np.uint8)


# --- how it is stored ---------------------------------------------------------------------------------------


def write_clip(path: Path, turn: Turn) -> None:
    """Write the clip of `turn`: H.264 and AAC in MP4, the same bytes each time."""
    sound, mouth = _voice(turn)
    if turn.key in ODD["silent"]:
        sound = np.zeros_like(sound)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        # With x264's "macroblock tree", 8 of 2,640 copies of a clip written on a busy machine had other bytes than the
        # rest; without it, none of 4,730.
        options = {"crf": "26", "preset": "veryfast", "threads": "1", "mbtree": "0"}
        video = container.add_stream("libx264", FPS, options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = None
        if turn.key not in ODD["soundless"]:
            audio = container.add_stream("aac", RATE, {"flags": "+bitexact"}, layout="mono", bit_rate=40_000)
        for picture in _pictures(turn, mouth):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
        if audio:
            samples = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
            samples.sample_rate = RATE
            container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
