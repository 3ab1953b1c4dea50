"""A dialogue that a network is told turn by turn, as people speak.

CMATH with `context: past` computes a turn from what it kept of the earlier ones. Every other network computes the
dialogue so far again at each turn, and of that the last turn counts: it costs the dialogue, and gives the logits of a
dialogue that ends there. Either way the logits of a turn depend on the turns so far alone, to the bit.
"""

from collections.abc import Sequence
from itertools import count

import torch
from torch import Tensor

from model.batching import NO_LABEL, Batch
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


class Speakers:
    """Numbers of the speakers of a conversation, given as they are heard, so that no later name changes an earlier one.

    They are numbered by first appearance; by the roles of the model's corpus (IEMOCAP: M and F) as long as all who
    spoke are named by roles.
    """

    def __init__(self, roles: Sequence[str]) -> None:
        self._roles, self._numbers, self._by_roles = roles, dict[str, int](), True

    def number(self, name: str) -> int:
        self._by_roles = self._by_roles and name in self._roles
        if (key := name.casefold()) not in self._numbers:
            taken = set(self._numbers.values())
            free = next(number for number in count() if number not in taken)
            self._numbers[key] = self._roles.index(name) if self._by_roles else free
        return self._numbers[key]


class Conversation:
    """A conversation that the networks of a bundle are told turn by turn, as it is and without each modality."""

    def __init__(self, networks: list[ErcModel], modalities: list[str], most: int, on: torch.device) -> None:
        """Begin a conversation; after `most` turns, the networks begin anew."""
        self._networks, self._modalities, self._most, self._on = networks, modalities, most, on
        self.turns = 0

    def begins(self) -> bool:
        """Whether the networks know nothing of the turns before the next one."""
        return self.turns % self._most == 0

    def step(self, features: dict[str, Tensor], present: dict[str, bool], speaker: int) -> list[Tensor]:
        """Logits of the next turn, [1 + M, C] of each network: as it is, and without each of the M modalities.

        Args:
            features: standardised, float32 [F] of each modality.
        """
        if self.begins():
            self._told = [Turns(network) for network in self._networks]
        self.turns += 1
        streams = 1 + len(self._modalities)
        there = {name: torch.full((streams, 1), present[name]) for name in self._modalities}
        for place, name in enumerate(self._modalities):
            there[name][1 + place] = False
        values = {name: features[name] * there[name].unsqueeze(-1) for name in self._modalities}
        who = torch.full((streams, 1), speaker)
        turn = Batch(
            {name: part.to(self._on) for name, part in values.items()},
            {name: part.to(self._on) for name, part in there.items()},
            who.to(self._on),
            torch.ones_like(who, dtype=torch.bool).to(self._on),
            torch.full_like(who, NO_LABEL).to(self._on),
            who,
        )
        return [told.step(turn).float().cpu() for told in self._told]
