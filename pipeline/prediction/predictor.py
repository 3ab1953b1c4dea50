"""Prediction with the extractors and models of a bundle."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from extractors.audio import reduction
from extractors.cache import WorkCache
from extractors.extraction import KIND, as_features, by_key, extract
from extractors.result import Extractor, Result
from extractors.utterance import Utterance
from extractors.visual.extractor import VisualExtractor
from extractors.visual.faces import EDGE, Faces
from extractors.visual.transformer import TransformerVisualExtractor
from foundation.device import device
from foundation.errors import UserError
from foundation.folders import cache_folder
from foundation.torch_setup import prepare_torch
from model.batching import Corpus
from model.training import predict
from pipeline.bundle.places import open_bundle
from pipeline.params import MODALITIES
from pipeline.prediction.extractors import make_extractor
from pipeline.prediction.recordings import Recording

THUMBNAILS = 6


@dataclass(slots=True, kw_only=True)
class Prediction:
    """Prediction for one utterance."""

    row: Utterance
    speaker: str
    start: float | None = None
    """Start and end in seconds, of the part that was looked at; without a recording, those of the transcript."""
    end: float | None = None
    probabilities: np.ndarray
    """Class probabilities [C], mean over the seeds."""
    missing: dict[str, str]
    """Reason for each missing modality."""
    without: dict[str, float | None] = field(default_factory=dict)
    """Probability of the predicted emotion if a modality is masked in the whole conversation, by modality; None where
    the utterance does not have it."""
    crops: np.ndarray | None = None
    """Some of the used faces, uint8 [faces, 64, 64], or [faces, 64, 64, 3] of an encoder that sees colours."""
    faces: int = 0
    """Number of all used faces."""


class Predictor:
    """A bundle with its encoders, loaded once and used for any number of recordings."""

    def __init__(
        self,
        model: str | Path,
        seed: int | None = None,
        text_encoder: str = "",
        audio_encoder: str = "",
        visual_encoder: str = "",
    ) -> None:
        """Load the bundle; `seed` selects one model instead of the average, and the others name copies of encoders.

        `model` is models/D, a bundle, a zip of it, or `hf:org/name` on the hub (pipeline/bundle/places.py).

        Raises:
            UserError: the bundle, or an encoder that it needs, is missing or a different one.
        """
        prepare_torch(threads=1)
        self.bundle = open_bundle(model)
        seeds = self.bundle.seeds if seed is None else [seed]
        if seeds[0] not in self.bundle.seeds:
            raise UserError(f"--seed {seed}: {model} has the seeds {', '.join(map(str, self.bundle.seeds))}")
        self.seeds = seeds
        self.networks = [self.bundle.network(number).to(device()).eval() for number in seeds]
        self.modalities = [name for name in MODALITIES if name in self.bundle.config["dims"]]
        self.encoders = {"text": text_encoder, "audio": audio_encoder, "visual": visual_encoder}
        self._extractors: dict[str, Extractor] = {}

    def predict(self, recordings: list[Recording]) -> list[list[Prediction]]:
        """Predict all recordings; the result has one list per recording, in conversation order.

        Raises:
            UserError: an encoder is missing, or extraction cannot go on.
        """
        rows = [row for recording in recordings for row in recording.rows]
        found = [
            Prediction(
                row=row,
                speaker=line.speaker,
                start=line.start if row.start is None else row.start,
                end=line.end if row.end is None else row.end,
                probabilities=np.zeros(0),
                missing={},
            )
            for recording in recordings
            for row, line in zip(recording.rows, recording.lines, strict=True)
        ]
        features: dict[str, Tensor] = {}
        present: dict[str, Tensor] = {}
        for modality in self.modalities:
            features[modality], present[modality] = self._features(modality, rows, found)
        known = self.bundle.config["speakers"]
        numbers = [number for recording in recordings for number in self._speakers(recording)]
        speaker = torch.tensor([min(number, known - 1) for number in numbers])
        corpus = Corpus(features, present, speaker, torch.zeros(len(rows), dtype=torch.int64), {})
        begin = 0
        for recording in recordings:
            spoken = 1 + max(row.speaker for row in recording.rows)
            if spoken > known:
                recording.notes.append(f"{spoken} people speak, and the model knows conversations of at most {known}: "
                                       "it takes those who come last for one")  # fmt: skip
            parts = -(-len(recording.rows) // self.bundle.turns)
            if parts > 1:
                recording.notes.append(f"longer than any conversation that the model knows ({self.bundle.turns} "
                                       f"turns): predicted in {parts} parts")  # fmt: skip
            end = begin + len(recording.rows)
            for places in np.array_split(np.arange(begin, end), parts):
                self._predict_part(replace_dialogue(corpus, torch.from_numpy(places)), [found[i] for i in places])
            begin = end
        places = np.cumsum([0, *(len(recording.rows) for recording in recordings)])
        return [found[int(begin) : int(end)] for begin, end in pairwise(places)]

    def _speakers(self, recording: Recording) -> list[int]:
        """Numbers of the speakers: the model's own, if all are named by the roles of its corpus (IEMOCAP: F and M)."""
        roles = self.bundle.roles
        if all(line.speaker in roles for line in recording.lines):
            return [roles.index(line.speaker) for line in recording.lines]
        return [row.speaker for row in recording.rows]

    def _features(self, modality: str, rows: list[Utterance], found: list[Prediction]) -> tuple[Tensor, Tensor]:
        """Extract standardised features [utterances, F] and their presence; record in `found` why some are missing."""
        values = np.zeros((len(rows), self.bundle.config["dims"][modality]), np.float32)
        there = np.zeros(len(rows), bool)
        keys: list[str | None] = [None] * len(rows)
        results: dict[str, Result] = {}
        if any(getattr(row, KIND[modality]) for row in rows):
            extractor = self._extractor(modality)
            keys = extractor.keys(rows)
            results, _ = extract(extractor, by_key(keys, rows), modality)
            self._require_numbers(modality, rows, keys, results)
            made = as_features(extractor, keys, results)
            values, there = made.values, made.present
            if modality == "audio" and self.bundle.reduction:
                reduced = reduction.Reduction(self.bundle.reduction)(values)
                values = np.where(there[:, None], reduced, np.float32(0))
            if isinstance(extractor, VisualExtractor | TransformerVisualExtractor):
                _show_faces(extractor, keys, results, found)
        for prediction, key, row in zip(found, keys, rows, strict=True):
            if key is None:
                prediction.missing[modality] = row.problem or ("no text" if modality == "text" else "no recording")
            elif results[key].vector is None:
                prediction.missing[modality] = results[key].reason
        present = torch.from_numpy(there)
        return self.bundle.scalers[modality](torch.from_numpy(values), present), present

    def _require_numbers(
        self, modality: str, rows: list[Utterance], keys: list[str | None], results: dict[str, Result]
    ) -> None:
        """Refuse vectors of another width than those that the model was trained on, and values that are not finite."""
        expected = self.bundle.config["dims"][modality]
        if modality == "audio" and self.bundle.reduction:
            expected = len(self.bundle.reduction["mean"])
        for key, row in zip(keys, rows, strict=True):
            vector = results[key].vector if key else None
            if vector is not None and vector.shape != (expected,):
                raise UserError(f"{modality}: {row.utterance_id} has a vector of shape {list(vector.shape)}, and the "
                                f"model in {self.bundle.folder} needs {expected} values; use the encoder that it was "
                                "trained with")  # fmt: skip
            if vector is not None and not np.isfinite(vector).all():
                raise UserError(f"{modality}: the vector of {row.utterance_id} has values that are not finite, of "
                                "which no probability can be made: the encoder is broken, or this input is none for "
                                "it; leave the utterance out, or use a whole copy of the encoder")  # fmt: skip

    def _extractor(self, modality: str) -> Extractor:
        if modality not in self._extractors:
            self._extractors[modality] = make_extractor(modality, self.bundle, self.encoders[modality])
        return self._extractors[modality]

    @torch.inference_mode()
    def _predict_part(self, corpus: Corpus, found: list[Prediction]) -> None:
        """Predict the only dialogue of `corpus`, whole and with each modality masked, and store the results."""
        (where,) = corpus.dialogues["test"]
        shares = self._probabilities(corpus)
        best = shares.argmax(1)
        without = {
            name: self._probabilities(masked(corpus, name))[np.arange(len(best)), best]
            for name in self.modalities
            if corpus.present[name][where].any()
        }
        for turn, prediction in enumerate(found):
            prediction.probabilities = shares[turn]
            prediction.without = {
                name: None if name in prediction.missing else float(without[name][turn]) for name in self.modalities
            }

    def _probabilities(self, corpus: Corpus) -> np.ndarray:
        """Class probabilities [T, C] of the only dialogue of `corpus`, mean over the seeds."""
        of_seeds = [
            predict(network, corpus, "test", device())[0].double().softmax(1).numpy() for network in self.networks
        ]
        for seed, shares in zip(self.seeds, of_seeds, strict=True):
            if not np.isfinite(shares).all():
                raise UserError(f"{self.bundle.folder}/seed{seed}.safetensors: the model {self.bundle.model!r} gives "
                                "probabilities that are no numbers; train anew with `dvc repro`")  # fmt: skip
        mean: np.ndarray = np.mean(of_seeds, axis=0)
        return mean


