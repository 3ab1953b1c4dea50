"""MM-DFN: MMGCN's graph, with an LSTM cell that carries information from layer to layer.

Source: Hu et al., "MM-DFN: Multimodal Dynamic Fusion Network for Emotion Recognition in Conversations", ICASSP 2022;
the equations follow the authors' public code. With the graph of `model.baselines.modality_graph`:

    x_t0 = BiGRU(Linear(t));  x_a0, x_v0 = Linear(a), Linear(v)                 200 wide, two layers
    y_m  = one BiGRU, shared by all parties and modalities, over each party's own utterances
    x_m  = x_m0 + k_m y_m
    h_0  = relu(Linear(drop x));  h = drop(h_0);  state = 0                     one mask of x, here and below
    (o, state) = LSTM cell(h, state)                                            one cell, carried over the layers
    h    = drop(relu(GCNII_l(A^ o, h_0))) + h,   l = 1 .. K                     alpha 0.2, lambda 0.5
    logits = Linear(relu(drop [drop x_m ; h_m for each modality m]))

Published: k (a, v, t) = (3, 0, 1) for IEMOCAP, (0.5, 0.5, 1.5) for MELD; focal loss with gamma 0.5 or 1, and class
weights on IEMOCAP; batch 32, at most 30 epochs; search grids K 16, 32 (MELD also 64), dropout 0.2, 0.4, Adam 1e-4, 3e-4
with l2 1e-4, 2e-4 (MELD 5e-4, 1e-3 with 1e-4, 5e-4). Our defaults are one point of the IEMOCAP grid.

Not copied: GRUs that do not pack the padded sequences, resetting the seed in every epoch, and an empty validation
split, because of which the published scripts choose their epoch on test.
"""

import torch
from torch import Tensor, nn

from model.baselines.early_fusion import masked_features, usable
from model.baselines.focal import focal
from model.baselines.modality_graph import DeepConvolution, ModalityGraph, modality_graph, read_out
from model.baselines.recurrent import Bidirectional, PartyContext
from model.baselines.settings import MmDfnSettings
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output


class MmDfnConfig(MmDfnSettings, DataSpec):
    """Configuration of the network and its loss."""


class DynamicFusion(nn.Module):
    """Graph convolutions and one LSTM cell that runs over the layers, with every node as one element of its batch."""

    def __init__(self, dim: int, layers: int, alpha: float, decay: float, dropout: float) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(dim, dim)
        self.layers = nn.ModuleList(DeepConvolution(dim, layer, alpha, decay) for layer in range(1, layers + 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, h0: Tensor, graph: ModalityGraph) -> Tensor:
        """Initial node states [M, B, T, d] -> final node states of the same shape.

        The first layer and what it adds to have h0 after dropout; all layers join h0 without it.
        """
        h = self.dropout(h0)
        state = (torch.zeros_like(h0).flatten(0, 2), torch.zeros_like(h0).flatten(0, 2))
        for layer in self.layers:
            state = self.cell(h.flatten(0, 2), state)
            h = self.dropout(layer(graph.propagate(state[0].view_as(h)), h0)) + h
        return h


class MmDfn(ErcModel):
    """The whole model: encoders with speaker context, graph, classifier."""

    def __init__(self, config: MmDfnConfig) -> None:
        super().__init__()
        self.config = config
        self.project = nn.ModuleDict({name: nn.Linear(width, config.dim) for name, width in config.dims.items()})
        if "text" in config.dims:
            self.sequence = Bidirectional(nn.GRU, config.dim, config.dim // 2, 2, config.dropout)
        self.party = PartyContext(config.dim, 2, config.dropout)
        self.enter = nn.Linear(config.dim, config.graph_dim)
        self.fusion = DynamicFusion(config.graph_dim, config.layers, config.alpha, config.decay, config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(len(config.dims) * (config.dim + config.graph_dim), config.classes)
        self.loss_weights = {"focal": 1.0}

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits and the focal loss."""
        nodes = usable(batch)
        projected = {name: self.project[name](values) for name, values in masked_features(batch).items()}
        context = self.party(torch.stack(list(projected.values())), batch.who)
        if "text" in projected:
            projected["text"] = self.sequence(projected["text"], batch.lengths())
        k = torch.tensor([getattr(self.config.speaker_weights, name) for name in projected], device=context.device)
        x = torch.stack(list(projected.values())) + k.view(-1, 1, 1, 1) * context
        entering = self.dropout(x)  # with the same mask where it is read out
        h = self.fusion(torch.relu(self.enter(entering)), modality_graph(x, nodes))
        representation = torch.relu(self.dropout(read_out([entering, h], nodes)))
        logits = self.classifier(representation)
        loss = focal(logits, batch.label, batch.mask, self.config.focal_gamma, class_weights)
        return Output(logits, {"focal": loss}, representation)
