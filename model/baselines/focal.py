"""Focal loss of MM-DFN and AdaIGN, and the different loss that MMGCN's public code calls focal."""

from torch import Tensor
from torch.nn import functional as F

from model.batching import NO_LABEL
from model.losses import masked_mean


def focal(logits: Tensor, label: Tensor, mask: Tensor, gamma: float, class_weights: Tensor | None = None) -> Tensor:
    """Focal loss -(1 - p)^gamma w log p of the true class, mean over the labelled utterances; logits [B, T, C].

    As in the public code of both models, (1 - p)^gamma is a weight through which no gradient passes, and the sum is
    divided by the number of utterances, not by the class weights `class_weights` [C].
    """
    log_p = logits.float().log_softmax(-1).gather(-1, label.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    loss = -((1 - log_p.detach().exp()).clamp(min=0) ** gamma) * log_p
    if class_weights is not None:
        loss = loss * class_weights[label.clamp(min=0)]
    return masked_mean(loss, mask & (label != NO_LABEL))


def mmgcn_focal(logits: Tensor, label: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Loss of MMGCN's code on MELD: the mean over *all* classes of -(1 - y log p)^gamma log p.

    Wrong classes contribute -log p too, so this is not the focal loss. Use it only to compare with published results.
    """
    log_p = logits.float().log_softmax(-1)
    truth = F.one_hot(label.clamp(min=0), logits.shape[-1])
    return masked_mean((-((1 - truth * log_p) ** gamma) * log_p).mean(-1), mask & (label != NO_LABEL))
