"""DialogueGCN: relational graph convolutions over a window of neighbours.

Source: Ghosal et al., "DialogueGCN: A Graph Convolutional Neural Network for Emotion Recognition in Conversation",
EMNLP 2019; equations of the paper and of the two public implementations where they agree with it. Unimodal-born: the
modalities are joined early.

    G       = BiLSTM([t; a; v])                              two layers, packed
    alpha_i = softmax over j in [i - 10, i + 10] of G_i^T W G_j
    r(i, j) = (speaker_i, speaker_j, [i < j])                2 M^2 relations
    h1_i    = sum_r sum_{j in N_r(i)} alpha_ij / c_{i,r} W_r G_j + W_0 G_i
    h2_i    = W h1_i + sum_j W' h1_j
    F_i     = [G_i ; h2_i], attention over the dialogue as in DialogueRNN, a classifier of two layers

Published for IEMOCAP: 100 a direction, 200 -> 100, 30 bases, Adam 1e-4, l2 1e-5, dropout 0.5, batch 32, 60 epochs. For
MELD nothing but the advice to weigh the classes.

Not copied from the authors' code: its edge weights are a softmax over time of a layer with a fixed largest length, and
belong to an edge's other end than the one that sums; and its LSTM is not packed, so that a prediction depended on the
dialogues beside it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.baselines.attention import DialogueAttention, masked_softmax, near, pairs
from model.baselines.early_fusion import joined_features
from model.baselines.recurrent import Bidirectional
from model.baselines.relational_graph import RelationalConvolution, relation_counts, relations
from model.batching import Batch
from model.interface import ErcModel, Form, Output
from model.losses import cross_entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueGcnConfig(Form):
    """Everything that decides the network's form."""

    hidden: int
    """Of the LSTM a direction, of the graph convolutions and of the head."""
    bases: int
    window: int
    """Neighbours on each side."""
    dropout: float


class RelationalGraph(nn.Module):
    """The edge weights and the two convolutions, from G to h2."""

    def __init__(self, config: DialogueGcnConfig) -> None:
        super().__init__()
        self.window, self.speakers = config.window, config.speakers
        width = 2 * config.hidden
        self.similarity = nn.Linear(width, width, bias=False)
        self.relational = RelationalConvolution(width, config.hidden, config.speakers, config.bases)
        self.own = nn.Linear(config.hidden, config.hidden)
        self.neighbours = nn.Linear(config.hidden, config.hidden, bias=False)

    def forward(self, g: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """States [B, T, 2 hidden], speakers and real turns [B, T] -> h2 [B, T, hidden]."""
        edges = near(g.shape[1], self.window, self.window, g.device) & pairs(mask)
        alpha = masked_softmax(self.similarity(g) @ g.transpose(1, 2), edges)
        weight = alpha / relation_counts(speaker, edges).clamp(min=1)
        h1 = self.relational(g, weight, relations(speaker, self.speakers))
        return self.own(h1) + edges.to(h1.dtype) @ self.neighbours(h1)


class DialogueGcn(ErcModel):
    """Sequence, graph, attention over the dialogue, and the classifier."""

    def __init__(self, config: DialogueGcnConfig) -> None:
        super().__init__()
        self.sequence = Bidirectional(nn.LSTM, sum(config.dims.values()), config.hidden, 2, config.dropout)
        self.graph = RelationalGraph(config)
        self.attention = DialogueAttention(3 * config.hidden)
        self.hidden = nn.Sequential(nn.Linear(3 * config.hidden, config.hidden), nn.ReLU(), nn.Dropout(config.dropout))
        self.classifier = nn.Linear(config.hidden, config.classes)
        self.loss_weights = {"ce": 1.0}

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Logits and the cross-entropy."""
        mask = batch.mask
        g = self.sequence(joined_features(batch), mask)
        f = torch.cat([g, self.graph(g, batch.speaker, mask)], dim=-1)
        representation = self.hidden(self.attention(f, mask))
        logits = self.classifier(representation)
        return Output(logits, {"ce": cross_entropy(logits, batch.label, mask, class_weights)}, representation)
