"""Where each model drops values, and with which chance: in training all of these places, in evaluation none."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.baselines.attention import TransformerLayer
from model.baselines.cmcf_srnet import CmcfSrnet
from model.baselines.ctnet import Ctnet
from model.batching import Batch
from model.cmath import AddAndRefine
from model.interface import ErcModel
from model.registry import MODELS
from tests.model.dialogues import DIMS, collate, random_corpus
from tests.model.networks import SMALL, network
from tests.model.statements import Array, dense_graph, gcnii, linear, lstm, part, relu, weights

LENGTHS = [9, 8, 7, 6]
B, T = len(LENGTHS), max(LENGTHS)
TEXT, AUDIO, VISUAL, M = 7, 5, 3, 3
"""Widths of the features, and how many modalities there are."""
P = 0.3
SETTINGS: dict[str, dict[str, Any]] = {
    "cmath": {"dim": 20, "heads": 2, "ffn_multiple": 2, "feature_dropout": 0.45},
    "sdt": {"dim": 16, "heads": 2},
    "dialogue_rnn": {"global_dim": 10, "party_dim": 9, "emotion_dim": 8, "head_dim": 7, "recurrent_dropout": 0.2},
    "dialogue_gcn": {"hidden": 8},
    "mmgcn": {"dim": 8, "graph_dim": 6, "layers": 4},
    "ctnet": {"dim": 8, "hidden": 10},
    "mm_dfn": {"dim": 8, "graph_dim": 6, "layers": 3},
    "scmm": {"dim": 16, "layers": 2},
    "cmcf_srnet": {"dim": 16, "graph_dim": 8},
    "multidag": {"hidden": 10},
    "adaign": {"dim": 8, "graph_dim": 6, "layers": 3},
}
WEIGHTS, LAYERS = "attention's weights", "between a recurrent network's layers"


class Place(NamedTuple):
    """What is dropped, how often in one pass that reaches the loss, with which chance."""

    what: str
    times: int
    chance: float
    shape: tuple[int, ...] = ()
    """Of the values; of attention's weights and between recurrent layers, none."""


