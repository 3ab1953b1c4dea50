"""Feature files of the field that are known by their content, whatever they are called.

A file that lies in a public git repository is known by git's id of its content, also by those who never had it.
"""

from dataclasses import dataclass

TAUGHT = "its audio vectors, 300 wide, are on the strongest evidence the hidden state of a network that was trained on \
MELD's labels (docs/features.md)"
"""Known fault of the audio of MELD that the field shares."""
WIDTH_TAUGHT = 300
"""Width of MELD's published audio vectors; other files of the field, such as SDT's, hold them too."""
SUSPECTED = "its text vectors, 768 wide, are said to come from EmoBERTa, whose public encoder of this width has seen \
labels of test: a suspicion, not a proof (results/D/leakage.json says what the probe finds)"
"""Suspicion about MultiEMO's text."""
WIDTH_SUSPECTED = 768


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """A file that is known by its content."""

    what: str
    used_by: str
    warning: str = ""
    """Known fault of it."""


IEMOCAP_RAW = KnownFile(
    what="IEMOCAP_features_raw.pkl: vectors 100 / 100 / 512 wide (text / audio / visual)",
    used_by="DialogueRNN, bc-LSTM; MultiEMO, as Data/IEMOCAP/Speakers.pkl",
)
MELD_RAW_1 = KnownFile(
    what="MELD_features_raw1.pkl: vectors 600 / 300 / 342 wide",
    used_by="MMGCN, MM-DFN, M3Net; MultiEMO, as Data/MELD/Speakers.pkl",
    warning=TAUGHT,
)
BY_BLOB = {
    "48a47d73b4b10c805ac7819fd9bcc61444119c65": KnownFile(
        what="IEMOCAP_features.pkl of DialogueGCN: vectors 100 / 100 / 512 wide",
        used_by="DialogueGCN, COGMEN, CORECT",
    ),
    "a21501009647eb0774a638ccd123aba6668768cc": IEMOCAP_RAW,
    "0b2c026fee4f49f453f168c7f866a199fc51d84f": KnownFile(
        what="MELD_features_raw.pkl: vectors 600 / 300 wide, no visual",
        used_by="DialogueRNN, bc-LSTM",
        warning=TAUGHT,
    ),
    "889532cad757903e78b3f87445306592eb8e2070": KnownFile(
        what="IEMOCAP_features.pkl of MMGCN: vectors 100 / 1582 / 342 wide", used_by="MMGCN, MM-DFN"
    ),
    "55873a76e17fa3e054bcc5afc534cd1dde2eb2d8": MELD_RAW_1,
    "eaa9a71a4c94fef7bdcee56820d87283a2d14cba": KnownFile(
        what="COSMIC's iemocap.pkl: sentences, labels and COSMIC's split", used_by="COSMIC, InstructERC, SpeechCueLLM"
    ),
    "6575f1a0eb83be0b7dda00b323a391def63e7cc9": KnownFile(
        what="COSMIC's meld.pkl: sentences, labels and MELD's split", used_by="COSMIC, InstructERC, SpeechCueLLM"
    ),
    "2248a676111dac4306b9079b119d9c298838942f": KnownFile(
        what="COSMIC's emorynlp.pkl: sentences, labels and EmoryNLP's split", used_by="COSMIC"
    ),
}
"""Known files by the id that git gives to their content."""
BY_SHA256 = {
    "85f15be1fbd8678e0dd443a11ac609615f0e990cc0ca1551fdf86f98b9e6067f": BY_BLOB[
        "eaa9a71a4c94fef7bdcee56820d87283a2d14cba"
    ],
}
"""Known files by SHA-256, as some publications give it."""


def recognised(sha256: str, blob: str) -> KnownFile | None:
    """What is known of a file with these checksums."""
    return BY_BLOB.get(blob) or BY_SHA256.get(sha256)
