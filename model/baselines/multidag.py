"""MultiDAG: recursion over a directed acyclic graph of utterances, with a curriculum.

Source: Nguyen et al., "Curriculum Learning Meets Directed Acyclic Graph for Multimodal Emotion Recognition",
LREC-COLING 2024, built on DAG-ERC (Shen et al., ACL 2021); equations after the authors' public code, which in the form
that was run joins the modalities early.

    h_i^0 = relu(Linear([t; a; v]))                                               300 wide
    predecessors of i: every j < i from the last earlier utterance of i's speaker on; all j < i if there is none
    a_ij  = softmax_j(w . [h_i^{l-1} ; h_j^l] + b)
    M_i   = sum_j a_ij W_{same speaker or not} h_j^l                              M_0 = 0
    h_i^l = GRU_C(input h_i^{l-1}, state M_i) + GRU_P(input M_i, state h_i^{l-1}),   l = 1 .. 4
    logits = classifier of three layers on [h^0 ; .. ; h^4 ; x_i]

In the softmax over j, what h_i^{l-1} and b add is the same for every j and cancels: only the half of w that meets h_j^l
is a parameter here. A test holds this against the equation as printed.

Curriculum: a dialogue's difficulty is (S + P) / (U + P), with U utterances, P speakers and S changes of emotion between
neighbouring utterances of one speaker; the training split is sorted by it and cut into buckets; epoch e trains on the
first e of them, and from the last bucket on, on all.

Published for IEMOCAP: AdamW without weight decay, 5e-4, batch 16, 30 epochs, dropout 0.4, gradients clipped at 5, 4
layers, 12 buckets, unweighted cross-entropy. For MELD nothing; DAG-ERC's own setting there is 1e-5, batch 64, dropout
0.1, 2 layers.

Only the recursion itself runs turn by turn, all dialogues of a batch at once: what h^{l-1} gives to the gates is
computed for all turns before, and the attention looks at no more turns than some dialogue of the batch needs.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.baselines.attention import masked_softmax
from model.baselines.dialogue_rnn import gru
from model.baselines.early_fusion import joined_features
from model.batching import Batch, Corpus
from model.interface import ErcModel, Form, Output
from model.losses import cross_entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiDagConfig(Form):
    """Everything that decides the network's form and its curriculum."""

    hidden: int
    layers: int
    dropout: float
    """In the classifier."""
    buckets: int
    """Of the curriculum; 1: none."""


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Who comes before whom, in B dialogues of T turns."""

    edges: Tensor
    """bool [B, T, T]: turn j is a predecessor of turn i."""
    same: Tensor
    """bool [B, T, T]: one speaker."""
    reach: list[int]
    """For each turn, how far back its predecessors go in some dialogue."""


def ancestry(speaker: Tensor, mask: Tensor) -> Ancestry:
    """The acyclic graph of speakers [B, T] in real turns."""
    turn = torch.arange(speaker.shape[1], device=speaker.device)
    same = speaker.unsqueeze(2) == speaker.unsqueeze(1)
    first = (same.tril(diagonal=-1) * turn).amax(dim=-1)  # 0 also where the speaker has not spoken before
    edges = (turn >= first.unsqueeze(2)) & (turn < turn.unsqueeze(1)) & mask.unsqueeze(2)
    return Ancestry(edges, same, edges.sum(-1).amax(dim=0).tolist())


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
            h.append(gru(input_c[turn], state_c, m) + gru(input_p, state_p[turn], h_below))
            scores.append(self.score(h[-1]))
        return torch.stack(h, dim=1)


def difficulty(label: Tensor, speaker: Tensor) -> float:
    """(S + P) / (U + P) of a dialogue; labels and speakers [turns]."""
    changes, last = 0, dict[int, int]()
    for who, emotion in zip(speaker.tolist(), label.tolist(), strict=True):
        changes += last.get(who, emotion) != emotion
        last[who] = emotion
    return (changes + len(last)) / (len(label) + len(last))


class MultiDag(ErcModel):
    """Entrance, layers, classifier."""

    def __init__(self, config: MultiDagConfig) -> None:
        super().__init__()
        self.curriculum = config.buckets
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
        """Logits and the cross-entropy."""
        x, graph = joined_features(batch), ancestry(batch.speaker, batch.mask)
        h = [torch.relu(self.enter(x))]
        for layer in self.layers:
            h.append(layer(h[-1], graph))
        representation = self.hidden(torch.cat([*h, x], dim=-1))
        logits = self.classifier(representation)
        return Output(logits, {"ce": cross_entropy(logits, batch.label, batch.mask, class_weights)}, representation)

    def lesson(self, corpus: Corpus, epoch: int) -> list[Tensor]:
        """The easiest dialogues first: the buckets up to that of `epoch`."""
        dialogues = corpus.dialogues["train"]
        ranked = sorted(dialogues, key=lambda where: difficulty(corpus.label[where], corpus.speaker[where]))
        return ranked[: epoch * math.ceil(len(ranked) / self.curriculum)]
