"""Recurrent networks over padded dialogues: packed, so that no direction ever starts in the padding."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Bidirectional(nn.Module):
    """An LSTM or GRU in both directions."""

    def __init__(
        self, kind: type[nn.LSTM | nn.GRU], inputs: int, hidden: int, layers: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.rnn = kind(inputs, hidden, layers, batch_first=True, dropout=between, bidirectional=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Sequences [B, T, F], real at the start where `mask` [B, T] -> states [B, T, 2 hidden], zero in padding."""
        packed = pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=x.shape[1])[0]


class PartyContext(nn.Module):
    """MM-DFN's context of a speaker: one bidirectional GRU over each party's own utterances, in their order.

    The network is shared by all parties and all modalities.
    """

    def __init__(self, dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.rnn = Bidirectional(nn.GRU, dim, dim // 2, layers, dropout)

    def forward(self, x: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """Utterances [M, B, T, d] of M modalities, speakers [B, T] -> their speaker's context [M, B, T, d]."""
        modalities, dialogues, _, dim = x.shape
        same = (speaker.unsqueeze(2) == speaker.unsqueeze(1)) & mask.unsqueeze(1)
        place = same.tril(diagonal=-1).sum(-1)[mask]  # utterances that the speaker has already made
        party = speaker + (int(speaker.max()) + 1) * torch.arange(dialogues, device=x.device).unsqueeze(1)
        _, row, length = party[mask].unique(return_inverse=True, return_counts=True)
        parties, longest = len(length), int(length.max())
        own = x.new_zeros(modalities, parties, longest, dim)
        own[:, row, place] = x[:, mask]
        real = torch.arange(longest, device=x.device) < length.unsqueeze(1)
        states = self.rnn(own.flatten(0, 1), real.repeat(modalities, 1)).unflatten(0, (modalities, parties))
        context = torch.zeros_like(x)
        context[:, mask] = states[:, row, place]
        return context
