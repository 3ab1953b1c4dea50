"""DialogueGCN's graph against its equations in NumPy."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.baselines.dialogue_gcn import DialogueGcnConfig, RelationalGraph
from model.baselines.relational_graph import relation_counts, relations
from tests.model.statements import Array, Weights, linear, padded, softmax, weights

CONFIG = DialogueGcnConfig(dims={"text": 4}, speakers=3, classes=4, hidden=3, bases=2, window=2, dropout=0.0)
SPEAKERS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=3)


def stated(g: Array, speaker: list[int], w: Weights) -> Array:
    """h2 of one dialogue, from G [T, 2 hidden]."""
    turns = range(len(g))
    window = {i: [j for j in turns if abs(i - j) <= CONFIG.window] for i in turns}

    def relation(i: int, j: int) -> int:
        return 2 * (CONFIG.speakers * speaker[i] + speaker[j]) + (i < j)

    h1 = []
    for i in turns:
        alpha = softmax(np.array([g[j] @ linear(g[i], w, "similarity") for j in window[i]]))
        assert math.isclose(alpha.sum(), 1)  # over the window of the utterance that sums
        h = linear(g[i], w, "relational.own")
        for a, j in zip(alpha, window[i], strict=True):
            r = relation(i, j)
            count = sum(relation(i, k) == r for k in window[i])
            matrix = sum(w["relational.share"][r, b] * w["relational.basis"][b] for b in range(CONFIG.bases))
            h = h + a / count * g[j] @ matrix
        h1.append(h)
    return np.stack([
        linear(h1[i], w, "own") + sum(linear(h1[j], w, "neighbours") for j in window[i]) for i in turns
    ])  # fmt: skip


@settings(max_examples=15)
@given(speakers=SPEAKERS, seed=st.integers(0, 99))
def test_the_convolutions_follow_the_equations(speakers: list[list[int]], seed: int) -> None:
    torch.manual_seed(seed)
    graph = RelationalGraph(CONFIG).double()
    draw = np.random.default_rng(seed)
    dialogues = [draw.normal(size=(len(speaker), 6)) for speaker in speakers]
    g, mask = padded(dialogues)
    speaker, _ = padded([np.array(one) for one in speakers])
    h2 = graph(g, speaker, mask).detach().numpy()
    for row, (dialogue, who) in enumerate(zip(dialogues, speakers, strict=True)):
        np.testing.assert_allclose(h2[row, : len(who)], stated(dialogue, who, weights(graph)), atol=1e-6)


def test_relations_tell_speakers_and_direction_and_counts_are_of_one_relation() -> None:
    speaker = torch.tensor([[0, 1, 0, 0]])
    kind = relations(speaker, 2)[0]
    assert kind[0].tolist() == [0, 3, 1, 1]  # 0 with itself, then later turns of 1, 0 and 0
    assert kind[2].tolist() == [0, 2, 0, 1]  # earlier 0, earlier 1, itself, later 0
    counts = relation_counts(speaker, torch.ones(1, 4, 4, dtype=torch.bool))[0]
    assert counts[0].tolist() == [1, 1, 2, 2]
    assert counts[2].tolist() == [2, 1, 2, 1]
