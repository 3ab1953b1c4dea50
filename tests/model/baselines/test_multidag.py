"""MultiDAG's recursion and its curriculum against their equations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.baselines.multidag import DagLayer, ancestry, difficulty
from model.batching import NOBODY
from tests.model.dialogues import random_corpus
from tests.model.networks import network
from tests.model.statements import Array, Weights, gru, linear, padded, part, softmax, weights

DIM = 4
SPEAKERS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=3)


def predecessors(speaker: list[int], i: int) -> list[int]:
    earlier = [j for j in range(i) if speaker[j] == speaker[i]]
    return list(range(earlier[-1] if earlier else 0, i))


def stated(below: Array, speaker: list[int], w: Weights, query: Array, bias: float) -> Array:
    """h^l of one dialogue from h^{l-1} [T, d]; `query` is the half of w that meets h_i^{l-1}."""
    h: list[Array] = []
    for i, h_below in enumerate(below):
        m, before = np.zeros(len(h_below)), predecessors(speaker, i)
        if before:
            score = np.concatenate([query, w["score.weight"][0]])
            a = softmax(np.array([score @ np.concatenate([h_below, h[j]]) + bias for j in before]))
            kinds = ["same" if speaker[j] == speaker[i] else "other" for j in before]
            m = sum(a_j * linear(h[j], w, kind) for a_j, j, kind in zip(a, before, kinds, strict=True))
        h.append(gru(h_below, m, part(w, "content")) + gru(m, h_below, part(w, "predecessors")))
    return np.stack(h)


@settings(max_examples=15)
@given(speakers=SPEAKERS, seed=st.integers(0, 99))
def test_the_recursion_follows_the_equations_whatever_the_querys_half_of_the_score(
    speakers: list[list[int]], seed: int
) -> None:
    torch.manual_seed(seed)
    layer = DagLayer(DIM).double()
    draw = np.random.default_rng(seed)
    dialogues = [draw.normal(size=(len(speaker), DIM)) for speaker in speakers]
    below, mask = padded(dialogues)
    speaker, _ = padded([np.array(one) for one in speakers])
    h = layer(below, ancestry(torch.where(mask, speaker, NOBODY), below.device)).detach().numpy()
    for row, (dialogue, who) in enumerate(zip(dialogues, speakers, strict=True)):
        expected = stated(dialogue, who, weights(layer), draw.normal(size=DIM), draw.normal())
        np.testing.assert_allclose(h[row, : len(who)], expected, atol=1e-12)


def test_predecessors_go_back_to_the_speakers_last_utterance_or_to_the_beginning() -> None:
    speaker = [0, 1, 1, 0, 2]
    graph = ancestry(torch.tensor([speaker]), torch.device("cpu"))
    for i in range(5):
        assert graph.edges[0, i].nonzero().flatten().tolist() == predecessors(speaker, i)
    assert predecessors(speaker, 3) == [0, 1, 2]
    assert predecessors(speaker, 4) == [0, 1, 2, 3]
    assert graph.reach == [0, 1, 1, 3, 4]


def test_difficulty_counts_the_changes_of_each_speaker_by_himself() -> None:
    # Speaker 0: joy, joy, anger (one change); speaker 1: sad, sad (none). (1 + 2) / (5 + 2)
    label, speaker = torch.tensor([0, 2, 0, 2, 1]), torch.tensor([0, 1, 0, 1, 0])
    assert difficulty(label, speaker) == pytest.approx(3 / 7)
    assert difficulty(torch.tensor([4]), torch.tensor([0])) == 0.5


@given(st.lists(st.integers(1, 9), min_size=1, max_size=15), st.integers(1, 12))
def test_an_epoch_adds_a_bucket_of_harder_dialogues_and_the_last_bucket_has_the_rest(
    lengths: list[int], buckets: int
) -> None:
    corpus, model = random_corpus(lengths), network("multidag", buckets=buckets)
    before: list[int] = []
    for epoch in range(1, buckets + 3):
        lesson = model.curriculum_subset(corpus, epoch)
        firsts = [int(dialogue[0]) for dialogue in lesson]
        assert firsts[: len(before)] == before
        assert len(firsts) == min(len(lengths), epoch * -(-len(lengths) // buckets))
        hardness = [difficulty(corpus.label[d], corpus.speaker[d]) for d in lesson]
        assert hardness == sorted(hardness)
        before = firsts
    assert len(before) == len(lengths)
    assert len(model.curriculum_subset(corpus, model.curriculum)) == len(lengths)
