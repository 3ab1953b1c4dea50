"""Each baseline from the features to the logits, stated once more in NumPy: one dialogue, no batch, no padding.

Every statement takes the features by modality (zero where they are missing), which are there, who speaks, and the
network's weights by name; it follows the docstring of the model's file.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.batching import Batch
from model.interface import ErcModel
from model.registry import MODELS
from tests.model.baselines import test_dialogue_gcn, test_dialogue_rnn, test_multidag
from tests.model.dialogues import DIMS, collate, random_corpus
from tests.model.networks import BASELINES, SMALL, network
from tests.model.statements import (
    Array,
    Weights,
    attention,
    both_directions,
    dense_graph,
    gcnii,
    gelu,
    linear,
    lstm,
    norm,
    over_the_dialogue,
    part,
    relu,
    sigmoid,
    sinusoids,
    softmax,
    weights,
)

Features = dict[str, Array]
HEADS, ALPHA, DECAY = 2, 0.2, 0.5
NAMES = list(DIMS)
LENGTHS = [9, 6, 1]
# The second dialogue has no picture, and its second turn no modality at all; the last has only sound.
PRESENT = {"text": "111011111 101111 0", "audio": "101110110 100101 1", "visual": "110110011 000000 0"}


def usable(there: Features) -> Array:
    """bool [M, T]: what is there; in a turn that has nothing, all."""
    found = np.stack([there[m] for m in NAMES])
    return found | ~found.any(axis=0)


def near(turns: int, window: int) -> Array:
    return np.array([[abs(i - j) <= window for j in range(turns)] for i in range(turns)])


def average(values: Array, there: Array) -> Array:
    """Mean over the modalities that are there, a turn; [M, T, d] -> [T, d]."""
    return np.stack([values[there[:, i], i].mean(axis=0) for i in range(values.shape[1])])


def mlp(x: Array, w: Weights, activation: Any = gelu) -> Array:
    return linear(activation(linear(x, w, "0")), w, "3")


def sdt(x: Features, there: Features, speaker: list[int], w: Weights) -> Array:
    turns = len(speaker)
    place = sinusoids(turns, 16) + w["speaker.weight"][speaker]
    x = {m: linear(x[m], w, f"project.{m}") + place for m in NAMES}
    r = []
    for q in NAMES:
        gated = []
        for s in NAMES:
            of_pair = part(w, f"augment.{q}.encode.{s}")
            keys = np.ones(turns, bool) if s == q else there[s]
            z = x[q] + attention(x[q], x[s], np.tile(keys, (turns, 1)), part(of_pair, "attend"), HEADS)
            inner = linear(norm(z, of_pair, "norm", 1e-6), of_pair, "ffn.0")
            tanh = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
            h = z + linear(tanh, of_pair, "ffn.3")
            gated.append(sigmoid(linear(h, w, f"augment.{q}.gate.{s}.weight")) * h)
        r.append(linear(np.hstack(gated), w, f"augment.{q}.join"))
    fused = []
    for i, counts in enumerate(usable(there).T):
        kept = np.stack([r_m[i] for r_m, one in zip(r, counts, strict=True) if one])
        fused.append((softmax(linear(kept, w, "fuse.score"), axis=0) * kept).sum(axis=0))
    return linear(np.stack(fused), w, "fused_classifier")


def dialogue_rnn(x: Features, there: Features, speaker: list[int], w: Weights) -> Array:
    joined = np.hstack([x[m] for m in NAMES])
    one = test_dialogue_rnn.stated(joined, speaker, part(w, "forward_cell"))
    two = test_dialogue_rnn.stated(joined[::-1], speaker[::-1], part(w, "backward_cell"))[::-1]
    attended = over_the_dialogue(np.hstack([one, two]), part(w, "attention"))
    return linear(relu(linear(attended, w, "hidden.0")), w, "classifier")


def dialogue_gcn(x: Features, there: Features, speaker: list[int], w: Weights) -> Array:
    g = both_directions(np.hstack([x[m] for m in NAMES]), part(w, "sequence.rnn"), "lstm")
    f = np.hstack([g, test_dialogue_gcn.stated(g, speaker, part(w, "graph"))])
    return linear(relu(linear(over_the_dialogue(f, part(w, "attention")), w, "hidden.0")), w, "classifier")


def read_out(parts: list[Array], there: Array, w: Weights) -> Array:
    """Linear(relu([modality by modality, what the parts [M, T, d] have of it])); no node, no values."""
    rows = [p[m] * there[m][:, None] for m in range(len(NAMES)) for p in parts]
    return linear(relu(np.hstack(rows)), w, "classifier")


def mmgcn(x: Features, there: Features, speaker: list[int], w: Weights) -> Array:
    nodes = [linear(x[m], w, f"project.{m}") for m in NAMES]
    nodes[0] = both_directions(nodes[0], part(w, "sequence.rnn"), "lstm") + w["speaker.weight"][speaker]
    x_m, kept = np.stack(nodes), usable(there)
    a = dense_graph(x_m, kept, lambda *_: 1.0)
    h = h0 = relu(linear(x_m.reshape(-1, 8), w, "enter"))
    for layer in range(1, 5):
        h = gcnii(a @ h, h0, w[f"layers.{layer - 1}.weight"], layer, ALPHA, DECAY)
    return read_out([x_m, h.reshape(3, len(speaker), -1)], kept, w)


def with_party(
    projected: list[Array], nodes: list[Array], speaker: list[int], w: Weights, keep: Array | None = None
) -> Array:
    """x_m0 + k_m y_m: each party's own utterances through one network, scattered back to the nodes that are kept."""
    out = np.stack(nodes)
    keep = np.ones(out.shape[:2]) if keep is None else keep
    for m, k in enumerate(SMALL["mm_dfn"]["speaker_weights"][name] for name in NAMES):
        for party in set(speaker):
            own = [i for i, who in enumerate(speaker) if who == party]
            context = both_directions(projected[m][own], part(w, "party.rnn.rnn"), "gru")
            out[m, own] += k * keep[m, own, None] * context
    return out


