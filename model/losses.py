"""Losses over the real and labelled utterances of padded batches."""

import torch
from torch import Tensor
from torch.nn import functional as F

from model.batching import NO_LABEL


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` [B, T] where `mask` (bool [B, T]) is true; 0 if it is true nowhere."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def cross_entropy(logits: Tensor, label: Tensor, mask: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of `logits` [B, T, C] over the labelled utterances where `mask` is true (Eq. 20 and 21).

    With `class_weights` [C], the mean is weighted by the weight of each utterance's class.
    """
    mask = mask & (label != NO_LABEL)
    label = label.masked_fill(~mask, NO_LABEL)
    loss = F.cross_entropy(
        logits.flatten(0, 1).float(), label.flatten(), class_weights, ignore_index=NO_LABEL, reduction="sum"
    )
    weight = mask.sum() if class_weights is None else class_weights[label.clamp(min=0)].mul(mask).sum()
    return loss / weight.clamp(min=1e-9)


def divergence(teacher: Tensor, student: Tensor, temperature: float, mask: Tensor) -> Tensor:
    """KL(teacher || student), mean over the utterances where `mask` is true (Eq. 23).

    `teacher` and `student` are logits [B, T, C]; both are divided by `temperature`.
    """
    teacher = (teacher / temperature).log_softmax(-1)
    student = (student / temperature).log_softmax(-1)
    return masked_mean((teacher.exp() * (teacher - student)).sum(-1), mask)


def inverse_frequency(label: Tensor, classes: int) -> Tensor:
    """Class weights [C] from the training labels: one by each class's share of the utterances, 0 for an absent class.

    They are not normalised, as in the baselines' public code. A cross-entropy divides by their sum, so it is the same
    with any scale; a focal loss is a plain mean, and its scale decides how strong the weight decay is beside it.
    """
    counts = torch.bincount(label[label != NO_LABEL], minlength=classes).float()
    return torch.where(counts > 0, counts.sum() / counts.clamp(min=1), torch.zeros(()))
