"""Recording of CMATH's gate weights during prediction."""

import torch
from torch import Tensor

from model.cmath import Cmath
from model.interface import ErcModel


def watch_gates(network: ErcModel) -> list[tuple[str, torch.utils.hooks.RemovableHandle, list[Tensor]]]:
    """Hook the gates of Eq. 12 so that their weights in the next dialogue are recorded.

    Returns for each gate: its central modality, the hook, and a list that will get the weights [sources, T].
    """
    if not isinstance(network, Cmath) or network.transformer is None:
        return []
    watched = []
    for centre, transformer in network.transformer.items():
        gate = transformer.get_submodule("gate")
        seen: list[Tensor] = []

        def keep(gate: torch.nn.Module, given: tuple, _: Tensor, seen: list[Tensor] = seen) -> None:
            seen.append(gate.weights(*given).mean(-1)[:, 0].float().cpu())  # type: ignore[operator]

        watched.append((centre, gate.register_forward_hook(keep), seen))
    return watched
