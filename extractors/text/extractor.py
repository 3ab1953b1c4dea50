"""Text extractor: one vector of a transformers encoder for the words of an utterance (paper, section 3.2).

The encoder can be `roberta-large` from the Hugging Face hub (last layer, `<s>`, 1024 wide), a folder, or `minilm`, a
small sentence encoder (mean of the tokens, 384 wide) from an ordinary Python package, for machines without access to
the hub. It is used as published or as fine-tuned by the stage finetune_text, and loaded only when there is something to
encode.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from extractors.cache import Cache
from extractors.result import ExtractorError, Result
from extractors.settings import TextSettings
from extractors.text.folders import checksum, encoder_folder, fine_tuned
from extractors.text.layout import Tokens
from extractors.text.pooling import is_encoder_decoder, pooling_of
from extractors.text.window import Window, windows_of
from extractors.utterance import ABOUT, Utterance, key_of
from foundation.device import device, device_type
from foundation.spread import engine, spread
from foundation.workers import TaskLost

if TYPE_CHECKING:
    from extractors.text.encoder import Encoder

VERSION = 2
"""Version of this module; raise it with every change that changes a feature value."""


IN_CHECKSUMS = frozenset({"model", "finetune", "crossfit", "recipe", "allow_seen"})
"""Settings that select or train the encoders; the identity has the encoders' checksums instead."""
OF_ENCODER = frozenset({"pooling", "max_tokens"})
"""Settings whose effect depends on the encoder, so it is unknown without the encoder's files."""
NOT_IN_KEY = ABOUT | {"audio_start", "audio_end", "audio_hash", "start", "end", "region", "video_hash", "text_hash",
                      "pieces_hash", "boxes"}  # fmt: skip
"""Fields of an utterance that its text features do not depend on; all other fields, new ones too, are in the key. With
cross-fitting the key also has the number of the encoder that did not see the utterance's dialogue."""


class TextExtractor:
    """Extractor of one text vector per utterance, float32 [dim]; an empty utterance is missing.

    With cross-fitting there are several encoders: a train utterance gets the vector of the encoder that did not see its
    dialogue, and any other utterance gets the mean over all encoders.
    """

    def __init__(self, settings: TextSettings, raw: Path, fitted: Path = Path(), alone: bool = False) -> None:
        """Create the extractor; `fitted` is the output folder of finetune_text, read only if `finetune` is true.

        Args:
            alone: whether each utterance has a pass of the encoder of its own, so that its vector does not depend on
                its company even in the last bits.
        """
        self.settings, self.alone = settings, alone
        self.folders, self.folds = fine_tuned(fitted) if settings.finetune else ([encoder_folder(settings.model)], {})
        self.identity = {**_identity(settings, self.folders), "device": device_type()}
        if alone:
            self.identity["alone"] = True
        self._windows: dict[str, Window] = {}
        """What is read for each key."""
        if device_type() == "cuda":
            from extractors.text.encoder import precision_of

            self.identity["precision"] = precision_of(device())

    @cached_property
    def encoder(self) -> "Encoder":
        """Encoder in use; at first the one in the first folder."""
        return self._load(self.folders[0])

    def _load(self, folder: Path) -> "Encoder":
        from extractors.text.encoder import Encoder

        return Encoder(folder, self.settings, device())

    @property
    def dim(self) -> int:
        return self.encoder.dim

    def prepare(self, rows: Mapping[str, Utterance], cache: Cache, share: set[str] | None = None) -> bool:
        return True  # each utterance is extracted independently

    def keys(self, rows: Sequence[Utterance]) -> list[str | None]:
        found: list[str | None] = []
        for row, window in zip(rows, windows_of(rows, self.settings.context), strict=True):
            if not row.text.strip():
                found.append(None)
                continue
            content = hashlib.sha256(key_of(row, NOT_IN_KEY).encode()).hexdigest()
            if self.settings.context.reads_around:
                content = f"{content}|{window.digest}"
            key = f"{content}|{self._fold(row)}" if self._is_cross_fitted(row) else content
            self._windows[key] = window
            found.append(key)
        return found

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
        """Yield results of the encoder in use for `keys`, batch by batch."""
        # Batches are formed from all rows, known or not, and known ones are removed afterwards. So a resumed run has
        # the same order and grouping as an uninterrupted one.
        left = [{key: ids for key, ids in batch.items() if key not in known} for batch in self._batches(rows, keys)]
        for batch, vectors in self._vectors([batch for batch in left if batch]):
            yield {
                key: Result(vector, used=len(tokens.ids))
                for (key, tokens), vector in zip(batch.items(), vectors, strict=True)
            }

    def _batches(self, rows: Mapping[str, Utterance], keys: list[str]) -> list[dict[str, Tokens]]:
        """Tokens by key, in batches for one pass of the encoder each."""
        from extractors.text.encoder import batches, most_tokens

        tokens = self.encoder.tokens([self._windows[key] for key in keys]) if keys else []
        most = 0 if self.alone else most_tokens(self.encoder.device)
        cut = batches([len(one.ids) for one in tokens], most)
        return [{keys[place]: tokens[place] for place in batch} for batch in cut]

    def _vectors(self, batches: list[dict[str, Tokens]]) -> Iterator[tuple[dict[str, Tokens], np.ndarray]]:
        """Yield batches with their vectors; a Ray cluster shares the work unless this machine has a GPU."""
        if engine() != "ray" or self.encoder.device.type != "cpu":
            for batch in batches:
                yield batch, self.encoder.vectors_of(list(batch.values()))
            return
        for batch, vectors in spread(_vectors_of_batch, batches, _prepare, self.encoder.folder, self.settings):
            if isinstance(vectors, TaskLost):
                raise ExtractorError(f"text: a batch could not be encoded: {vectors.reason}; what was finished is kept")
            yield batch, vectors


def _identity(settings: TextSettings, folders: list[Path]) -> dict[str, object]:
    """Identity of an extractor without the device; with fewer entries if the encoders' `folders` are unknown."""
    without = {*(IN_CHECKSUMS if folders else IN_CHECKSUMS | OF_ENCODER)}
    # An utterance that is read alone has the identity that it had before there was anything else.
    known = settings.model_dump(exclude=without if settings.context.reads_around else {*without, "context"})
    if folders:
        known |= {"encoders": [checksum(folder) for folder in folders], "pooling": pooling_of(folders[0], settings)}
        known |= {"part": "encoder"} if is_encoder_decoder(folders[0]) else {}
    return {
        **known,
        "modality": "text",
        "version": VERSION,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "tokenizers": version("tokenizers"),
    }


def identity_of(settings: TextSettings, fitted: Path) -> dict[str, object]:
    """Identity that an extractor with these settings would have, as far as it is known without the encoder's files.

    No encoder is loaded or downloaded.
    """
    try:
        folders = fine_tuned(fitted)[0] if settings.finetune else [encoder_folder(settings.model, fetch=False)]
        return _identity(settings, folders)
    except ExtractorError:
        return _identity(settings, [])


_worker: dict = {}


def _prepare(folder: Path, settings: TextSettings) -> None:
    import torch

    from extractors.text.encoder import Encoder

    _worker["encoder"] = Encoder(folder, settings, torch.device("cpu"))


def _vectors_of_batch(batch: dict[str, Tokens]) -> np.ndarray:
    vectors: np.ndarray = _worker["encoder"].vectors_of(list(batch.values()))
    return vectors
