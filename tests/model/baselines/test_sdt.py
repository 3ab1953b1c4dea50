"""SDT's gates and losses against their equations in NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from model.baselines.sdt import CrossAttentionBlock, MultimodalGate, Sdt, UnimodalGate
from tests.model.dialogues import collate, random_corpus
from tests.model.networks import network
from tests.model.statements import Array, linear, part, sigmoid, softmax, weights

CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.25, 0.25])


def test_an_encoder_has_no_norm_before_its_attention_nor_behind_its_network() -> None:
    torch.manual_seed(0)
    encoder = CrossAttentionBlock(8, 2, dropout=0.5).eval().double()
    x, other = torch.randn(2, 1, 5, 8, dtype=torch.float64)
    there = torch.tensor([[True, True, False, True, False]])
    w = weights(encoder)
    kept = other[there].numpy()
    q = linear(x[0].numpy(), w, "attend.query")
    k, v = np.split(linear(kept, w, "attend.key_value"), 2, axis=1)
    heads = [slice(0, 4), slice(4, 8)]
    mixed = np.hstack([softmax(q[:, head] @ k[:, head].T / 2) @ v[:, head] for head in heads])
    z = x[0].numpy() + linear(mixed, w, "attend.out")
    centred = z - z.mean(1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-6) * w["norm.weight"] + w["norm.bias"]
    inner = linear(normed, w, "ffn.0")
    gelu = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
    expected = z + linear(gelu, w, "ffn.3")
    np.testing.assert_allclose(encoder(x, other, there)[0].detach().numpy(), expected, atol=1e-9)


def test_a_unimodal_gate_weighs_its_own_values() -> None:
    h = torch.randn(1, 3, 4, dtype=torch.float64)
    learned = UnimodalGate(4, "learned").double()
    x, w = h.numpy(), weights(learned)
    np.testing.assert_allclose(learned(h).detach().numpy(), sigmoid(linear(x, w, "weight")) * x)
    frozen = UnimodalGate(4, "identity")
    assert not list(frozen.parameters())
    np.testing.assert_allclose(frozen(h).numpy(), sigmoid(x) * x)


def test_the_multimodal_gate_is_a_softmax_over_the_modalities_there_value_by_value() -> None:
    gate = MultimodalGate(4).double()
    r = torch.randn(3, 1, 2, 4, dtype=torch.float64)
    there = torch.tensor([[True, True], [True, False], [True, True]]).unsqueeze(1)
    w, values = weights(gate), r.numpy()
    for turn, kept in enumerate([[0, 1, 2], [0, 2]]):
        mine = values[kept, 0, turn]
        expected = (softmax(linear(mine, w, "score"), axis=0) * mine).sum(axis=0)
        np.testing.assert_allclose(gate(r, there)[0, turn].detach().numpy(), expected)


def nll(logits: Array, label: Array) -> float:
    """Weighted by class, divided by the summed weights."""
    weight = CLASS_WEIGHTS.numpy()[label]
    return -(weight * np.log(softmax(logits))[np.arange(len(label)), label]).sum() / weight.sum()


@pytest.mark.parametrize("temperature", [1.0, 8.0])
def test_the_losses_are_those_of_the_equation(temperature: float) -> None:
    model = network("sdt", temperature=temperature).eval()
    assert isinstance(model, Sdt)
    corpus = random_corpus([4, 2], missing=0.3)
    batch = collate(corpus, corpus.dialogues["train"])
    r = {}
    for name, module in model.augment.items():
        module.register_forward_hook(lambda _m, _i, out, name=name: r.__setitem__(name, out.detach().double().numpy()))
    output = model(batch, CLASS_WEIGHTS)
    fused, mask, label = output.logits.detach().double().numpy(), batch.mask.numpy(), batch.label.numpy()
    ce, kl, w = nll(fused[mask], label[mask]), 0.0, weights(model)
    for name, values in r.items():
        there = batch.present[name].numpy()
        own = linear(np.maximum(values, 0), part(w, "classifier"), name)
        ce += nll(own[there], label[there])
        teacher, student = softmax(fused[there] / temperature), softmax(own[there] / temperature)
        kl += (teacher * np.log(teacher / student)).sum(axis=1).mean()
    assert output.losses["ce"].item() == pytest.approx(ce, rel=1e-4)
    assert output.losses["kl"].item() == pytest.approx(kl, rel=1e-4)
    assert model.loss_weights == {"ce": 1.0, "kl": 1.0}


def test_the_teacher_learns_from_the_divergence_too() -> None:
    model = network("sdt")
    corpus = random_corpus([4, 2])
    model(collate(corpus, corpus.dialogues["train"])).losses["kl"].backward()
    assert isinstance(model.fused_classifier, nn.Linear)
    assert model.fused_classifier.weight.grad.any()
