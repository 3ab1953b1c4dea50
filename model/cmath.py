"""CMATH: cross-modality augmented transformer with hierarchical variational distillation.

Equation numbers are those of Zhu et al., "CMATH", section 4. Letters in shapes: B dialogues, T turns, d model width,
F feature width, C classes. What the paper leaves open is a field of `CmathSettings`.

CA and SA of Eq. 9 to 11 are `MultiHeadAttention`, and Eq. 6 and 7 are `positional_encoding` (both in attention.py).

The model uses two masks. `mask` marks real turns; padding enters no convolution, attention weight or loss. `present`
marks turns that have the modality: a missing modality is zeroed, masked out as a key of cross-attention, and excluded
from the unimodal and distillation losses.

With `context: past`, no turn sees a later one: attention is limited to the turn and those before it, convolutions are
padded on the left only, and the gate counts a modality that some turn so far has. `Cmath.step` then computes one turn
from what it kept of the earlier ones; `forward` gives the same logits up to rounding, for training.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.attention import MultiHeadAttention, earlier, positional_encoding
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


@dataclass(slots=True)
class Followed:
    """What `Cmath.step` keeps of the turns so far of B dialogues, which grow together."""

    turns: int = 0
    inputs: dict[str, Tensor] = field(default_factory=dict)
    """Features that the convolution of Eq. 1 still reads, by modality, [B, kernel - 1, F]."""
    there: dict[str, Tensor] = field(default_factory=dict)
    """Which turns have each modality, bool [B, T]."""
    keys: dict[tuple[str, str], tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Keys and values by the central modality and the one that is attended to, both [B, heads, T, d / heads]."""


