"""Prediction with the extractors and models of a bundle."""

from collections.abc import Sequence
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
from foundation.spread import without_processes
from foundation.torch_setup import prepare_torch
from model.batching import Corpus
from model.training import predict
from pipeline.bundle import read_bundle
from pipeline.params import MODALITIES
from pipeline.prediction.extractors import follows, make_extractor
from pipeline.prediction.recordings import Recording
from pipeline.prediction.transcripts import TranscriptLine
from pipeline.prediction.turns import Conversation, Speakers

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
        folder: Path,
        seed: int | None = None,
        text_encoder: str = "",
        audio_encoder: str = "",
        visual_encoder: str = "",
    ) -> None:
        """Load the bundle; `seed` selects one model instead of the average, and the others name copies of encoders.

        Raises:
            UserError: the bundle, or an encoder that it needs, is missing or a different one.
        """
        prepare_torch(threads=1)
        self.bundle = read_bundle(folder)
        seeds = self.bundle.seeds if seed is None else [seed]
        if seeds[0] not in self.bundle.seeds:
            raise UserError(f"--seed {seed}: {folder} has the seeds {', '.join(map(str, self.bundle.seeds))}")
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
            unpredicted(row, line)
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
            end = begin + len(recording.rows)
            if parts > 1:
                recording.notes.append(f"longer than any conversation that the model knows ({self.bundle.turns} "
                                       f"turns): predicted in {parts} parts")  # fmt: skip
            if follows(self.bundle):
                self._follow(recording, corpus, begin, found)
                begin = end
                continue
            for places in np.array_split(np.arange(begin, end), parts):
                self._predict_part(replace_dialogue(corpus, torch.from_numpy(places)), [found[i] for i in places])
            begin = end
        places = np.cumsum([0, *(len(recording.rows) for recording in recordings)])
        return [found[int(begin) : int(end)] for begin, end in pairwise(places)]

    def load(self) -> None:
        """Load all encoders now, and not with the first recording that needs them."""
        for modality in self.modalities:
            self._extractor(modality)

    def _conversation(self) -> Conversation:
        return Conversation(self.networks, self.modalities, self.bundle.turns, device())

    def _follow(self, recording: Recording, corpus: Corpus, begin: int, found: list[Prediction]) -> None:
        """Predict `recording`, whose rows begin at `begin`, turn by turn, as if each turn had just been spoken."""
        conversation, speakers = self._conversation(), Speakers(self.bundle.roles)
        for place, line in enumerate(recording.lines, begin):
            features = {name: values[place] for name, values in corpus.features.items()}
            present = {name: bool(there[place]) for name, there in corpus.present.items()}
            self._tell(conversation, features, present, speakers.number(line.speaker), found[place])

    def _tell(
        self,
        conversation: Conversation,
        features: dict[str, Tensor],
        present: dict[str, bool],
        speaker: int,
        prediction: Prediction,
    ) -> None:
        """Tell `conversation` its next turn, and store what is predicted of it."""
        logits = conversation.step(features, present, min(speaker, self.bundle.config["speakers"] - 1))
        shares = self._mean([one.double().softmax(1).numpy() for one in logits])
        prediction.probabilities = shares[0]
        best = shares[0].argmax()
        prediction.without = {
            name: None if name in prediction.missing else float(without[best])
            for name, without in zip(self.modalities, shares[1:], strict=True)
        }

    def _speakers(self, recording: Recording) -> list[int]:
        """Numbers of the speakers: the model's own, if all are named by the roles of its corpus (IEMOCAP: F and M)."""
        roles = self.bundle.roles
        if all(line.speaker in roles for line in recording.lines):
            return [roles.index(line.speaker) for line in recording.lines]
        return [row.speaker for row in recording.rows]

    def _features(
        self, modality: str, rows: list[Utterance], found: list[Prediction], before: Sequence[Utterance] = ()
    ) -> tuple[Tensor, Tensor]:
        """Extract standardised features [utterances, F] and their presence; record in `found` why some are missing.

        Args:
            before: earlier utterances of the conversation of `rows`, which a text encoder may read with them.
        """
        values = np.zeros((len(rows), self.bundle.config["dims"][modality]), np.float32)
        there = np.zeros(len(rows), bool)
        keys: list[str | None] = [None] * len(rows)
        results: dict[str, Result] = {}
        if any(getattr(row, KIND[modality]) for row in rows):
            extractor = self._extractor(modality)
            keys = extractor.keys([*before, *rows])[len(before) :]
            results, _ = extract(extractor, by_key(keys, rows), modality)
            self._require_numbers(modality, rows, keys, results)
            made = as_features(extractor, keys, results)
            values, there = made.values, made.present
            if modality == "audio" and self.bundle.reduction:
                reduce = reduction.Reduction(self.bundle.reduction)
                # Turn by turn, the last bits of a product must not depend on how many rows it has.
                alone = follows(self.bundle)
                reduced = np.concatenate([reduce(row[None]) for row in values]) if alone else reduce(values)
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
        return self._mean(
            [predict(network, corpus, "test", device())[0].double().softmax(1).numpy() for network in self.networks]
        )

    def _mean(self, of_seeds: list[np.ndarray]) -> np.ndarray:
        """Mean of the class probabilities [N, C] that the networks of the seeds give."""
        for seed, shares in zip(self.seeds, of_seeds, strict=True):
            if not np.isfinite(shares).all():
                raise UserError(f"{self.bundle.folder}/seed{seed}.safetensors: the model {self.bundle.model!r} gives "
                                "probabilities that are no numbers; train anew with `dvc repro`")  # fmt: skip
        mean: np.ndarray = np.mean(of_seeds, axis=0)
        return mean


