"""Graphs over the utterances of a dialogue; an edge's relation is given by both speakers and its direction in time.

Graphs are dense tensors [B, T, T]; element (i, j) is the edge from j to i.
"""

import torch
from torch import Tensor, nn


def relations(speaker: Tensor, speakers: int) -> Tensor:
    """Relation of each edge, r(i, j) = (speaker_i, speaker_j, [i < j]), as int64 [B, T, T] below 2 speakers^2."""
    turns = speaker.shape[1]
    later = torch.ones(turns, turns, dtype=torch.bool, device=speaker.device).triu(diagonal=1)
    return 2 * (speakers * speaker.unsqueeze(2) + speaker.unsqueeze(1)) + later


def relation_counts(speaker: Tensor, edges: Tensor) -> Tensor:
    """Counts c_{i, r(i,j)} [B, T, T]: number of edges into i with the same relation as (i, j).

    `edges` is bool [B, T, T]. Two edges into i have the same relation if their sources have the same speaker and lie on
    the same side of i.
    """
    same = (speaker.unsqueeze(2) == speaker.unsqueeze(1)).float()
    later = torch.ones_like(edges[0]).triu(diagonal=1)
    after, before = (edges & later).float(), (edges & ~later).float()
    return torch.where(later, after @ same, before @ same)


class RelationalConvolution(nn.Module):
    """RGCN with basis decomposition: h_i = sum_j w_ij W_{r(i,j)} x_j + W_0 x_i,  W_r = sum_b a_rb V_b.

    Instead of summing over relations, the edges are weighted once for each basis: [B, T, T, bases].
    """

    def __init__(self, inputs: int, outputs: int, speakers: int, bases: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.empty(2 * speakers**2, bases))
        self.basis = nn.Parameter(torch.empty(bases, inputs, outputs))
        self.own = nn.Linear(inputs, outputs)
        nn.init.xavier_uniform_(self.share)
        bound = (6 / (inputs + outputs)) ** 0.5  # bound of Xavier initialisation for each basis
        nn.init.uniform_(self.basis, -bound, bound)

    def forward(self, x: Tensor, weight: Tensor, relation: Tensor) -> Tensor:
        """Utterances [B, T, F], edge weights (zero: no edge) and relations [B, T, T] -> [B, T, outputs]."""
        rows, turns, _ = x.shape
        weighed = (self.share.t()[:, relation] * weight).permute(1, 2, 0, 3)  # [B, T, bases, T]
        gathered = weighed.reshape(rows, -1, turns) @ x
        return gathered.reshape(rows, turns, -1) @ self.basis.flatten(0, 1) + self.own(x)
