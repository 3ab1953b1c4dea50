"""Dialogues as padded batches, the input of every model of this project."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

NO_LABEL = -1
"""Label value in padding."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B dialogues, padded at the end to T turns.

    In padding, features are zero, `present` and `mask` are false, and the label is NO_LABEL.
    """

    features: dict[str, Tensor]
    """Features of each modality, float32 [B, T, F]; zero where the modality is missing."""
    present: dict[str, Tensor]
    """Whether each modality is present, bool [B, T]."""
    speaker: Tensor
    """Number of the speaker inside the dialogue, int64 [B, T]."""
    mask: Tensor
    """Mask of real turns, bool [B, T]; false in padding."""
    label: Tensor
    """Class numbers, int64 [B, T]; NO_LABEL in padding."""

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
    """All utterances of a corpus as flat tensors [utterances, ...]; dialogues are lists of positions in these."""

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    speaker: Tensor
    label: Tensor
    dialogues: dict[str, list[Tensor]]
    """Maps a split to its dialogues; each is an int64 tensor [turns] of positions in conversation order."""


def collate(corpus: Corpus, dialogues: list[Tensor]) -> Batch:
    """Make one padded batch of `dialogues`, in the given order."""
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
    """Yield all dialogues in batches of `size`, the longest dialogues first."""
    ranked = sorted(dialogues, key=len, reverse=True)
    for begin in range(0, len(ranked), size):
        yield ranked[begin : begin + size]


def shuffled(dialogues: list[Tensor], size: int, generator: torch.Generator) -> Iterator[list[Tensor]]:
    """Yield all dialogues in random batches of similar length, which keeps padding small.

    Lengths are jittered by +-10 % before sorting, so that the batches differ between epochs.
    """
    noise = torch.rand(len(dialogues), generator=generator).mul(0.2).add(0.9).tolist()
    ranked = [d for _, d in sorted(zip(noise, dialogues, strict=True), key=lambda pair: pair[0] * len(pair[1]))]
    batches = [ranked[begin : begin + size] for begin in range(0, len(ranked), size)]
    for place in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[place]
