"""The graph that MMGCN, MM-DFN and AdaIGN share: a node a modality of each utterance.

Inside one modality a dialogue is a complete graph; across modalities only the nodes of one utterance are joined. So a
dialogue's adjacency is a dense block [T, T] a modality and a diagonal [T] a pair of modalities, and never one matrix
over all nodes of a batch. A modality that is missing is no node: it has no edges.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class ModalityGraph:
    """Normalised adjacency of B dialogues."""

    within: Tensor
    """[M, B, T, T]: edges inside a modality; (i, j) brings j to i."""
    across: Tensor
    """[M, M, B, T]: edges (m, n) that bring modality n of an utterance to its modality m; zero where m = n."""

    def propagate(self, h: Tensor) -> Tensor:
        """A^ h of the nodes [M, B, T, d]."""
        return self.within @ h + (self.across.unsqueeze(-1) * h).sum(1)


def angular(cosine: Tensor) -> Tensor:
    """Edge weight 1 - arccos(0.99999 cos) / pi; the factor keeps the gradient finite where two nodes are parallel."""
    return 1 - torch.arccos(0.99999 * cosine.clamp(-1, 1)) / math.pi


def modality_graph(x: Tensor, nodes: Tensor, edges: Tensor | None = None) -> ModalityGraph:
    """The graph of nodes x [M, B, T, d], weighed by their angles and normalised, A^ = D^-1/2 A D^-1/2.

    Gradients reach x through the weights.

    Args:
        nodes: bool [M, B, T]: which of them there are.
        edges: [T, T] or [M, B, T, T]: factor on the edges inside a modality; all of them by default.
    """
    with torch.autocast(x.device.type, enabled=False):  # an arccos next to 1 needs every bit
        unit = F.normalize(x.float(), dim=-1, eps=1e-8)  # a zero vector is at a right angle to everything
        within = angular(unit @ unit.transpose(2, 3)) * (nodes.unsqueeze(3) & nodes.unsqueeze(2))
        if edges is not None:
            within = within * edges
        joined = (nodes.unsqueeze(1) & nodes.unsqueeze(0)) & ~torch.eye(len(x), dtype=torch.bool, device=x.device).view(
            len(x), len(x), 1, 1
        )
        across = angular((unit.unsqueeze(1) * unit.unsqueeze(0)).sum(-1)) * joined
        scale = (within.sum(-1) + across.sum(1)).clamp(min=1e-12).rsqrt()
        within = scale.unsqueeze(3) * within * scale.unsqueeze(2)
        across = scale.unsqueeze(1) * across * scale.unsqueeze(0)
    return ModalityGraph(within, across)


class DeepConvolution(nn.Module):
    """One layer l of GCNII: relu(theta_l S W_l + (1 - theta_l) r),  r = (1 - alpha) p + alpha h0.

    p is what the graph brought and h0 the first layer's input; S is [p ; h0] if `join`, else r; theta_l =
    ln(lambda / l + 1). The two products with p, and the two with h0, are folded into one each.
    """

    def __init__(self, dim: int, layer: int, alpha: float, decay: float, join: bool) -> None:
        super().__init__()
        self.alpha, self.theta, self.join = alpha, math.log(decay / layer + 1), join
        self.weight = nn.Parameter(torch.empty(2 * dim if join else dim, dim).uniform_(-(dim**-0.5), dim**-0.5))

    def forward(self, p: Tensor, h0: Tensor) -> Tensor:
        """Both [..., d] -> [..., d]."""
        weighted = self.theta * self.weight
        rest = (1 - self.theta) * torch.eye(p.shape[-1], device=p.device)
        if self.join:
            for_p, for_h0 = weighted.chunk(2)
            for_p, for_h0 = for_p + (1 - self.alpha) * rest, for_h0 + self.alpha * rest
        else:
            for_p, for_h0 = (1 - self.alpha) * (weighted + rest), self.alpha * (weighted + rest)
        return torch.relu(p @ for_p + h0 @ for_h0)


def read_out(parts: list[Tensor], nodes: Tensor) -> Tensor:
    """Parts [M, B, T, d_k] of every node, zero where it is none, all in a row: [B, T, M sum of d_k]."""
    of_node = torch.cat(parts, dim=-1) * nodes.unsqueeze(-1)
    return of_node.permute(1, 2, 0, 3).flatten(2)
