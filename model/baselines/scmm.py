"""SCMM: several paths for the context and for the interaction of modalities, and a router that picks. Our reading.

Source: Yang et al., "Self-adaptive Context and Modal-interaction Modeling For Multimodal Emotion Recognition", Findings
of ACL 2023. No code is public. Certain is the outline: context modules of long range, of short range and of none; three
modules of modal interaction of different strength; a self-adaptive choice of a path in each.

    x^m   = W_m features                                                         256 wide, sinusoids added in P1 and P2
    P1    = transformer over the dialogue, 2 layers;  P2 = the same for |i - j| <= 3;  P3 = MLP
    pi_i  = one-hot choice of softmax(MLP(mean over modalities of x_i))          straight-through Gumbel
    c_i^m = sum_k pi_ik P_k(x^m)_i
    Q1    = the modalities of an utterance attend to each other, mean of them;  Q2 = text attends to the others only;
    Q3    = MLP([c^t ; c^a ; c^v])
    y_i   = sum_k rho_ik Q_k,  rho chosen like pi from the mean of the c_i^m;  logits = Linear(y)
    loss  = cross-entropy + 0.01 (KL(mean pi || uniform) + KL(mean rho || uniform))

The networks P are shared by the modalities. The temperature falls from 1 to 0.5, 3 % an epoch. In evaluation the
likeliest path is taken. Our settings: dropout 0.4, 4 heads, Adam 3e-4, l2 1e-5, batch 16 or 32, 60 epochs, class
weights.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.baselines.attention import MultiHeadAttention, TransformerLayer, near, pairs
from model.baselines.early_fusion import masked_features, usable
from model.baselines.selection import select
from model.batching import Batch
from model.cmath import positional_encoding
from model.interface import ErcModel, Form, Output
from model.losses import cross_entropy

PATHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ScmmConfig(Form):
    """Everything that decides the network's form and its loss."""

    dim: int
    heads: int
    layers: int
    """Of each transformer path."""
    window: int
    """Turns on each side that the short-range path sees."""
    dropout: float
    balance_weight: float
    """Of the loss that keeps all paths in use."""


def mlp(inputs: int, dim: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, outputs))


class Router(nn.Module):
    """Picks a path for every utterance."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.score = mlp(dim, dim // 2, PATHS, dropout)

    def forward(
        self, values: Tensor, there: Tensor, mask: Tensor, paths: list[Tensor], temperature: float
    ) -> tuple[Tensor, Tensor]:
        """What the router sees [M, B, T, d], which of it counts [M, B, T], real turns [B, T], the paths' results
        [..., B, T, d] -> the chosen results, and KL(mean choice || uniform)."""
        weight = (there / there.sum(0).clamp(min=1)).unsqueeze(-1)
        logits = self.score((values * weight).sum(0))
        choice = select(logits, temperature, self.training)
        chosen = torch.stack([choice[..., k : k + 1] * path for k, path in enumerate(paths)]).sum(0)
        share = logits.float().softmax(-1)[mask].mean(0)
        return chosen, (share * (share * PATHS).clamp(min=1e-9).log()).sum()


class Scmm(ErcModel):
    """Context paths, interaction paths, classifier."""

    reading = True

    def __init__(self, config: ScmmConfig) -> None:
        super().__init__()
        self.config = config
        names, dim, dropout = list(config.dims), config.dim, config.dropout
        self.temperature = 1.0
        self.project = nn.ModuleDict({name: nn.Linear(config.dims[name], dim) for name in names})
        self.long, self.short = (
            nn.ModuleList(TransformerLayer(dim, config.heads, dropout) for _ in range(config.layers)) for _ in range(2)
        )
        self.free = mlp(dim, dim, dim, dropout)
        self.context_router, self.interaction_router = Router(dim, dropout), Router(dim, dropout)
        self.mutual = TransformerLayer(dim, config.heads, dropout)
        self.from_hub = MultiHeadAttention(dim, config.heads, dropout) if len(names) > 1 else None
        self.hub_norm = nn.LayerNorm(dim)
        self.joined = mlp(len(names) * dim, dim, dim, dropout)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dim, config.classes)
        self.loss_weights = {"ce": 1.0, "balance": config.balance_weight}

    def begin_epoch(self, epoch: int) -> None:
        """Let the temperature of the choices fall."""
        self.temperature = max(0.5, 0.97 ** (epoch - 1))

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Logits and the losses by name."""
        mask, there = batch.mask, usable(batch)
        x = torch.stack([self.project[name](values) for name, values in masked_features(batch).items()])
        c, balance = self.context_router(x, there, mask, self._context(x, mask), self.temperature)
        y, more = self.interaction_router(c, there, mask, self._interaction(c, there), self.temperature)
        logits = self.classifier(self.dropout(y))
        losses = {"ce": cross_entropy(logits, batch.label, mask, class_weights), "balance": balance + more}
        return Output(logits, losses, y)

    def _context(self, x: Tensor, mask: Tensor) -> list[Tensor]:
        """P1, P2 and P3 of [M, B, T, d]; the modalities count as dialogues of their own."""
        turns = mask.shape[1]
        placed = self.dropout(x + positional_encoding(turns, self.config.dim, mask.device)).flatten(0, 1)
        real = pairs(mask).repeat(len(x), 1, 1)
        far, close = placed, placed
        for layer in self.long:
            far = layer(far, real)
        close_by = real & near(turns, self.config.window, self.config.window, mask.device)
        for layer in self.short:
            close = layer(close, close_by)
        return [far.view_as(x), close.view_as(x), self.free(x)]

    def _interaction(self, c: Tensor, there: Tensor) -> list[Tensor]:
        """Q1, Q2 and Q3 of [M, B, T, d]; an utterance is a sequence of its modalities. Each result [B, T, d]."""
        tokens, allowed = c.permute(1, 2, 0, 3).flatten(0, 1), there.permute(1, 2, 0).flatten(0, 1).unsqueeze(1)
        weight = (there / there.sum(0).clamp(min=1)).unsqueeze(-1)
        mutual = self.mutual(tokens, allowed).view(*c.shape[1:3], len(c), -1).permute(2, 0, 1, 3)
        hub = tokens[:, :1]  # text, or the first modality that is used
        if self.from_hub is not None:
            hub = hub + self.dropout(self.from_hub(hub, tokens[:, 1:], allowed[:, :, 1:]))
        hub = self.hub_norm(hub).view_as(c[0])
        joined = self.joined((c * there.unsqueeze(-1)).permute(1, 2, 0, 3).flatten(2))
        return [(mutual * weight).sum(0), hub, joined]
