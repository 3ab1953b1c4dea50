"""Attention inside dialogues, with a mask that says which turn may attend to which."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with several heads and dropout on the attention weights."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, queries: Tensor, keys: Tensor, allowed: Tensor) -> Tensor:
        """Attend from queries [B, Q, d] to keys (also the values) [B, K, d] -> [B, Q, d].

        Args:
            allowed: bool [B, Q, K] or [B, 1, K]; a query without any allowed key gets zero.
        """
        q = self._split(self.query(queries))
        k, v = (self._split(part) for part in self.key_value(keys).chunk(2, dim=-1))
        some = allowed.any(dim=-1, keepdim=True)
        chosen = (allowed | ~some).unsqueeze(1)  # softmax over no key is NaN: allow all, zero the result below
        mixed = F.scaled_dot_product_attention(q, k, v, chosen, self.dropout if self.training else 0.0)
        return self.out(mixed.transpose(1, 2).flatten(2)) * some

    def _split(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)


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
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.transform = nn.Linear(dim, dim)

    def forward(self, e: Tensor, mask: Tensor) -> Tensor:
        """States [B, T, d] and mask of real turns [B, T] -> [B, T, d]."""
        scores = self.transform(e) @ e.transpose(1, 2)
        return masked_softmax(scores, mask.unsqueeze(1)) @ e
