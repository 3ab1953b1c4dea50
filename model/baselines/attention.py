"""Attention inside dialogues, with a mask that says which turn may attend to which."""

import torch
from torch import Tensor, nn

from model.attention import MultiHeadAttention, earlier


def masked_softmax(scores: Tensor, allowed: Tensor) -> Tensor:
    """Softmax of `scores` over the last dimension, restricted to `allowed` (bool).

    The result is zero where not allowed; a row without any allowed element is all zero.
    """
    some = allowed.any(dim=-1, keepdim=True)
    return scores.masked_fill(~allowed & some, float("-inf")).softmax(dim=-1) * allowed


def near(turns: int, before: int, after: int, device: torch.device) -> Tensor:
    """Window mask, bool [T, T]: element (i, j) is true if i - before <= j <= i + after."""
    place = torch.arange(turns, device=device)
    offset = place.unsqueeze(0) - place.unsqueeze(1)
    return (offset >= -before) & (offset <= after)


def pairs(mask: Tensor) -> Tensor:
    """Mask of pairs of turns, bool [B, T, T]: true where both turns are real."""
    return mask.unsqueeze(2) & mask.unsqueeze(1)


def seen(mask: Tensor, past: bool) -> Tensor:
    """Turns that each turn sees: every real one, bool [B, 1, T]; with `past`, none after it, bool [B, T, T]."""
    real = mask.unsqueeze(1)
    return real & earlier(mask.shape[1], mask.device) if past else real


class TransformerLayer(nn.Module):
    """Self-attention and a feed-forward network, each followed by residual connection and norm."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attend = MultiHeadAttention(dim, heads, dropout)
        self.ffn = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        """States x [B, T, d] and mask `allowed` (as in `MultiHeadAttention`) -> [B, T, d]."""
        x = self.norm1(x + self.dropout(self.attend(x, x, allowed)))
        return self.norm2(x + self.dropout(self.ffn(x)))


class DialogueAttention(nn.Module):
    """Attention of each utterance over its whole dialogue in DialogueRNN and DialogueGCN ("general2" in their code).

    score_ij = E_j . (W E_i + b);  alpha_i = softmax over the real turns j;  A_i = sum_j alpha_ij E_j.

    With `past`, only over j <= i.
    """

    def __init__(self, dim: int, past: bool) -> None:
        super().__init__()
        self.transform, self.past = nn.Linear(dim, dim), past

    def forward(self, e: Tensor, mask: Tensor) -> Tensor:
        """States [B, T, d] and mask of real turns [B, T] -> [B, T, d]."""
        scores = self.transform(e) @ e.transpose(1, 2)
        return masked_softmax(scores, seen(mask, self.past)) @ e
