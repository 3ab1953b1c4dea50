"""NumPy statements that several equation tests share: one dialogue, no batch, no padding."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[Any]
Weights = dict[str, Array]


def weights(module: nn.Module) -> Weights:
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def part(w: Weights, name: str) -> Weights:
    return {key.removeprefix(f"{name}."): value for key, value in w.items() if key.startswith(f"{name}.")}


def linear(x: Array, w: Weights, name: str) -> Array:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def softmax(x: Array, axis: int = -1) -> Array:
    exponent = np.exp(x - x.max(axis=axis, keepdims=True))
    return exponent / exponent.sum(axis=axis, keepdims=True)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def gru(x: Array, h: Array, w: Weights) -> Array:
    """A GRU cell as the textbook has it, with the gates in torch's order: reset, update, new."""
    of_input = np.split(w["weight_ih"] @ x + w["bias_ih"], 3)
    of_state = np.split(w["weight_hh"] @ h + w["bias_hh"], 3)
    reset, update = sigmoid(of_input[0] + of_state[0]), sigmoid(of_input[1] + of_state[1])
    return (1 - update) * np.tanh(of_input[2] + reset * of_state[2]) + update * h


def lstm(x: Array, h: Array, c: Array, w: Weights) -> tuple[Array, Array]:
    """An LSTM cell, gates in torch's order: input, forget, cell, output."""
    i, f, g, o = np.split(w["weight_ih"] @ x + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"], 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def padded(sequences: list[Array]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences [T, ...] as a batch, and its mask."""
    turns = max(map(len, sequences))
    values = np.zeros((len(sequences), turns, *sequences[0].shape[1:]), sequences[0].dtype)
    mask = np.zeros((len(sequences), turns), bool)
    for row, sequence in enumerate(sequences):
        values[row, : len(sequence)], mask[row, : len(sequence)] = sequence, True
    return torch.from_numpy(values), torch.from_numpy(mask)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def norm(x: Array, w: Weights, name: str, eps: float = 1e-5) -> Array:
    """Each row less its mean, over its deviation."""
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def sinusoids(turns: int, dim: int) -> Array:
    """Places of the turns, from 0."""
    p = np.empty((turns, dim))
    for i in range(turns):
        for k in range(dim // 2):
            p[i, 2 * k] = math.sin(i / 10_000 ** (2 * k / dim))
            p[i, 2 * k + 1] = math.cos(i / 10_000 ** (2 * k / dim))
    return p


def attention(queries: Array, keys: Array, allowed: Array, w: Weights, heads: int) -> Array:
    """Heads of scaled dot products over the keys that each query may look at [Q, K]; zero where it may at none."""
    q = linear(queries, w, "query")
    k, v = np.split(linear(keys, w, "key_value"), 2, axis=1)
    width, out = q.shape[1] // heads, np.zeros_like(queries)
    for i, there in enumerate(allowed.astype(bool)):
        if there.any():
            parts = [slice(head * width, (head + 1) * width) for head in range(heads)]
            seen = [softmax(k[there][:, p] @ q[i, p] / math.sqrt(width)) @ v[there][:, p] for p in parts]
            out[i] = linear(np.concatenate(seen), w, "out")
    return out


def both_directions(x: Array, w: Weights, kind: str) -> Array:
    """A recurrent network of some layers over a sequence, forwards and backwards, from its weights in torch's names."""
    layer = 0
    while f"weight_ih_l{layer}" in w:
        found = []
        for suffix in ("", "_reverse"):
            cell = {n: w[f"{n}_l{layer}{suffix}"] for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
            h = c = np.zeros(cell["weight_hh"].shape[1])
            states = []
            for x_i in x[::-1] if suffix else x:
                if kind == "gru":
                    h = gru(x_i, h, cell)
                else:
                    h, c = lstm(x_i, h, c, cell)
                states.append(h)
            found.append(states[::-1] if suffix else states)
        x, layer = np.hstack(found), layer + 1
    return x


def over_the_dialogue(e: Array, w: Weights) -> Array:
    """DialogueRNN's and DialogueGCN's attention: score_ij = E_j . (W E_i + b), A_i = sum_j softmax_j E_j."""
    return np.stack([softmax(e @ linear(e_i, w, "transform")) @ e for e_i in e])


def angle_weight(x: Array, y: Array) -> float:
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    return 1 - math.acos(0.99999 * (x @ y / norms if norms else 0.0)) / math.pi


def dense_graph(x: Array, there: Array, within: Callable[[int, int, int], float]) -> Array:
    """A^ of one dialogue over its M T nodes; x [M, T, d], which there are [M, T].

    Args:
        within: of modality m and turns i and j, the factor on the edge that brings j to i.
    """
    modalities, turns, _ = x.shape
    nodes = [(m, i) for m in range(modalities) for i in range(turns)]
    a = np.zeros((len(nodes), len(nodes)))
    for row, (m, i) in enumerate(nodes):
        for column, (n, j) in enumerate(nodes):
            joined = within(m, i, j) if m == n else float(i == j)
            if joined and there[m, i] and there[n, j]:
                a[row, column] = joined * angle_weight(x[m, i], x[n, j])
    degree = a.sum(axis=1)
    half = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    return half[:, None] * a * half


def gcnii(p: Array, h0: Array, weight: Array, layer: int, alpha: float, decay: float) -> Array:
    """One layer of the deep graph convolution of MMGCN, MM-DFN and AdaIGN."""
    theta, r = math.log(decay / layer + 1), (1 - alpha) * p + alpha * h0
    return relu(theta * np.hstack([p, h0]) @ weight + (1 - theta) * r)
