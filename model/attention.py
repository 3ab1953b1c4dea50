"""Multi-head attention and sinusoidal positions, which CMATH and several baselines share."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with several heads and, if wanted, dropout on the attention weights."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, queries: Tensor, keys: Tensor, allowed: Tensor) -> Tensor:
        """Attend from queries [B, Q, d] to keys (also the values) [B, K, d] -> [B, Q, d].

        Args:
            allowed: bool [B, Q, K] or [B, 1, K]; a query without any allowed key gets zero.
        """
        q = self._split(self.query(queries))  # before the keys: the order in which gradients are summed is part of it
        return self._mixed(q, self.keys_and_values(keys), allowed)

    def keys_and_values(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Project `keys` [B, K, d] to what is compared and what is mixed, both [B, heads, K, d / heads]."""
        k, v = self.key_value(keys).chunk(2, dim=-1)
        return self._split(k), self._split(v)

    def to_kept(self, queries: Tensor, of_keys: tuple[Tensor, Tensor], allowed: Tensor) -> Tensor:
        """Attend as `forward` does, to what `keys_and_values` made of the keys, now or at earlier turns."""
        return self._mixed(self._split(self.query(queries)), of_keys, allowed)

    def _mixed(self, q: Tensor, of_keys: tuple[Tensor, Tensor], allowed: Tensor) -> Tensor:
        k, v = of_keys
        some = allowed.any(dim=-1, keepdim=True)
        chosen = (allowed | ~some).unsqueeze(1)  # softmax over no key is NaN: allow all, zero the result below
        mixed = F.scaled_dot_product_attention(q, k, v, chosen, self.dropout if self.training else 0.0)
        return self.out(mixed.transpose(1, 2).flatten(2)) * some

    def _split(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def earlier(turns: int, device: torch.device) -> Tensor:
    """Mask that lets no turn see a later one, bool [T, T]: element (i, j) is true if j <= i."""
    return torch.ones(turns, turns, dtype=torch.bool, device=device).tril()


def positional_encoding(turns: int, dim: int, device: torch.device, first: int = 0) -> Tensor:
    """Sinusoidal position encodings [T, d] (Eq. 6 and 7 of CMATH) of `turns` turns from i = `first` on."""
    position = torch.arange(first, first + turns, device=device, dtype=torch.float32).unsqueeze(1)
    rate = torch.exp(torch.arange(0, dim, 2, device=device, dtype=torch.float32) * (-math.log(10_000.0) / dim))
    encoding = torch.empty(turns, dim, device=device)
    encoding[:, 0::2] = torch.sin(position * rate)
    encoding[:, 1::2] = torch.cos(position * rate)
    return encoding