def mm_dfn(x: Features, there: Features, speaker: list[int], w: Weights) -> Array:
    projected = [linear(x[m], w, f"project.{m}") for m in NAMES]
    text = both_directions(projected[0], part(w, "sequence.rnn"), "gru")
    x_m, kept = with_party(projected, [text, *projected[1:]], speaker, w), usable(there)
    a = dense_graph(x_m, kept, lambda *_: 1.0)
    h = h0 = relu(linear(x_m.reshape(-1, 8), w, "enter"))
    o = c = np.zeros_like(h)
    for layer in range(1, 4):
        steps = [lstm(*states, part(w, "fusion.cell")) for states in zip(h, o, c, strict=True)]
        o, c = np.stack([step[0] for step in steps]), np.stack([step[1] for step in steps])
        h = gcnii(a @ o, h0, w[f"fusion.layers.{layer - 1}.weight"], layer, ALPHA, DECAY) + h
    return read_out([x_m, h.reshape(3, len(speaker), -1)], kept, w)


def adaign(x: Features, there: Features, speaker: list[int], w: Weights) -> Array:
    turns, kept = len(speaker), usable(there)
    share = np.array([0.8, 0.1, 0.1]).reshape(3, 1, 1)  # text, audio, visual
    u = [
        norm(linear(x["text"], w, "inner.first.text.0"), w, "inner.first.text.1"),
        *(linear(x[m], w, f"inner.first.{m}") for m in NAMES[1:]),
    ]

    def encode(own: Weights, keep: Array) -> Array:
        """Both streams have u and the speakers' network in common; the text is kept, whatever its policy says."""
        entering = [u[0], *(u[m] * keep[m, :, None] for m in (1, 2))]
        projected = [linear(value, own, f"project.{m}") for m, value in zip(NAMES, entering, strict=True)]
        text = both_directions(projected[0], part(own, "sequence.rnn"), "gru")
        return with_party(projected, [text, *projected[1:]], speaker, part(w, "inner"), keep)

    def yes(nodes: Array, which: str) -> Array:
        scores = [linear(relu(linear(n, w, f"{which}.score.{m}.0")), w, f"{which}.score.{m}.2")
                  for m, n in zip(NAMES, nodes, strict=True)]  # fmt: skip
        return np.stack([s[:, 0] > s[:, 1] for s in scores])

    def stream(nodes: Array, w: Weights, edge: Any) -> Array:
        a = dense_graph(nodes, kept, edge)
        h = h0 = relu(linear(nodes.reshape(-1, 8), w, "enter"))
        for layer in range(1, 4):
            h = gcnii(a @ h, h0, w[f"layers.{layer - 1}.weight"], layer, ALPHA, DECAY)
        return row(h.reshape(3, turns, -1))

    def row(values: Array) -> Array:
        return np.hstack(list(share * values * kept[:, :, None]))

    whole_nodes = encode(part(w, "whole_encoder"), np.ones((3, turns)))
    keep, own = yes(whole_nodes, "node_policy"), yes(whole_nodes, "edge_policy")
    f1 = stream(whole_nodes, part(w, "whole"), lambda m, i, j: float(j <= i))

    def thinned(m: int, i: int, j: int) -> float:
        return float(j <= i and bool(own[m, i]) == (speaker[i] == speaker[j]))

    f2 = stream(encode(part(w, "thin_encoder"), keep), part(w, "thin"), thinned)
    g = sigmoid(linear(np.hstack([f1, f2]).mean(axis=0), w, "gate"))
    return linear(relu(np.hstack([g * f1 + (1 - g) * f2, row(whole_nodes)])), w, "classifier")


