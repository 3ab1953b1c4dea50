"""Equations 1 to 24 of the paper, each stated once more in NumPy, against what `model.cmath` computes.

The statements know nothing of batches or padding: they take one dialogue of n turns, loop where the paper sums, and get
the weights as arrays. Every test takes what entered a part of the network and compares what left it, at real turns.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from model.attention import positional_encoding
from model.batching import Batch
from model.cmath import Cmath, CmathConfig
from model.interface import Output
from tests.model.dialogues import DIMS, collate, random_corpus
from tests.model.networks import AS_PRINTED
from tests.model.statements import Array, Weights, linear, part, softmax

HEADS, CLASSES, SPEAKERS, DIM = 3, 4, 3, 12
LENGTHS = [5, 3, 1]
# Of the first dialogue, one turn has no modality at all; the second has no picture; the third has only text.
PRESENT = {"text": "11101 111 1", "audio": "10101 011 0", "visual": "01100 000 0"}
CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.25, 0.25])
FLOAT32 = 1e-6
"""Tolerance of what a model in double still takes in float32: positions, cross-entropies, and 1 / |m| of Eq. 16."""
PAIRS = [(central, other) for central in DIMS for other in DIMS if other != central]

# ---------------------------------------------------------------------------------------- the equations, one dialogue


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def norm(x: Array, w: Weights, name: str) -> Array:
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(queries: Array, keys: Array, there: Array, w: Weights) -> Array:
    """CA and SA; only keys that are `there` count, and without any the result is zero."""
    if not there.any():
        return np.zeros_like(queries)
    q = linear(queries, w, "query")
    k, v = np.split(linear(keys[there], w, "key_value"), 2, axis=1)
    width = q.shape[1] // HEADS
    heads = [slice(head * width, (head + 1) * width) for head in range(HEADS)]
    mixed = [softmax(q[:, head] @ k[:, head].T / math.sqrt(width)) @ v[:, head] for head in heads]
    return linear(np.concatenate(mixed, axis=1), w, "out")


def eq_1_2(u: Array, w: Weights, name: str) -> Array:
    """Conv1D over the turns, of an odd kernel size, zeros outside of the dialogue."""
    kernel, turns = w[f"{name}.weight"], len(u)
    out = np.tile(w[f"{name}.bias"], (turns, 1))
    for i in range(turns):
        for tap in range(kernel.shape[2]):
            neighbour = i + tap - kernel.shape[2] // 2
            if 0 <= neighbour < turns:
                out[i] += kernel[:, :, tap] @ u[neighbour]
    return out


def eq_3_18(left: list[Array], right: list[Array], there: list[Array], reduction: str) -> float:
    """Squared Frobenius norm over the real turns: a conversation's sum, or the mean of its elements over all."""
    squares = [((a - b) ** 2)[turns] for a, b, turns in zip(left, right, there, strict=True)]
    if reduction == "sum":
        return sum(s.sum() for s in squares) / len(squares)
    return np.concatenate(squares).mean()


def eq_5(embedding: Array, speaker: int) -> Array:
    """V_s [d, m] times a one-hot vector."""
    return embedding.T @ np.eye(len(embedding))[speaker]


