"""Text: an utterance's words to one vector of a transformers encoder (paper, section 3.2).

Any encoder serves: `roberta-large` from the hub (last layer, `<s>`, 1024 wide), a folder, or `minilm`, the small
sentence encoder (mean of the tokens, 384 wide) that an ordinary Python package ships, for machines without a hub. It is
taken as published, or as the stage finetune_text left it. It is loaded when there is something to encode.
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extractors.cache import Cache
from extractors.device import device, device_type
from extractors.encoder_folders import checksum, encoder_folder, fine_tuned, pooling_of
from extractors.result import ExtractorError, Result
from extractors.workers import Lost, engine, spread
from pipeline.params import TextOf
from pipeline.utterances import ABOUT, Utterance, key_of

if TYPE_CHECKING:
    from extractors.encoder import Encoder

VERSION = 2
"""To be raised with every change of this module that changes a number."""


IN_CHECKSUMS = frozenset({"model", "finetune", "crossfit", "recipe"})
"""Settings of which encoders there are and how they were trained: their checksums tell it."""
OF_ENCODER = frozenset({"pooling", "max_tokens"})
"""Settings whose meaning depends on the encoder, and is unknown where the encoder is not at hand."""
NOT_IN_KEY = ABOUT | {"audio_start", "audio_end", "audio_hash", "start", "end", "region", "video_hash"}
"""What of an utterance its words do not depend on; whatever else the index may come to have, its key has. Which encoder
has not seen an utterance, by its split and dialogue, stands in the key beside it."""


class TextExtractor:
    """One vector an utterance, float32 [dim]; an empty utterance is missing.

    Of several encoders, cross-fitted, an utterance of train gets the vector of the one that did not see its dialogue,
    any other the mean of all.
    """

    def __init__(self, settings: TextOf, raw: Path, fitted: Path = Path()) -> None:
        """`fitted` is the folder that finetune_text wrote, read only if `settings` ask for fine-tuning."""
        self.settings = settings
        self.folders, self.folds = fine_tuned(fitted) if settings.finetune else ([encoder_folder(settings.model)], {})
        self.identity = {**_identity(settings, self.folders), "device": device_type()}

    @cached_property
    def encoder(self) -> "Encoder":
        """The encoder of this moment, at first that of the first folder."""
        return self._load(self.folders[0])

    def _load(self, folder: Path) -> "Encoder":
        from extractors.encoder import Encoder

        return Encoder(folder, self.settings, device())

    @property
    def dim(self) -> int:
        return self.encoder.dim

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        return True  # each utterance stands for itself

    def key(self, row: Utterance) -> str | None:
        if not row.text.strip():
            return None
        content = hashlib.sha256(key_of(row, NOT_IN_KEY).encode()).hexdigest()
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
                self.encoder = self._load(folder)
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
        from extractors.encoder import batches, most_tokens

        tokens = self.encoder.tokens([rows[key].text for key in keys]) if keys else []
        cut = batches([len(ids) for ids in tokens], most_tokens(self.encoder.device))
        return [{keys[place]: tokens[place] for place in batch} for batch in cut]

    def _vectors(self, batches: list[dict[str, list[int]]]) -> Iterator[tuple[dict[str, list[int]], np.ndarray]]:
        """Batches with their vectors; a cluster shares the work, unless a GPU is here to do it."""
        if engine() != "ray" or self.encoder.device.type != "cpu":
            for batch in batches:
                yield batch, self.encoder.vectors_of(list(batch.values()))
            return
        for batch, vectors in spread(_vectors_of_batch, batches, _prepare, self.encoder.folder, self.settings):
            if isinstance(vectors, Lost):
                raise ExtractorError(f"text: a batch could not be encoded: {vectors.reason}; what was finished is kept")
            yield batch, vectors


def _identity(settings: TextOf, folders: list[Path]) -> dict[str, object]:
    """What an extractor is, but for the device; less is told without the encoders' `folders`."""
    known = settings.model_dump(exclude=set(IN_CHECKSUMS if folders else IN_CHECKSUMS | OF_ENCODER))
    if folders:
        known |= {"encoders": [checksum(folder) for folder in folders], "pooling": pooling_of(folders[0], settings)}
    return {
        **known,
        "modality": "text",
        "version": VERSION,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "tokenizers": version("tokenizers"),
    }


def identity_of(settings: TextOf, fitted: Path) -> dict[str, object]:
    """The identity that an extractor with these settings would have, as far as this machine can tell: an encoder that
    is not here may be any. None is loaded, or fetched from the hub."""
    try:
        folders = fine_tuned(fitted)[0] if settings.finetune else [encoder_folder(settings.model, fetch=False)]
    except ExtractorError:
        folders = []
    return _identity(settings, folders)


_worker: dict = {}


def _prepare(folder: Path, settings: TextOf) -> None:
    import torch

    from extractors.encoder import Encoder

    _worker["encoder"] = Encoder(folder, settings, torch.device("cpu"))


def _vectors_of_batch(batch: dict[str, list[int]]) -> np.ndarray:
    vectors: np.ndarray = _worker["encoder"].vectors_of(list(batch.values()))
    return vectors
