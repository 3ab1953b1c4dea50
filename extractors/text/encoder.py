"""A transformers encoder with its tokenizer, which turns texts into vectors, in batches of similar length."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig

from extractors import pretrained
from extractors.hub import first_line
from extractors.pretrained import BROKEN, load_network, quiet
from extractors.result import ExtractorError
from extractors.settings import FineTuningRecipe, TextSettings
from extractors.text.adapters import add_adapters, with_adapters
from extractors.text.folders import folder_of_weights, has_adapters
from extractors.text.layout import Layout, Tokens
from extractors.text.pooling import REMEDY, is_encoder_decoder, pooling_of
from extractors.text.window import Window
from foundation.precision import chosen_precision, lowered

BATCH_TOKENS = 4096
"""Tokens per pass of the encoder on a CPU, including padding."""
CUDA_TOKENS = 32_768
"""The same on CUDA, whatever the card: the last bits depend on it. RoBERTa-Large takes 2.5 GiB for it."""


COUNTED_FROM_2 = ("roberta", "camembert", "mpnet", "longformer", "luke", "data2vec", "esm")
"""Parts of `model_type` of networks whose first position is number 2, so that they have two fewer than they say."""


class Encoder:
    """Transformers encoder and its tokenizer."""

    def __init__(
        self, folder: Path, settings: TextSettings, device: torch.device, recipe: FineTuningRecipe | None = None
    ) -> None:
        """Load the encoder in `folder`, for fine-tuning if there is a `recipe`.

        The recipe's dropout replaces the encoder's own, except the attention dropout.

        Raises:
            ExtractorError: the folder has no encoder, or one that does not fit `settings`.
        """
        quiet()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            for name in ("hidden_dropout_prob", "dropout"):  # BERT, RoBERTa and most others; DistilBERT
                if recipe and hasattr(config, name):
                    setattr(config, name, recipe.dropout)
            if hasattr(config, "use_cache"):
                config.use_cache = False  # what a causal network keeps for the next token is not needed
            options = {"add_pooling_layer": False} if config.model_type in ("bert", "roberta", "xlm-roberta") else {}
            weights = folder_of_weights(folder, settings.model)
            self.network, _ = load_network(weights, config, **options)
            self.dim = int(config.hidden_size)
        except BROKEN as error:
            raise ExtractorError(f"{folder}: is no encoder that transformers can load ({first_line(error)}); "
                                 f"text's `model` in params.yaml is {settings.model!r}") from None  # fmt: skip
        if settings.layers == "last4" and config.num_hidden_layers < 4:
            raise ExtractorError(f"text's `layers` in params.yaml is 'last4', but the encoder {settings.model!r} has "
                                 f"only {config.num_hidden_layers}: use `last`")  # fmt: skip
        if is_encoder_decoder(folder):
            if recipe:
                raise ExtractorError(f"text's `finetune` in params.yaml is true, but {settings.model!r} has an encoder "
                                     "and a decoder, which cannot be fine-tuned here: set `finetune` to false, or take "
                                     "an encoder such as roberta-large")  # fmt: skip
            self.network = self.network.get_encoder()
        if has_adapters(folder):
            self.network = with_adapters(self.network, folder)
        if recipe and recipe.adapters:
            self.network = add_adapters(self.network, recipe.adapters, recipe.dropout)
        self.network.eval().to(device)
        if recipe and recipe.checkpointing:
            self.network.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        self.precision = precision_of(device, recipe)
        self.folder, self.device, self.layers = folder, device, settings.layers
        self.pooling = pooling_of(folder, settings)
        self.max_tokens = _max_tokens(config, settings)
        self.padding = getattr(config, "pad_token_id", None) or 0
        self.layout = None
        if settings.context.reads_around:
            segments = getattr(config, "type_vocab_size", 0) or 0
            self.layout = Layout(self.tokenizer, segments, self.max_tokens, settings.context)
        try:
            causal = self._is_causal()
        except BROKEN as error:
            raise ExtractorError(f"{folder}: is no encoder of texts, for it cannot encode three tokens "
                                 f"({first_line(error)}); text's `model` in params.yaml is {settings.model!r}"
                                 ) from None  # fmt: skip
        if self.pooling == "first" and causal:
            raise ExtractorError(f"{folder}: is a causal network, whose first token sees nothing behind it, so that "
                                 "all texts that begin with the same word would have the same vector; "
                                 f"{REMEDY.replace('first, ', '')}")  # fmt: skip
        if settings.context.future and causal:
            raise ExtractorError(f"{folder}: is a causal network, in which no token sees those behind it; set `future` "
                                 "of text's `context` in params.yaml to 0")  # fmt: skip

    def tokens(self, windows: list[Window]) -> list[Tokens]:
        """Tokens of each utterance, and of the turns around it if `context` asks for them; at most `max_tokens`."""
        if self.layout:
            return self.layout.tokens(windows)
        texts = [window.text for window in windows]
        ids: list[list[int]] = self.tokenizer(texts, truncation=True, max_length=self.max_tokens)["input_ids"]
        return [Tokens(text, (0, len(text)), []) for text in ids]

    def vectors(self, tokens: list[Tokens]) -> Tensor:
        """Compute the pooled vectors of tokenised utterances, float32 [utterances, dim] on the device."""
        states, mask, own = self._states(tokens)
        return pooled(states, mask if self.pooling == "first" else own, self.pooling)

    def _states(self, tokens: list[Tokens]) -> tuple[Tensor, Tensor, Tensor]:
        """States of all tokens, float32 [utterances, tokens, dim]; which are no padding, and which are their own."""
        parts = [
            _padded([one.ids for one in tokens], self.padding),
            _padded([[1] * len(one.ids) for one in tokens]),
            _padded([[int(one.own[0] <= place < one.own[1]) for place in range(len(one.ids))] for one in tokens]),
        ]
        if tokens[0].segments:
            parts.append(_padded([one.segments for one in tokens]))
        if self.device.type == "cuda":
            parts = [part.pin_memory() for part in parts]
        ids, mask, own, *segments = (part.to(self.device, non_blocking=True) for part in parts)
        more = {"token_type_ids": segments[0]} if segments else {}
        with lowered(self.precision, self.device):
            output = self.network(ids, attention_mask=mask, output_hidden_states=self.layers == "last4", **more)
        if self.layers == "last4":
            states = torch.stack([layer.float() for layer in output.hidden_states[-4:]]).mean(0)
        else:
            states = output.last_hidden_state.float()
        return states, mask, own

    @torch.inference_mode()
    def _is_causal(self) -> bool:
        """Whether the first token does not see the last one; tried with three ordinary tokens."""
        special = {*self.tokenizer.all_special_ids, self.padding}
        ordinary = (number for number in range(len(self.tokenizer)) if number not in special)
        first, *lasts = islice(ordinary, 3)
        one, other = (self._states([Tokens([first, lasts[0], last], (0, 3), [])])[0][0, 0] for last in lasts)
        return torch.equal(one, other)

    @torch.inference_mode()
    def vectors_of(self, tokens: list[Tokens]) -> np.ndarray:
        """Compute the pooled vectors of tokenised utterances without gradients, float32 [utterances, dim]."""
        return self.vectors(tokens).cpu().numpy()

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> Tensor:
        """Compute the vectors of `texts` without other turns, float32 [texts, dim] on the CPU."""
        return self.vectors(self.tokens([Window(text) for text in texts])).cpu()


def _padded(rows: list[list[int]], value: int = 0) -> Tensor:
    """Rows of integers as int64 [rows, longest], filled up with `value`."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Pool the token vectors `states` [texts, tokens, dim] to [texts, dim].

    Args:
        mask: 1 for a token that counts, 0 for any other and for padding, int64 [texts, tokens].
        pooling: value of `pooling` of section text, but `auto`.
    """
    weight, each = mask.unsqueeze(-1), torch.arange(len(states), device=states.device)
    match pooling:
        case "first":
            return states[each, mask.argmax(1)]
        case "last":
            return states[each, mask.shape[1] - 1 - mask.flip(1).argmax(1)]
        case "max":
            return states.masked_fill(weight == 0, -torch.inf).amax(1)
        case "mean_sqrt_len":
            return (states * weight).sum(1) / weight.sum(1).sqrt()
        case "weighted_mean":
            weight = mask.cumsum(1).mul(mask).unsqueeze(-1)
    return (states * weight).sum(1) / weight.sum(1)


def precision_of(device: torch.device, recipe: FineTuningRecipe | None = None) -> str:
    """Precision of matrix products on `device`: half of float32 where it can; in fine-tuning the recipe says."""
    if recipe and recipe.precision == "bfloat16":
        return "bfloat16"  # on a CPU too, where it is asked for: some have matrix units for it
    if recipe:
        return chosen_precision(recipe.precision, device, older="float32")  # float16 would need its losses scaled
    return pretrained.precision_of(device)


def _max_tokens(config: PretrainedConfig, settings: TextSettings) -> int:
    positions = getattr(config, "max_encoder_position_embeddings", None)  # of LED
    if positions is None:
        counted_from_2 = any(name in config.model_type for name in COUNTED_FROM_2)
        positions = getattr(config, "max_position_embeddings", 10**6) - (2 if counted_from_2 else 0)
    return int(min(settings.max_tokens, positions if positions > 0 else 10**6))  # -1: of XLNet, which has no limit


def most_tokens(device: torch.device) -> int:
    """Number of tokens per pass on `device`."""
    return CUDA_TOKENS if device.type == "cuda" else BATCH_TOKENS


def batches(lengths: list[int], most: int = BATCH_TOKENS) -> Iterator[list[int]]:
    """Yield batches of positions in `lengths`, at most `most` tokens each; sorted by length to reduce padding."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
