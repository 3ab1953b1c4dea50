"""Recurrent networks in lower precision: cuDNN takes float16 under autocast, whatever is asked for."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.model.dialogues import collate, random_corpus
from tests.model.networks import network

WITH_RECURRENCE = ["dialogue_gcn", "mmgcn", "ctnet", "mm_dfn", "adaign"]


def like_cudnn(module: nn.Module, _: Any, output: tuple) -> tuple:
    """What cuDNN gives under autocast."""
    packed, states = output
    return (packed._replace(data=packed.data.half()) if torch.is_autocast_enabled("cpu") else packed), states


@pytest.mark.parametrize("name", WITH_RECURRENCE)
def test_recurrences_stay_float32_where_the_rest_is_bfloat16(name: str) -> None:
    model, corpus = network(name), random_corpus([5, 3, 1])
    recurrent = [part for part in model.modules() if isinstance(part, nn.RNNBase)]
    assert recurrent
    seen: list[torch.dtype] = []
    for part in recurrent:
        part.register_forward_hook(like_cudnn)
        part.register_forward_hook(lambda _, __, output: seen.append(output[0].data.dtype))
    batch = collate(corpus, corpus.dialogues["train"])
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch).losses
    torch.stack([value.float() for value in losses.values()]).sum().backward()
    assert set(seen) == {torch.float32}
