"""A dialogue that a network is told turn by turn, as people speak.

CMATH with `context: past` computes a turn from what it kept of the earlier ones. Every other network computes the
dialogue so far again at each turn, and of that the last turn counts: it costs the dialogue, and gives the logits of a
dialogue that ends there. Either way the logits of a turn depend on the turns so far alone, to the bit.
"""

import torch
from torch import Tensor

from model.batching import Batch
from model.cmath import Cmath, Followed
from model.interface import ErcModel


class Turns:
    """B dialogues with speakers in common that grow together, such as one dialogue with and without a modality."""

    def __init__(self, network: ErcModel) -> None:
        self._network = network.eval()
        self._kept = Followed()
        self._so_far: Batch | None = None

    @torch.inference_mode()
    def step(self, turn: Batch) -> Tensor:
        """Logits [B, C] of the next turn; `turn` is a batch of it alone, without padding."""
        if isinstance(self._network, Cmath) and self._network.config.context == "past":
            return self._network.step(turn, self._kept)
        self._so_far = turn if self._so_far is None else _joined(self._so_far, turn)
        return self._network(self._so_far).logits[:, -1]


def _joined(before: Batch, turn: Batch) -> Batch:
    """The turns of both batches, one after the other."""
    return Batch(
        {name: torch.cat([values, turn.features[name]], dim=1) for name, values in before.features.items()},
        {name: torch.cat([values, turn.present[name]], dim=1) for name, values in before.present.items()},
        torch.cat([before.speaker, turn.speaker], dim=1),
        torch.cat([before.mask, turn.mask], dim=1),
        torch.cat([before.label, turn.label], dim=1),
        torch.cat([before.who, turn.who], dim=1),
    )
