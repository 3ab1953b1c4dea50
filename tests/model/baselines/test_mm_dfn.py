"""MM-DFN's fusion over the layers and its speakers' context, against their equations in NumPy."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.baselines.mm_dfn import DynamicFusion
from model.baselines.modality_graph import modality_graph
from model.baselines.recurrent import PartyContext
from tests.model.statements import lstm, part, weights


def test_one_cell_goes_through_the_layers_with_every_node() -> None:
    torch.manual_seed(0)
    fusion = DynamicFusion(dim=4, layers=3, alpha=0.2, decay=0.5, dropout=0.3).eval().double()
    graph = modality_graph(torch.randn(2, 1, 3, 5), torch.ones(2, 1, 3, dtype=torch.bool))
    h0 = torch.randn(2, 1, 3, 4).relu().double()
    w = weights(fusion)
    a = np.zeros((6, 6))
    for m in range(2):
        a[3 * m : 3 * m + 3, 3 * m : 3 * m + 3] = graph.within[m, 0].numpy()
        for n in range(2):
            a[3 * m : 3 * m + 3, 3 * n : 3 * n + 3] += np.diag(graph.across[m, n, 0].numpy())
    first = h0.numpy().reshape(6, 4)
    h, o, c = first, np.zeros((6, 4)), np.zeros((6, 4))
    for layer in range(1, 4):
        steps = [lstm(h[node], o[node], c[node], part(w, "cell")) for node in range(6)]
        o, c = np.stack([step[0] for step in steps]), np.stack([step[1] for step in steps])
        p, theta = a @ o, math.log(0.5 / layer + 1)
        support = np.hstack([p, first]) @ w[f"layers.{layer - 1}.weight"]
        h = np.maximum(theta * support + (1 - theta) * (0.8 * p + 0.2 * first), 0) + h
    graph = type(graph)(graph.within.double(), graph.across.double())
    np.testing.assert_allclose(fusion(h0, graph).detach().numpy().reshape(6, 4), h, atol=1e-6)


@settings(max_examples=15)
@given(
    speakers=st.lists(st.lists(st.integers(0, 8), min_size=1, max_size=7), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_a_speakers_context_is_made_of_his_own_utterances_in_their_order(speakers: list[list[int]], seed: int) -> None:
    torch.manual_seed(seed)
    context = PartyContext(dim=4, layers=2, dropout=0.0).eval()
    turns = max(map(len, speakers))
    x = torch.randn(2, len(speakers), turns, 4)
    mask = torch.tensor([[turn < len(who) for turn in range(turns)] for who in speakers])
    speaker = torch.tensor([who + [0] * (turns - len(who)) for who in speakers])
    found = context(x, speaker, mask)
    assert not found[:, ~mask].any()
    for row, who in enumerate(speakers):
        for party in set(who):
            own = [turn for turn, other in enumerate(who) if other == party]
            expected = context.rnn.rnn(x[:, row, own])[0]
            torch.testing.assert_close(found[:, row, own], expected, atol=1e-6, rtol=1e-5)