class Following:
    """A conversation whose utterances come one by one: each is predicted before the next one is known."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor, self._rows = predictor, list[Utterance]()
        self._conversation, self._speakers = predictor._conversation(), Speakers(predictor.bundle.roles)
        self._heard: dict[str, int] = {}

    def next(self, row: Utterance, line: TranscriptLine) -> tuple[Prediction, list[str]]:
        """Predict the next utterance, and give notes on it.

        What cannot be predicted raises an error and is no turn. All is done in this process: the seconds in which
        worker processes start would be waited for at each turn.

        Raises:
            UserError: an encoder is missing or broken.
        """
        predictor, bundle, turn = self._predictor, self._predictor.bundle, len(self._rows)
        first = self._heard.get(line.speaker.casefold(), len(self._heard))
        row = replace(row, utterance_id=f"{row.dialogue_id}_{turn}", turn=turn, speaker=first)
        found, notes = unpredicted(row, line), []
        features, present = {}, {}
        with without_processes():
            for modality in predictor.modalities:
                values, there = predictor._features(modality, [row], [found], self._rows)
                features[modality], present[modality] = values[0], bool(there[0])
        speaker = self._speakers.number(line.speaker)
        if speaker >= bundle.config["speakers"]:
            notes.append(f"more people speak than the {bundle.config['speakers']} of the longest conversation that the "
                         "model knows: it takes those who come last for one")  # fmt: skip
        if turn and self._conversation.begins():
            notes.append(f"the model knows conversations of at most {bundle.turns} turns: it begins anew here")
        predictor._tell(self._conversation, features, present, speaker, found)
        self._rows.append(row)
        self._heard[line.speaker.casefold()] = first
        return found, notes


def unpredicted(row: Utterance, line: TranscriptLine) -> Prediction:
    """What is known of an utterance before it is predicted."""
    return Prediction(
        row=row,
        speaker=line.speaker,
        start=line.start if row.start is None else row.start,
        end=line.end if row.end is None else row.end,
        probabilities=np.zeros(0),
        missing={},
    )


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
