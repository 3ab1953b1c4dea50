"""Settings of CMATH and of training."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from foundation.settings import Count, Dropout, KeyedError, NotNegative, Positive, Settings, refuse_repetition

Decision = Literal["likeliest", "balanced"]
"""How a class is chosen from the probabilities: pipeline/calibration.py."""


class DialogueContext(Settings):
    """Setting of the models that have a form in which no turn sees a later one, so that they can follow a dialogue."""

    context: Literal["whole", "past"] = "whole"
    """Turns on which the logits of a turn may depend: all of the dialogue, or (past) the turn itself and those before
    it."""


class CmathSettings(DialogueContext):
    """Settings of CMATH's network and loss; this includes every choice that the paper leaves open."""

    can_follow: ClassVar[bool] = True
    """Whether the model has `context: past`."""
    dim: Count
    """Width d of the common space."""
    heads: Count
    """Number of heads of every attention; it must divide `dim`."""
    ffn_multiple: Count
    """Inner width of the feed-forward networks, in multiples of `dim`."""
    dropout: Dropout
    """Dropout on H_m of Eq. 8, on the outputs of attention and feed-forward networks, and before each classifier."""
    feature_dropout: Dropout
    """Dropout on the features U_m before Eq. 1; the target of the reconstruction is U_m without dropout."""
    modality_dropout: Dropout = 0.0
    """Probability with which a turn loses a modality in training, as if it were missing; a turn keeps at least one."""
    embedding_scale: NotNegative
    """Factor on S + P in Eq. 8; 1 gives the equation as printed."""
    kernel: Count
    """Kernel k_m of the convolutions in Eq. 1 and 2; odd, so that they keep the number of turns."""
    gate: Literal["softmax", "sigmoid"]
    """Gate of Eq. 12: a softmax over the representations, or one sigmoid each, then concatenation and projection."""
    temperature: Positive
    """Temperature of both distributions in Eq. 23."""
    detach_teacher: bool
    """Whether the gradients of Eq. 18 and 23 stop at the fused representation (the teacher)."""
    reduction: Literal["mean", "sum"]
    """Reduction of the squared Frobenius norms of Eq. 3 and 18: mean over real elements, or sum as printed."""
    ablate: Literal["none", "mr", "cma_t", "lld", "hld", "hd"]
    """Part of the model that is removed (the ablations of Table 4)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dim % self.heads:
            raise KeyedError("dim", self.dim, f"must be a multiple of model.heads = {self.heads}")
        if self.dim % 2:
            raise KeyedError("dim", self.dim, "must be even (sines and cosines of Eq. 6 and 7 alternate)")
        if self.kernel % 2 == 0:
            raise KeyedError("kernel", self.kernel, "must be odd, so that the convolution keeps the number of turns")
        return self


class TrainingSettings(Settings):
    """Settings of training, common to all models."""

    learning_rate: Positive = 0.0002
    batch: Count = 4
    """Dialogues per training step."""
    epochs: Count = 50
    patience: Count = 10
    """Training of a seed stops after this many epochs without a better validation score; model/training.py says from
    which epoch on they count."""
    weight_decay: NotNegative = 1e-05
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay per step of the exponential moving average of the weights, which is validated and saved; 0: no average."""
    precision: Literal["auto", "float32", "tf32", "bfloat16", "float16"] = "float32"
    """Precision of matrix products on CUDA; a CPU always uses float32. `auto`: bfloat16 on cards of capability 8.0 or
    newer, float32 on older ones."""
    class_weights: bool = False
    decision: Decision = "likeliest"
    """How a trained model's class is chosen from its probabilities; it changes no training."""
    gamma1: NotNegative = 0.1
    """Weight of low-level distillation, Eq. 24."""
    gamma2: NotNegative = 1.2
    """Weight of high-level distillation, Eq. 24."""
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field([0, 1, 2, 3, 4])

    @model_validator(mode="after")
    def _check(self) -> "TrainingSettings":
        refuse_repetition(self, "seeds")
        return self
