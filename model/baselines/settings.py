"""Settings of the baselines, one class per model; the module of each network explains them."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from foundation.settings import Count, Dropout, Even, KeyedError, NotNegative, Positive, Settings, Share


class OwnSettings(Settings):
    """Base class for the settings of one model in the section `baselines` of params.yaml."""

    can_follow: ClassVar[bool] = False
    """Whether the model has `context: past` (`model.settings.DialogueContext`)."""

    @property
    def curriculum(self) -> int:
        """First epoch that trains on the whole training split."""
        return 1

    def _check_heads(self, key: str, width: int, heads: int) -> None:
        if width % heads:
            raise KeyedError(key, width, f"must be a multiple of heads = {heads}")


class HeadedSettings(OwnSettings):
    """Settings of a model with multi-head attention."""

    dim: Even
    heads: Count
    dropout: Dropout

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_heads("dim", self.dim, self.heads)
        return self


class SdtSettings(HeadedSettings):
    can_follow = True
    gate: Literal["learned", "identity"]
    temperature: Positive


class DialogueRnnSettings(OwnSettings):
    can_follow = True
    global_dim: Count
    party_dim: Count
    emotion_dim: Count
    head_dim: Count
    dropout: Annotated[float, Field(ge=0, lt=0.85)]
    """Dropout before the classifier; the dropout on the emotion states is 0.15 higher, as published."""
    recurrent_dropout: Dropout


class DialogueGcnSettings(OwnSettings):
    can_follow = True
    hidden: Count
    bases: Count
    window: Annotated[int, Field(ge=0)]
    dropout: Dropout


class DeepGraphSettings(OwnSettings):
    """Settings of a model on the graph of all modalities."""

    dim: Even
    graph_dim: Count
    layers: Count
    alpha: Share
    decay: Positive
    dropout: Dropout
    focal_gamma: NotNegative


class MmgcnSettings(DeepGraphSettings):
    loss: Literal["cross_entropy", "mmgcn_focal"]


class CtnetSettings(OwnSettings):
    can_follow = True
    dim: Count
    hidden: Count
    heads: Count
    dropout: Dropout

    @model_validator(mode="after")
    def _check(self) -> "CtnetSettings":
        self._check_heads("hidden", 2 * self.hidden, self.heads)
        return self


class ByModality(Settings):
    text: NotNegative
    audio: NotNegative
    visual: NotNegative


class MmDfnSettings(DeepGraphSettings):
    speaker_weights: ByModality


class ScmmSettings(HeadedSettings):
    can_follow = True
    layers: Count
    window: Annotated[int, Field(ge=0)]
    balance_weight: NotNegative


class CmcfSrnetSettings(HeadedSettings):
    can_follow = True
    graph_dim: Count
    bases: Count
    local_window: Annotated[int, Field(ge=0)]
    graph_window: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _check_graph(self) -> "CmcfSrnetSettings":
        self._check_heads("graph_dim", self.graph_dim, self.heads)
        return self


class MultiDagSettings(OwnSettings):
    can_follow = True
    hidden: Count
    layers: Count
    dropout: Dropout
    buckets: Count

    @property
    def curriculum(self) -> int:
        return self.buckets


class AdaignSettings(MmDfnSettings):
    text_dim: Count
    temperature: Positive
    keep_weight: NotNegative
    intra_weight: NotNegative
