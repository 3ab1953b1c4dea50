"""What every model of this project takes and gives, so that one training serves all of them."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from model.batching import Batch, Corpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What features and corpus decide of a network's form; a rival's configuration adds its own settings."""

    dims: dict[str, int]
    """Feature width of each modality that is used; one, two or three of text, audio, visual."""
    speakers: int
    """Largest number of speakers in a dialogue."""
    classes: int


@dataclass(frozen=True, slots=True)
class Output:
    """What a model gives for a batch of B dialogues of T turns."""

    logits: Tensor
    """[B, T, C]; of padding, without meaning."""
    losses: dict[str, Tensor]
    """The terms of the loss by name, each before its weight."""
    representation: Tensor
    """[B, T, d]: the fused representation that the logits are made of."""


class ErcModel(nn.Module):
    """A model for emotion recognition in conversation."""

    reading: ClassVar[bool] = False
    """Whether this is our reading of a publication whose equations or code are not public."""
    loss_weights: dict[str, float]
    """Weight of each term in `Output.losses`; what is trained on is their weighted sum."""
    curriculum: int = 1
    """The first epoch that trains on the whole training split; patience counts from there."""

    @abstractmethod
    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Logits and losses of a batch; `class_weights` [C] weigh the cross-entropy."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before training epoch `epoch`, counted from 1.

        A schedule is a function of the epoch alone, so that a run that was killed goes on as it would have.
        """

    def lesson(self, corpus: Corpus, epoch: int) -> list[Tensor]:
        """The dialogues of the training split that epoch `epoch` trains on."""
        return corpus.dialogues["train"]
