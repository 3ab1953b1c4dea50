"""The modalities as the rivals take them: zero where they are missing, and joined early for the unimodal-born."""

import torch
from torch import Tensor

from model.batching import Batch


def masked_features(batch: Batch) -> dict[str, Tensor]:
    """Features [B, T, F] of each modality, zero where it is missing and in padding."""
    return {name: values * batch.present[name].unsqueeze(-1) for name, values in batch.features.items()}


def joined_features(batch: Batch) -> Tensor:
    """[text; audio; visual] of every utterance, [B, T, sum of F]; a missing modality's part is zero."""
    return torch.cat(list(masked_features(batch).values()), dim=-1)


def usable(batch: Batch) -> Tensor:
    """bool [M, B, T]: modalities that are present; of a turn that has none of them, all.

    Such a turn still has its speaker and its neighbours, and must be classified.
    """
    present = torch.stack(list(batch.present.values()))
    return (present | ~present.any(dim=0)) & batch.mask