def ctnet(x: Features, there: Features, speaker: list[int], w: Weights) -> Array:
    p = {}
    for m in NAMES:
        z = linear(x[m], w, f"single.{m}.project")
        p[m] = norm(z + mlp(z, part(w, f"single.{m}.ffn"), relu), w, f"single.{m}.norm") * there[m][:, None]
    c = []
    for m in NAMES:
        out = p[m]
        for s in NAMES:
            if s != m:
                take = part(w, f"cross.{m}.take.{s}")
                gate = sigmoid(linear(np.hstack([p[m], p[s]]), take, "gate"))
                out = out + there[s][:, None] * gate * linear(p[s], take, "value")
        c.append(norm(out, w, f"cross.{m}.norm"))
    h = both_directions(np.hstack(c) + w["speaker.weight"][speaker], part(w, "sequence.rnn"), "gru")
    everyone = np.ones((len(h), len(h)))
    return linear(norm(h + attention(h, h, everyone, part(w, "attend"), HEADS), w, "context_norm"), w, "classifier")


def transformer(x: Array, allowed: Array, w: Weights) -> Array:
    x = norm(x + attention(x, x, allowed, part(w, "attend"), HEADS), w, "norm1")
    return norm(x + mlp(x, part(w, "ffn")), w, "norm2")


def scmm(x: Features, there: Features, speaker: list[int], w: Weights) -> Array:
    turns, kept = len(speaker), usable(there)

    def chosen(values: Array, which: str, paths: list[Array]) -> Array:
        picked = mlp(average(values, kept), part(w, f"{which}.score")).argmax(axis=1)
        return np.stack([paths[k][..., i, :] for i, k in enumerate(picked)], axis=-2)

    x_m = np.stack([linear(x[m], w, f"project.{m}") for m in NAMES])
    placed = x_m + sinusoids(turns, 16)
    far = np.stack([transformer(one, np.ones((turns, turns)), part(w, "long.0")) for one in placed])
    close = np.stack([transformer(one, near(turns, 1), part(w, "short.0")) for one in placed])
    c = chosen(x_m, "context_router", [far, close, mlp(x_m, part(w, "free"))])
    mutual = np.stack([
        transformer(c[:, i], np.tile(kept[:, i], (3, 1)), part(w, "mutual"))[kept[:, i]].mean(axis=0)
        for i in range(turns)
    ])  # fmt: skip
    hub = np.vstack([
        norm(c[:1, i] + attention(c[:1, i], c[1:, i], kept[None, 1:, i], part(w, "from_hub"), HEADS), w, "hub_norm")
        for i in range(turns)
    ])  # fmt: skip
    joined = mlp(np.hstack(list(c * kept[:, :, None])), part(w, "joined"))
    return linear(chosen(c, "interaction_router", [mutual, hub, joined]), w, "classifier")