def masked(corpus: Corpus, modality: str) -> Corpus:
    """The corpus as if no utterance had `modality`: its rows are zero and not present, as those of a missing one."""
    return replace(
        corpus,
        features={**corpus.features, modality: torch.zeros_like(corpus.features[modality])},
        present={**corpus.present, modality: torch.zeros_like(corpus.present[modality])},
    )


def replace_dialogue(corpus: Corpus, positions: Tensor) -> Corpus:
    return replace(corpus, dialogues={"test": [positions]})


def _show_faces(
    extractor: VisualExtractor | TransformerVisualExtractor,
    keys: list[str | None],
    results: dict[str, Result],
    found: list[Prediction],
) -> None:
    """Store in `found` some of the faces from which the features were made; whole frames are not shown."""
    cache = WorkCache(cache_folder())
    for prediction, key in zip(found, keys, strict=True):
        if key and results[key].vector is not None:
            if isinstance(extractor, TransformerVisualExtractor):
                crops = extractor.thumbnails_of(key, EDGE, cache)
            else:
                crops = Faces.from_bytes(cache.get(extractor.faces, [key])[key]).crops
            places = np.linspace(0, len(crops) - 1, min(THUMBNAILS, len(crops))).round().astype(int)
            prediction.crops, prediction.faces = crops[places], len(crops)
    cache.close()
