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
from pipeline.bundle.places import open_bundle
from pipeline.calibration import Answer, softmax_of
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
    """Calibrated class probabilities [C], of one seed or of the ensemble."""
    label: int = 0
    """Number of the predicted class; with the decision `balanced` it need not be the likeliest."""
    sure: bool = True
    """Whether it is as sure as the stated risk asks for."""
    missing: dict[str, str]
    """Reason for each missing modality."""
    without: dict[str, float | None] = field(default_factory=dict)
    """Probability of the predicted emotion if a modality is masked in the whole conversation, by modality; None where
    the utterance does not have it."""
    crops: np.ndarray | None = None
    """Some of the used faces, uint8 [faces, 64, 64], or [faces, 64, 64, 3] of an encoder that sees colours."""
    faces: int = 0
    """Number of all used faces."""

    def said(self, labels: Sequence[str]) -> str:
        """The predicted label, in the words that are shown."""
        return labels[self.label] if self.sure else f"not sure ({labels[self.label]}?)"


class Predictor:
    """A bundle with its encoders, loaded once and used for any number of recordings."""

    def __init__(
        self,
        model: str | Path,
        seed: int | None = None,
        text_encoder: str = "",
        audio_encoder: str = "",
        visual_encoder: str = "",
        risk: float | None = None,
    ) -> None:
        """Load the bundle.

        Args:
            model: models/D, a bundle, a zip of it, or `hf:org/name` on the hub (pipeline/bundle/places.py).
            seed: one model instead of the ensemble.
            text_encoder: a copy of that encoder; so are the next two.
            risk: share of wrong classes, among those said for sure, that is accepted; None: all are said for sure.

        Raises:
            UserError: the bundle, or an encoder that it needs, is missing or a different one; `risk` is no share, or
                is asked of a single seed.
        """
        prepare_torch(threads=1)
        self.bundle = open_bundle(model)
        seeds = self.bundle.seeds if seed is None else [seed]
        if seeds[0] not in self.bundle.seeds:
            raise UserError(f"--seed {seed}: {model} has the seeds {', '.join(map(str, self.bundle.seeds))}")
        self.seeds = seeds
        self.together = seed is None
        """Whether the seeds count as one model, the ensemble."""
        if risk is not None and not 0 <= risk <= 1:
            raise UserError(f"--risk {risk:g}: must be a share of wrong answers from 0 to 1, such as 0.2")
        if risk is not None and seeds != self.bundle.seeds:
            raise UserError(f"--risk {risk:g}: was measured of all seeds together; leave out --seed {seed}")
        self.risk = risk
        self.kept = None if risk is None else self.bundle.calibration.at_risk(risk)
        """What validation says of the smallest threshold of this risk."""
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
            if self.risk is not None:
                recording.notes.append(self.on_risk(self.risk))
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
        said = self._said([one.double().softmax(1).numpy() for one in logits])
        self._store(said, 0, prediction)
        prediction.without = {
            name: None if name in prediction.missing else float(without[prediction.label])
            for name, without in zip(self.modalities, said.calibrated[1:], strict=True)
        }

    def _store(self, said: Answer, place: int, prediction: Prediction) -> None:
        """Store what is said of the utterance in row `place` of the answer."""
        prediction.probabilities, prediction.label = said.calibrated[place], int(said.label[place])
        if self.risk is not None:
            prediction.sure = self.kept is not None and bool(said.confidence[place] >= self.kept.threshold)

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
        said = self._answer(corpus)
        without = {
            name: self._answer(masked(corpus, name)).calibrated[np.arange(len(found)), said.label]
            for name in self.modalities
            if corpus.present[name][where].any()
        }
        for turn, prediction in enumerate(found):
            self._store(said, turn, prediction)
            prediction.without = {
                name: None if name in prediction.missing else float(without[name][turn]) for name in self.modalities
            }

    def on_risk(self, risk: float) -> str:
        """What a reader must know of the answers that are not sure."""
        rows, stated = self.bundle.calibration.coverage, f"at a risk of {100 * risk:g} %"
        if not rows:
            return f"{stated}, all is marked as not sure: the model has no risk that was measured on validation"
        if self.kept is None:
            least = min(rows, key=lambda row: row.risk)
            return (f"{stated}, all is marked as not sure: on validation the lowest risk is {100 * least.risk:.1f} %, "
                    f"if {100 * least.coverage:.0f} % of the utterances are kept")  # fmt: skip
        if not self.kept.threshold:
            return (
                f"{stated}, nothing is marked as not sure: on validation {100 * self.kept.risk:.1f} % of all are wrong"
            )
        return (f"{stated}, what has less than {100 * self.kept.threshold:.1f} % is marked as not sure: on validation "
                f"{100 * self.kept.coverage:.0f} % of the utterances have more, and {100 * self.kept.risk:.1f} % of "
                "these are wrong")  # fmt: skip

    def _answer(self, corpus: Corpus) -> Answer:
        """What the ensemble, or the one seed that was asked for, says of the only dialogue of `corpus`."""
        return self._said([softmax_of(network, corpus, "test") for network in self.networks])

    def _said(self, of_seeds: list[np.ndarray]) -> Answer:
        """The answer from the softmax [N, C] of each seed's network."""
        for seed, shares in zip(self.seeds, of_seeds, strict=True):
            if not np.isfinite(shares).all():
                raise UserError(f"{self.bundle.folder}/seed{seed}.safetensors: the model {self.bundle.model!r} gives "
                                "probabilities that are no numbers; train anew with `dvc repro`")  # fmt: skip
        calibration = self.bundle.calibration
        return calibration.of_all(of_seeds) if self.together else calibration.of_seed(self.seeds[0], of_seeds[0])


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