def cmcf_srnet(x: Features, there: Features, speaker: list[int], w: Weights) -> Array:
    turns, fuse, refine = len(speaker), part(w, "fuse"), part(w, "refine")
    place = w["speaker.weight"][speaker] + sinusoids(turns, 16)
    x = {m: linear(x[m], w, f"project.{m}") + place for m in NAMES}
    close = near(turns, 1)
    y = [attention(x["text"], x[s], close & there[s], part(fuse, f"attend.{s}"), HEADS) for s in NAMES[1:]]
    z = sigmoid(linear(np.hstack([x["text"], *y]), fuse, "gate"))
    c = norm(x["text"] + z * (y[0] + y[1]), fuse, "norm1")
    c = norm(c + mlp(c, part(fuse, "ffn")), fuse, "norm2")
    g = []
    for i in range(turns):
        out, window = linear(c[i], refine, "relational.own"), [j for j in range(turns) if abs(i - j) <= 2]
        relation = {j: 2 * (3 * speaker[i] + speaker[j]) + (i < j) for j in window}
        for j, r in relation.items():
            matrix = np.einsum("b,bio->io", refine["relational.share"][r], refine["relational.basis"])
            out = out + c[j] @ matrix / list(relation.values()).count(r)
        g.append(relu(out))
    g = np.stack(g)
    g = norm(linear(g, refine, "own") + attention(g, g, near(turns, 2), part(refine, "attend"), HEADS), refine, "norm")
    return linear(np.hstack([c, g]), w, "classifier")


def multidag(x: Features, there: Features, speaker: list[int], w: Weights) -> Array:
    joined = np.hstack([x[m] for m in NAMES])
    h = [relu(linear(joined, w, "enter"))]
    for layer in range(2):
        h.append(test_multidag.stated(h[-1], speaker, part(w, f"layers.{layer}"), np.zeros(10), 0.0))
    hidden = relu(linear(relu(linear(np.hstack([*h, joined]), w, "hidden.0")), w, "hidden.2"))
    return linear(hidden, w, "classifier")


STATED = {
    "sdt": sdt,
    "dialogue_rnn": dialogue_rnn,
    "dialogue_gcn": dialogue_gcn,
    "mmgcn": mmgcn,
    "ctnet": ctnet,
    "mm_dfn": mm_dfn,
    "scmm": scmm,
    "cmcf_srnet": cmcf_srnet,
    "multidag": multidag,
    "adaign": adaign,
}
SETTINGS: dict[str, dict[str, Any]] = {"dialogue_gcn": {"bases": 2}}
SEEDS = {"scmm": 2, "adaign": 202}
"""Of weights with which every path and choice is taken by some turn."""
FLOAT32 = ("mmgcn", "mm_dfn", "adaign")
"""The models whose graph is computed in float32 whatever their weights are."""


