"""Dialogues as padded batches, the input of every model of this project."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from foundation.torch_setup import sent

NO_LABEL = -1
"""Label value in padding, and of turns that nobody labelled: context, which enters no loss and no score."""
NOBODY = -1
"""Speaker in padding, in `Batch.who`."""


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
    """Class numbers, int64 [B, T]; NO_LABEL in padding and of unlabelled turns."""
    who: Tensor
    """`speaker` once more, always on the CPU, NOBODY in padding. What a model must know before it computes (lengths,
    parties) it takes from here: asking a GPU would wait until the GPU has done all that it was given."""

    @property
    def labelled(self) -> Tensor:
        """Mask of the turns that enter a loss, bool [B, T]: real ones with a label."""
        return self.label != NO_LABEL

    def lengths(self) -> Tensor:
        """Number of turns of each dialogue, int64 [B] on the CPU."""
        return (self.who != NOBODY).sum(1)

    def real_turns(self) -> Tensor:
        """Places of the real turns among all B * T, int64 on the device of the batch."""
        return sent((self.who != NOBODY).flatten().nonzero().squeeze(1), self.mask.device)


@dataclass(frozen=True, slots=True)
class Corpus:
    """All utterances of a corpus as flat tensors [utterances, ...]; dialogues are lists of positions in these.

    Features and presence may lie on a GPU; all else is on the CPU.
    """

    features: dict[str, Tensor]
    present: dict[str, Tensor]
    speaker: Tensor
    label: Tensor
    dialogues: dict[str, list[Tensor]]
    """Maps a split to its dialogues; each is an int64 tensor [turns] of positions in conversation order."""

    def to(self, device: torch.device) -> "Corpus":
        """The same corpus with features and presence on `device`."""
        features, present = ({name: values.to(device) for name, values in part.items()}
                             for part in (self.features, self.present))  # fmt: skip
        return replace(self, features=features, present=present)


def batches(corpus: Corpus, groups: list[list[Tensor]]) -> Iterator[Batch]:
    """Yield a padded batch of each group of dialogues, on the device of the corpus.

    Which utterance lies where is decided on the CPU and sent in one copy for all groups; features are gathered on the
    device. So nothing waits between two batches.
    """
    plans = [_plan(corpus, dialogues) for dialogues in groups]
    device = next(iter(corpus.features.values())).device
    flat = sent(torch.cat([plan.flatten() for plan in plans]), device)
    for plan, part in zip(plans, flat.split([plan.numel() for plan in plans]), strict=True):
        where, who, label = part.view(plan.shape)
        mask = who != NOBODY
        yield Batch(
            {name: values[where] * mask.unsqueeze(-1) for name, values in corpus.features.items()},
            {name: values[where] & mask for name, values in corpus.present.items()},
            who * mask,
            mask,
            label,
            plan[1],
        )


def _plan(corpus: Corpus, dialogues: list[Tensor]) -> Tensor:
    """Place in the corpus, speaker and label of each turn of `dialogues`, padded, int64 [3, B, T] on the CPU."""
    plan = torch.empty(3, len(dialogues), max(map(len, dialogues)), dtype=torch.int64)
    for part, padding in zip(plan, (0, NOBODY, NO_LABEL), strict=True):
        part.fill_(padding)
    for row, positions in enumerate(dialogues):
        for part, values in zip(plan, (positions, corpus.speaker[positions], corpus.label[positions]), strict=True):
            part[row, : len(positions)] = values
    return plan


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
