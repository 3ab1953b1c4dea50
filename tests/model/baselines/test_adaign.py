"""AdaIGN's policies: what they select, and that a prediction is no matter of chance."""

import pytest
import torch

from model.baselines.adaign import Adaign, Policy, thinned
from model.baselines.selection import select
from model.batching import Batch
from tests.model.dialogues import collate, random_corpus
from tests.model.networks import network


def model(**changes: object) -> Adaign:
    made = network("adaign", **changes)
    assert isinstance(made, Adaign)
    return made


def batch() -> Batch:
    corpus = random_corpus([5, 3], missing=0.0)
    return collate(corpus, corpus.dialogues["train"])


def test_a_choice_is_one_hot_likeliest_in_evaluation_and_drawn_by_its_chances_in_training() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([2.0, 1.0, -1.0]).expand(4000, 3).clone().requires_grad_()
    assert select(logits, 1.0, training=False)[0].tolist() == [1, 0, 0]
    drawn = select(logits, 5.0, training=True)
    assert set(drawn.detach().unique().tolist()) == {0.0, 1.0}
    assert (drawn.sum(-1) == 1).all()
    torch.testing.assert_close(drawn.mean(0), logits[0].softmax(0), atol=0.03, rtol=0)
    drawn[:, 0].sum().backward()
    assert logits.grad.any()  # straight through


def test_a_policy_depends_on_what_the_utterance_is() -> None:
    torch.manual_seed(0)
    policy = Policy(["text"], 4).eval()
    x = torch.randn(1, 1, 50, 4)
    chosen, chance = policy(x, 1.0)
    assert set(chosen.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(chosen == 1, chance > 0.5)
    there_and_back = policy(x.flip(2), 1.0)[0].flip(2)
    assert torch.equal(there_and_back, chosen)


def test_the_edge_policy_takes_the_own_speakers_edges_with_the_nodes_own_or_those_of_the_others() -> None:
    speaker = torch.tensor([[0, 1, 0, 0]])
    factor = thinned(torch.tensor([[[1.0, 0.0, 1.0, 0.0]]]), speaker)[0, 0]
    assert factor.tolist() == [[1, 0, 1, 1], [1, 0, 1, 1], [1, 0, 1, 1], [0, 1, 0, 0]]


def thin_input(made: Adaign, keep: float, own: float) -> tuple[torch.Tensor, torch.Tensor]:
    """What enters the second stream if the policies choose `keep` and `own` for every node: nodes and edge factor."""
    seen: list[tuple[torch.Tensor, ...]] = []
    for policy, choice in ((made.node_policy, keep), (made.edge_policy, own)):
        policy.register_forward_hook(lambda _m, _i, out, choice=choice: (torch.full_like(out[0], choice), out[1]))
    made.thin.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs))
    made.eval()(batch())
    return seen[0][0], seen[0][2]


def test_a_node_that_is_not_kept_has_neither_features_nor_speaker_context_but_the_text_has_its_features() -> None:
    made, real = model(), batch().mask
    text, *others = thin_input(made, keep=0.0, own=1.0)[0]
    for name, nodes in zip(("audio", "visual"), others, strict=True):
        bias = made.thin_encoder.project[name].bias
        torch.testing.assert_close(nodes[real], bias.expand(int(real.sum()), -1))
    without_context = model(speaker_weights={"text": 0.0, "audio": 0.0, "visual": 0.0})
    without_context.load_state_dict(made.state_dict(), strict=False)
    torch.testing.assert_close(text[real], thin_input(without_context, keep=1.0, own=1.0)[0][0][real])
    assert not torch.allclose(text[real], thin_input(made, keep=1.0, own=1.0)[0][0][real])


def test_both_streams_share_the_first_layer_and_the_speakers_network_and_nothing_else() -> None:
    counted = {key: value.numel() for key, value in model().named_parameters()}
    first = 7 * 9 + 9 + 2 * 9 + 5 * 5 + 5 + 3 * 3 + 3  # text 7 -> 9 and its norm, audio 5, visual 3
    assert sum(number for key, number in counted.items() if key.startswith("inner.first")) == first
    assert len([key for key in counted if "party" in key]) == 2 * 2 * 4  # one network: layers, directions, tensors
    streams = {key for key in counted if key.split(".")[0] in ("whole", "whole_encoder")}
    assert {key.replace("whole", "thin", 1) for key in streams} == {key for key in counted if key.startswith("thin")}
    assert [tuple(layer.weight.shape) for layer in model().whole.layers] == [(12, 6)] * 3  # [p ; h0] of width 6


def test_the_second_stream_has_the_past_edges_that_were_selected() -> None:
    speaker = batch().speaker[0]
    same = speaker.unsqueeze(1) == speaker.unsqueeze(0)
    edges = thin_input(model(), keep=1.0, own=1.0)[1][:, 0]
    assert torch.equal(edges[0], same.float().tril())
    edges = thin_input(model(), keep=1.0, own=0.0)[1][:, 0]
    assert torch.equal(edges[0], (~same).float().tril())


def test_nothing_comes_from_the_future_inside_the_graph() -> None:
    made = model().eval()
    x, nodes = torch.randn(3, 1, 6, 8), torch.ones(3, 1, 6, dtype=torch.bool)
    past = torch.ones(6, 6).tril()
    later = x.clone()
    later[:, :, 4:] += 1
    one, two = made.whole(x, nodes, past), made.whole(later, nodes, past)
    torch.testing.assert_close(one[:, :, :4], two[:, :, :4])
    assert not torch.allclose(one[:, :, 4:], two[:, :, 4:])


def test_the_losses_measure_the_policies_against_their_targets() -> None:
    made = model().eval()
    chance = torch.tensor([1.0, 0.5, 0.3]).view(3, 1, 1).expand(3, 2, 5)
    made.node_policy.register_forward_hook(lambda _m, _i, out: (out[0], chance))
    made.edge_policy.register_forward_hook(lambda _m, _i, out: (out[0], torch.full_like(chance, 0.75)))
    losses = made(batch()).losses
    assert losses["keep"].item() == pytest.approx(0.0 + 0.3**2 + 0.5**2, rel=1e-5)
    assert losses["intra"].item() == pytest.approx(0.25)


def test_predictions_are_not_random_though_training_is() -> None:
    # The public code draws on test too, and kept the best of several draws.
    made = model(dropout=0.0)
    torch.manual_seed(0)
    trained = [made.train()(batch()).logits for _ in range(6)]
    assert any(not torch.equal(trained[0], other) for other in trained)
    assert torch.equal(made.eval()(batch()).logits, made(batch()).logits)


def test_the_temperature_falls_and_is_a_function_of_the_epoch() -> None:
    made, found = model(), []
    for epoch in (1, 2, 3, 4, 60, 1):
        made.begin_epoch(epoch)
        found.append(made.temperature)
    # Every second epoch of the public code trains the policies, and lowers it at its end: 29 times before epoch 60.
    assert found == pytest.approx([5.0, 5.0, 5.0 * 0.965, 5.0 * 0.965, 5.0 * 0.965**29, 5.0])
