"""Speakers of the synthetic corpus, and the sound and look of each emotion."""

from typing import NamedTuple


class Prosody(NamedTuple):
    """Sound of an emotion, relative to the speaker's normal voice."""

    pitch: float = 0.0  # semitones up
    melody: float = 2.0  # semitones of one standard deviation between syllables
    rise: float = -1.5  # semitones from the start to the end
    loudness: float = 0.0  # dB
    tempo: float = 1.0
    dull: float = 0.55  # coefficient of the low-pass that tilts the spectrum
    breath: float = 0.03
    jitter: float = 0.008


class Expression(NamedTuple):
    """Shifts of the facial features in an emotion, in units of half a head's width; up is positive."""

    inner: float = 0.0  # ends of the brows
    outer: float = 0.0
    eye: float = 1.0  # opening, relative to the normal one
    lid: float = 0.0  # fraction by which the lower lid is raised
    smile: float = 0.0  # corners of the mouth
    gap: float = 0.0  # between the lips
    wide: float = 1.0
    sneer: float = 0.0  # upper lip and nose


class Emotion(NamedTuple):
    """Frequency of an emotion, emotions that follow it, and its sound and look."""

    sentiment: str
    share: float  # fraction of the turns that neither keep a mood nor answer another turn
    answers: tuple[str, ...]  # emotions with which the other speaker may answer
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
    jaw: float  # fraction by which the head narrows towards the chin
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