PLACES: dict[str, list[Place]] = {
    "cmath": [
        Place("features that are compressed, text", 1, 0.45, (B, T, TEXT)),
        Place("features that are compressed, audio", 1, 0.45, (B, T, AUDIO)),
        Place("features that are compressed, visual", 1, 0.45, (B, T, VISUAL)),
        Place("H_m of Eq. 8", 3, P, (B, T, 20)),
        Place("what attention adds, Eq. 9 to 11, a central modality and a source", 3 * 3, P, (B, T, 20)),
        Place("what the feed-forward network adds", 3 * 3, P, (B, T, 20)),
        Place("inside of the feed-forward network", 3 * 3, P, (B, T, 2 * 20)),
        Place("before the classifiers of the modalities and of the fused representation", 3 + 1, P, (B, T, 20)),
    ],
    "sdt": [
        Place("X_q, a pair", 9, P, (B, T, 16)),
        Place("X_s, a pair of two modalities; with itself it is X_q", 6, P, (B, T, 16)),
        Place(WEIGHTS, 9, P),
        Place("what attention adds", 9, P, (B, T, 16)),
        Place("inside of the feed-forward network", 9, P, (B, T, 16)),
        Place("what the feed-forward network adds", 9, P, (B, T, 16)),
        Place("relu(R_m), before a modality's classifier; R_f has none", 3, P, (B, T, 16)),
    ],
    "dialogue_rnn": [
        Place("global states, a direction; the last is looked at by none", 2 * (T - 1), 0.2, (B, 10)),
        Place("the state of the party that speaks", 2 * T, 0.2, (B, 9)),
        Place("emotion states", 2 * T, 0.2, (B, 8)),
        Place("E, of both directions", 1, P + 0.15, (B, T, 2 * 8)),
        Place("the head's inner layer", 1, P, (B, T, 2 * 7)),
    ],
    "dialogue_gcn": [Place(LAYERS, 1, P), Place("the head's inner layer", 1, P, (B, T, 8))],
    "mmgcn": [
        Place(LAYERS, 1, P),
        Place("x, where it enters the graph and is read out", 1, P, (M, B, T, 8)),
        Place("h, before each layer", 4, P, (M, B, T, 6)),
        Place("h, as it is read out", 1, P, (M, B, T, 6)),
        Place("both, joined", 1, P, (B, T, M * (8 + 6))),
    ],
    "ctnet": [
        Place("inside of the feed-forward network, a modality", 3, P, (B, T, 2 * 8)),
        Place("[c_t ; c_a ; c_v], before the speaker is added", 1, P, (B, T, M * 8)),
        Place(WEIGHTS, 1, P),
        Place("what attention adds", 1, P, (B, T, 2 * 10)),
        Place("before the classifier", 1, P, (B, T, 2 * 10)),
    ],
    "mm_dfn": [
        Place(LAYERS, 2, P),  # the text's and the speakers'
        Place("x, where it enters the graph and is read out; h is not dropped there again", 1, P, (M, B, T, 8)),
        Place("h_0, where it enters the first layer, and what each layer adds", 1 + 3, P, (M, B, T, 6)),
        Place("both, joined", 1, P, (B, T, M * (8 + 6))),
    ],
    "scmm": [
        Place("x with its place, before P1 and P2", 1, P, (M, B, T, 16)),
        Place(WEIGHTS, 2 * 2 + 2, P),  # two layers of P1 and of P2, then Q1 and Q2
        Place("what attention adds in P1 and P2", 2 * 2, P, (M * B, T, 16)),
        Place("inside of the feed-forward network in P1 and P2", 2 * 2, P, (M * B, T, 2 * 16)),
        Place("what the feed-forward network adds in P1 and P2", 2 * 2, P, (M * B, T, 16)),
        Place("inside of P3", 1, P, (M, B, T, 16)),
        Place("inside of the routers", 2, P, (B, T, 8)),
        Place("what attention adds in Q1", 1, P, (B * T, M, 16)),
        Place("inside of the feed-forward network in Q1", 1, P, (B * T, M, 2 * 16)),
        Place("what the feed-forward network adds in Q1", 1, P, (B * T, M, 16)),
        Place("what attention adds to the hub in Q2", 1, P, (B * T, 1, 16)),
        Place("inside of Q3", 1, P, (B, T, 16)),
        Place("before the classifier", 1, P, (B, T, 16)),
    ],
    "cmcf_srnet": [
        Place("x_m", 3, P, (B, T, 16)),
        Place(WEIGHTS, 2 + 1, P),  # audio's, visual's, and the graph transformer's
        Place("what the hub takes", 1, P, (B, T, 16)),
        Place("inside of the feed-forward network", 1, P, (B, T, 2 * 16)),
        Place("what the feed-forward network adds", 1, P, (B, T, 16)),
        Place("before the classifier", 1, P, (B, T, 16 + 8)),
    ],
    "multidag": [Place("in the classifier", 1, P, (B, T, 10))],
    "adaign": [
        Place(LAYERS, 2 * 2, P),  # the text's and the speakers', a stream
        Place("x, where it enters the graph of a stream", 2, P, (M, B, T, 8)),
        Place("h, before each layer of a stream and after the last", 2 * (3 + 1), P, (M, B, T, 6)),
        Place("z and x, joined", 1, P, (B, T, M * (6 + 8))),
    ],
}


@dataclass
class Seen:
    """What was dropped in one pass."""

    values: list[tuple[Tensor, Tensor, float]] = field(default_factory=list)
    """Before and after, and the chance."""
    weights: list[float] = field(default_factory=list)
    layers: list[float] = field(default_factory=list)

    def count(self) -> Counter[tuple[float, tuple[int, ...] | str]]:
        """How often by chance and shape; of the values, those alone that the loss was made of."""
        used = [(p, tuple(after.shape)) for _, after, p in self.values if after.grad is not None and after.grad.any()]
        kinds = [(p, WEIGHTS) for p in self.weights] + [(p, LAYERS) for p in self.layers]
        return Counter((round(p, 6), what) for p, what in used + kinds)


