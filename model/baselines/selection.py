"""Differentiable hard choices: a sample in training, the most probable option in evaluation."""

from torch import Tensor
from torch.nn import functional as F


def select(logits: Tensor, temperature: float, training: bool) -> Tensor:
    """One-hot choices of the same shape as `logits` [..., K].

    In training this is a straight-through Gumbel-softmax sample (its gradient is that of the soft sample). In
    evaluation it is the most probable option, so that predictions are deterministic.
    """
    if training:
        return F.gumbel_softmax(logits.float(), tau=temperature, hard=True)
    return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
