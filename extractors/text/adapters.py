"""Low-rank adapters of a text encoder (LoRA: Hu et al., ICLR 2022), in place of fine-tuning all its weights.

Each weight matrix W of the encoder stays as published and gets a sum beside it: W + 2 B A, where B has `rank` columns
and A as many rows. Only A and B are trained and kept: some megabytes for RoBERTa-Large, whose weights have 1.4 GB. When
such an encoder is loaded, the sums are added to the published weights, so that it computes as fast as any other.
"""

import warnings
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from extractors.hub import first_line
from extractors.result import ExtractorError
from extractors.text.folders import ADAPTERS, adapters_of

SCALE = 2
"""Factor of each sum; the peft library calls rank * SCALE `lora_alpha`."""


def add_adapters(network: Any, rank: int, dropout: float) -> Any:
    """Freeze `network`, and add untrained adapters to all its linear layers."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, lora_dropout=dropout, target_modules="all-linear")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft still calls what transformers has renamed
        return get_peft_model(network, config)


def adapter_weights(network: Any) -> dict[str, Any]:
    """Tensors of the adapters in `network`, by name."""
    from peft import get_peft_model_state_dict

    weights: dict[str, Any] = get_peft_model_state_dict(network)
    return weights


def with_adapters(network: Any, folder: Path) -> Any:
    """Add the adapters in `folder` to the weights of `network`; the result is an ordinary network.

    Raises:
        ExtractorError: the folder has none, or those of another network.
    """
    from peft import set_peft_model_state_dict

    adapted = add_adapters(network, adapters_of(folder).rank, 0.0)
    try:
        weights = load_file(folder / ADAPTERS)
        expected = {name: value.shape for name, value in adapter_weights(adapted).items()}
        if {name: value.shape for name, value in weights.items()} != expected:
            raise ValueError("they are those of another encoder")
        if not all(value.isfinite().all() for value in weights.values()):
            raise ValueError("they have values that are not finite")
    except (OSError, SafetensorError, ValueError) as error:
        raise ExtractorError(f"{folder / ADAPTERS}: these adapters cannot be used ({first_line(error)}); copy the "
                             "folder anew, or train again with `dvc repro`") from None  # fmt: skip
    set_peft_model_state_dict(adapted, weights)
    return adapted.merge_and_unload()
