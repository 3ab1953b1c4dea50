"""Standardisation of features with statistics of the training split alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

LIMIT = 10.0
"""Deviations from the mean beyond which a value is cut: functionals of unusual clips lie hundreds away."""


@dataclass(frozen=True, slots=True)
class Scaler:
    """Mean and deviation of one modality's features, float32 [F]."""

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def fit(train: Tensor) -> "Scaler":
        """Statistics of `train` [N, F], the training split's utterances that have the modality; a constant column keeps
        its scale, and becomes zero."""
        chosen = train.double()
        if not len(chosen):
            return Scaler(torch.zeros(train.shape[1]), torch.ones(train.shape[1]))
        mean, deviation = chosen.mean(0), chosen.std(0, correction=0)
        constant = deviation <= 1e-6 * mean.abs().clamp(min=1e-6)
        return Scaler(mean.float(), torch.where(constant, torch.ones_like(deviation), deviation).float())

    def __call__(self, values: Tensor, present: Tensor) -> Tensor:
        """`values` [N, F] standardised and cut to +-LIMIT; the rows of a missing modality stay zero."""
        scaled = ((values - self.mean) / self.deviation).clamp(-LIMIT, LIMIT)
        return torch.where(present.unsqueeze(-1), scaled, torch.zeros(()))
