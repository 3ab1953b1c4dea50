"""Common interface of all models, so that one training loop serves all of them."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from foundation.settings import Settings
from model.batching import Batch, Corpus


class DataSpec(Settings):
    """The data-dependent part of a model's configuration; each model adds its own settings."""

    dims: dict[str, int]
    """Feature width d_m of each used modality; one, two or three of text, audio, visual."""
    speakers: int
    """Largest number of speakers in a dialogue."""
    classes: int


@dataclass(frozen=True, slots=True)
class Output:
    """Output of a model for a batch of B dialogues with T turns."""

    logits: Tensor
    """Class logits [B, T, C]; the values in padding have no meaning."""
    losses: dict[str, Tensor]
    """Loss terms by name, not yet multiplied by their weights."""
    representation: Tensor
    """Fused representation [B, T, d] from which the logits are computed."""


class ErcModel(nn.Module):
    """A model for emotion recognition in conversation."""

    reimplementation: ClassVar[bool] = False
    """Whether the model is our interpretation of a publication whose equations or code are not public."""
    loss_weights: dict[str, float]
    """Weight of each term in `Output.losses`; the training loss is their weighted sum."""
    curriculum: int = 1
    """First epoch that trains on the whole training split; patience counts from this epoch."""

    @abstractmethod
    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute logits and losses of a batch; `class_weights` [C] weight the classification loss."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepare for training epoch `epoch`, counted from 1; the training loop calls this before the epoch.

        A schedule must depend on the epoch alone, so that a resumed run equals an uninterrupted one.
        """

    def curriculum_subset(self, corpus: Corpus, epoch: int) -> list[Tensor]:
        """Training dialogues that are used in epoch `epoch`."""
        return corpus.dialogues["train"]
