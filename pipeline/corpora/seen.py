"""Encoders that are known to have seen labels of a corpus, by their names, and where that is known from.

Features of such an encoder tell the labels of test. They are refused unless `allow_seen` is true in the section of its
modality, and their results are then marked. Encoders that nobody knows about are for the probe:
pipeline/scoring/leakage.py.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeenLabels:
    """Encoders whose names match `pattern`, and what they have seen."""

    pattern: re.Pattern[str]
    readers: tuple[str, ...]
    """Readers of the corpora whose labels they have seen."""
    why: str


KNOWN = (
    SeenLabels(
        re.compile(r"emoberta", re.IGNORECASE),
        ("meld", "iemocap", "assembled", "features"),
        "the split in its repository puts 249 of MELD's 280 test dialogues and 23 of IEMOCAP's 31 into train, and the "
        "others into validation",
    ),
    SeenLabels(
        re.compile(r"emotion2vec[_-]?plus|emotion2vec\+", re.IGNORECASE),
        ("meld", "iemocap", "assembled", "features"),
        "it was fine-tuned on EmoBox, whose sets include IEMOCAP, MELD and RAVDESS",
    ),
    SeenLabels(
        re.compile(r"emotion-english-", re.IGNORECASE),
        ("meld", "assembled", "features"),
        "MELD is among its training data",
    ),
    SeenLabels(
        re.compile(r"emotion-recognition-wav2vec2-IEMOCAP", re.IGNORECASE),
        ("iemocap", "features"),
        "it was fine-tuned on IEMOCAP",
    ),
    SeenLabels(
        re.compile(r"emotion-diarization-wavlm", re.IGNORECASE),
        ("iemocap", "features"),
        "IEMOCAP is among its training data",
    ),
)
"""What is known. The reader `features` reads files of these corpora, and `assembled` takes
MELD's texts and RAVDESS's voices, so an encoder of its sentences counts as well."""


def seen_by(model: str, reader: str) -> str:
    """Reason why the encoder `model` is known to have seen labels of the corpora of `reader`; empty if it is not."""
    return next((one.why for one in KNOWN if reader in one.readers and one.pattern.search(model)), "")
