"""Dialogues as padded batches: what every model of this project takes."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

NO_LABEL = -1
"""Label of padding."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B dialogues, padded to T turns at the end; padding is zero, absent and without a label."""

    features: dict[str, Tensor]
    """float32 [B, T, F] a modality; zero where the modality is missing."""
    present: dict[str, Tensor]
    """bool [B, T] a modality."""
    speaker: Tensor
    """int64 [B, T]: number of the speaker inside the dialogue."""
    mask: Tensor
    """bool [B, T]: real turns."""
    label: Tensor
    """int64 [B, T]; NO_LABEL in padding."""

    def to(self, device: torch.device) -> "Batch":
        return Batch(
            {name: values.to(device, non_blocking=True) for name, values in self.features.items()},
            {name: values.to(device, non_blocking=True) for name, values in self.present.items()},
            self.speaker.to(device),
            self.mask.to(device),
            self.label.to(device),
        )


@dataclass(frozen=True, slots=True)
class Corpus:
    """All utterances of a corpus as flat tensors [utterances, ...], and the dialogues as positions in them."""

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    speaker: Tensor
    label: Tensor
    dialogues: dict[str, list[Tensor]]
    """Split -> dialogues, each an int64 [turns] of positions in conversation order."""


def collate(corpus: Corpus, dialogues: list[Tensor]) -> Batch:
    """The batch of some dialogues, in their order."""
    turns = max(len(positions) for positions in dialogues)
    where = torch.zeros(len(dialogues), turns, dtype=torch.int64)
    mask = torch.zeros(len(dialogues), turns, dtype=torch.bool)
    for row, positions in enumerate(dialogues):
        where[row, : len(positions)] = positions
        mask[row, : len(positions)] = True
    return Batch(
        {name: values[where] * mask.unsqueeze(-1) for name, values in corpus.features.items()},
        {name: values[where] & mask for name, values in corpus.present.items()},
        corpus.speaker[where] * mask,
        mask,
        corpus.label[where].masked_fill(~mask, NO_LABEL),
    )


def in_order(dialogues: list[Tensor], size: int) -> Iterator[list[Tensor]]:
    """All dialogues, the longest first, `size` at a time."""
    ranked = sorted(dialogues, key=len, reverse=True)
    for begin in range(0, len(ranked), size):
        yield ranked[begin : begin + size]


def shuffled(dialogues: list[Tensor], size: int, generator: torch.Generator) -> Iterator[list[Tensor]]:
    """All dialogues in random batches of about equal length, so that few positions are padding.

    A length counts with some noise, or the same dialogues would meet in every epoch.
    """
    noise = torch.rand(len(dialogues), generator=generator).mul(0.2).add(0.9).tolist()
    ranked = [d for _, d in sorted(zip(noise, dialogues, strict=True), key=lambda pair: pair[0] * len(pair[1]))]
    batches = [ranked[begin : begin + size] for begin in range(0, len(ranked), size)]
    for place in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[place]
