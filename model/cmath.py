"""CMATH: cross-modality augmented transformer with hierarchical variational distillation.

Equation numbers are those of Zhu et al., "CMATH", section 4. Letters in shapes: B dialogues, T turns, d model width,
F feature width, C classes. What the paper leaves open is a field of `CmathSettings`.

CA and SA of Eq. 9 to 11 are `MultiHeadAttention`, and Eq. 6 and 7 are `positional_encoding` (both in attention.py).

The model uses two masks. `mask` marks real turns; padding enters no convolution, attention weight or loss. `present`
marks turns that have the modality: a missing modality is zeroed, masked out as a key of cross-attention, and excluded
from the unimodal and distillation losses.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.attention import MultiHeadAttention, positional_encoding
from model.batching import Batch
from model.interface import DataSpec, ErcModel, Output
from model.losses import cross_entropy, divergence, masked_mean
from model.settings import CmathSettings


class CmathConfig(CmathSettings, DataSpec):
    """Configuration of the network and its loss."""

    gamma1: float
    """Weight of low-level distillation, Eq. 24."""
    gamma2: float
    """Weight of high-level distillation, Eq. 24."""


class ModalityReconstruction(nn.Module):
    """Section 4.1.1: a convolution into the common space (Eq. 1) and one that reconstructs the features (Eq. 2)."""

    def __init__(self, features: int, dim: int, kernel: int, dropout: float, reconstruct: bool) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Conv1d(features, dim, kernel, padding=kernel // 2)
        self.up = nn.Conv1d(dim, features, kernel, padding=kernel // 2) if reconstruct else None

    def forward(self, u: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features U_m [B, T, F] -> compressed U'_m [B, T, d] and reconstructed U''_m [B, T, F]."""
        keep = present.unsqueeze(-1)
        compressed = _convolve(self.down, self.dropout(u * keep)) * keep  # Eq. 1; missing turns stay zero
        reconstructed = _convolve(self.up, compressed) if self.up is not None else None  # Eq. 2
        return compressed, reconstructed


def _convolve(convolution: nn.Conv1d, values: Tensor) -> Tensor:
    if convolution.kernel_size == (1,):  # equal to one matrix product, which needs no transposition
        return F.linear(values, convolution.weight.squeeze(-1), convolution.bias)
    return convolution(values.transpose(1, 2)).transpose(1, 2)


class AddAndRefine(nn.Module):
    """The last two lines of Eq. 9, 10 and 11: residual and norm, feed-forward network, residual and norm."""

    def __init__(self, dim: int, ffn_multiple: int, dropout: float) -> None:
        super().__init__()
        inner = ffn_multiple * dim
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, inner), nn.GELU(), nn.Dropout(dropout), nn.Linear(inner, dim))
        self.dropout = nn.Dropout(dropout)

    def forward(self, attended: Tensor, h: Tensor) -> Tensor:
        """Output of the attention and central representation H_m, both [B, T, d] -> [B, T, d]."""
        x = self.norm1(self.dropout(attended) + h)
        return self.norm2(self.dropout(self.ffn(x)) + x)


class Gate(nn.Module):
    """Eq. 12: a learned gate that mixes several representations into the augmented one."""

    def __init__(self, sources: int, dim: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        if kind == "softmax":
            self.score = nn.Linear(dim, dim, bias=False)
        else:
            self.scores = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(sources))
            self.project = nn.Linear(sources * dim, dim)

    def forward(self, sources: list[Tensor], available: list[Tensor]) -> Tensor:
        """Representations [B, T, d], and whether each is available (bool [B, 1, 1]) -> their mixture [B, T, d]."""
        weighted = self.weights(sources, available) * torch.stack(sources)
        return self.project(torch.cat(list(weighted), dim=-1)) if self.kind == "sigmoid" else weighted.sum(dim=0)

    def weights(self, sources: list[Tensor], available: list[Tensor]) -> Tensor:
        """Weight of each element of each representation, [sources, B, T, d]; 0 for an unavailable representation."""
        h, there = torch.stack(sources), torch.stack(available)
        if self.kind == "sigmoid":
            return torch.stack([torch.sigmoid(w(part)) for w, part in zip(self.scores, h, strict=True)]) * there
        return self.score(h).masked_fill(~there, float("-inf")).softmax(dim=0)


class CmaTransformer(nn.Module):
    """Section 4.1.2: one central modality, enhanced by the other modalities (Eq. 9 to 14)."""

    def __init__(self, central: str, config: CmathConfig) -> None:
        super().__init__()
        self.central = central
        self.auxiliary = [name for name in config.dims if name != central]
        sources = [central, *self.auxiliary]
        self.attend = nn.ModuleDict({name: MultiHeadAttention(config.dim, config.heads) for name in sources})
        self.refine = nn.ModuleDict(
            {name: AddAndRefine(config.dim, config.ffn_multiple, config.dropout) for name in sources}
        )
        self.gate = Gate(len(sources), config.dim, config.gate)

    def forward(self, h: dict[str, Tensor], key_mask: dict[str, Tensor], mask: Tensor) -> Tensor:
        """H_m [B, T, d] of all modalities -> H'_m [B, T, d] of the central one."""
        centre = h[self.central]
        cross = {name: self.attend[name](centre, h[name], key_mask[name].unsqueeze(1)) for name in self.auxiliary}
        augmented = [self.refine[name](cross[name], centre) for name in self.auxiliary]  # Eq. 9 and 10
        # The central modality attends to every real turn: a turn without features still has speaker and position.
        attended = self.attend[self.central](centre, centre, mask.unsqueeze(1)) + sum(cross.values())  # Eq. 11
        augmented = [self.refine[self.central](attended, centre), *augmented]
        real = torch.ones_like(mask[:, :1]).unsqueeze(-1)
        available = [real, *(key_mask[name].any(1)[:, None, None] for name in self.auxiliary)]
        return self.gate(augmented, available)  # Eq. 12


