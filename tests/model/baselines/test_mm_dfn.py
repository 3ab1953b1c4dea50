"""MM-DFN's context of the speakers: each party's own utterances, and nothing else."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.baselines.recurrent import PartyContext
from model.batching import NOBODY


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
    found = context(x, torch.tensor([who + [NOBODY] * (turns - len(who)) for who in speakers]))
    assert not found[:, ~mask].any()
    for row, who in enumerate(speakers):
        for party in set(who):
            own = [turn for turn, other in enumerate(who) if other == party]
            expected = context.rnn.rnn(x[:, row, own])[0]
            torch.testing.assert_close(found[:, row, own], expected, atol=1e-6, rtol=1e-5)
