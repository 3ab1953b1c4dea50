"""A pretended GPU: its tensors say `cuda:0`, the CPU computes, and what CUDA would refuse is an error.

    with Pretended() as card:
        network = card.moved(network)
        with card.waits() as waits:
            train(network, corpus.to(CARD))

Refused are operations on tensors of both devices (but for numbers of no dimension, which CUDA takes from the CPU) and
operations that CUDA does not do in deterministic mode. `waits` lists what would make the program wait for a GPU: values
that are read, sizes that depend on values, and copies between the devices, except from pinned memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

Module = TypeVar("Module", bound=nn.Module)
CARD, CPU = torch.device("cuda", 0), torch.device("cpu")
READS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount",
         "is_nonzero", "equal"}  # fmt: skip
"""Operations whose result, or its size, the program must know."""
UNREPEATABLE = {
    "_embedding_bag", "adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward", "avg_pool3d_backward", "cumsum",
    "grid_sampler_2d_backward", "grid_sampler_3d_backward", "histc", "kthvalue", "max_pool3d_with_indices_backward",
    "max_unpool2d", "median", "nll_loss2d_forward", "put_", "reflection_pad1d_backward", "reflection_pad2d_backward",
    "replication_pad1d_backward", "replication_pad2d_backward", "scatter_reduce", "upsample_bicubic2d_backward",
    "upsample_bilinear2d_backward", "upsample_linear1d_backward", "upsample_trilinear3d_backward",
}  # fmt: skip
"""Operations that torch refuses on CUDA under `use_deterministic_algorithms`, as its documentation lists them (cumsum
only of floating-point numbers)."""
WHOLE = {"one_hot", "_pack_padded_sequence", "_pad_packed_sequence", "gru", "lstm"}
"""Functions whose own code makes tensors where torch says that their input is: they are computed in one piece."""
IN_BACKWARD = {"stack", "index_put"}
"""Operations of the backward pass that get zeros made where torch says that a gradient is."""


class Refused(AssertionError):
    """CUDA would refuse this operation."""


class OnCard(torch.Tensor):
    """A tensor that tells Python it is on the card, and torch's own code that it is on the CPU; `values` holds it."""

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "OnCard":
        made: OnCard = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, values.shape, strides=values.stride(), storage_offset=values.storage_offset(), dtype=values.dtype,
            device=CPU, requires_grad=values.requires_grad,
        )  # fmt: skip
        made.values = values.detach()
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return CARD

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        name = function.overloadpacket.__name__
        _check(name, function, args, kwargs)
        found = function(*tree_map(_values, args), **tree_map(_values, kwargs))
        if name.endswith("_") and not name.endswith("__"):  # in place; of lists it returns nothing
            return args[0] if isinstance(args[0], torch.Tensor) else None
        return tree_map(_on_card, found)


def _values(value: Any) -> Any:
    return value.values if isinstance(value, OnCard) else value


def _on_card(value: Any) -> Any:
    return OnCard(value) if isinstance(value, torch.Tensor) and not isinstance(value, OnCard) else value


_waits: list[str] = []
"""What the program would have waited for; `Pretended.waits` empties it."""
_pinned: set[int] = set()
"""Identities of the tensors whose memory is pinned."""


def _check(name: str, function: Any, args: tuple, kwargs: dict) -> None:
    """Raise Refused, or note that the program would wait."""
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    if name in UNREPEATABLE and not (name == "cumsum" and not tensors[0].is_floating_point()):
        raise Refused(f"{function} is not deterministic on CUDA")
    strangers = [value for value in tensors if not isinstance(value, OnCard)]
    if name == "copy_" and strangers:
        _waits.append(name)
    elif not (name in IN_BACKWARD and torch._C._current_graph_task_id() != -1):
        wrong = [tuple(value.shape) for value in strangers if value.dim() or name.startswith("index")]
        if wrong:
            raise Refused(f"{function} has tensors of both devices: {wrong} on the CPU")
    masks = [value for value in tree_flatten(args[1:2])[0] if isinstance(value, OnCard) and value.dtype == torch.bool]
    if name in READS or (name.startswith("index") and masks):
        _waits.append(name)


class Pretended(TorchFunctionMode):
    """Makes tensors on the card where a program asks for a CUDA device."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if name == "pin_memory":
            _pinned.add(id(args[0]))
            return args[0]
        if name in WHOLE and any(isinstance(value, OnCard) for value in tree_flatten((args, kwargs))[0]):
            return tree_map(_to_card, function(*tree_map(_to_cpu, args), **kwargs))
        if name in ("cpu", "numpy", "tolist") and isinstance(args[0], OnCard):
            _waits.append(name)
            there = _Move.apply(args[0], False)
            return there if name == "cpu" else getattr(there, name)()
        if name == "to":
            return _moved(function, args, kwargs)
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == "cuda":
            return tree_map(_on_card, function(*args, **{**kwargs, "device": CPU}))
        return function(*args, **kwargs)

    @contextmanager
    def waits(self) -> Iterator[list[str]]:
        """Give the list of what is waited for inside this block."""
        _waits.clear()
        yield _waits

    def moved(self, module: Module) -> Module:
        """Move a network's weights to the card; `Module.to` cannot, for it exchanges the memory of tensors."""
        for part in module.modules():
            for name, value in list(part._parameters.items()):
                if value is not None:
                    part._parameters[name] = nn.Parameter(OnCard(value.detach().clone()), value.requires_grad)
            for name, value in list(part._buffers.items()):
                if value is not None:
                    part._buffers[name] = OnCard(value.clone())
        return module


def _moved(function: Any, args: tuple, kwargs: dict) -> Any:
    """`tensor.to(…)`: between the devices, or to another type on the same one."""
    source, given = args[0], [*args[1:], *kwargs.values()]
    targets = [torch.device(value) for value in given if isinstance(value, torch.device | str)]
    targets += [value.device for value in given if isinstance(value, torch.Tensor)]
    if not targets:
        return function(*args, **kwargs)
    types = [value for value in given if isinstance(value, torch.dtype)]
    if targets[0].type == source.device.type:  # torch's own code would look for the driver
        return source.to(types[0]) if types else source
    there = targets[0].type == "cuda"
    if not there:
        _waits.append("to the CPU")
    elif not (id(source) in _pinned and kwargs.get("non_blocking")):
        _waits.append("to the card, from memory that is not pinned")
    moved = _Move.apply(source, there)
    return moved.to(types[0]) if types else moved


class _Move(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, source: torch.Tensor, to_card: bool) -> torch.Tensor:  # type: ignore[override]
        context.to_card = to_card
        return OnCard(source.detach().clone()) if to_card else source.values.clone()  # type: ignore[attr-defined]

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        return _Move.apply(gradient, not context.to_card), None


def _to_card(value: Any) -> Any:
    """What a function of WHOLE returned, on the card; its sizes, of one dimension, stay on the CPU."""
    floating = isinstance(value, torch.Tensor) and not isinstance(value, OnCard) and value.dim() > 1
    return _Move.apply(value, True) if floating else value


def _to_cpu(value: Any) -> Any:
    return _Move.apply(value, False) if isinstance(value, OnCard) else value
