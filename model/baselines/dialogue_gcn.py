"""DialogueGCN: relational graph convolutions over a window of neighbours.

Source: Ghosal et al., "DialogueGCN: A Graph Convolutional Neural Network for Emotion Recognition in Conversation",
EMNLP 2019. Two implementations are public, the authors' and one of Zhang that they link to. They differ from each other
and from the paper. The model takes one feature vector per utterance, so the modalities are concatenated.

    G       = BiLSTM([t; a; v])                              two layers, packed
    alpha_i = softmax over j in [i - 10, i + 10] of G_i^T W G_j
    r(i, j) = (speaker_i, speaker_j, [i < j])                2 M^2 relations
    h1_i    = sum_r sum_{j in N_r(i)} alpha_ij / c_{i,r} W_r G_j + W_0 G_i
    h2_i    = W h1_i + sum_j W' h1_j
    F_i     = [G_i ; h2_i], attention over the dialogue as in DialogueRNN, a classifier of two layers

Published for IEMOCAP: 100 per direction, 200 -> 100, 30 bases; the authors' README has Adam 3e-4, no l2, dropout 0.4,
batch 32, class weights, and their script 60 epochs. For MELD only the advice to use class weights is published.

The paper decides wherever it is explicit, and the authors' code elsewhere:

    point                       here                                  authors' code
    edge weights                paper: bilinear, over the window      softmax over time of a layer of fixed length 110
    weights of an edge sum to 1 paper: over the edges into i          over the edges out of i
    1 / c_{i,r}, c = |N_r(i)|   paper                                 missing
    relation of i with itself   paper: [i < j] is false, the past     that of edges from the future
    scores over the dialogue    paper: no tanh                        tanh of each score
    G                           code: LSTM, packed                    LSTM, not packed (the paper: a GRU)
    after h1 and h2             code: nothing                         nothing (the paper: an activation)
    W_0 G_i                     code: not weighted                    not weighted (the paper: by alpha_ii)
    start of the relations      ours: Xavier                          uniform, +- 1 / sqrt(30 * 200)

docs/baselines.md has what the scores' tanh and 1 / c are worth.

With `context: past`, the LSTM has one direction, as wide as both, the window has no neighbours behind i, and the
attention over the dialogue sees no later turn.
"""

import torch
from torch import Tensor, nn

from model.baselines.attention import DialogueAttention, masked_softmax, near, pairs
from model.baselines.early_fusion import joined_features
from model.baselines.recurrent import Bidirectional, Forward
from model.baselines.relational_graph import RelationalConvolution, relation_counts, relations
from model.baselines.settings import DialogueGcnSettings
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output
from model.losses import cross_entropy
from model.settings import DialogueContext


class DialogueGcnConfig(DialogueGcnSettings, DialogueContext, DataSpec):
    """Configuration of the network."""


class RelationalGraph(nn.Module):
    """Edge weights and the two graph convolutions, from G to h2."""

    def __init__(self, config: DialogueGcnConfig) -> None:
        super().__init__()
        self.window, self.speakers = config.window, config.speakers
        self.after = 0 if config.context == "past" else config.window
        width = 2 * config.hidden
        self.similarity = nn.Linear(width, width, bias=False)
        self.relational = RelationalConvolution(width, config.hidden, config.speakers, config.bases)
        self.own = nn.Linear(config.hidden, config.hidden)
        self.neighbours = nn.Linear(config.hidden, config.hidden, bias=False)

    def forward(self, g: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """States g [B, T, 2 hidden], speakers and mask of real turns [B, T] -> h2 [B, T, hidden]."""
        edges = near(g.shape[1], self.window, self.after, g.device) & pairs(mask)
        alpha = masked_softmax(self.similarity(g) @ g.transpose(1, 2), edges)
        weight = alpha / relation_counts(speaker, edges).clamp(min=1)
        h1 = self.relational(g, weight, relations(speaker, self.speakers))
        return self.own(h1) + edges.to(h1.dtype) @ self.neighbours(h1)


class DialogueGcn(ErcModel):
    """The whole model: recurrent network, graph, attention over the dialogue, classifier."""

    def __init__(self, config: DialogueGcnConfig) -> None:
        super().__init__()
        past, inputs = config.context == "past", sum(config.dims.values())
        if past:
            self.sequence: nn.Module = Forward(nn.LSTM, inputs, 2 * config.hidden, 2, config.dropout)
        else:
            self.sequence = Bidirectional(nn.LSTM, inputs, config.hidden, 2, config.dropout)
        self.graph = RelationalGraph(config)
        self.attention = DialogueAttention(3 * config.hidden, past)
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