@contextmanager
def watched(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    seen, dropout, attention = Seen(), F.dropout, F.scaled_dot_product_attention

    def dropping(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return dropout(x, p, training, inplace)
        after = dropout(x, p, training)
        after = after if after.requires_grad else after.requires_grad_()  # features have no gradient
        after.retain_grad()
        seen.values.append((x.detach(), after, p))
        return after

    def attending(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, p: float = 0.0, **more: Any) -> Tensor:
        mask, p = more.pop("attn_mask", mask), more.pop("dropout_p", p)
        seen.weights.extend([p] if p else [])
        return attention(q, k, v, mask, p, **more)

    def recurring(module: nn.RNNBase, _: object) -> None:
        seen.layers.extend([module.dropout] if module.training and module.num_layers > 1 and module.dropout else [])

    with monkeypatch.context() as patch:
        patch.setattr(F, "dropout", dropping)
        patch.setattr(F, "scaled_dot_product_attention", attending)
        hooks = [m.register_forward_pre_hook(recurring) for m in model.modules() if isinstance(m, nn.RNNBase)]
        yield seen
        for hook in hooks:
            hook.remove()


def batch() -> Batch:
    corpus = random_corpus(LENGTHS, missing=0.0)
    return collate(corpus, corpus.dialogues["train"])


def make(name: str) -> ErcModel:
    return network(name, dropout=P, **SETTINGS[name])


@pytest.mark.parametrize("name", list(MODELS))
def test_in_training_every_place_drops_its_share_of_values_that_the_loss_is_made_of(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(name).train()
    torch.manual_seed(3)
    with watched(model, monkeypatch) as seen:
        losses = model(batch()).losses
        torch.stack([model.loss_weights[term] * value for term, value in losses.items()]).sum().backward()
    expected: Counter[tuple[float, tuple[int, ...] | str]] = Counter()
    for place in PLACES[name]:
        expected[round(place.chance, 6), place.shape or place.what] += place.times
    assert seen.count() == expected
    for before, after, p in seen.values:
        there = before != 0
        deviation = (p * (1 - p) / int(there.sum())) ** 0.5
        assert float((after[there] == 0).float().mean()) == pytest.approx(p, abs=4.5 * deviation)


@pytest.mark.parametrize("name", list(MODELS))
def test_in_evaluation_nothing_is_dropped(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, some = make(name).eval(), batch()
    with watched(model, monkeypatch) as seen:
        first, second = model(some), model(some)
    assert not [*seen.values, *seen.weights, *seen.layers]
    assert torch.equal(first.logits, second.logits)
    assert all(torch.equal(value, second.losses[term]) for term, value in first.losses.items())


@pytest.mark.parametrize("name", list(MODELS))
def test_without_dropout_nothing_is_dropped_in_training(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    off = {setting: 0.0 for setting in SETTINGS[name] if "dropout" in setting}
    model = network(name, **(SETTINGS[name] | off | {"dropout": 0.0})).train()
    with watched(model, monkeypatch) as seen:
        model(batch())
    kept = [p for _, _, p in seen.values if p != 0.15]  # DialogueRNN drops 0.15 more of its emotion states
    assert not [*kept, *seen.weights, *seen.layers]


# What remains if every value is dropped tells on which side of a sum or a norm a place lies.


@pytest.mark.parametrize("make_layer", [lambda: AddAndRefine(8, 1, 1.0), lambda: TransformerLayer(8, 2, 1.0)])
def test_what_is_added_is_dropped_before_it_is_added(make_layer: Callable[[], nn.Module]) -> None:
    layer, h = make_layer().train(), torch.randn(2, 3, 8)
    if isinstance(layer, TransformerLayer):
        layer.attend.dropout = 0.0
        found = layer(h, torch.ones(2, 3, 3, dtype=torch.bool))
    else:
        found = layer(torch.randn(2, 3, 8), h)
    torch.testing.assert_close(found, layer.norm2(layer.norm1(h)))


def dropping_all(name: str) -> ErcModel:
    """A small model of `name` in training whose dropout leaves nothing, which no settings allow."""
    network_of, form = MODELS[name]
    config = form(**{"dims": DIMS, "speakers": 3, "classes": 4, "dropout": 0.5, **SMALL[name]})
    return network_of(config.model_copy(update={"dropout": 1.0})).train()


def test_cmcf_srnets_hub_keeps_what_it_does_not_take() -> None:
    model = dropping_all("cmcf_srnet")
    assert isinstance(model, CmcfSrnet)
    fuse, hub = model.fuse, torch.randn(1, 4, 16)
    for attend in fuse.attend.values():
        attend.dropout = 0.0
    there = {name: torch.ones(1, 4, dtype=torch.bool) for name in ("audio", "visual")}
    found = fuse(hub, {"audio": hub, "visual": -hub}, there, torch.ones(4, 4, dtype=torch.bool))
    torch.testing.assert_close(found, fuse.norm2(fuse.norm1(hub)))


def test_ctnets_speakers_and_the_states_that_attention_adds_to_are_not_dropped() -> None:
    model, some = dropping_all("ctnet"), batch()
    assert isinstance(model, Ctnet)
    model.attend.dropout = 0.0
    expected = model.context_norm(model.sequence(model.speaker(some.speaker), some.lengths()))
    torch.testing.assert_close(model(some).representation, expected)


# Which values share a mask, and what joins them undropped, is seen only if the masks are known: here they are drawn in
# the order of the public code's calls, once for the model and once for its equations.


@contextmanager
def known_masks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[tuple[int, ...]], Array]]:
    """Dropout with known masks; gives a function that draws the same ones again, a shape at a time."""
    one, two = (np.random.default_rng(7) for _ in range(2))

    def draw(shape: tuple[int, ...], source: np.random.Generator = two) -> Array:
        return (source.random(shape) >= P) / (1 - P)

    with monkeypatch.context() as patch:
        patch.setattr(F, "dropout", lambda x, p, training, inplace: x * torch.from_numpy(draw(x.shape, one)).float())
        yield draw


def node_features(model: ErcModel, batch: Batch) -> Array:
    """x [M, T, d], as the model in evaluation has it."""
    seen: list[Array] = []
    handle = model.enter.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].detach().numpy()[:, 0]))
    with torch.no_grad():
        model.eval()(batch)
    handle.remove()
    return seen[0].astype(float)


