"""Features as the baselines take them: zero where missing, and concatenated for baselines with one feature vector."""

import torch
from torch import Tensor

from model.batching import Batch


def masked_features(batch: Batch) -> dict[str, Tensor]:
    """Features [B, T, F] of each modality, zero where it is missing and in padding."""
    return {name: values * batch.present[name].unsqueeze(-1) for name, values in batch.features.items()}


def joined_features(batch: Batch) -> Tensor:
    """Concatenated features [text; audio; visual], [B, T, sum of F]; the part of a missing modality is zero."""
    return torch.cat(list(masked_features(batch).values()), dim=-1)


def usable(batch: Batch) -> Tensor:
    """Mask of the usable modalities, bool [M, B, T]: the present ones, or all of them in a turn that has none.

    A turn without any modality must be classified too; it still has its speaker and its neighbours.
    """
    present = torch.stack(list(batch.present.values()))
    return (present | ~present.any(dim=0)) & batch.mask