def eq_6_7(turns: int, dim: int) -> Array:
    p = np.empty((turns, dim))
    for i in range(turns):
        for k in range(dim // 2):
            p[i, 2 * k] = math.sin(i / 10_000 ** (2 * k / dim))
            p[i, 2 * k + 1] = math.cos(i / 10_000 ** (2 * k / dim))
    return p


def eq_9_10_11(attended: Array, centre: Array, w: Weights) -> Array:
    """The last two lines that the three equations share."""
    bar = norm(attended + centre, w, "norm1")
    return norm(linear(gelu(linear(bar, w, "ffn.0")), w, "ffn.3") + bar, w, "norm2")


def eq_12(sources: list[Array], there: list[bool], w: Weights, gate: str) -> Array:
    """The gate: a softmax over the sources that are there, value by value, or a sigmoid a source, joined."""
    if gate == "sigmoid":
        gates = [1 / (1 + np.exp(-linear(h, w, f"scores.{place}"))) for place, h in enumerate(sources)]
        return linear(np.hstack([g * h * t for g, h, t in zip(gates, sources, there, strict=True)]), w, "project")
    kept = np.stack([h for h, t in zip(sources, there, strict=True) if t])
    return (softmax(np.stack([linear(h, w, "score") for h in kept]), axis=0) * kept).sum(axis=0)


def eq_13_14(central: str, h: dict[str, Array], there: dict[str, Array], w: Weights, gate: str) -> Array:
    """CMA-Transformer: Eq. 9 to 12 in their order."""
    centre, others = h[central], [name for name in h if name != central]
    cross = {name: attention(centre, h[name], there[name], part(w, f"attend.{name}")) for name in others}
    own = attention(centre, centre, np.ones(len(centre), bool), part(w, f"attend.{central}")) + sum(cross.values())
    attended = {central: own, **cross}
    sources = [eq_9_10_11(value, centre, part(w, f"refine.{name}")) for name, value in attended.items()]
    return eq_12(sources, [True, *(bool(there[name].any()) for name in others)], part(w, "gate"), gate)


def eq_15(h: Array, w: Weights) -> Array:
    return linear(gelu(linear(h, w, "0")), w, "2")


def eq_16(values: dict[str, Array], there: dict[str, Array]) -> Array:
    """Mean over the modalities of each turn; over all of them where it has none."""
    out = np.empty_like(next(iter(values.values())))
    for i in range(len(out)):
        names = [name for name in values if there[name][i]] or list(values)
        out[i] = sum(values[name][i] for name in names) / len(names)
    return out


def eq_15_16_17(h: dict[str, Array], there: dict[str, Array], w: Weights, noise: Array) -> Array:
    mean = eq_16({name: eq_15(x, part(w, f"mean.{name}")) for name, x in h.items()}, there)
    deviation = {name: np.log1p(np.exp(eq_15(x, part(w, f"deviation.{name}")))) for name, x in h.items()}
    return mean + noise * eq_16(deviation, there)


def eq_20_21(logits: list[Array], labels: list[Array], there: list[Array], weights: Array | None) -> float:
    """Cross-entropy of the turns that are there; with class weights, their weighted mean."""
    total = count = 0.0
    for scores, label, turns in zip(logits, labels, there, strict=True):
        for i in np.flatnonzero(turns):
            weight = 1.0 if weights is None else weights[label[i]]
            total -= weight * math.log(softmax(scores[i])[label[i]])
            count += weight
    return total / count


def eq_23(teacher: list[Array], student: list[Array], there: list[Array], temperature: float) -> float:
    terms = []
    for x, m, turns in zip(teacher, student, there, strict=True):
        for i in np.flatnonzero(turns):
            y_x, y_m = softmax(x[i] / temperature), softmax(m[i] / temperature)
            terms.append(sum(y_x[j] * math.log(y_x[j] / y_m[j]) for j in range(CLASSES)))
    return sum(terms) / len(terms)


# ------------------------------------------------------------------------------------------- what the module computes


@dataclass
class Run:
    """One pass of a model with random weights, and all that went into and came out of its parts."""

    model: Cmath
    batch: Batch
    output: Output
    calls: dict[str, tuple[tuple[Any, ...], Any]]

    def weights(self, prefix: str) -> Weights:
        return part({name: value.numpy() for name, value in self.model.state_dict().items()}, prefix)

    def into(self, name: str, place: int = 0) -> Any:
        return each(self.calls[name][0][place])

    def out(self, name: str, place: int | None = None) -> Any:
        result = self.calls[name][1]
        return each(result if place is None else result[place])


def each(values: Any) -> Any:
    """A padded tensor [B, T, ...] as one array a dialogue, of its real turns; a dict of tensors likewise."""
    if isinstance(values, dict):
        return [dict(zip(values, one, strict=True)) for one in zip(*map(each, values.values()), strict=True)]
    return [values[row, :turns].detach().numpy() for row, turns in enumerate(LENGTHS)]


def of(name: str, dialogues: list[dict[str, Array]]) -> list[Array]:
    return [one[name] for one in dialogues]


def make(**changes: Any) -> Cmath:
    torch.manual_seed(1)
    usual: dict[str, Any] = {"dim": DIM, "heads": HEADS, "ffn_multiple": 2, "dropout": 0.0, "kernel": 3}
    model = Cmath(CmathConfig(dims=DIMS, speakers=SPEAKERS, classes=CLASSES, **(AS_PRINTED | usual | changes))).double()
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases too, which would begin as one and zero
            parameter.copy_(0.4 * torch.randn_like(parameter))
    return model


def doubled(batch: Batch) -> Batch:
    return replace(batch, features={name: values.double() for name, values in batch.features.items()})


def example() -> Batch:
    corpus = random_corpus(LENGTHS, classes=CLASSES, speakers=SPEAKERS, missing=0.0)
    positions = corpus.dialogues["train"]
    for name, pattern in PRESENT.items():
        there = torch.tensor([flag == "1" for flag in pattern.replace(" ", "")])
        corpus.present[name][: len(there)] = there
        corpus.features[name][: len(there)] *= there.unsqueeze(1)
    return doubled(collate(corpus, positions))


def run(*, training: bool = False, class_weights: Tensor | None = None, **changes: Any) -> Run:
    model, batch, calls = make(**changes).train(training), example(), {}

    def record(name: str) -> Any:
        def hook(_: nn.Module, given: tuple[Any, ...], result: Any) -> None:
            calls[name] = (given, result)

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(record(name))
    torch.manual_seed(2)
    return Run(model, batch, model(batch, class_weights), calls)


def noise() -> list[Array]:
    """The epsilon of a `run` in training."""
    torch.manual_seed(2)
    return each(torch.randn(len(LENGTHS), max(LENGTHS), DIM, dtype=torch.float64))


def same(actual: Any, expected: Any, tolerance: float = 1e-9) -> None:
    for left, right in zip(actual, expected, strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance)


def loss_is(r: Run, name: str, expected: float, tolerance: float = 1e-9) -> None:
    assert r.output.losses[name].item() == pytest.approx(expected, rel=tolerance)


# ---------------------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("name", DIMS)
def test_eq_01_and_02_convolutions_into_the_common_space_and_back(name: str, kernel: int) -> None:
    r = run(kernel=kernel)
    w, there = r.weights(f"reconstruction.{name}"), each(r.batch.present[name])
    rows = zip(each(r.batch.features[name]), there, strict=True)
    compressed = [eq_1_2(u, w, "down") * turns[:, None] for u, turns in rows]
    same(r.out(f"reconstruction.{name}", 0), compressed)
    same(r.out(f"reconstruction.{name}", 1), [eq_1_2(u, w, "up") for u in compressed])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_eq_03_04_reconstruction_loss(reduction: str) -> None:
    r = run(reduction=reduction)
    pairs = [(each(r.batch.features[m]), r.out(f"reconstruction.{m}", 1), each(r.batch.present[m])) for m in DIMS]
    loss_is(r, "re", sum(eq_3_18(*pair, reduction) for pair in pairs))


def test_eq_05_speaker_embedding() -> None:
    r = run()
    embedding = r.weights("speaker")["weight"]
    same(r.out("speaker"), [[eq_5(embedding, s) for s in dialogue] for dialogue in each(r.batch.speaker)])


@pytest.mark.parametrize("turns", [1, 5, 110])
def test_eq_06_07_positional_encoding(turns: int) -> None:
    encoding = positional_encoding(turns, DIM, torch.device("cpu"))
    same([encoding.numpy()], [eq_6_7(turns, DIM)], FLOAT32 * max(1, turns / 10))  # the angle is off by i * 1e-7


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_eq_08_sum_of_features_speaker_and_position(scale: float) -> None:
    r = run(embedding_scale=scale)
    for name in DIMS:
        parts = zip(r.out(f"reconstruction.{name}", 0), r.out("speaker"), strict=True)
        expected = [compressed + scale * (speaker + eq_6_7(len(speaker), DIM)) for compressed, speaker in parts]
        same(of(name, r.into("transformer.text")), expected, FLOAT32)


@pytest.mark.parametrize(("central", "other"), PAIRS)
def test_eq_09_10_cross_attention(central: str, other: str) -> None:
    r, block = run(), f"transformer.{central}"
    h, there = r.into(block), each(r.batch.present[other])
    w = r.weights(f"{block}.attend.{other}")
    tilde = [attention(x[central], x[other], t, w) for x, t in zip(h, there, strict=True)]
    same(r.out(f"{block}.attend.{other}"), tilde)
    assert any((t == 0).all() for t in tilde) == (other != "text")  # the dialogues that lack the modality
    w = r.weights(f"{block}.refine.{other}")
    same(r.out(f"{block}.refine.{other}"), [eq_9_10_11(t, x[central], w) for t, x in zip(tilde, h, strict=True)])


@pytest.mark.parametrize("central", DIMS)
def test_eq_11_self_attention_and_the_raw_cross_attentions(central: str) -> None:
    r, block = run(), f"transformer.{central}"
    expected = []
    for row, h in enumerate(of(central, r.into(block))):
        attended = attention(h, h, np.ones(len(h), bool), r.weights(f"{block}.attend.{central}"))
        attended += sum(r.out(f"{block}.attend.{name}")[row] for name in DIMS if name != central)
        expected.append(eq_9_10_11(attended, h, r.weights(f"{block}.refine.{central}")))
    same(r.out(f"{block}.refine.{central}"), expected)


@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
@pytest.mark.parametrize("central", DIMS)
def test_eq_12_gate_leaves_out_modalities_that_a_dialogue_lacks(central: str, gate: str) -> None:
    r, block = run(gate=gate), f"transformer.{central}"
    others = [name for name in DIMS if name != central]
    sources = zip(*(r.out(f"{block}.refine.{name}") for name in [central, *others]), strict=True)
    there = [[True, *(bool(t[name].any()) for name in others)] for t in each(r.batch.present)]
    w = r.weights(f"{block}.gate")
    same(r.out(f"{block}.gate"), [eq_12(list(s), t, w, gate) for s, t in zip(sources, there, strict=True)])


@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
def test_eq_13_14_one_transformer_a_central_modality(gate: str) -> None:
    r = run(gate=gate)
    for name in DIMS:
        h, w = r.into(f"transformer.{name}"), r.weights(f"transformer.{name}")
        expected = [eq_13_14(name, x, t, w, gate) for x, t in zip(h, each(r.batch.present), strict=True)]
        same(of(name, r.into("fusion")), expected)


def test_eq_15_16_gaussian_of_each_modality_and_their_average() -> None:
    r = run(training=True)
    h, there = r.into("fusion"), each(r.batch.present)
    for name in DIMS:
        for head in (f"fusion.mean.{name}", f"fusion.deviation.{name}"):
            same(r.out(head), [eq_15(x, r.weights(head)) for x in of(name, h)])
    means = [{name: r.out(f"fusion.mean.{name}")[row] for name in DIMS} for row in range(len(LENGTHS))]
    same(each(r.output.representation), [eq_16(mean, t) for mean, t in zip(means, there, strict=True)], FLOAT32)


@pytest.mark.parametrize("training", [True, False])
def test_eq_17_sample_in_training_and_mean_in_evaluation(training: bool) -> None:
    r, w = run(training=training), run().weights("fusion")
    rows = zip(r.into("fusion"), each(r.batch.present), noise(), strict=True)
    same(r.out("fusion", 0), [eq_15_16_17(h, t, w, training * epsilon) for h, t, epsilon in rows], FLOAT32)
    same(r.into("fused_classifier"), r.out("fusion", 0))


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_eq_18_low_level_distillation(reduction: str, detach: bool) -> None:
    r = run(training=True, reduction=reduction, detach_teacher=detach)
    h, sample = r.into("fusion"), r.out("fusion", 0)
    loss_is(r, "mse", sum(eq_3_18(sample, of(m, h), each(r.batch.present[m]), reduction) for m in DIMS))


def test_eq_19_a_classifier_each() -> None:
    r = run(training=True)
    for name in DIMS:
        w = r.weights("classifier")
        same(r.out(f"classifier.{name}"), [linear(x, w, name) for x in of(name, r.into("fusion"))])
    w = {f"x.{name}": value for name, value in r.weights("fused_classifier").items()}
    same(each(r.output.logits), [linear(x, w, "x") for x in r.out("fusion", 0)])


@pytest.mark.parametrize("weights", [None, CLASS_WEIGHTS])
def test_eq_20_21_22_cross_entropies(weights: Tensor | None) -> None:
    r = run(training=True, class_weights=weights)
    label, w = each(r.batch.label), None if weights is None else weights.numpy()
    fused = eq_20_21(r.out("fused_classifier"), label, each(r.batch.mask), w)
    single = [eq_20_21(r.out(f"classifier.{m}"), label, each(r.batch.present[m]), w) for m in DIMS]
    loss_is(r, "ce", fused + sum(single), FLOAT32)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_eq_23_high_level_distillation(temperature: float, detach: bool) -> None:
    r = run(training=True, temperature=temperature, detach_teacher=detach)
    students = [(r.out(f"classifier.{m}"), each(r.batch.present[m])) for m in DIMS]
    loss_is(r, "kl", sum(eq_23(each(r.output.logits), student, t, temperature) for student, t in students))


@pytest.mark.parametrize("detach", [True, False])
def test_eq_18_23_a_detached_teacher_learns_nothing_from_its_students(detach: bool) -> None:
    r = run(training=True, detach_teacher=detach)
    (r.output.losses["mse"] + r.output.losses["kl"]).backward()
    teacher = [*r.model.fused_classifier.parameters(), *r.model.fusion.parameters()]
    assert all((p.grad is None) == detach for p in teacher)
    students = [*r.model.classifier.parameters(), *r.model.transformer.parameters()]
    assert all(p.grad is not None for p in students)


def total(r: Run) -> float:
    """What training minimizes: the weighted sum of the terms."""
    return sum(r.model.loss_weights[name] * value.item() for name, value in r.output.losses.items())


def test_eq_24_overall_loss_from_the_features_on() -> None:
    gamma1, gamma2, temperature = 0.3, 1.7, 2.0
    r = run(training=True, gamma1=gamma1, gamma2=gamma2, temperature=temperature, class_weights=CLASS_WEIGHTS)
    w, there, label = r.weights, each(r.batch.present), each(r.batch.label)
    again, enhanced, fused = [], [], []
    rows = zip(each(r.batch.features), there, each(r.batch.speaker), noise(), strict=True)
    for features, t, speakers, epsilon in rows:
        place = np.stack([eq_5(w("speaker")["weight"], s) for s in speakers]) + eq_6_7(len(speakers), DIM)
        u = {m: eq_1_2(x, w(f"reconstruction.{m}"), "down") * t[m][:, None] for m, x in features.items()}
        again.append({m: eq_1_2(x, w(f"reconstruction.{m}"), "up") for m, x in u.items()})
        h = {m: x + place for m, x in u.items()}
        enhanced.append({m: eq_13_14(m, h, t, w(f"transformer.{m}"), "softmax") for m in DIMS})
        fused.append(eq_15_16_17(enhanced[-1], t, w("fusion"), epsilon))
    y_x = [x @ w("fused_classifier")["weight"].T + w("fused_classifier")["bias"] for x in fused]
    y_m = {m: [linear(x, w("classifier"), m) for x in of(m, enhanced)] for m in DIMS}
    ce = eq_20_21(y_x, label, each(r.batch.mask), CLASS_WEIGHTS.numpy())
    ce += sum(eq_20_21(y_m[m], label, of(m, there), CLASS_WEIGHTS.numpy()) for m in DIMS)
    re = sum(eq_3_18(of(m, each(r.batch.features)), of(m, again), of(m, there), "mean") for m in DIMS)
    mse = sum(eq_3_18(fused, of(m, enhanced), of(m, there), "mean") for m in DIMS)
    kl = sum(eq_23(y_x, y_m[m], of(m, there), temperature) for m in DIMS)
    assert total(r) == pytest.approx(ce + re + gamma1 * mse + gamma2 * kl, rel=FLOAT32)


def test_table_4_without_mr_a_fully_connected_layer_and_no_reconstruction() -> None:
    r = run(ablate="mr")
    for name in DIMS:
        w, there = r.weights(f"reconstruction.{name}"), each(r.batch.present[name])
        rows = zip(each(r.batch.features[name]), there, r.out("speaker"), strict=True)
        layer = {"down.weight": w["down.weight"][:, :, 0], "down.bias": w["down.bias"]}
        expected = [linear(u, layer, "down") * t[:, None] + s + eq_6_7(len(u), DIM) for u, t, s in rows]
        same(of(name, r.into("transformer.text")), expected, FLOAT32)
        assert set(w) == {"down.weight", "down.bias"}
        assert w["down.weight"].shape == (DIM, DIMS[name], 1)
    loss = r.output.losses
    assert r.model.loss_weights["re"] == 0
    assert total(r) == pytest.approx((loss["ce"] + loss["mse"] + loss["kl"]).item())


def test_table_4_without_cma_t_the_representations_pass_unchanged() -> None:
    r, whole = run(ablate="cma_t"), run()
    for name in DIMS:
        rows = zip(r.out(f"reconstruction.{name}", 0), r.out("speaker"), strict=True)
        same(of(name, r.into("fusion")), [u + s + eq_6_7(len(u), DIM) for u, s in rows], FLOAT32)
    assert not r.weights("transformer")
    assert r.model.loss_weights == whole.model.loss_weights


@pytest.mark.parametrize(("ablate", "gone"), [("lld", {"mse"}), ("hld", {"kl"}), ("hd", {"mse", "kl"})])
def test_table_4_without_distillation_terms(ablate: str, gone: set[str]) -> None:
    r, whole = run(ablate=ablate, gamma1=0.3, gamma2=1.7), run()
    loss, weight = whole.output.losses, {"ce": 1.0, "re": 1.0, "mse": 0.3, "kl": 1.7}
    assert total(r) == pytest.approx(sum(weight[name] * loss[name].item() for name in weight if name not in gone))
    same(each(r.output.logits), each(whole.output.logits))


@pytest.mark.slow
@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=4),
    st.sampled_from([1, 3]),
    st.sampled_from(["softmax", "sigmoid"]),
)
def test_logits_of_a_dialogue_do_not_depend_on_its_batch(lengths: list[int], kernel: int, gate: str) -> None:
    model, corpus = make(kernel=kernel, gate=gate).eval(), random_corpus(lengths, missing=0.4, seed=sum(lengths))
    dialogues = corpus.dialogues["train"]
    with torch.no_grad():
        together = model(doubled(collate(corpus, dialogues))).logits
        for row, positions in enumerate(dialogues):
            alone = model(doubled(collate(corpus, [positions]))).logits
            torch.testing.assert_close(together[row, : len(positions)], alone[0], rtol=0, atol=1e-9)
