"""DialogueRNN's recursion against its equations in NumPy."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.baselines.dialogue_rnn import DialogueCell, DialogueRnn, DialogueRnnConfig, reversed_inside
from tests.model.statements import Array, Weights, gru, linear, padded, part, softmax, weights

CONFIG = DialogueRnnConfig(
    dims={"text": 5}, speakers=3, classes=4, global_dim=4, party_dim=3, emotion_dim=2, head_dim=2, dropout=0.0,
    recurrent_dropout=0.0,
)  # fmt: skip
SPEAKERS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=7), min_size=1, max_size=3)


def stated(x: Array, speaker: list[int], w: Weights) -> Array:
    """e_i of one dialogue, from x [T, F]."""
    size = {name: w[f"{name}_gru.weight_hh"].shape[1] for name in ("global", "party", "emotion")}
    q = {party: np.zeros(size["party"]) for party in speaker}
    g, e = [], np.zeros(size["emotion"])
    out = []
    for i, (x_i, party) in enumerate(zip(x, speaker, strict=True)):
        state = g[-1] if g else np.zeros(size["global"])
        context = np.zeros(size["global"])
        if i:
            alpha = softmax(np.array([g_j @ linear(x_i, w, "attend") for g_j in g]))
            context = sum(a * g_j for a, g_j in zip(alpha, g, strict=True))
        g.append(gru(np.concatenate([x_i, q[party]]), state, part(w, "global_gru")))
        q[party] = gru(np.concatenate([x_i, context]), q[party], part(w, "party_gru"))
        e = gru(q[party], e, part(w, "emotion_gru"))
        out.append(e)
    return np.stack(out)


@settings(max_examples=15)
@given(speakers=SPEAKERS, seed=st.integers(0, 99))
def test_states_follow_the_equations(speakers: list[list[int]], seed: int) -> None:
    torch.manual_seed(seed)
    cell = DialogueCell(5, CONFIG).double()
    draw = np.random.default_rng(seed)
    dialogues = [draw.normal(size=(len(speaker), 5)) for speaker in speakers]
    x, mask = padded(dialogues)
    speaker, _ = padded([np.array(one) for one in speakers])
    states = cell(x, speaker, mask).detach().numpy()
    for row, (dialogue, who) in enumerate(zip(dialogues, speakers, strict=True)):
        np.testing.assert_allclose(states[row, : len(who)], stated(dialogue, who, weights(cell)), atol=1e-12)


def test_the_second_direction_reads_each_dialogue_backwards() -> None:
    values = torch.tensor([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]])
    back = reversed_inside(values, values > 0)
    assert back.tolist() == [[3, 2, 1, 0, 0], [8, 7, 6, 5, 4]]
    assert torch.equal(reversed_inside(back, values > 0), values)


def test_the_sizes_published_for_iemocap_are_those_of_params(published: dict) -> None:
    model = DialogueRnn(DialogueRnnConfig(dims={"text": 1024}, speakers=2, classes=6, **published["dialogue_rnn"]))
    assert model.forward_cell.global_gru.hidden_size == model.forward_cell.party_gru.hidden_size == 500
    assert model.attention.transform.in_features == model.hidden[0].out_features == 600
