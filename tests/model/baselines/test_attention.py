"""Which turn may look at which."""

import torch

from model.baselines.attention import masked_softmax, near


def test_near_turns_lie_at_most_so_far_before_and_so_far_behind() -> None:
    found = near(5, 1, 2, torch.device("cpu"))
    assert [row.nonzero().flatten().tolist() for row in found] == [
        [0, 1, 2],
        [0, 1, 2, 3],
        [1, 2, 3, 4],
        [2, 3, 4],
        [3, 4],
    ]


def test_a_turn_that_may_look_at_nothing_looks_at_nothing() -> None:
    allowed = torch.tensor([[True, False, True], [False, False, False]])
    found = masked_softmax(torch.tensor([[1.0, 9.0, 1.0], [1.0, 2.0, 3.0]]), allowed)
    assert found.tolist() == [[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
