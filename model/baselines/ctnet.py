"""CTNet: cross-modal transformers, then a recurrent network with attention over the dialogue.

This is a reimplementation: the authors' code is not public.

Source: Lian et al., "CTNet: Conversational Transformer Network for Emotion Recognition", IEEE/ACM TASLP 2021. No code
is public. The publication fixes only the outline: transformers inside and across modalities over the *words* of an
utterance and the *segments* of its sound, then a bidirectional GRU with multi-head attention over the dialogue, with
speaker embeddings.

Our features are one vector per utterance, a sequence of length one. **Attention inside an utterance is therefore
degenerate**: its only weight is 1, and a transformer block reduces to its value projection, feed-forward network and
norms. The extension to three modalities is ours too; the original has text and audio.

    p_m     = LN(z + FFN(z)),  z = W_m x_m                                 single-modal
    c_m     = LN(p_m + sum_{s != m} sigmoid(W [p_m ; p_s]) * V p_s)        cross-modal; weights per ordered pair (m, s)
    u       = [c_t ; c_a ; c_v] + speaker embedding
    h       = BiGRU(u);  y = LN(h + MHA(h))                                over the dialogue
    logits  = Linear(y)

Our settings, in the usual range for such models: 128 wide, GRU 100 per direction, 4 heads, dropout 0.3, Adam 1e-3 to
1e-4, class weights.

With `context: past`, the GRU has one direction, as wide as both, and the attention sees no later turn.
"""

import torch
from torch import Tensor, nn

from model.attention import MultiHeadAttention
from model.baselines.attention import seen
from model.baselines.early_fusion import masked_features
from model.baselines.recurrent import Bidirectional, Forward
from model.baselines.settings import CtnetSettings
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output
from model.losses import cross_entropy
from model.settings import DialogueContext


class CtnetConfig(CtnetSettings, DialogueContext, DataSpec):
    """Configuration of the network."""


class SingleModal(nn.Module):
    """A transformer block over a sequence of length one, without its attention."""

    def __init__(self, features: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(features, dim)
        self.ffn = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, T, F] -> [B, T, d]."""
        z = self.project(x)
        return self.norm(z + self.ffn(z))


class Taken(nn.Module):
    """Message from one modality to another: a gated value projection."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(dim, dim), nn.Linear(2 * dim, dim)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        """Receiving modality `own` and sending modality `other`, both [B, T, d] -> [B, T, d]."""
        return torch.sigmoid(self.gate(torch.cat([own, other], dim=-1))) * self.value(other)


class CrossModal(nn.Module):
    """c_m: one modality plus the messages of the other modalities that are present."""

    def __init__(self, name: str, names: list[str], dim: int) -> None:
        super().__init__()
        self.name = name
        self.take = nn.ModuleDict({other: Taken(dim) for other in names if other != name})
        self.norm = nn.LayerNorm(dim)

    def forward(self, p: dict[str, Tensor], there: dict[str, Tensor]) -> Tensor:
        """p_m [B, T, d] of all modalities, and whether each is present [B, T, 1] -> [B, T, d]."""
        own = p[self.name]
        return self.norm(torch.stack([own, *(t(own, p[s]) * there[s] for s, t in self.take.items())]).sum(0))


class Ctnet(ErcModel):
    """The whole model: blocks inside and across modalities, dialogue context, classifier."""

    reimplementation = True

    def __init__(self, config: CtnetConfig) -> None:
        super().__init__()
        names, self.past = list(config.dims), config.context == "past"
        self.single = nn.ModuleDict(
            {name: SingleModal(config.dims[name], config.dim, config.dropout) for name in names}
        )
        self.cross = nn.ModuleDict({name: CrossModal(name, names, config.dim) for name in names})
        self.speaker = nn.Embedding(config.speakers, len(names) * config.dim)
        if self.past:
            self.sequence: nn.Module = Forward(nn.GRU, len(names) * config.dim, 2 * config.hidden, 1)
        else:
            self.sequence = Bidirectional(nn.GRU, len(names) * config.dim, config.hidden, 1)
        self.attend = MultiHeadAttention(2 * config.hidden, config.heads, config.dropout)
        self.context_norm = nn.LayerNorm(2 * config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.hidden, config.classes)
        self.loss_weights = {"ce": 1.0}

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits and the cross-entropy."""
        mask = batch.mask
        there = {name: present.unsqueeze(-1) for name, present in batch.present.items()}
        p = {name: self.single[name](x) * there[name] for name, x in masked_features(batch).items()}
        c = [self.cross[name](p, there) for name in p]
        u = self.dropout(torch.cat(c, dim=-1)) + self.speaker(batch.speaker)
        h = self.sequence(u, batch.lengths())
        representation = self.context_norm(h + self.dropout(self.attend(h, h, seen(mask, self.past))))
        logits = self.classifier(self.dropout(representation))
        return Output(logits, {"ce": cross_entropy(logits, batch.label, mask, class_weights)}, representation)
