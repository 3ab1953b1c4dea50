"""MMGCN: a deep graph convolution over a graph of all modalities.

Source: Hu et al., "MMGCN: Multimodal Fusion via Deep Graph Convolution Network for Emotion Recognition in
Conversation", ACL 2021; the equations follow the authors' public code.

    x_a, x_v = Linear(a), Linear(v);  x_t = BiLSTM(Linear(t)) + speaker embedding           200 wide, two layers
    w(i, j)  = 1 - arccos(0.99999 cos(x_i, x_j)) / pi      all pairs inside a modality; across, the same utterance
    A^       = D^-1/2 A D^-1/2
    h_0      = relu(Linear(drop x))                                one mask of x, here and below; 100 wide
    p = A^ drop(h);  h = relu(theta_l [p ; h_0] W_l + (1 - theta_l) ((1 - alpha) p + alpha h_0)),   l = 1 .. K
    logits   = Linear(relu(drop [drop x_m ; drop h_m for each modality m]))                   900 -> C

Published: alpha 0.1, lambda 0.5, dropout 0.4, batch 16; for IEMOCAP Adam 3e-4, l2 3e-5, 20 epochs, cross-entropy with
class weights; for MELD Adam 1e-3, no l2, 60 epochs, gamma 2.5. The paper says K = 4; the public code always uses 64,
because it ignores its own option.

Not copied from the public code: its LSTM does not pack the padded sequences, so a prediction depends on the longest
dialogue of its batch; it resets the seed in every epoch; and its "focal" loss is not the focal loss
(`model.baselines.focal` has both).
"""

import torch
from torch import Tensor, nn

from model.baselines.early_fusion import masked_features, usable
from model.baselines.focal import mmgcn_focal
from model.baselines.modality_graph import DeepConvolution, modality_graph, read_out
from model.baselines.recurrent import Bidirectional
from model.baselines.settings import MmgcnSettings
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output
from model.losses import cross_entropy


class MmgcnConfig(MmgcnSettings, DataSpec):
    """Configuration of the network and its loss."""


class Mmgcn(ErcModel):
    """The whole model: encoders, graph, classifier."""

    def __init__(self, config: MmgcnConfig) -> None:
        super().__init__()
        self.config = config
        self.project = nn.ModuleDict({name: nn.Linear(width, config.dim) for name, width in config.dims.items()})
        if "text" in config.dims:
            self.sequence = Bidirectional(nn.LSTM, config.dim, config.dim // 2, 2, config.dropout)
            self.speaker = nn.Embedding(config.speakers, config.dim)
        self.enter = nn.Linear(config.dim, config.graph_dim)
        self.layers = nn.ModuleList(
            DeepConvolution(config.graph_dim, layer, config.alpha, config.decay)
            for layer in range(1, config.layers + 1)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(len(config.dims) * (config.dim + config.graph_dim), config.classes)
        self.loss_weights = {"ce" if config.loss == "cross_entropy" else "focal": 1.0}

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits and the loss."""
        nodes = usable(batch)
        x = self.encode(batch)
        entering = self.dropout(x)  # with the same mask where it is read out
        h = self.convolve(x, entering, nodes)
        representation = torch.relu(self.dropout(read_out([entering, self.dropout(h)], nodes)))
        logits = self.classifier(representation)
        return Output(logits, self._losses(logits, batch, class_weights), representation)

    def encode(self, batch: Batch) -> Tensor:
        """Compute the node features [M, B, T, dim]."""
        projected = {name: self.project[name](values) for name, values in masked_features(batch).items()}
        if "text" in projected:
            projected["text"] = self.sequence(projected["text"], batch.lengths()) + self.speaker(batch.speaker)
        return torch.stack(list(projected.values()))

    def convolve(self, x: Tensor, entering: Tensor, nodes: Tensor) -> Tensor:
        """Output of the K layers [M, B, T, graph_dim], from node features x [M, B, T, dim] and the mask of nodes.

        The edges are made of x, and the first layer's input of `entering`: x after dropout.
        """
        graph = modality_graph(x, nodes)
        h = h0 = torch.relu(self.enter(entering))
        for layer in self.layers:
            h = layer(graph.propagate(self.dropout(h)), h0)
        return h

    def _losses(self, logits: Tensor, batch: Batch, class_weights: Tensor | None) -> dict[str, Tensor]:
        if self.config.loss == "cross_entropy":
            return {"ce": cross_entropy(logits, batch.label, batch.mask, class_weights)}
        return {"focal": mmgcn_focal(logits, batch.label, batch.mask, self.config.focal_gamma)}