def make(name: str) -> ErcModel:
    """A model whose norms and biases do not begin as one and zero."""
    model = network(name, **SETTINGS.get(name, {})).eval()
    torch.manual_seed(SEEDS.get(name, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn_like(parameter))
    return model if name in FLOAT32 else model.double()


def example() -> Batch:
    corpus = random_corpus(LENGTHS, missing=0.0)
    for name, pattern in PRESENT.items():
        there = torch.tensor([flag == "1" for flag in pattern.replace(" ", "")])
        corpus.present[name][: len(there)] = there
        corpus.features[name][: len(there)] *= there.unsqueeze(1)
    return collate(corpus, corpus.dialogues["train"])


@pytest.mark.parametrize("name", BASELINES)
def test_the_logits_are_those_of_the_equations(name: str) -> None:
    model, batch = make(name), example()
    with torch.no_grad():
        kind = next(model.parameters()).dtype
        features = {m: values.to(kind) for m, values in batch.features.items()}
        found = model(replace(batch, features=features)).logits.numpy()
    for row, turns in enumerate(LENGTHS):
        x = {m: values[row, :turns].numpy() for m, values in batch.features.items()}
        there = {m: values[row, :turns].numpy() for m, values in batch.present.items()}
        expected = STATED[name](x, there, batch.speaker[row, :turns].tolist(), weights(model))
        np.testing.assert_allclose(found[row, :turns], expected, rtol=2e-4, atol=2e-5)


def test_the_example_takes_every_path_and_both_choices_of_every_policy() -> None:
    # If this fails, the test above has become blind to what is never chosen.
    seen: dict[str, set[int]] = {}

    def watch(which: str, module: torch.nn.Module) -> None:
        module.register_forward_hook(
            lambda _m, _i, out: seen.setdefault(which, set()).update(out.argmax(-1)[batch.mask].tolist())
        )

    scmm_model, adaign_model, batch = make("scmm"), make("adaign"), example()
    for which in ("context_router", "interaction_router"):
        watch(which, getattr(scmm_model, which).score)
    for which in ("node_policy", "edge_policy"):
        for name in NAMES:
            watch(f"{which} {name}", getattr(adaign_model, which).score[name])
    scmm_model(replace(batch, features={m: values.double() for m, values in batch.features.items()}))
    adaign_model(batch)
    expected = {key: {0, 1} for key in seen} | {"context_router": {0, 1, 2}, "interaction_router": {0, 1, 2}}
    assert seen == expected


def test_every_baseline_is_stated() -> None:
    assert set(STATED) == set(MODELS) - {"cmath"}


LOSS_WEIGHTS = {name: {"ce": 1.0} for name in BASELINES} | {
    "sdt": {"ce": 1.0, "kl": 1.0},
    "mm_dfn": {"focal": 1.0},
    "scmm": {"ce": 1.0, "balance": 0.01},
    "adaign": {"focal": 1.0, "keep": 0.6, "intra": 0.1},
}
GAMMA = {"mm_dfn": 0.5, "adaign": 0.5}


@pytest.mark.parametrize("name", BASELINES)
def test_each_term_of_the_loss_has_the_weight_of_its_setting(name: str) -> None:
    assert network(name).loss_weights == LOSS_WEIGHTS[name]


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(
    "name", [name for name in BASELINES if name != "sdt"]
)  # which has classifiers beside the fused
def test_the_main_loss_is_of_the_logits_at_real_turns_and_weighs_their_classes(name: str, weighted: bool) -> None:
    model, batch = network(name).eval(), example()
    class_weights = torch.tensor([0.5, 2.0, 1.25, 0.25]) if weighted else None
    with torch.no_grad():
        output = model(batch, class_weights)
    mask, label = batch.mask.numpy(), batch.label[batch.mask].numpy()
    p = softmax(output.logits.double().numpy()[mask])[np.arange(len(label)), label]
    w = np.ones(len(label)) if class_weights is None else class_weights.numpy()[label]
    if name in GAMMA:
        expected, found = (-w * (1 - p) ** GAMMA[name] * np.log(p)).mean(), output.losses["focal"]
    else:
        expected, found = (-w * np.log(p)).sum() / w.sum(), output.losses["ce"]
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_scmms_balance_is_the_divergence_of_both_routers_mean_choice_from_the_uniform_one() -> None:
    model, batch, scores = network("scmm").eval(), example(), []
    for router in (model.context_router, model.interaction_router):
        router.score.register_forward_hook(lambda _m, _i, out: scores.append(out.detach()))
    found = model(batch).losses["balance"].item()
    expected = 0.0
    for logits in scores:
        share = softmax(logits.double().numpy()[batch.mask.numpy()]).mean(axis=0)
        expected += (share * np.log(3 * share)).sum()
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("name", "choice"), [("scmm", "router"), ("adaign", "policy")])
def test_the_temperature_of_the_epoch_shapes_the_gradient_of_the_choices(name: str, choice: str) -> None:
    def gradients(epoch: int) -> dict[str, torch.Tensor]:
        model = network(name, dropout=0.0).train()
        model.begin_epoch(epoch)
        torch.manual_seed(5)
        (term,) = [value for kind, value in model(example()).losses.items() if kind in ("ce", "focal")]
        term.backward()
        return {key: p.grad for key, p in model.named_parameters() if choice in key}

    first, later = gradients(1), gradients(15)
    assert len(first) >= 4
    moved = {key.split(".")[0] for key, value in first.items() if not torch.allclose(value, later[key], rtol=1e-3)}
    assert moved == {key.split(".")[0] for key in first}
