"""Script of the synthetic corpus: conversations whose emotions depend on the turns before."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from pipeline.synthetic.cast import EMOTIONS, SPEAKERS
from pipeline.synthetic.lines import AMBIGUOUS, LINES, OPENERS, PEOPLE, PLACES, THINGS

SEED = 1
SPLITS = {  # split: annotations, folder of clips, turns of each dialogue
    "train": ("train_sent_emo.csv", "train_splits",
              (8, 7, 9, 8, 6, 10, 7, 1, 8, 6, 9, 5, 8, 10, 7, 6, 9, 8, 7, 11, 6, 8)),
    "dev": ("dev_sent_emo.csv", "dev_splits_complete", (7, 9, 8, 6, 8)),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test", (8, 7, 9, 6, 8, 10, 7)),
}  # fmt: skip
ODD = {  # irregularities as in real releases; a few clips, always the same
    "silent": ("train/dia1_utt1", "train/dia6_utt2", "test/dia2_utt1"),  # the sound is digital zero
    "faceless": ("train/dia2_utt0", "dev/dia1_utt1", "test/dia3_utt2"),  # nobody in the picture
    "soundless": ("train/dia8_utt1",),  # no audio stream
    "missing": ("train/dia10_utt2",),  # a row without a clip
    "stray": ("train/dia4_utt19",),  # a clip without a row
    "gap": ("train/dia3_utt2",),  # Utterance_ID goes from 1 to 3
    "twin": ("test/dia1_utt1",),  # the plain clip shows the turn before; final_videos_test... is the correct one
    "appledouble": ("train/._dia0_utt0",),  # files that macOS adds to archives
}
WIDTH, HEIGHT, FPS, RATE = 240, 180, 12, 16_000
LONGEST = 3 * FPS
"""Number of frames of the longest clip."""
RAREST = 0.05
"""Smallest fraction of a split for every emotion."""
KEEP, ANSWER = 0.5, 0.3
"""Probabilities that a speaker keeps the mood, and that a turn answers the turn before."""
VAGUE, OTHER_LINE, OTHER_VOICE, OTHER_FACE = 0.12, 0.05, 0.25, 0.45
"""Probabilities that the text is ambiguous, and that text, voice or face shows a random emotion."""


@dataclass(frozen=True)
class ScriptedTurn:
    """One row of the corpus, with the emotions that its voice and its face show."""

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


def random_of(*key: object) -> np.random.Generator:
    return np.random.default_rng(crc32("/".join(map(str, (SEED, *key))).encode()))


def script(split: str) -> list[ScriptedTurn]:
    """Draw the turns of a split, again and again until no emotion is too rare and neutral is clearly most frequent."""
    for draw in range(1000):
        turns: list[ScriptedTurn] = []
        for number, length in enumerate(SPLITS[split][2]):
            turns += _dialogue(split, number, length, draw)
        counts = Counter(turn.emotion for turn in turns)
        neutral, others = counts["neutral"], [counts[name] for name in EMOTIONS if name != "neutral"]
        if min(others) >= RAREST * len(turns) and neutral > 1.2 * max(others):
            return turns
    raise AssertionError(f"no draw of {split} has enough of every emotion")


def _dialogue(split: str, number: int, length: int, draw: int) -> Iterator[ScriptedTurn]:
    rng = random_of(split, number, draw)
    cast = list(rng.permutation(list(SPEAKERS)))[: rng.integers(2, 5)]
    # A conversation is about a few topics; it does not have new ones in each turn.
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
        # At a normal tempo a syllable takes a sixth of a second; the clip has a pause before and after the speech.
        seconds = 0.4 + 0.165 * syllables(text) / EMOTIONS[voice].prosody.tempo
        frames = int(np.clip(np.ceil(seconds * FPS), FPS, LONGEST))
        face = _astray(emotion, OTHER_FACE, rng)
        yield ScriptedTurn(split, number, utterance, speaker, emotion, text, voice, face, clock, frames)
        clock += frames + int(rng.integers(0, FPS))


def _astray(emotion: str, chance: float, rng: np.random.Generator) -> str:
    return str(rng.choice(list(EMOTIONS))) if rng.random() < chance else emotion


def _sentence(emotion: str, slots: dict[str, np.ndarray], used: set[str], rng: np.random.Generator) -> str:
    """Make a sentence from a template that is not in `used`, the templates of its dialogue so far."""
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
    """Approximate number of syllables: groups of vowels."""
    return max(1, len(re.findall(r"[aeiouyé]+", text.lower())))
