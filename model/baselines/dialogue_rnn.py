"""DialogueRNN: a global state, a state per party and an emotion state, each updated by a GRU.

Source: Majumder et al., "DialogueRNN: An Attentive RNN for Emotion Detection in Conversations", AAAI 2019; the
equations follow the authors' public code. The model takes one feature vector per utterance, so the modalities are
concatenated: x_i = [t; a; v]. In each direction:

    g_i   = GRU_g([x_i ; q_{s(i), i-1}], g_{i-1})
    c_i   = sum_{j<i} softmax_j(g_j . W x_i) g_j                      c_0 = 0
    q_p,i = GRU_p([x_i ; c_i], q_{p, i-1})  for the party p = s(i) that speaks; the others keep their state
    e_i   = GRU_e(q_{s(i), i}, e_{i-1})

All states start at zero. The second direction runs over each dialogue in reversed order, without its padding. Attention
over the whole dialogue on E = [e forward ; e backward] and a classifier of two layers follow. With `context: past`
there is no second direction (the publication's DialogueRNN beside its BiDialogueRNN), and the attention sees no later
turn.

Published for IEMOCAP: global and party state 500, emotion and head 300, Adam 1e-4, l2 1e-5, dropout 0.1 (0.25 on E),
recurrent dropout 0.1, batch 30, 60 epochs, class weights. For MELD: 150, 150, 100, 100, Adam 5e-4, 100 epochs, no class
weights. The listener GRU is off by default in the public code, and left out here.

For speed, everything that does not depend on the recursion is computed for all turns at once: the contribution of x to
the gates and to the attention, and the input of the emotion GRU.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.baselines.attention import DialogueAttention
from model.baselines.early_fusion import joined_features
from model.baselines.recurrent import gru_step
from model.baselines.settings import DialogueRnnSettings
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output
from model.losses import cross_entropy
from model.settings import DialogueContext


class DialogueRnnConfig(DialogueRnnSettings, DialogueContext, DataSpec):
    """Configuration of the network."""


class DialogueCell(nn.Module):
    """One direction: the three GRUs, run over all turns of a dialogue."""

    def __init__(self, inputs: int, config: DialogueRnnConfig) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.global_gru = nn.GRUCell(inputs + config.party_dim, config.global_dim)
        self.party_gru = nn.GRUCell(inputs + config.global_dim, config.party_dim)
        self.emotion_gru = nn.GRUCell(config.party_dim, config.emotion_dim)
        self.attend = nn.Linear(inputs, config.global_dim, bias=False)
        self.dropout = nn.Dropout(config.recurrent_dropout)

    def forward(self, x: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """Utterances x [B, T, F], speakers and mask of real turns [B, T] -> emotion states [B, T, D_e]."""
        rows, turns, _ = x.shape
        speaks = (F.one_hot(speaker, self.config.speakers).bool() & mask.unsqueeze(-1)).unsqueeze(-1).unbind(1)
        global_x, global_own = self._split(self.global_gru, x)
        party_x, party_context = self._split(self.party_gru, x)
        query = self.attend(x).unsqueeze(2).unbind(1)
        parties = x.new_zeros(rows, self.config.speakers, self.config.party_dim)
        state = x.new_zeros(rows, self.config.global_dim)
        context = state
        history: list[Tensor] = []
        spoken: list[Tensor] = []
        for turn in range(turns):
            own = (parties * speaks[turn]).sum(1)
            if history:
                past = torch.stack(history, dim=1)
                context = ((query[turn] @ past.transpose(1, 2)).softmax(-1) @ past).squeeze(1)
            state = self._step(self.global_gru, global_x[turn] + F.linear(own, global_own), state)
            own = self._step(self.party_gru, party_x[turn] + F.linear(context, party_context), own)
            parties = torch.where(speaks[turn], own.unsqueeze(1), parties)
            history.append(state)
            spoken.append(own)
        return self._emotion(torch.stack(spoken, dim=1))

    def _split(self, cell: nn.GRUCell, x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Contribution of x to the gates at each turn, and the weights for the other part of the cell's input."""
        of_x, of_rest = cell.weight_ih.split([self.inputs, cell.input_size - self.inputs], dim=1)
        return F.linear(x, of_x, cell.bias_ih).unbind(1), of_rest

    def _step(self, cell: nn.GRUCell, from_input: Tensor, state: Tensor) -> Tensor:
        return self.dropout(gru_step(from_input, F.linear(state, cell.weight_hh, cell.bias_hh), state))

    def _emotion(self, spoken: Tensor) -> Tensor:
        cell = self.emotion_gru
        state = spoken.new_zeros(len(spoken), self.config.emotion_dim)
        states = []
        for from_input in F.linear(spoken, cell.weight_ih, cell.bias_ih).unbind(1):
            state = self._step(cell, from_input, state)
            states.append(state)
        return torch.stack(states, dim=1)


def reversed_inside(values: Tensor, mask: Tensor) -> Tensor:
    """Reverse the real turns of each dialogue in `values` [B, T, ...]; the padding stays at the end."""
    last = mask.sum(1, keepdim=True) - 1
    place = torch.arange(mask.shape[1], device=mask.device)
    where = torch.where(mask, last - place, place)
    return values[torch.arange(len(mask), device=mask.device).unsqueeze(1), where]


class DialogueRnn(ErcModel):
    """The whole model: one or both directions, attention over the dialogue, classifier."""

    def __init__(self, config: DialogueRnnConfig) -> None:
        super().__init__()
        past = config.context == "past"
        inputs, states = sum(config.dims.values()), (1 if past else 2) * config.emotion_dim
        self.forward_cell = DialogueCell(inputs, config)
        self.backward_cell = None if past else DialogueCell(inputs, config)
        self.dropout = nn.Dropout(config.dropout + 0.15)
        self.attention = DialogueAttention(states, past)
        self.hidden = nn.Sequential(nn.Linear(states, 2 * config.head_dim), nn.ReLU(), nn.Dropout(config.dropout))
        self.classifier = nn.Linear(2 * config.head_dim, config.classes)
        self.loss_weights = {"ce": 1.0}

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits and the cross-entropy."""
        x, speaker, mask = joined_features(batch), batch.speaker, batch.mask
        if self.backward_cell is None:
            emotion = self.forward_cell(x, speaker, mask)
        else:
            back = self.backward_cell(reversed_inside(x, mask), reversed_inside(speaker, mask), mask)
            emotion = torch.cat([self.forward_cell(x, speaker, mask), reversed_inside(back, mask)], dim=-1)
        representation = self.hidden(self.attention(self.dropout(emotion), mask))
        logits = self.classifier(representation)
        return Output(logits, {"ce": cross_entropy(logits, batch.label, mask, class_weights)}, representation)
