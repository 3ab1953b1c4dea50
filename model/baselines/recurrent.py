"""Recurrent networks over padded dialogues, packed so that the backward direction does not start in the padding."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from foundation.torch_setup import sent
from model.batching import NOBODY


class Bidirectional(nn.Module):
    """A bidirectional LSTM or GRU."""

    def __init__(
        self, kind: type[nn.LSTM | nn.GRU], inputs: int, hidden: int, layers: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        self.rnn = kind(inputs, hidden, layers, batch_first=True, dropout=between, bidirectional=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Sequences [B, T, F] -> states [B, T, 2 hidden], zero in padding.

        Args:
            lengths: number of real turns of each sequence, int64 [B] on the CPU, so that a GPU need not be asked.
        """
        x = x.to(next(self.parameters()).dtype)
        falling, order = lengths.sort(descending=True)
        packed = pack_padded_sequence(x[sent(order, x.device)], falling, batch_first=True)
        with torch.autocast(x.device.type, enabled=False):  # cuDNN would take float16 where bfloat16 is asked for
            states, _ = self.rnn(packed)
        states = pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])[0]
        return states[sent(order.argsort(), x.device)]


class Forward(nn.Module):
    """An LSTM or GRU that runs in the direction of time, so that no turn sees a later one."""

    def __init__(
        self, kind: type[nn.LSTM | nn.GRU], inputs: int, hidden: int, layers: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.rnn = kind(inputs, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Sequences [B, T, F] -> states [B, T, hidden]; what stands in the padding has no meaning.

        The padding is at the end, so no real turn sees it, and `lengths` are not needed.
        """
        x = x.to(next(self.parameters()).dtype)
        with torch.autocast(x.device.type, enabled=False):  # as in `Bidirectional`
            states, _ = self.rnn(x)
        return states


class PartyContext(nn.Module):
    """Speaker context of MM-DFN: a bidirectional GRU over each party's own utterances in conversation order.

    All parties and all modalities share one network.
    """

    def __init__(self, dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.rnn = Bidirectional(nn.GRU, dim, dim // 2, layers, dropout)

    def forward(self, x: Tensor, who: Tensor) -> Tensor:
        """Utterances x [M, B, T, d] -> context of each utterance's speaker [M, B, T, d].

        Args:
            who: speakers [B, T] on the CPU, NOBODY in padding.
        """
        modalities, dialogues, turns, dim = x.shape
        real = who != NOBODY
        same = (who.unsqueeze(2) == who.unsqueeze(1)) & real.unsqueeze(1)
        party = who + (int(who.max()) + 1) * torch.arange(dialogues).unsqueeze(1)
        _, row, length = party[real].unique(return_inverse=True, return_counts=True)
        place = same.tril(diagonal=-1).sum(-1)[real]  # number of the speaker's earlier utterances
        turn = real.flatten().nonzero().squeeze(1)
        row, place, turn = (sent(part, x.device) for part in (row, place, turn))
        own = x.new_zeros(modalities, len(length), int(length.max()), dim)
        own[:, row, place] = x.flatten(1, 2)[:, turn]
        states = self.rnn(own.flatten(0, 1), length.repeat(modalities)).unflatten(0, (modalities, len(length)))
        context = states.new_zeros(modalities, dialogues * turns, dim)
        context[:, turn] = states[:, row, place]
        return context.unflatten(1, (dialogues, turns))


def gru_step(from_input: Tensor, from_state: Tensor, state: Tensor) -> Tensor:
    """GRU step from the projected input and the projected state, both [..., 3 H] (reset, update, new), and the state.

    Returns the new state [..., H].
    """
    reset_i, update_i, new_i = from_input.chunk(3, dim=-1)
    reset_h, update_h, new_h = from_state.chunk(3, dim=-1)
    new = torch.tanh(new_i + torch.sigmoid(reset_i + reset_h) * new_h)
    return new + torch.sigmoid(update_i + update_h) * (state - new)
