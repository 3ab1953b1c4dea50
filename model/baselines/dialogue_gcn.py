"""DialogueGCN: relational graph convolutions over a window of neighbours.

Source: Ghosal et al., "DialogueGCN: A Graph Convolutional Neural Network for Emotion Recognition in Conversation",
EMNLP 2019. The equations are those of the paper, and of the two public implementations where these agree with it. The
model takes one feature vector per utterance, so the modalities are concatenated.

    G       = BiLSTM([t; a; v])                              two layers, packed
    alpha_i = softmax over j in [i - 10, i + 10] of G_i^T W G_j
    r(i, j) = (speaker_i, speaker_j, [i < j])                2 M^2 relations
    h1_i    = sum_r sum_{j in N_r(i)} alpha_ij / c_{i,r} W_r G_j + W_0 G_i
    h2_i    = W h1_i + sum_j W' h1_j
    F_i     = [G_i ; h2_i], attention over the dialogue as in DialogueRNN, a classifier of two layers

Published for IEMOCAP: 100 per direction, 200 -> 100, 30 bases, Adam 1e-4, l2 1e-5, dropout 0.5, batch 32, 60 epochs.
For MELD only the advice to use class weights is published.

Not copied from the authors' code: its edge weights come from a layer with a fixed maximum length, as a softmax over
time, and they are normalised at the other end of the edge than the node that sums; and its LSTM does not pack the
padded sequences, so a prediction depends on the other dialogues in the batch.
"""

import torch
from torch import Tensor, nn

from model.baselines.attention import DialogueAttention, masked_softmax, near, pairs
from model.baselines.early_fusion import joined_features
from model.baselines.recurrent import Bidirectional
from model.baselines.relational_graph import RelationalConvolution, relation_counts, relations
from model.baselines.settings import DialogueGcnSettings
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output
from model.losses import cross_entropy


class DialogueGcnConfig(DialogueGcnSettings, DataSpec):
    """Configuration of the network."""


class RelationalGraph(nn.Module):
    """Edge weights and the two graph convolutions, from G to h2."""

    def __init__(self, config: DialogueGcnConfig) -> None:
        super().__init__()
        self.window, self.speakers = config.window, config.speakers
        width = 2 * config.hidden
        self.similarity = nn.Linear(width, width, bias=False)
        self.relational = RelationalConvolution(width, config.hidden, config.speakers, config.bases)
        self.own = nn.Linear(config.hidden, config.hidden)
        self.neighbours = nn.Linear(config.hidden, config.hidden, bias=False)

    def forward(self, g: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """States g [B, T, 2 hidden], speakers and mask of real turns [B, T] -> h2 [B, T, hidden]."""
        edges = near(g.shape[1], self.window, self.window, g.device) & pairs(mask)
        alpha = masked_softmax(self.similarity(g) @ g.transpose(1, 2), edges)
        weight = alpha / relation_counts(speaker, edges).clamp(min=1)
        h1 = self.relational(g, weight, relations(speaker, self.speakers))
        return self.own(h1) + edges.to(h1.dtype) @ self.neighbours(h1)


class DialogueGcn(ErcModel):
    """The whole model: recurrent network, graph, attention over the dialogue, classifier."""

    def __init__(self, config: DialogueGcnConfig) -> None:
        super().__init__()
        self.sequence = Bidirectional(nn.LSTM, sum(config.dims.values()), config.hidden, 2, config.dropout)
        self.graph = RelationalGraph(config)
        self.attention = DialogueAttention(3 * config.hidden)
        self.hidden = nn.Sequential(nn.Linear(3 * config.hidden, config.hidden), nn.ReLU(), nn.Dropout(config.dropout))
        self.classifier = nn.Linear(config.hidden, config.classes)
        self.loss_weights = {"ce": 1.0}

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits and the cross-entropy."""
        mask = batch.mask
        g = self.sequence(joined_features(batch), batch.lengths())
        f = torch.cat([g, self.graph(g, batch.speaker, mask)], dim=-1)
        representation = self.hidden(self.attention(f, mask))
        logits = self.classifier(representation)
        return Output(logits, {"ce": cross_entropy(logits, batch.label, mask, class_weights)}, representation)
