"""MultiDAG: recursion over a directed acyclic graph of utterances, with curriculum learning.

Source: Nguyen et al., "Curriculum Learning Meets Directed Acyclic Graph for Multimodal Emotion Recognition",
LREC-COLING 2024, built on DAG-ERC (Shen et al., ACL 2021). The equations follow the authors' public code, which
concatenates the modalities in the configuration of the published runs.

    h_i^0 = relu(Linear([t; a; v]))                                               300 wide
    predecessors of i: all j with s <= j < i, where s is the previous utterance of i's speaker; all j < i without one
    a_ij  = softmax_j(w . [h_i^{l-1} ; h_j^l] + b)
    M_i   = sum_j a_ij W_{same speaker or not} h_j^l                              M_0 = 0
    h_i^l = GRU_C(input h_i^{l-1}, state M_i) + GRU_P(input M_i, state h_i^{l-1}),   l = 1 .. 4
    logits = classifier of three layers on [h^0 ; .. ; h^4 ; x_i]

In the softmax over j, the terms of h_i^{l-1} and b are the same for every j and cancel, so only the half of w that
multiplies h_j^l is a parameter here. A test compares this with the equation as printed.

Curriculum: the difficulty of a dialogue is (S + P) / (U + P), with U utterances, P speakers and S changes of emotion
between successive utterances of one speaker. The training split is sorted by difficulty and cut into buckets; epoch e
trains on the first e buckets, and on all of them once e reaches their number.

Published for IEMOCAP: AdamW without weight decay, 5e-4, batch 16, 30 epochs, dropout 0.4, gradients clipped at 5, 4
layers, 12 buckets, unweighted cross-entropy. For MELD nothing is published; DAG-ERC uses 1e-5, batch 64, dropout 0.1,
2 layers there.

No turn sees a later one as it stands, so `context: past` changes nothing here.

For speed, only the recursion runs turn by turn, for all dialogues of a batch at once: the contribution of h^{l-1} to
the gates is computed before for all turns, and the attention covers only the longest range that the batch needs.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foundation.torch_setup import sent
from model.baselines.attention import masked_softmax
from model.baselines.early_fusion import joined_features
from model.baselines.recurrent import gru_step
from model.baselines.settings import MultiDagSettings
from model.batching import NO_LABEL, NOBODY, Batch, Corpus
from model.interface import DataSpec, ErcModel, Output
from model.losses import cross_entropy
from model.settings import DialogueContext


class MultiDagConfig(MultiDagSettings, DialogueContext, DataSpec):
    """Configuration of the network and its curriculum."""


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Predecessors of every turn, in B dialogues of T turns."""

    edges: Tensor
    """Edges of the graph, bool [B, T, T]; (i, j) is true if turn j is a predecessor of turn i."""
    same: Tensor
    """Whether turns i and j have the same speaker, bool [B, T, T]."""
    reach: list[int]
    """Largest number of predecessors of each turn over the dialogues of the batch."""


def ancestry(who: Tensor, device: torch.device) -> Ancestry:
    """Compute the graph on the CPU from the speakers `who` [B, T], NOBODY in padding, and send it to `device`."""
    turn = torch.arange(who.shape[1])
    same = who.unsqueeze(2) == who.unsqueeze(1)
    first = (same.tril(diagonal=-1) * turn).amax(dim=-1)  # 0 also where the speaker has not spoken before
    edges = (turn >= first.unsqueeze(2)) & (turn < turn.unsqueeze(1)) & (who != NOBODY).unsqueeze(2)
    return Ancestry(sent(edges, device), sent(same, device), edges.sum(-1).amax(dim=0).tolist())


class DagLayer(nn.Module):
    """One layer of the recursion."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1, bias=False)
        self.same, self.other = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.content, self.predecessors = nn.GRUCell(dim, dim), nn.GRUCell(dim, dim)

    def forward(self, below: Tensor, graph: Ancestry) -> Tensor:
        """h^{l-1} [B, T, d] -> h^l [B, T, d]."""
        c, p = self.content, self.predecessors
        input_c = F.linear(below, c.weight_ih, c.bias_ih).unbind(1)
        state_p = F.linear(below, p.weight_hh, p.bias_hh).unbind(1)
        weight, bias = torch.cat([c.weight_hh, p.weight_ih]), torch.cat([c.bias_hh, p.bias_ih])
        relation = torch.cat([self.same.weight, self.other.weight], dim=1)
        h: list[Tensor] = []
        scores: list[Tensor] = []
        for turn, h_below in enumerate(below.unbind(1)):
            m = torch.zeros_like(h_below)
            if turn:
                near = slice(turn - max(graph.reach[turn], 1), turn)
                a = masked_softmax(torch.cat(scores[near], dim=1), graph.edges[:, turn, near])
                same = graph.same[:, turn, near]
                m = torch.stack([a * same, a * ~same], dim=1) @ torch.stack(h[near], dim=1)
                m = F.linear(m.flatten(1), relation)
            state_c, input_p = F.linear(m, weight, bias).chunk(2, dim=-1)
            h.append(gru_step(input_c[turn], state_c, m) + gru_step(input_p, state_p[turn], h_below))
            scores.append(self.score(h[-1]))
        return torch.stack(h, dim=1)


def difficulty(label: Tensor, speaker: Tensor) -> float:
    """Difficulty (S + P) / (U + P) of a dialogue, by its labelled turns; `label` and `speaker` are [turns]."""
    changes, last, labelled = 0, dict[int, int](), label != NO_LABEL
    if not labelled.any():
        return 1.0
    for who, emotion in zip(speaker[labelled].tolist(), label[labelled].tolist(), strict=True):
        changes += last.get(who, emotion) != emotion
        last[who] = emotion
    return (changes + len(last)) / (int(labelled.sum()) + len(last))


class MultiDag(ErcModel):
    """The whole model: input layer, recursive layers, classifier."""

    def __init__(self, config: MultiDagConfig) -> None:
        super().__init__()
        self.curriculum = config.curriculum
        inputs, dim = sum(config.dims.values()), config.hidden
        self.enter = nn.Linear(inputs, dim)
        self.layers = nn.ModuleList(DagLayer(dim) for _ in range(config.layers))
        self.hidden = nn.Sequential(
            nn.Linear((config.layers + 1) * dim + inputs, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(),
            nn.Dropout(config.dropout),
        )  # fmt: skip
        self.classifier = nn.Linear(dim, config.classes)
        self.loss_weights = {"ce": 1.0}

    def forward(self, batch: Batch, class_weights: Tensor | None = None) -> Output:
        """Compute the logits and the cross-entropy."""
        x, graph = joined_features(batch), ancestry(batch.who, batch.mask.device)
        h = [torch.relu(self.enter(x))]
        for layer in self.layers:
            h.append(layer(h[-1], graph))
        representation = self.hidden(torch.cat([*h, x], dim=-1))
        logits = self.classifier(representation)
        return Output(logits, {"ce": cross_entropy(logits, batch.label, batch.mask, class_weights)}, representation)

    def curriculum_subset(self, corpus: Corpus, epoch: int) -> list[Tensor]:
        """Dialogues of the first `epoch` buckets; the first bucket has the easiest dialogues."""
        dialogues = corpus.dialogues["train"]
        ranked = sorted(dialogues, key=lambda where: difficulty(corpus.label[where], corpus.speaker[where]))
        return ranked[: epoch * math.ceil(len(ranked) / self.curriculum)]
