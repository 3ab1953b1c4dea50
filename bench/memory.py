"""How much memory fine-tuning RoBERTa-Large takes: counted, not measured on a card.

    python -m bench.memory

Two steps of fine-tuning run with tensors that have shapes and no values, while the bytes that are alive are counted. So
neither the weights nor a card are needed. What is counted: weights, gradients, AdamW's two moments and what the
backward pass keeps, at the moment when their sum is largest. What is not counted: the CUDA context (about 0.5 GiB), the
work space of its libraries, and the rounding up of the allocator. Prints a Markdown table.
"""

import argparse
import weakref
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary
from transformers import RobertaConfig, RobertaModel

from extractors.text.adapters import add_adapters

GIB = 2**30
RANK = 8
LARGE = RobertaConfig(vocab_size=50265, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16,
                      intermediate_size=4096, max_position_embeddings=514, type_vocab_size=1,
                      attention_probs_dropout_prob=0.0)  # fmt: skip
"""The shape of roberta-large. Without dropout in it, torch takes an attention that keeps no matrix of all pairs of
tokens, as it does on a card."""


class Alive(TorchDispatchMode):
    """Counts the bytes of all tensors that exist inside this block."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            if isinstance(one, Tensor):
                self.count(one)
        return result

    def count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self.known:
            size = self.known[storage] = storage.nbytes()
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, size)

    def _gone(self, size: int) -> None:
        self.now -= size


def peak(batch: int, tokens: int, precision: str, checkpointing: bool, rank: int) -> float:
    """GiB that are alive at most in a step with `batch` utterances of `tokens` tokens."""
    # A tensor without values cannot be moved, and peft moves what it makes to where it is already.
    still = mock.patch.object(torch.nn.Module, "to", lambda module, *_, **__: module)
    with FakeTensorMode(allow_non_fake_inputs=True), still:
        network = RobertaModel(LARGE, add_pooling_layer=False).train()
        if checkpointing:
            network.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        if rank:
            network = add_adapters(network, rank, 0.1)
        optimizer = torch.optim.AdamW([one for one in network.parameters() if one.requires_grad], foreach=False)
        ids = torch.ones(batch, tokens, dtype=torch.long)
        alive = Alive()
        for one in network.parameters():
            alive.count(one)
        with alive:
            for _ in range(2):  # the moments are there from the second step on
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                    states = network(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
                states.float().mean().backward()
                optimizer.step()
    return alive.most / GIB


def main() -> None:
    argparse.ArgumentParser("python -m bench.memory", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()  # fmt: skip
    print("| utterances x tokens a pass | precision | checkpointing | all weights | adapters of rank 8 |")
    print("|---|---|---|---|---|")
    for batch, tokens in ((8, 128), (8, 512), (32, 128)):
        for precision, checkpointing in (("float32", False), ("bfloat16", False), ("bfloat16", True)):
            found = [peak(batch, tokens, precision, checkpointing, rank) for rank in (0, RANK)]
            shown = " | ".join(f"{one:.1f} GiB" for one in found)
            print(f"| {batch} x {tokens} | {precision} | {'yes' if checkpointing else 'no'} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
