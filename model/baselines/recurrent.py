"""Recurrent networks over padded dialogues, packed so that the backward direction does not start in the padding."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Bidirectional(nn.Module):
    """A bidirectional LSTM or GRU."""

    def __init__(
        self, kind: type[nn.LSTM | nn.GRU], inputs: int, hidden: int, layers: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.rnn = kind(inputs, hidden, layers, batch_first=True, dropout=between, bidirectional=True)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Sequences [B, T, F] and mask of real turns [B, T] -> states [B, T, 2 hidden], zero in padding."""
        x = x.to(next(self.parameters()).dtype)
        packed = pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        with torch.autocast(x.device.type, enabled=False):  # cuDNN would take float16 where bfloat16 is asked for
            states, _ = self.rnn(packed)
        return pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])[0]


class PartyContext(nn.Module):
    """Speaker context of MM-DFN: a bidirectional GRU over each party's own utterances in conversation order.

    All parties and all modalities share one network.
    """

    def __init__(self, dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.rnn = Bidirectional(nn.GRU, dim, dim // 2, layers, dropout)

    def forward(self, x: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """Utterances x [M, B, T, d], speakers and mask [B, T] -> context of each utterance's speaker [M, B, T, d]."""
        modalities, dialogues, _, dim = x.shape
        same = (speaker.unsqueeze(2) == speaker.unsqueeze(1)) & mask.unsqueeze(1)
        place = same.tril(diagonal=-1).sum(-1)[mask]  # number of the speaker's earlier utterances
        party = speaker + (int(speaker.max()) + 1) * torch.arange(dialogues, device=x.device).unsqueeze(1)
        _, row, length = party[mask].unique(return_inverse=True, return_counts=True)
        parties, longest = len(length), int(length.max())
        own = x.new_zeros(modalities, parties, longest, dim)
        own[:, row, place] = x[:, mask]
        real = torch.arange(longest, device=x.device) < length.unsqueeze(1)
        states = self.rnn(own.flatten(0, 1), real.repeat(modalities, 1)).unflatten(0, (modalities, parties))
        context = states.new_zeros(x.shape)
        context[:, mask] = states[:, row, place]
        return context
