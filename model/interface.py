"""What every model of this project takes and gives, so that one training serves all of them."""

from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from model.batching import Batch


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

    loss_weights: dict[str, float]
    """Weight of each term in `Output.losses`; what is trained on is their weighted sum."""

    @abstractmethod
    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Logits and losses of a batch; `class_weights` [C] weigh the cross-entropy."""
