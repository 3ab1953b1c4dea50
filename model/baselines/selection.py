"""Hard choices that gradients pass: a sample in training, the likeliest in evaluation."""

from torch import Tensor
from torch.nn import functional as F


def select(logits: Tensor, temperature: float, training: bool) -> Tensor:
    """One-hot choices of the same shape as `logits` [..., K].

    In training a Gumbel-softmax sample, whose gradient is the soft sample's (straight-through). In evaluation the
    likeliest, so that a prediction is no matter of chance.
    """
    if training:
        return F.gumbel_softmax(logits.float(), tau=temperature, hard=True)
    return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
