"""Sound of the synthetic corpus: a source-filter voice."""

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

from pipeline.synthetic.cast import EMOTIONS, SPEAKERS
from pipeline.synthetic.script import FPS, ScriptedTurn, random_of, syllables

RATE = 16_000
VOWELS = np.array([  # formants in Hz: a, e, i, o, u
    (730, 1090, 2440, 3400), (530, 1840, 2480, 3500), (280, 2250, 2900, 3600), (560, 860, 2410, 3300),
    (310, 880, 2240, 3300),
])  # fmt: skip
BANDWIDTHS = (70, 100, 150, 220)


def voice(turn: ScriptedTurn) -> tuple[np.ndarray, np.ndarray]:
    """Synthesise the sound, float32 [samples], and how far the mouth is open in each frame, 0 to 1.

    Glottal pulses, whose rate, form and strength follow the prosody, pass through resonators that change from vowel to
    vowel. Noise at the beginning of syllables replaces consonants.
    """
    rng, speaker, prosody = random_of("voice", turn.key), SPEAKERS[turn.speaker], EMOTIONS[turn.voice].prosody
    length = turn.frames * RATE // FPS
    time = np.arange(length) / RATE
    count = syllables(turn.text)
    edges = np.cumsum(rng.uniform(0.7, 1.3, count + 1))
    edges = 0.12 + (edges - edges[0]) / (edges[-1] - edges[0]) * (time[-1] - 0.3)
    centres, widths = (edges[1:] + edges[:-1]) / 2, np.diff(edges)

    semitones = np.interp(time, centres, rng.normal(0, prosody.melody, count))
    semitones += prosody.pitch + rng.normal(0, 0.7) + prosody.rise * (time / time[-1] - 0.5)
    wobble = lfilter([0.14], [1, -0.99], rng.normal(size=length))  # variance 1, slower than one period
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