@pytest.mark.parametrize("name", ["mmgcn", "mm_dfn"])
def test_one_mask_of_x_enters_the_graph_and_is_read_out_and_h0_joins_each_layer_undropped(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = random_corpus([5], missing=0.0)
    some = collate(corpus, corpus.dialogues["train"])
    model = network(name, dropout=P)
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.dropout = 0.0  # its masks are drawn elsewhere
    x, w = node_features(model, some), weights(model)
    a = dense_graph(x, np.ones((M, 5), bool), lambda *_: 1.0)
    with known_masks(monkeypatch) as draw:
        found = model.train()(some).logits[0].detach().numpy()

        def drop(values: Array, shape: tuple[int, ...]) -> Array:
            return values * draw(shape).reshape(values.shape)

        x_dropped = drop(x, (M, 1, 5, 8))
        h0 = relu(linear(x_dropped.reshape(-1, 8), w, "enter"))
        of_nodes = (M, 1, 5, 6)
        if name == "mmgcn":
            h = h0
            for layer in range(1, 5):
                h = gcnii(a @ drop(h, of_nodes), h0, w[f"layers.{layer - 1}.weight"], layer, 0.2, 0.5)
            h = drop(h, of_nodes)
        else:
            h, o, c = drop(h0, of_nodes), np.zeros_like(h0), np.zeros_like(h0)
            for layer in range(1, 4):
                steps = [lstm(*states, part(w, "fusion.cell")) for states in zip(h, o, c, strict=True)]
                o, c = np.stack([step[0] for step in steps]), np.stack([step[1] for step in steps])
                added = gcnii(a @ o, h0, w[f"fusion.layers.{layer - 1}.weight"], layer, 0.2, 0.5)
                h = drop(added, of_nodes) + h
        h = h.reshape(M, 5, 6)
        joined = np.hstack([values[m] for m in range(M) for values in (x_dropped, h)])
        expected = linear(relu(drop(joined, (1, 5, M * 14))), w, "classifier")
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)
