"""A transformers encoder of speech with its feature extractor: states of a sound, summed over time.

A sound is normalised whole. A long one is then cut at multiples of the encoder's frame step, each piece with a margin
of its neighbours' sound, whose frames are dropped: so every frame of the sound is counted once, and none stands at an
edge that is not the sound's own. Whisper's encoder reads 30 seconds, no more and no less: its pieces have no margin,
and the frames of what it is padded with are dropped.
"""

import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoFeatureExtractor

from extractors.hub import first_line
from extractors.media import RATE
from extractors.pretrained import BROKEN, load_network, precision_of, quiet
from extractors.result import ExtractorError
from extractors.settings import AudioSettings
from foundation.precision import lowered, tf32

WAVES = frozenset({
    "wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "sew", "sew-d",
    "wav2vec2-conformer",
})  # fmt: skip
"""`model_type` of encoders that read samples."""
SPECTRA = frozenset({"wav2vec2-bert"})
"""`model_type` of encoders that read a spectrum, a frame of which is a frame of the encoder."""
MASKED = frozenset({"wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "wav2vec2-bert"})
"""Those in which padding changes nothing if it is masked, and if their feature extractor asks for masks. In the others
transformers lets it leak: through the convolutions of a Conformer and of data2vec's positions, and by how SEW rounds
the length of a mask. They are only put together with sounds of the same length."""
WHISPER = "whisper"
PIECE, MARGIN = 1000, 100
"""Frames of a piece of a long sound, and of its margin on each side: 20 and 2 seconds at 50 frames a second."""
CUDA_FRAMES = 16_000
"""Frames per pass on CUDA, whatever the card, including padding: the last bits depend on it."""
NOT_LOADED = ("masked_spec_embed",)
"""Weights that only training needs."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a sound for one row of a pass."""

    owner: int
    """Number of the sound among those of the call."""
    values: np.ndarray
    """What the encoder reads, float32 [samples], [frames, bands], or for Whisper [bands, frames]."""
    begin: int
    """First frame that is kept, counted from the piece's own."""
    end: int | None
    """First frame that is not kept any more; None: all that are there are kept."""


class SpeechEncoder:
    """Transformers encoder and its feature extractor."""

    def __init__(self, folder: Path, settings: AudioSettings, device: torch.device) -> None:
        """Load the encoder in `folder`.

        Raises:
            ExtractorError: the folder has no encoder, one of a kind that is not supported, or one that does not fit
                `settings`.
        """
        quiet()
        # WavLM's attention in transformers has masks of two types, which torch will not take for ever.
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask", UserWarning)
        said = f"audio's `encoder` in params.yaml is {settings.encoder!r}"
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        except BROKEN as error:
            raise ExtractorError(f"{folder}: is no encoder that transformers knows ({first_line(error)}); {said}"
                                 ) from None  # fmt: skip
        self.kind = str(config.model_type)
        if self.kind not in (*WAVES, *SPECTRA, WHISPER):
            raise ExtractorError(f"{folder}: is of the kind {self.kind!r}, which is no encoder of speech that can be "
                                 f"used here ({', '.join(sorted((*WAVES, *SPECTRA, WHISPER)))}); {said}. "
                                 "docs/encoders.md says how to add another")  # fmt: skip
        if getattr(config, "add_adapter", False):
            config.add_adapter = False  # it shortens the sequence for a decoder
        try:
            self.prepare = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
            network, missing = load_network(folder, config)
        except BROKEN as error:
            raise ExtractorError(f"{folder}: is no encoder that transformers can load ({first_line(error)}); {said}"
                                 ) from None  # fmt: skip
        lacking = [name for name in missing if not name.endswith(NOT_LOADED)]
        if lacking:
            raise ExtractorError(f"{folder}: its file of weights lacks {lacking[0]}, and {len(lacking) - 1} others; "
                                 f"copy the encoder anew. {said}")  # fmt: skip
        self.network = network.get_encoder() if self.kind == WHISPER else network
        self.network.eval().to(device)
        self.rate = getattr(self.prepare, "sampling_rate", None)
        if self.rate != RATE:
            raise ExtractorError(f"{folder}: was made for sound of {self.rate} Hz, and all sound here has {RATE} Hz; "
                                 f"{said}: take another encoder")  # fmt: skip
        number = int(getattr(config, "encoder_layers", 0) if self.kind == WHISPER else config.num_hidden_layers)
        if settings.layers == "last4" and number < 4:
            raise ExtractorError(f"audio's `layers` in params.yaml is 'last4', but the encoder {settings.encoder!r} has"
                                 f" only {number}: use `last` or `all`")  # fmt: skip
        self.width = int(config.d_model if self.kind == WHISPER else config.hidden_size)
        self.layers, self.pooling, self.device = settings.layers, settings.pooling, device
        self.precision = precision_of(device)
        self.masks = self.kind in MASKED and bool(getattr(self.prepare, "return_attention_mask", True))
        self._require_window(folder, config)
        # Numbers of samples from frame to frame, and in what one frame sees: valid convolutions, one on another.
        strides, kernels = list(getattr(config, "conv_stride", [])), list(getattr(config, "conv_kernel", []))
        waves = self.kind in WAVES
        self.step = prod(strides) if waves else 1
        self.reach = (
            1 + sum((kernel - 1) * prod(strides[:place]) for place, kernel in enumerate(kernels)) if waves else 1
        )
        # SEW's layers see every other frame; what comes out of it is stretched again.
        self.squeeze = int(getattr(config, "squeeze_factor", 1)) if settings.layers != "last" else 1

    def _require_window(self, folder: Path, config: Any) -> None:
        """Refuse a Whisper whose feature extractor makes another length than the encoder takes."""
        if self.kind != WHISPER:
            return
        made, taken = self.prepare.n_samples // self.prepare.hop_length, 2 * config.max_source_positions
        if made != taken:
            raise ExtractorError(f"{folder}: its feature extractor makes {made} frames, and its encoder takes {taken}; "
                                 "copy the encoder anew")  # fmt: skip

    @property
    def dim(self) -> int:
        return self.width * (2 if self.pooling == "mean_std" else 1)

    def pieces(self, sound: np.ndarray, owner: int = 0) -> list[Piece]:
        """Cut `sound`, float32 [samples] at 16 kHz, into pieces that the encoder can read at once."""
        if self.kind == WHISPER:
            return list(self._windows(sound, owner))
        made = self.prepare(sound, sampling_rate=RATE, return_tensors="np", return_attention_mask=True)
        if self.kind in SPECTRA:
            values = made["input_features"][0][made["attention_mask"][0] == 1]
        else:
            values = made["input_values"][0]
        frames = self._frames(len(values))
        if frames <= PIECE + 2 * MARGIN:
            return [Piece(owner, values, 0, None)]
        found = []
        for begin in range(0, frames, PIECE):
            left = min(begin, MARGIN)
            last = begin + PIECE >= frames
            right = frames if last else min(frames, begin + PIECE + MARGIN)
            part = values[(begin - left) * self.step : (right - 1) * self.step + self.reach]
            part = values[(begin - left) * self.step :] if last else part
            found.append(Piece(owner, part, left // self.squeeze,
                               None if last else (left + PIECE) // self.squeeze))  # fmt: skip
        return found

    def _windows(self, sound: np.ndarray, owner: int) -> Iterator[Piece]:
        """Pieces of Whisper's length; of the last one only the frames that are sound are kept."""
        length, step = self.prepare.n_samples, 2 * self.prepare.hop_length
        for begin in range(0, len(sound), length):
            part = sound[begin : begin + length]
            made = self.prepare(part, sampling_rate=RATE, return_tensors="np")["input_features"][0]
            yield Piece(owner, made, 0, -(-len(part) // step))

    def _frames(self, length: int) -> int:
        """Number of frames of an input of `length`."""
        return max(0, (length - self.reach) // self.step + 1)

    @torch.inference_mode()
    def vectors_of(self, sounds: list[np.ndarray]) -> np.ndarray:
        """Vectors of `sounds`, float32 [sounds, dim]: on CUDA in batches, on a CPU one piece at a time."""
        pieces = [piece for owner, sound in enumerate(sounds) for piece in self.pieces(sound, owner)]
        most = CUDA_FRAMES if self.device.type == "cuda" else 1
        sums = np.zeros((len(sounds), 2, self.width))
        counts = np.zeros(len(sounds))
        for batch in self.batches(pieces, most):
            for piece, (number, both) in zip(batch, self.sums_of(batch), strict=True):
                sums[piece.owner] += both
                counts[piece.owner] += number
        mean, squares = np.moveaxis(sums / counts[:, None, None], 1, 0)
        if self.pooling == "mean":
            return mean.astype(np.float32)
        deviation = np.sqrt(np.maximum(squares - mean**2, 0))
        return np.concatenate([mean, deviation], 1).astype(np.float32)

    def batches(self, pieces: list[Piece], most: int) -> Iterator[list[Piece]]:
        """Cut `pieces`, the longest first, into passes of at most `most` frames, or of one piece.

        Pieces of unequal length are padded, and only if padding changes nothing.
        """
        batch: list[Piece] = []
        for piece in sorted(pieces, key=lambda piece: -len(piece.values)):
            longest = self._length(batch[0]) if batch else 0
            full = (len(batch) + 1) * longest > most
            if batch and (full or (not self.masks and len(piece.values) != len(batch[0].values))):
                yield batch
                batch = []
            batch.append(piece)
        if batch:
            yield batch

    def _length(self, piece: Piece) -> int:
        """Frames of a piece that the encoder computes."""
        return piece.values.shape[1] // 2 if self.kind == WHISPER else self._frames(len(piece.values))

    @torch.inference_mode()
    def sums_of(self, batch: list[Piece]) -> list[tuple[int, np.ndarray]]:
        """Number of the frames that each piece keeps, and their sum and sum of squares, float64 [2, width]."""
        found = []
        for piece, states in zip(batch, self.states(batch), strict=True):
            kept = states[piece.begin : piece.end].double()
            found.append((len(kept), torch.stack([kept.sum(0), (kept**2).sum(0)])))
        return [(number, both.cpu().numpy()) for number, both in found]

    def states(self, batch: list[Piece]) -> list[Tensor]:
        """States of each piece, mean of the chosen layers, float32 [frames, width] on the device."""
        lengths = [len(piece.values) for piece in batch]
        rows = torch.zeros(len(batch), *(max(sizes) for sizes in zip(*(piece.values.shape for piece in batch),
                                                                     strict=True)))  # fmt: skip
        for row, piece in zip(rows, batch, strict=True):
            row[: len(piece.values)] = torch.from_numpy(piece.values)
        more = {}
        if min(lengths) < max(lengths):
            mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
            more["attention_mask"] = mask.long().to(self.device)
        exact = tf32(False) if self.device.type == "cuda" else nullcontext()
        with lowered(self.precision, self.device), exact:
            output = self.network(rows.to(self.device), output_hidden_states=self.layers != "last", **more)
        states = self._chosen(output)
        if self.kind == WHISPER:
            return list(states)
        frames = [self._frames(length) // self.squeeze for length in lengths]
        return [of_piece[:number] for of_piece, number in zip(states, frames, strict=True)]

    def _chosen(self, output: Any) -> Tensor:
        """Mean of the chosen layers, float32 [pieces, frames, width]."""
        last = output.last_hidden_state
        if self.layers == "last":
            return last.float()
        layers = list(output.hidden_states)
        if layers[-1].shape == last.shape:
            layers[-1] = last  # after the last normalisation, where the encoder has one, as the field takes it
        chosen = layers[-4:] if self.layers == "last4" else layers
        return torch.stack([layer.float() for layer in chosen]).mean(0)
