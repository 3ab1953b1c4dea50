"""SDT: transformers between all pairs of modalities, gates, and self-distillation; the baseline most like CMATH.

Source: Ma et al., "A Transformer-Based Model With Self-Distillation for Multimodal Emotion Recognition in
Conversations", IEEE Transactions on Multimedia 2024; the equations follow the authors' public code.

    X_m      = drop(W_m x_m + P + S)                   sinusoids and speaker embedding; d = 1024
    Z        = X_q + drop(MHA(query X_q, key and value X_s));  H_{q<-s} = Z + drop(FFN(LN(Z)))    weights per pair
    gate1(H) = sigmoid(W H) * H                        one per pair
    R_m      = Linear([gate1(H_{m<-m}) ; gate1(H_{m<-x}) ; gate1(H_{m<-y})])
    R_f      = sum_m softmax_m(W R_m) * R_m            elementwise
    loss     = NLL(f) + sum_m NLL(m) + sum_m KL(softmax(logits_f / tau) || softmax(logits_m / tau))

The teacher of the divergence is not detached, and there is no factor tau^2; logits_m are computed from drop(relu(R_m)).

Published: d 1024, 8 heads, dropout 0.5, l2 1e-5, Adam; for IEMOCAP 1e-4, batch 16, 150 epochs, tau 1, class weights;
for MELD 5e-6, batch 8, 50 epochs, tau 8, no class weights, and W of gate1 is the frozen identity (`gate: identity`).

A missing modality is masked out as a key for the other modalities, and excluded from R_f and from the unimodal losses.

With `context: past`, a turn attends to itself and to earlier turns; all else is each turn's own.
"""

import torch
from torch import Tensor, nn

from model.attention import MultiHeadAttention, positional_encoding
from model.baselines.attention import seen
from model.baselines.early_fusion import masked_features, usable
from model.baselines.settings import SdtSettings
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output
from model.losses import cross_entropy, divergence
from model.settings import DialogueContext


class SdtConfig(SdtSettings, DialogueContext, DataSpec):
    """Configuration of the network and its loss."""


class CrossAttentionBlock(nn.Module):
    """H_{q<-s}: attention from one modality to another or to itself; no norm before the attention or at the end."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attend = MultiHeadAttention(dim, heads, dropout)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.ffn = nn.Sequential(
            nn.Linear(dim, dim), nn.GELU(approximate="tanh"), nn.Dropout(dropout), nn.Linear(dim, dim)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor, allowed: Tensor) -> Tensor:
        """Queries and keys [B, T, d] and the keys that each query sees, bool [B, 1 or T, T] -> [B, T, d]."""
        own = queries is keys
        queries = self.dropout(queries)
        keys = queries if own else self.dropout(keys)
        z = queries + self.dropout(self.attend(queries, keys, allowed))
        return z + self.dropout(self.ffn(self.norm(z)))


class UnimodalGate(nn.Module):
    """The gate `gate1` of a modality pair."""

    def __init__(self, dim: int, kind: str) -> None:
        super().__init__()
        self.weight = nn.Linear(dim, dim, bias=False) if kind == "learned" else nn.Identity()

    def forward(self, h: Tensor) -> Tensor:
        return torch.sigmoid(self.weight(h)) * h


class Augmented(nn.Module):
    """R_m: attention of one modality to itself and to the others, gated, concatenated and projected."""

    def __init__(self, name: str, config: SdtConfig) -> None:
        super().__init__()
        self.name = name
        self.encode = nn.ModuleDict(
            {other: CrossAttentionBlock(config.dim, config.heads, config.dropout) for other in config.dims}
        )
        self.gate = nn.ModuleDict({other: UnimodalGate(config.dim, config.gate) for other in config.dims})
        self.join = nn.Linear(len(config.dims) * config.dim, config.dim)

    def forward(self, x: dict[str, Tensor], allowed: dict[str, Tensor]) -> Tensor:
        """X [B, T, d] and the keys seen, bool [B, 1 or T, T], of all modalities -> R_m [B, T, d]."""
        h = {other: encode(x[self.name], x[other], allowed[other]) for other, encode in self.encode.items()}
        return self.join(torch.cat([gate(h[other]) for other, gate in self.gate.items()], dim=-1))


class MultimodalGate(nn.Module):
    """R_f: softmax-weighted sum of the R_m."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, dim, bias=False)

    def forward(self, r: Tensor, there: Tensor) -> Tensor:
        """R_m [M, B, T, d], and which of them to use (bool [M, B, T]) -> R_f [B, T, d]."""
        nothing = ~there.any(dim=0)  # padding
        score = self.score(r).masked_fill(~(there | nothing).unsqueeze(-1), float("-inf"))
        return (score.softmax(dim=0) * r).sum(dim=0)


class Sdt(ErcModel):
    """The whole model; it gives the logits of every turn and the three kinds of loss."""

    def __init__(self, config: SdtConfig) -> None:
        super().__init__()
        self.config = config
        names, dim = list(config.dims), config.dim
        self.project = nn.ModuleDict({name: nn.Linear(config.dims[name], dim, bias=False) for name in names})
        self.speaker = nn.Embedding(config.speakers, dim)
        self.augment = nn.ModuleDict({name: Augmented(name, config) for name in names})
        self.fuse = MultimodalGate(dim)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.ModuleDict({name: nn.Linear(dim, config.classes) for name in names})
        self.fused_classifier = nn.Linear(dim, config.classes)
        self.loss_weights = {"ce": 1.0, "kl": 1.0}

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits of the fused representation and the losses by name."""
        mask, present = batch.mask, batch.present
        embedding = positional_encoding(mask.shape[1], self.config.dim, mask.device) + self.speaker(batch.speaker)
        x = {name: self.project[name](values) + embedding for name, values in masked_features(batch).items()}
        # A modality attends to all of its own turns: a turn without features still has speaker and position.
        past = self.config.context == "past"
        there, real = {name: seen(keys, past) for name, keys in present.items()}, seen(mask, past)
        r = {name: module(x, {**there, name: real}) for name, module in self.augment.items()}
        fused = self.fuse(torch.stack(list(r.values())), usable(batch))
        logits = self.fused_classifier(fused)
        losses = {
            "ce": cross_entropy(logits, batch.label, mask, class_weights),
            "kl": torch.zeros((), device=mask.device),
        }
        for name, values in r.items():
            own = self.classifier[name](self.dropout(torch.relu(values)))
            losses["ce"] = losses["ce"] + cross_entropy(own, batch.label, present[name], class_weights)
            losses["kl"] = losses["kl"] + divergence(
                logits, own, self.config.temperature, present[name] & batch.labelled
            )
        return Output(logits, losses, fused)
