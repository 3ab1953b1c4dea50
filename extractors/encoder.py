"""A transformers encoder with its tokenizer: texts to vectors, in batches of like length."""

import pickle
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, logging

from extractors.encoder_folders import first_line, pooling_of
from extractors.result import ExtractorError
from pipeline.params import TextOf

BATCH_TOKENS = 4096
"""Tokens a pass of the encoder, padding included; on CUDA as many as its memory has MiB, if that is more."""


class Encoder:
    """A transformers encoder and its tokenizer: texts to vectors."""

    def __init__(self, folder: Path, settings: TextOf, device: torch.device, dropout: float | None = None) -> None:
        """Load `folder`; `dropout` replaces the encoder's own, that of attention excepted.

        Raises:
            ExtractorError: the folder has no encoder, or not one that `settings` fits.
        """
        logging.disable_progress_bar()
        logging.set_verbosity_error()  # its report on unused heads reads like a fault
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            config = AutoConfig.from_pretrained(folder)
            for name in ("hidden_dropout_prob", "dropout"):  # BERT, RoBERTa and most others; DistilBERT
                if dropout is not None and hasattr(config, name):
                    setattr(config, name, dropout)
            options = {"add_pooling_layer": False} if config.model_type in ("bert", "roberta", "xlm-roberta") else {}
            self.network = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=any(folder.glob("model*.safetensors")),
                weights_only=True,
                **options,
            )
        except (OSError, ValueError, KeyError, RuntimeError, pickle.UnpicklingError) as error:
            raise ExtractorError(f"{folder}: is no encoder that transformers can load ({first_line(error)}); "
                                 f"text's `model` in params.yaml is {settings.model!r}") from None  # fmt: skip
        if settings.layers == "last4" and config.num_hidden_layers < 4:
            raise ExtractorError(f"text's `layers` in params.yaml is 'last4', but the encoder {settings.model!r} has "
                                 f"only {config.num_hidden_layers}: use `last`")  # fmt: skip
        self.network.eval().to(device)
        self.folder, self.device, self.layers = folder, device, settings.layers
        self.dim = int(config.hidden_size)
        self.pooling = pooling_of(folder, settings)
        self.max_tokens = _max_tokens(config, settings)
        self.padding = config.pad_token_id or 0

    def tokens(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text's tokens, special ones included, cut to `max_tokens`."""
        ids: list[list[int]] = self.tokenizer(texts, truncation=True, max_length=self.max_tokens)["input_ids"]
        return ids

    def vectors(self, tokens: list[list[int]]) -> Tensor:
        """Pooled vectors of the texts with these `tokens`, float32 [texts, dim] on the device."""
        ids = pad_sequence([torch.tensor(text) for text in tokens], batch_first=True, padding_value=self.padding)
        mask = pad_sequence([torch.ones(len(text), dtype=torch.long) for text in tokens], batch_first=True)
        if self.device.type == "cuda":
            ids, mask = ids.pin_memory(), mask.pin_memory()
        ids, mask = (part.to(self.device, non_blocking=True) for part in (ids, mask))
        faster = torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()
        with faster:
            output = self.network(ids, attention_mask=mask, output_hidden_states=self.layers == "last4")
        if self.layers == "last4":
            states = torch.stack([layer.float() for layer in output.hidden_states[-4:]]).mean(0)
        else:
            states = output.last_hidden_state.float()
        if self.pooling == "first":
            return states[:, 0]
        weight = mask.unsqueeze(-1)
        return (states * weight).sum(1) / weight.sum(1)

    @torch.inference_mode()
    def vectors_of(self, tokens: list[list[int]]) -> np.ndarray:
        """Vectors of the texts with these `tokens`, float32 [texts, dim], without a way back for gradients."""
        return self.vectors(tokens).cpu().numpy()

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> Tensor:
        """Vectors of `texts`, float32 [texts, dim] on the CPU."""
        return self.vectors(self.tokens(texts)).cpu()


def _max_tokens(config: PretrainedConfig, settings: TextOf) -> int:
    positions = getattr(config, "max_position_embeddings", 10**6) - (2 if "roberta" in config.model_type else 0)
    return int(min(settings.max_tokens, positions))


def most_tokens(device: torch.device) -> int:
    """Tokens a pass on `device`."""
    if device.type != "cuda":
        return BATCH_TOKENS
    return max(BATCH_TOKENS, torch.cuda.get_device_properties(device).total_memory // 2**20)


def batches(lengths: list[int], most: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Places of `lengths` in batches of at most `most` tokens, the longest first, so that little is padded."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
