"""CMCF-SRNet: local cross-modal attention around the text, then refinement by a graph with speaker relations.

This is a reimplementation: the authors' code is not public.

Source: Zhang and Li, "A Cross-Modality Context Fusion and Semantic Refinement Network for Emotion Recognition in
Conversation", ACL 2023. No code is public. The publication fixes only the outline: a cross-modal transformer whose
attention is limited to neighbouring utterances, and a graph-based transformer for semantic relations.

    x_m   = Linear(features) + speaker embedding + sinusoids                                  256 wide
    y_s   = MHA(query x_t, key and value x_s, |i - j| <= 5)      for audio and visual; text is the hub
    z     = sigmoid(W [x_t ; y_a ; y_v]);  c' = LN(x_t + z * (y_a + y_v));  c = LN(c' + FFN(c'))
    graph : edges |i - j| <= 10, relations (speaker_i, speaker_j, [i < j])
    g     = relu(RGCN(c))                                 256 -> 128, each relation's neighbours averaged
    g     = LN(W_0 g + MHA(g, along the edges))           the graph transformer
    logits = Linear([c ; g])

Our settings: 4 heads, 30 bases, dropout 0.4, Adam 1e-4, l2 1e-5, batch 16, 60 epochs, class weights.

With `context: past`, both windows end at i itself.
"""

import torch
from torch import Tensor, nn

from model.attention import MultiHeadAttention, positional_encoding
from model.baselines.attention import near, pairs
from model.baselines.early_fusion import masked_features
from model.baselines.relational_graph import RelationalConvolution, relation_counts, relations
from model.baselines.settings import CmcfSrnetSettings
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output
from model.losses import cross_entropy
from model.settings import DialogueContext


class CmcfSrnetConfig(CmcfSrnetSettings, DialogueContext, DataSpec):
    """Configuration of the network."""


class LocalFusion(nn.Module):
    """Fusion of the hub modality with neighbouring utterances of the other modalities."""

    def __init__(self, config: CmcfSrnetConfig, others: list[str]) -> None:
        super().__init__()
        dim = config.dim
        self.attend = nn.ModuleDict({name: MultiHeadAttention(dim, config.heads, config.dropout) for name in others})
        self.gate = nn.Linear((1 + len(others)) * dim, dim)
        self.ffn = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(2 * dim, dim)
        )
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hub: Tensor, others: dict[str, Tensor], key_mask: dict[str, Tensor], close: Tensor) -> Tensor:
        """Hub and others [B, T, d], key masks [B, T] and neighbour mask [T, T] -> [B, T, d]."""
        y = [attend(hub, others[name], close & key_mask[name].unsqueeze(1)) for name, attend in self.attend.items()]
        z = torch.sigmoid(self.gate(torch.cat([hub, *y], dim=-1)))
        c = self.norm1(hub + self.dropout(z * sum(y)))
        return self.norm2(c + self.dropout(self.ffn(c)))


class SemanticRefinement(nn.Module):
    """Relational convolution followed by a graph transformer."""

    def __init__(self, config: CmcfSrnetConfig) -> None:
        super().__init__()
        self.window, self.speakers = config.graph_window, config.speakers
        self.after = 0 if config.context == "past" else config.graph_window
        self.relational = RelationalConvolution(config.dim, config.graph_dim, config.speakers, config.bases)
        self.attend = MultiHeadAttention(config.graph_dim, config.heads, config.dropout)
        self.own = nn.Linear(config.graph_dim, config.graph_dim)
        self.norm = nn.LayerNorm(config.graph_dim)

    def forward(self, c: Tensor, speaker: Tensor, mask: Tensor) -> Tensor:
        """States c [B, T, d], speakers and mask of real turns [B, T] -> [B, T, graph_dim]."""
        edges = near(c.shape[1], self.window, self.after, c.device) & pairs(mask)
        weight = edges / relation_counts(speaker, edges).clamp(min=1)
        g = torch.relu(self.relational(c, weight, relations(speaker, self.speakers)))
        return self.norm(self.own(g) + self.attend(g, g, edges))


class CmcfSrnet(ErcModel):
    """The whole model: fusion, refinement, classifier."""

    reimplementation = True

    def __init__(self, config: CmcfSrnetConfig) -> None:
        super().__init__()
        self.config = config
        self.hub, *others = config.dims  # text, or the first modality that is used
        self.project = nn.ModuleDict({name: nn.Linear(width, config.dim) for name, width in config.dims.items()})
        self.speaker = nn.Embedding(config.speakers, config.dim)
        self.fuse = LocalFusion(config, others)
        self.refine = SemanticRefinement(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.dim + config.graph_dim, config.classes)
        self.loss_weights = {"ce": 1.0}

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits and the cross-entropy."""
        config, mask = self.config, batch.mask
        embedding = self.speaker(batch.speaker) + positional_encoding(mask.shape[1], config.dim, mask.device)
        x = {name: self.dropout(self.project[name](v) + embedding) for name, v in masked_features(batch).items()}
        after = 0 if config.context == "past" else config.local_window
        close = near(mask.shape[1], config.local_window, after, mask.device)
        c = self.fuse(x[self.hub], x, batch.present, close)
        representation = torch.cat([c, self.refine(c, batch.speaker, mask)], dim=-1)
        logits = self.classifier(self.dropout(representation))
        return Output(logits, {"ce": cross_entropy(logits, batch.label, mask, class_weights)}, representation)
