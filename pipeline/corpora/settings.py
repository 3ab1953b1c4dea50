"""Settings of a corpus in section `index` of params.yaml: its reader, its folder, and how to read it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from foundation.settings import Settings, Share, refuse_repetition

MODALITIES = ("text", "audio", "visual")

Modality = Literal["text", "audio", "visual"]
Modalities = Annotated[list[Modality], Field(min_length=1)]


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


class IemocapSettings(CorpusSettings):
    """Settings of IEMOCAP as released."""

    reader: Literal["iemocap"]
    validation: Literal["random20", "cosmic12", "session4"] = "random20"
    """Validation dialogues from Sessions 1 to 4: a random fifth (as in the paper), a fixed list, or Session 4."""
    validation_seed: Annotated[int, Field(ge=0)] = 0


class TableSettings(CorpusSettings):
    """Settings of your own corpus: utterances.csv and the media that it names."""

    reader: Literal["table"]


IndexSettings = Annotated[DemoSettings | MeldSettings | IemocapSettings | TableSettings, Field(discriminator="reader")]
"""Type of an entry of `index`."""
