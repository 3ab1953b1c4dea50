"""Pooling that a text encoder was trained with, from the files of sentence-transformers, or from the kind of network.

Like `folders.py`, this module loads neither an encoder nor the libraries for it.
"""

import json
from pathlib import Path
from typing import Any

from extractors.hub import first_line
from extractors.result import ExtractorError
from extractors.settings import TextSettings
from foundation.files import is_file

MODULES, POOLING = "modules.json", "1_Pooling"
"""File with the modules of a sentence encoder, and the folder of its pooling if there is no such file."""
PLAIN = ("Transformer", "Dropout", "Normalize")
"""Modules that leave the pooling as it is. `Normalize` makes all vectors equally long, which is left out here, because
each column is standardised before it enters a model."""
POOLINGS = {
    "cls_token": "first", "max_tokens": "max", "mean_tokens": "mean", "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean_tokens": "weighted_mean", "lasttoken": "last",
}  # fmt: skip
"""Value of `pooling` for each `pooling_mode_…` of sentence-transformers."""
SHORT = {name.removesuffix("_tokens").removesuffix("_token"): name for name in POOLINGS} | {
    name: name for name in POOLINGS
}
"""The same modes as version 6 of sentence-transformers calls them in `pooling_mode`."""
CAUSAL = frozenset({
    "gpt2", "gpt_neo", "gpt_neox", "gptj", "gpt_bigcode", "gpt_oss", "openai-gpt", "codegen", "opt", "bloom", "mpt",
    "falcon", "xglm", "ctrl", "biogpt", "llama", "mistral", "ministral", "mixtral", "qwen2", "qwen2_moe", "qwen3",
    "qwen3_moe", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "phimoe", "olmo", "olmo2", "olmoe", "stablelm",
    "starcoder2", "cohere", "cohere2", "granite", "granitemoe", "glm", "glm4", "deepseek_v2", "deepseek_v3", "smollm3",
    "mamba", "mamba2", "falcon_mamba", "rwkv", "jamba", "lfm2", "persimmon", "ernie4_5", "exaone4", "helium",
})  # fmt: skip
"""`model_type` of networks in which a token sees only what stands before it. `encoder.py` also tries it out."""
AT_THE_END = frozenset({"xlnet"})
"""`model_type` of networks that see the whole text at each token, and have the one that stands for it at the end."""
ENCODER_DECODERS = frozenset({
    "t5", "mt5", "umt5", "longt5", "switch_transformers", "bart", "mbart", "pegasus", "pegasus_x", "bigbird_pegasus",
    "marian", "blenderbot", "blenderbot-small", "led", "m2m_100", "nllb-moe", "plbart", "prophetnet", "mvp", "fsmt",
    "encoder-decoder",
})  # fmt: skip
REMEDY = "set text's `pooling` in params.yaml to first, last, mean, weighted_mean, mean_sqrt_len or max"


def pooling_of(folder: Path, settings: TextSettings) -> str:
    """Pooling for the encoder in `folder` according to `settings`.

    Raises:
        ExtractorError: as `own_pooling`.
    """
    return own_pooling(folder) if settings.pooling == "auto" else settings.pooling


def own_pooling(folder: Path) -> str:
    """Pooling that the encoder was trained with.

    A sentence encoder has a file for it. For any other network it is the token that stands for the whole text: the last
    one of a causal network and of XLNet, else the first; and for the encoder of an encoder-decoder, which has no such
    token, the mean.

    Raises:
        ExtractorError: the files name a pooling, or a module, that is not known here.
    """
    if stated := _stated_pooling(folder):
        return stated
    config = _config(folder)
    if is_encoder_decoder(folder):
        return "mean"
    heads = config.get("architectures")
    heads = heads if isinstance(heads, list) else []
    causal = (
        config.get("is_decoder")
        or str(config.get("model_type")) in CAUSAL
        or any(str(head).endswith(("ForCausalLM", "LMHeadModel")) for head in heads)
    )
    if config.get("model_type") in AT_THE_END:
        return "last"
    return "last" if causal and not config.get("use_bidirectional_attention") else "first"


def is_encoder_decoder(folder: Path) -> bool:
    """Whether the network in `folder` has a decoder behind its encoder, which is then left out."""
    config = _config(folder)
    return bool(config.get("is_encoder_decoder")) or str(config.get("model_type")) in ENCODER_DECODERS


def pooling_file(folder: Path) -> Path:
    """File that names the pooling of a sentence encoder; it does not exist for any other encoder."""
    return next((folder / path / "config.json" for kind, path in _modules(folder) if kind == "Pooling"),
                folder / POOLING / "config.json")  # fmt: skip


def _modules(folder: Path) -> list[tuple[str, str]]:
    """Kind and folder of each module of a sentence encoder; empty for any other encoder."""
    file = folder / MODULES
    if not file.is_file():
        return []
    try:
        return [(module["type"].rpartition(".")[2], Path(module["path"]).name) for module in _read(file)]
    except (KeyError, TypeError, AttributeError):
        raise ExtractorError(f"{file}: is no list of modules; copy the encoder anew") from None


def _stated_pooling(folder: Path) -> str:
    """Pooling that the files of a sentence encoder name; empty for any other encoder."""
    for kind, _ in _modules(folder):
        if kind not in (*PLAIN, "Pooling"):
            raise ExtractorError(f"{folder / MODULES}: the encoder has a module {kind}, which is not supported. To use "
                                 f"the vectors of its tokens without that module, {REMEDY}")  # fmt: skip
    file = pooling_file(folder)
    if not is_file(file):
        return ""
    content = _read(file)
    if not isinstance(content, dict):
        raise ExtractorError(f"{file}: names no pooling; copy the encoder anew")
    modes = content.get("pooling_mode") or [
        name.removeprefix("pooling_mode_") for name, chosen in content.items()
        if name.startswith("pooling_mode_") and chosen
    ]  # fmt: skip
    modes = modes if isinstance(modes, list) else [modes]
    modes = [str(mode) for mode in modes] or ["mean"]  # sentence-transformers takes the mean, too
    if len(modes) > 1 or modes[0] not in SHORT:
        raise ExtractorError(f"{file}: the encoder's pooling is {' with '.join(map(str, modes))}, which is not "
                             f"supported; {REMEDY}")  # fmt: skip
    return POOLINGS[SHORT[modes[0]]]


def _config(folder: Path) -> dict:
    """Content of config.json; empty if it cannot be understood, which is said when the encoder is loaded."""
    try:
        content = _read(folder / "config.json")
    except ExtractorError:
        return {}
    return content if isinstance(content, dict) else {}


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ExtractorError(f"{file}: cannot be read ({first_line(error)}); copy the encoder anew") from None
