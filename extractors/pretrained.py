"""Loading of pretrained transformers networks: their tensors alone, in float32, and never code of their folder."""

import pickle
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModel, PretrainedConfig, logging

from foundation.precision import chosen_precision

BROKEN = (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RuntimeError, ImportError,
          SafetensorError, StrictDataclassError, pickle.UnpicklingError)  # fmt: skip
"""What transformers raises for a folder that it cannot use."""


def load_network(folder: Path, config: PretrainedConfig, **options: Any) -> tuple[Any, list[str]]:
    """Load the network in `folder`; `options` are those of its class.

    Returns:
        The network, and the names of weights that its files lack.

    Raises:
        one of BROKEN: the folder has no such network.
    """
    network, report = AutoModel.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=any(folder.glob("model*.safetensors")),
        weights_only=True,
        trust_remote_code=False,
        output_loading_info=True,
        **options,
    )
    return network, sorted(report["missing_keys"])


def quiet() -> None:
    """Turn off transformers' progress bars, and its report on unused heads, which looks like an error."""
    logging.disable_progress_bar()
    logging.set_verbosity_error()


def precision_of(device: torch.device) -> str:
    """Precision of matrix products of an encoder on `device`: half of float32 where it can."""
    return chosen_precision("auto", device, older="float16")
