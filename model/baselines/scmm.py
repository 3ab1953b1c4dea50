"""SCMM: several paths for context and for the interaction of modalities, and routers that choose one path each.

This is a reimplementation: the authors' code is not public.

Source: Yang et al., "Self-adaptive Context and Modal-interaction Modeling For Multimodal Emotion Recognition", Findings
of ACL 2023. No code is public. The publication fixes only the outline: context modules of long range, short range and
no context; three modules of modal interaction of different strength; a self-adaptive choice of a path in both.

    x^m   = W_m features                                                         256 wide, sinusoids added in P1 and P2
    P1    = transformer over the dialogue, 2 layers;  P2 = the same for |i - j| <= 3;  P3 = MLP
    pi_i  = one-hot sample from softmax(MLP(mean over modalities of x_i))        straight-through Gumbel
    c_i^m = sum_k pi_ik P_k(x^m)_i
    Q1    = the modalities of an utterance attend to each other, mean of them;  Q2 = text attends to the others only;
    Q3    = MLP([c^t ; c^a ; c^v])
    y_i   = sum_k rho_ik Q_k,  rho sampled like pi from the mean of the c_i^m;  logits = Linear(y)
    loss  = cross-entropy + 0.01 (KL(mean pi || uniform) + KL(mean rho || uniform))

The modalities share the networks P. The temperature falls from 1 to 0.5, by 3 % per epoch. In evaluation the most
probable path is taken. Our settings: dropout 0.4, 4 heads, Adam 3e-4, l2 1e-5, batch 16 or 32, 60 epochs, class
weights.

With `context: past`, P1 and P2 see no later turn; all else is each turn's own.
"""

import torch
from torch import Tensor, nn

from model.attention import MultiHeadAttention, positional_encoding
from model.baselines.attention import TransformerLayer, near, pairs, seen
from model.baselines.early_fusion import masked_features, usable
from model.baselines.selection import select
from model.baselines.settings import ScmmSettings
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output
from model.losses import cross_entropy
from model.settings import DialogueContext

PATHS = 3


class ScmmConfig(ScmmSettings, DialogueContext, DataSpec):
    """Configuration of the network and its loss."""


def mlp(inputs: int, dim: int, outputs: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(dim, outputs))


class Router(nn.Module):
    """Router that chooses one path for every utterance."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.score = mlp(dim, dim // 2, PATHS, dropout)

    def forward(
        self, values: Tensor, there: Tensor, real: Tensor, counted: Tensor, paths: list[Tensor], temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Choose a path from `values` [M, B, T, d], averaged over the modalities where `there` [M, B, T] is true.

        `real` are the places of the real turns among the B * T, and `counted` tells which of these are labelled.

        Returns the output of the chosen path, one of `paths` [..., B, T, d], and KL(mean choice || uniform).
        """
        weight = (there / there.sum(0).clamp(min=1)).unsqueeze(-1)
        logits = self.score((values * weight).sum(0))
        choice = select(logits, temperature, self.training)
        chosen = torch.stack([choice[..., k : k + 1] * path for k, path in enumerate(paths)]).sum(0)
        shares = logits.float().softmax(-1).flatten(0, 1)[real]
        share = (shares * counted.unsqueeze(-1)).sum(0) / counted.sum().clamp(min=1)
        return chosen, (share * (share * PATHS).clamp(min=1e-9).log()).sum()


class Scmm(ErcModel):
    """The whole model: context paths, interaction paths, classifier."""

    reimplementation = True

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
        """Lower the temperature of the Gumbel samples by 3 % per epoch, to 0.5 at least."""
        self.temperature = max(0.5, 0.97 ** (epoch - 1))

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits and the losses by name."""
        mask, there, real = batch.mask, usable(batch), batch.real_turns()
        x = torch.stack([self.project[name](values) for name, values in masked_features(batch).items()])
        counted = batch.labelled.flatten()[real]
        c, balance = self.context_router(x, there, real, counted, self._context(x, mask), self.temperature)
        y, more = self.interaction_router(c, there, real, counted, self._interaction(c, there), self.temperature)
        logits = self.classifier(self.dropout(y))
        losses = {"ce": cross_entropy(logits, batch.label, mask, class_weights), "balance": balance + more}
        return Output(logits, losses, y)

    def _context(self, x: Tensor, mask: Tensor) -> list[Tensor]:
        """Outputs of P1, P2 and P3 for x [M, B, T, d]; each modality is treated as a separate dialogue."""
        turns = mask.shape[1]
        placed = self.dropout(x + positional_encoding(turns, self.config.dim, mask.device)).flatten(0, 1)
        real = (pairs(mask) & seen(mask, self.config.context == "past")).repeat(len(x), 1, 1)
        far, close = placed, placed
        for layer in self.long:
            far = layer(far, real)
        close_by = real & near(turns, self.config.window, self.config.window, mask.device)
        for layer in self.short:
            close = layer(close, close_by)
        return [far.view_as(x), close.view_as(x), self.free(x)]

    def _interaction(self, c: Tensor, there: Tensor) -> list[Tensor]:
        """Outputs of Q1, Q2 and Q3, each [B, T, d], for c [M, B, T, d]; an utterance is a sequence of M modalities."""
        tokens, allowed = c.permute(1, 2, 0, 3).flatten(0, 1), there.permute(1, 2, 0).flatten(0, 1).unsqueeze(1)
        weight = (there / there.sum(0).clamp(min=1)).unsqueeze(-1)
        mutual = self.mutual(tokens, allowed).view(*c.shape[1:3], len(c), -1).permute(2, 0, 1, 3)
        hub = tokens[:, :1]  # the hub is text, or the first modality that is used
        if self.from_hub is not None:
            hub = hub + self.dropout(self.from_hub(hub, tokens[:, 1:], allowed[:, :, 1:]))
        hub = self.hub_norm(hub).view_as(c[0])
        joined = self.joined((c * there.unsqueeze(-1)).permute(1, 2, 0, 3).flatten(2))
        return [(mutual * weight).sum(0), hub, joined]
