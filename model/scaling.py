"""Standardisation of features with statistics of the training split only."""

from dataclasses import dataclass

import torch
from torch import Tensor

LIMIT = 10.0
"""Values are clipped to this many standard deviations: audio features of unusual clips lie hundreds from the mean."""


@dataclass(frozen=True, slots=True)
class Scaler:
    """Mean and standard deviation of one modality's features, float32 [F]."""

    mean: Tensor
    std: Tensor

    @staticmethod
    def fit(train: Tensor) -> "Scaler":
        """Compute the statistics of `train` [N, F], the training utterances that have the modality.

        A constant column gets standard deviation 1, so it becomes zero.
        """
        chosen = train.double()
        if not len(chosen):
            return Scaler(torch.zeros(train.shape[1]), torch.ones(train.shape[1]))
        mean, std = chosen.mean(0), chosen.std(0, correction=0)
        constant = std <= 1e-6 * mean.abs().clamp(min=1e-6)
        return Scaler(mean.float(), torch.where(constant, torch.ones_like(std), std).float())

    def __call__(self, values: Tensor, present: Tensor) -> Tensor:
        """Standardise `values` [N, F] and clip them to +-LIMIT; rows of a missing modality stay zero."""
        scaled = ((values - self.mean) / self.std).clamp(-LIMIT, LIMIT)
        return torch.where(present.unsqueeze(-1), scaled, torch.zeros(()))
