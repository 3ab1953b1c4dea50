"""Standardisation of a modality's tensors: statistics of the training split that a trained model keeps."""

from dataclasses import dataclass

import torch
from torch import Tensor

from foundation.standardisation import standardised, statistics


@dataclass(frozen=True, slots=True)
class Scaler:
    """Mean and standard deviation of one modality's features, float32 [F]."""

    mean: Tensor
    std: Tensor

    @staticmethod
    def fit(train: Tensor) -> "Scaler":
        """Compute the statistics of `train` [N, F], the training utterances that have the modality."""
        mean, std = statistics(train.numpy())
        return Scaler(torch.from_numpy(mean), torch.from_numpy(std))

    def __call__(self, values: Tensor, present: Tensor) -> Tensor:
        """Standardise `values` [N, F], on the CPU; rows of a missing modality stay zero."""
        scaled = torch.from_numpy(standardised(values.numpy(), self.mean.numpy(), self.std.numpy()))
        return torch.where(present.unsqueeze(-1), scaled, torch.zeros(()))
