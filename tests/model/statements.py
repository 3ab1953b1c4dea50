"""NumPy statements that several equation tests share: one dialogue, no batch, no padding."""

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
