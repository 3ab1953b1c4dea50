"""Settings of a corpus in section `index` of params.yaml: its reader, its folder, and how to read it."""

import unicodedata
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from foundation.named_folders import from_root
from foundation.settings import KeyedError, Settings, Share, refuse_repetition

MODALITIES = ("text", "audio", "visual")

Modality = Literal["text", "audio", "visual"]
Modalities = Annotated[list[Modality], Field(min_length=1)]
Context = Literal["labelled", "all"]
"""Turns of a conversation: the labelled ones, as the paper; or all, of which those without a label are context only."""


class CorpusSettings(Settings):
    """Settings that every reader has."""

    raw: Annotated[str, Field(min_length=1)]
    """Folder of the raw corpus; a relative path starts at the project's root."""
    modalities: Modalities = Field(["text", "audio", "visual"])
    """Modalities of the corpus; a modality that is not listed is missing in every utterance."""
    max_problem_share: Share = 0.2
    """Largest fraction of utterances with unusable media; with more, the corpus is refused."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse_repetition(self, "modalities")
        return self


class DemoSettings(CorpusSettings):
    """Settings of the synthetic corpus, which the stage `raw` makes."""

    reader: Literal["demo"]


class MeldSettings(CorpusSettings):
    """Settings of MELD as released."""

    reader: Literal["meld"]
    cuts: Literal["released", "fair"] = "released"
    """Where an utterance's sound and pictures are: in its own clip, or in the pieces that MELD-FAIR's list names."""
    fair: Annotated[str, Field(min_length=1)] = "corpora/MELD-FAIR"
    """Folder of MELD-FAIR (docs/meld_fair.md); a relative path starts at the project's root."""

    @property
    def fair_folder(self) -> Path:
        """That folder, also where DVC uses a temporary folder."""
        return from_root(self.fair, "index.<corpus>.fair")


class IemocapSettings(CorpusSettings):
    """Settings of IEMOCAP as released."""

    reader: Literal["iemocap"]
    validation: Literal["random20", "cosmic12", "session4"] = "random20"
    """Validation dialogues from Sessions 1 to 4: a random fifth (as in the paper), a fixed list, or Session 4."""
    validation_seed: Annotated[int, Field(ge=0)] = 0
    context: Context = "labelled"


class TableSettings(CorpusSettings):
    """Settings of your own corpus: utterances.csv and the media that it names."""

    reader: Literal["table"]


class AssembledSettings(CorpusSettings):
    """Settings of a corpus of public material, which the stage `raw` puts together: pipeline/corpora/assembled.py."""

    reader: Literal["assembled"]
    agreement: Share = 0.6
    """Probability that a voice or a face shows the label of the turn to which it is drawn."""
    seed: Annotated[int, Field(ge=0)] = 0


class MaterialSettings(Settings):
    """Section `material` of params.yaml: where the material of such a corpus lies."""

    meld: Annotated[str, Field(min_length=1)]
    """Folder with MELD's annotation files."""
    voices: Annotated[str, Field(min_length=1)]
    """Folder with RAVDESS's recordings of speech, in any subfolders."""
    faces: Annotated[str, Field(min_length=1)]
    """Folder of FER-2013."""


class FeaturesSettings(CorpusSettings):
    """Settings of a feature file, or a folder of them, as the field shares them; `raw` may be the file itself."""

    reader: Literal["features"]
    vectors: list[Modality] = Field(["text", "audio", "visual"])
    """Modalities whose vectors are taken from the file, if it has them; other text is encoded from the sentences."""
    validation: Literal["file", "random20", "cosmic12", "session4"] = "file"
    """Validation dialogues: the file's own (random20 where it has none), or as for the reader iemocap."""
    validation_seed: Annotated[int, Field(ge=0)] = 0
    context: Context = "labelled"
    fold: Annotated[int, Field(ge=1, le=5)] = 5
    """Session of IEMOCAP that is test, for MERBench's protocol of five folds."""
    folders: dict[str, str] = Field(default_factory=dict)
    """Folder of each modality, for layouts with a file per utterance, where its name does not tell the modality."""
    labels: list[str] = Field(default_factory=list)
    """Words for the label codes 0, 1, … of the file; empty: those that the field uses for the corpus."""

    @model_validator(mode="after")
    def _check_lists(self) -> Self:
        refuse_repetition(self, "vectors")
        looks = [" ".join(unicodedata.normalize("NFC", label).casefold().split()) for label in self.labels]
        if len(set(looks)) != len(looks):
            raise KeyedError("labels", self.labels, "must not name anything twice, in upper or lower case")
        for name in self.folders:
            if name not in MODALITIES:
                raise KeyedError("folders", name, f"must be a modality: {', '.join(MODALITIES)}")
        return self


IndexSettings = Annotated[
    DemoSettings | MeldSettings | IemocapSettings | TableSettings | AssembledSettings | FeaturesSettings,
    Field(discriminator="reader"),
]
"""Type of an entry of `index`."""
