"""The graph that MMGCN, MM-DFN and AdaIGN share: each utterance has one node per modality.

Inside one modality all utterances of a dialogue are connected; across modalities only the nodes of one utterance are.
The adjacency of a dialogue is therefore stored as one dense block [T, T] per modality and one diagonal [T] per pair of
modalities, instead of one matrix over all nodes of a batch. A missing modality has no edges.
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
    """Edges inside a modality, [M, B, T, T]; element (i, j) is the edge from j to i."""
    across: Tensor
    """Edges across modalities, [M, M, B, T]; (m, n) goes from an utterance's modality n to m; zero where m = n."""

    def propagate(self, h: Tensor) -> Tensor:
        """Multiply the adjacency A^ with node states h [M, B, T, d]."""
        return self.within @ h + (self.across.unsqueeze(-1) * h).sum(1)


def angular(cosine: Tensor) -> Tensor:
    """Edge weight 1 - arccos(0.99999 cos) / pi; the factor keeps the gradient finite for parallel vectors."""
    return 1 - torch.arccos(0.99999 * cosine.clamp(-1, 1)) / math.pi


def modality_graph(x: Tensor, nodes: Tensor, edges: Tensor | None = None) -> ModalityGraph:
    """Make the graph of nodes x [M, B, T, d]: edges weighted by angle and normalised, A^ = D^-1/2 A D^-1/2.

    Gradients flow to x through the edge weights.

    Args:
        nodes: mask of existing nodes, bool [M, B, T].
        edges: factor on the edges inside a modality, [T, T] or [M, B, T, T]; default 1.
    """
    with torch.autocast(x.device.type, enabled=False):  # arccos near 1 needs full precision
        unit = F.normalize(x.float(), dim=-1, eps=1e-8)  # a zero vector has cosine 0 with every other
        within = angular(unit @ unit.transpose(2, 3)) * (nodes.unsqueeze(3) & nodes.unsqueeze(2))
        if edges is not None:
            within = within * edges
        joined = (nodes.unsqueeze(1) & nodes.unsqueeze(0)) & ~torch.eye(len(x), dtype=torch.bool, device=x.device).view(
            len(x), len(x), 1, 1
        )
        across = angular((unit.unsqueeze(1) * unit.unsqueeze(0)).sum(-1)) * joined
        degree = within.sum(-1) + across.sum(1)
        # A node without edges is multiplied by 0: so neither its value nor a gradient passes 1 / sqrt(0).
        scale = degree.clamp(min=1e-12).rsqrt() * (degree > 0)
        within = scale.unsqueeze(3) * within * scale.unsqueeze(2)
        across = scale.unsqueeze(1) * across * scale.unsqueeze(0)
    return ModalityGraph(within, across)


class DeepConvolution(nn.Module):
    """One layer l of GCNII: relu(theta_l [p ; h0] W_l + (1 - theta_l) r),  r = (1 - alpha) p + alpha h0.

    p is the propagated state A^ h, and h0 the input of the first layer; theta_l = ln(lambda / l + 1). The two products
    with p are merged into one, and so are the two with h0.
    """

    def __init__(self, dim: int, layer: int, alpha: float, decay: float) -> None:
        super().__init__()
        self.alpha, self.theta = alpha, math.log(decay / layer + 1)
        self.weight = nn.Parameter(torch.empty(2 * dim, dim).uniform_(-(dim**-0.5), dim**-0.5))

    def forward(self, p: Tensor, h0: Tensor) -> Tensor:
        """Propagated state p and input h0 of the first layer, both [..., d] -> [..., d]."""
        for_p, for_h0 = (self.theta * self.weight).chunk(2)
        rest = (1 - self.theta) * torch.eye(p.shape[-1], device=p.device)
        return torch.relu(p @ (for_p + (1 - self.alpha) * rest) + h0 @ (for_h0 + self.alpha * rest))


def read_out(parts: list[Tensor], nodes: Tensor) -> Tensor:
    """Concatenate the parts [M, B, T, d_k] of all nodes of an utterance: [B, T, M sum of d_k]; zero without a node."""
    of_node = torch.cat(parts, dim=-1) * nodes.unsqueeze(-1)
    return of_node.permute(1, 2, 0, 3).flatten(2)
