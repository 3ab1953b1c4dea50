"""The graph of MMGCN, MM-DFN and AdaIGN against one dense matrix over all nodes, and GCNII against its equation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.baselines.mmgcn import Mmgcn, MmgcnConfig
from model.baselines.modality_graph import DeepConvolution, angular, modality_graph, read_out
from tests.model.dialogues import DIMS
from tests.model.networks import SMALL
from tests.model.statements import Array, dense_graph

FLOAT32 = 2e-5


def stated(x: Array, there: Array, allowed: Array) -> Array:
    """A^ of one dialogue; which turns reach which [T, T]."""
    return dense_graph(x, there, lambda _, i, j: allowed[i, j])


@settings(max_examples=15)
@given(
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=3), modalities=st.integers(1, 3), past=st.booleans(),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_blocks_and_diagonals_are_the_dense_matrix(lengths: list[int], modalities: int, past: bool, seed: int) -> None:
    draw = np.random.default_rng(seed)
    turns = max(lengths)
    x, h = draw.normal(size=(2, modalities, len(lengths), turns, 4)).astype(np.float32)
    real = np.arange(turns) < np.array(lengths)[:, None]
    there = (draw.random((modalities, len(lengths), turns)) < 0.8) & real
    edges = np.tril(np.ones((turns, turns), np.float32)) if past else np.ones((turns, turns), np.float32)
    graph = modality_graph(torch.from_numpy(x), torch.from_numpy(there), torch.from_numpy(edges))
    found = graph.propagate(torch.from_numpy(h)).numpy()
    for row, length in enumerate(lengths):
        dense = stated(x[:, row, :length], there[:, row, :length], edges[:length, :length])
        expected = (dense @ h[:, row, :length].reshape(modalities * length, -1)).reshape(modalities, length, -1)
        np.testing.assert_allclose(found[:, row, :length], expected, atol=FLOAT32)


def test_parallel_opposite_and_missing_vectors_have_finite_weights_and_gradients() -> None:
    x = torch.tensor([[[[1.0, 2.0], [2.0, 4.0], [-1.0, -2.0], [0.0, 0.0]]]], requires_grad=True)
    graph = modality_graph(x, torch.ones(1, 1, 4, dtype=torch.bool))
    graph.within.sum().backward()
    assert torch.isfinite(graph.within).all()
    assert torch.isfinite(x.grad).all()
    torch.testing.assert_close(angular(torch.tensor([0.0])), torch.tensor([0.5]))


def test_gradients_pass_the_adjacency() -> None:
    x = torch.randn(3, 1, 4, 5, requires_grad=True)
    graph = modality_graph(x, torch.ones(3, 1, 4, dtype=torch.bool))
    graph.propagate(torch.randn(3, 1, 4, 2)).square().sum().backward()
    assert (x.grad.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("layer", [1, 7])
def test_a_folded_layer_is_the_equation(layer: int) -> None:
    torch.manual_seed(layer)
    module = DeepConvolution(4, layer, alpha=0.1, decay=0.5).double()
    p, h0 = torch.randn(2, 6, 4, dtype=torch.float64)
    theta = math.log(0.5 / layer + 1)
    r = 0.9 * p + 0.1 * h0
    expected = torch.relu(theta * torch.cat([p, h0], dim=1) @ module.weight + (1 - theta) * r)
    torch.testing.assert_close(module(p, h0), expected, atol=1e-7, rtol=0)


def test_a_node_without_edges_takes_nothing_and_sends_no_gradient_to_the_weights_of_its_edges() -> None:
    x = torch.randn(1, 1, 3, 4)
    edges = torch.tensor([[[[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]]], requires_grad=True)
    graph = modality_graph(x, torch.ones(1, 1, 3, dtype=torch.bool), edges)
    states = graph.propagate(torch.randn(1, 1, 3, 2))
    assert not states[0, 0, 0].any()
    states.square().sum().backward()
    assert not edges.grad[0, 0, 0].any()
    assert float(edges.grad.abs().max()) < 10


def mmgcn(**changes: object) -> Mmgcn:
    torch.manual_seed(0)
    return Mmgcn(MmgcnConfig(dims=DIMS, speakers=2, classes=4, dropout=0.1, **{**SMALL["mmgcn"], **changes})).eval()


def test_the_number_of_mmgcns_layers_is_the_one_that_was_asked_for(published: dict) -> None:
    # The public code has 64 whatever its option says.
    assert len(mmgcn(layers=4).layers) == 4
    assert published["mmgcn"]["layers"] == 64


def test_what_is_read_out_stands_modality_by_modality_and_is_zero_where_there_is_no_node() -> None:
    x, h = torch.full((2, 1, 1, 2), 1.0), torch.full((2, 1, 1, 1), 2.0)
    there = torch.tensor([True, False]).view(2, 1, 1)
    assert read_out([x, h], there).tolist() == [[[1, 1, 2, 0, 0, 0]]]