class ModalityReconstruction(nn.Module):
    """Section 4.1.1: a convolution into the common space (Eq. 1) and one that reconstructs the features (Eq. 2)."""

    def __init__(self, features: int, dim: int, kernel: int, dropout: float, reconstruct: bool, past: bool) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        padding = 0 if past else kernel // 2  # without a future, `_convolve` pads on the left
        self.down = nn.Conv1d(features, dim, kernel, padding=padding)
        self.up = nn.Conv1d(dim, features, kernel, padding=padding) if reconstruct else None

    def forward(self, u: Tensor, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features U_m [B, T, F] -> compressed U'_m [B, T, d] and reconstructed U''_m [B, T, F]."""
        keep = present.unsqueeze(-1)
        compressed = _convolve(self.down, self.dropout(u * keep)) * keep  # Eq. 1; missing turns stay zero
        reconstructed = _convolve(self.up, compressed) if self.up is not None else None  # Eq. 2
        return compressed, reconstructed

    def step(self, u: Tensor, present: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """One turn [B, 1, F] and the inputs `before` it -> U'_m [B, 1, d], and the inputs before the next turn."""
        keep, left = present.unsqueeze(-1), self.down.kernel_size[0] - 1
        before = u.new_zeros(len(u), left, u.shape[-1]) if before is None else before
        window = torch.cat([before, u * keep], dim=1)
        # The window is as long as the kernel: nothing is padded.
        compressed = self.down(window.transpose(1, 2)).transpose(1, 2) if left else _convolve(self.down, window)
        return compressed * keep, window[:, 1:]


def _convolve(convolution: nn.Conv1d, values: Tensor) -> Tensor:
    if convolution.kernel_size == (1,):  # equal to one matrix product, which needs no transposition
        return F.linear(values, convolution.weight.squeeze(-1), convolution.bias)
    values = values.transpose(1, 2)
    if convolution.padding == (0,):  # context: past
        values = F.pad(values, (convolution.kernel_size[0] - 1, 0))
    return convolution(values).transpose(1, 2)


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
        """Representations [B, T, d], and whether each is available (bool [B, 1 or T, 1]) -> their mixture [B, T, d]."""
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

    def forward(
        self, h: dict[str, Tensor], there: dict[str, Tensor], real: Tensor, past: Followed | None = None
    ) -> Tensor:
        """H_m [B, T, d] of all modalities -> H'_m [B, T, d] of the central one.

        Args:
            there: keys that each turn sees, which have the modality: bool [B, 1 or T, K].
            real: keys that each turn sees of the central modality: every real turn, for one without features still has
                speaker and position.
            past: keys and values of earlier turns, which are extended by those of h.
        """
        centre = h[self.central]
        cross = {name: self._attended(name, h, there[name], past) for name in self.auxiliary}
        augmented = [self.refine[name](cross[name], centre) for name in self.auxiliary]  # Eq. 9 and 10
        attended = self._attended(self.central, h, real, past) + sum(cross.values())  # Eq. 11
        augmented = [self.refine[self.central](attended, centre), *augmented]
        own = torch.ones_like(real[..., :1])
        available = [own, *(there[name].any(-1, keepdim=True) for name in self.auxiliary)]
        return self.gate(augmented, available)  # Eq. 12

    def _attended(self, name: str, h: dict[str, Tensor], allowed: Tensor, past: Followed | None) -> Tensor:
        """Attention of the central modality to the modality `name`, [B, T, d]."""
        attend = self.attend[name]
        assert isinstance(attend, MultiHeadAttention)
        if past is None:
            return attend(h[self.central], h[name], allowed)
        keys, values = attend.keys_and_values(h[name])
        if before := past.keys.get((self.central, name)):
            keys, values = torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2)
        past.keys[self.central, name] = keys, values
        return attend.to_kept(h[self.central], (keys, values), allowed)


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


def without_some(present: dict[str, Tensor], probability: float) -> dict[str, Tensor]:
    """Presence of each modality, bool [B, T], in which each turn loses each modality with `probability`.

    A turn that would lose all that it has keeps them all, so that it still has something to learn from.
    """
    there = torch.stack(list(present.values()))
    kept = there & (torch.rand_like(there, dtype=torch.float32) >= probability)
    kept = torch.where(kept.any(dim=0), kept, there)
    return dict(zip(present, kept, strict=True))


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
                name: ModalityReconstruction(
                    config.dims[name], config.dim, kernel, config.feature_dropout, reconstruct, config.context == "past"
                )
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
        if self.training and config.modality_dropout:
            present = without_some(present, config.modality_dropout)
        embedding = self._embedding(batch.speaker) * mask.unsqueeze(-1)
        h, reconstructed = {}, {}
        for name, module in self.reconstruction.items():
            compressed, reconstructed[name] = module(batch.features[name], present[name])
            h[name] = self.dropout(compressed + embedding)  # Eq. 8
        if self.transformer is not None:
            there, real = {name: present[name].unsqueeze(1) for name in h}, mask.unsqueeze(1)
            if config.context == "past":
                past = earlier(mask.shape[1], mask.device)
                there, real = {name: keys & past for name, keys in there.items()}, real & past
            h = {name: module(h, there, real) for name, module in self.transformer.items()}  # Eq. 13 and 14
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

    def step(self, batch: Batch, past: Followed) -> Tensor:
        """Logits [B, C] of the next turn of B dialogues, of which `batch` has this turn alone; `past` is extended.

        Only for `context: past`, in evaluation. What is computed grows with the number of turns only where the new turn
        attends to them. The values depend on the turns so far alone, to the bit.
        """
        h = {}
        embedding = self._embedding(batch.speaker, past.turns)
        for name, module in self.reconstruction.items():
            assert isinstance(module, ModalityReconstruction)
            compressed, past.inputs[name] = module.step(
                batch.features[name], batch.present[name], past.inputs.get(name)
            )
            before = [past.there[name]] if past.turns else []
            past.there[name] = torch.cat([*before, batch.present[name]], dim=1)
            h[name] = compressed + embedding
        past.turns += 1
        if self.transformer is not None:
            there = {name: keys.unsqueeze(1) for name, keys in past.there.items()}
            real = torch.ones_like(next(iter(there.values())))
            h = {name: module(h, there, real, past) for name, module in self.transformer.items()}
        return self.fused_classifier(self.fusion(h, batch.present)[0])[:, 0]

    def _embedding(self, speaker: Tensor, first: int = 0) -> Tensor:
        """Embedding [B, T, d] of speakers and positions that Eq. 8 adds; the first turn of `speaker` is `first`."""
        position = positional_encoding(speaker.shape[1], self.config.dim, speaker.device, first)
        return self.config.embedding_scale * (self.speaker(speaker) + position)

    @staticmethod
    def _sum(terms: Iterable[Tensor]) -> Tensor:
        return torch.stack(list(terms)).sum()

    def _squared(self, left: Tensor, right: Tensor, mask: Tensor) -> Tensor:
        """Squared Frobenius norm of the difference: the mean over real elements, or the sum as printed."""
        squared = (left - right).square()
        if self.config.reduction == "sum":
            return (squared.sum(-1) * mask).sum() / mask.shape[0]  # the paper sums over one conversation
        return masked_mean(squared.mean(-1), mask)