class VariationalFusion(nn.Module):
    """Section 4.2.1: one Gaussian per modality, their average, and a sample from it (Eq. 15 to 17)."""

    def __init__(self, config: CmathConfig) -> None:
        super().__init__()
        self.mean = nn.ModuleDict({name: _mlp(config.dim) for name in config.dims})
        self.deviation = nn.ModuleDict({name: _mlp(config.dim) for name in config.dims})

    def forward(self, h: dict[str, Tensor], present: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """H'_m [B, T, d] -> fused sample H'_x (in evaluation: the mean) and mean mu_x, both [B, T, d].

        The average is taken over the modalities that are present; a turn that has none uses all of them.
        """
        there = torch.stack([present[name] for name in h]).unsqueeze(-1)
        there = there | ~there.any(dim=0)
        weight = there / there.sum(dim=0)
        mean = (torch.stack([self.mean[name](h[name]) for name in h]) * weight).sum(dim=0)  # Eq. 15 and 16
        if not self.training:
            return mean, mean
        deviation = torch.stack([F.softplus(self.deviation[name](h[name])) for name in h])
        deviation = (deviation * weight).sum(dim=0)
        return mean + torch.randn_like(deviation) * deviation, mean  # Eq. 17


def _mlp(dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))


class Cmath(ErcModel):
    """The whole model; it gives the logits of every turn and the loss terms of Eq. 24."""

    def __init__(self, config: CmathConfig) -> None:
        super().__init__()
        self.config = config
        names = list(config.dims)
        reconstruct = config.ablate != "mr"
        kernel = config.kernel if reconstruct else 1  # "w/o MR" of Table 4 uses a fully-connected layer
        self.reconstruction = nn.ModuleDict(
            {
                name: ModalityReconstruction(config.dims[name], config.dim, kernel, config.feature_dropout, reconstruct)
                for name in names
            }
        )
        self.speaker = nn.Embedding(config.speakers, config.dim)  # V_s of Eq. 5
        self.transformer = (
            nn.ModuleDict({name: CmaTransformer(name, config) for name in names}) if config.ablate != "cma_t" else None
        )
        self.fusion = VariationalFusion(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.ModuleDict({name: nn.Linear(config.dim, config.classes) for name in names})
        self.fused_classifier = nn.Linear(config.dim, config.classes)
        self.loss_weights = {  # Eq. 24; an ablated term has weight 0
            "ce": 1.0,
            "re": 0.0 if config.ablate == "mr" else 1.0,
            "mse": 0.0 if config.ablate in ("lld", "hd") else config.gamma1,
            "kl": 0.0 if config.ablate in ("hld", "hd") else config.gamma2,
        }

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits of the fused representation and the losses by name."""
        config, mask, present = self.config, batch.mask, batch.present
        position = positional_encoding(mask.shape[1], config.dim, mask.device)
        embedding = config.embedding_scale * (self.speaker(batch.speaker) + position) * mask.unsqueeze(-1)
        h, reconstructed = {}, {}
        for name, module in self.reconstruction.items():
            compressed, reconstructed[name] = module(batch.features[name], present[name])
            h[name] = self.dropout(compressed + embedding)  # Eq. 8
        if self.transformer is not None:
            h = {name: module(h, present, mask) for name, module in self.transformer.items()}  # Eq. 13 and 14
        sample, mean = self.fusion(h, present)
        logits = {name: self.classifier[name](self.dropout(values)) for name, values in h.items()}  # Eq. 19
        fused = self.fused_classifier(self.dropout(sample))

        counted = {name: present[name] & batch.labelled for name in h}  # context without a label enters no loss
        losses = {"ce": cross_entropy(fused, batch.label, mask, class_weights)}  # Eq. 21
        for name in h:
            losses["ce"] = losses["ce"] + cross_entropy(
                logits[name], batch.label, present[name], class_weights
            )  # Eq. 20, 22
        if config.ablate != "mr":
            losses["re"] = self._sum(
                self._squared(batch.features[name], reconstructed[name], counted[name]) for name in h
            )  # Eq. 3 and 4
        teacher, teacher_logits = (sample.detach(), fused.detach()) if config.detach_teacher else (sample, fused)
        losses["mse"] = self._sum(self._squared(teacher, h[name], counted[name]) for name in h)  # Eq. 18
        losses["kl"] = self._sum(
            divergence(teacher_logits, logits[name], config.temperature, counted[name]) for name in h
        )  # Eq. 23
        return Output(fused, losses, mean)

    @staticmethod
    def _sum(terms: Iterable[Tensor]) -> Tensor:
        return torch.stack(list(terms)).sum()

    def _squared(self, left: Tensor, right: Tensor, mask: Tensor) -> Tensor:
        """Squared Frobenius norm of the difference: the mean over real elements, or the sum as printed."""
        squared = (left - right).square()
        if self.config.reduction == "sum":
            return (squared.sum(-1) * mask).sum() / mask.shape[0]  # the paper sums over one conversation
        return masked_mean(squared.mean(-1), mask)
