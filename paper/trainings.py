"""The trainings behind every table and figure, done once and found again in the store of pipeline/trainings.py."""

from pathlib import Path

import numpy as np

from extractors.device import device
from extractors.features import FeaturesError
from model.batching import Corpus
from model.identity import digest
from model.interface import ErcModel
from model.registry import make_model
from paper.features import other_text
from pipeline import trainings as store
from pipeline.corpora.labels import labels
from pipeline.loading import load_corpus
from pipeline.params import Params
from pipeline.stage import StageError
from pipeline.trainings import Trained, kept_weights, model_config, training_folder
from pipeline.utterances import read_index


class Trainings:
    """The trainings on one corpus.

    A training has the main pipeline's features, unless its parameters want the other text encoder, fine-tuned or not.

    Args:
        params: those of the main pipeline.

    Raises:
        StageError: index or features are missing or do not fit.
    """

    def __init__(self, corpus: str, params: Params) -> None:
        self.name = corpus
        self.fine_tuned = params.text[corpus].finetune
        self.rows = read_index(Path("data") / corpus / "index.csv")
        self.labels = labels(corpus, [row.label for row in self.rows])
        self._loaded: dict[tuple[tuple[str, ...], bool], tuple[Corpus, str]] = {}

    def _load(self, params: Params) -> tuple[Corpus, str]:
        wanted = tuple(params.model.modalities), self._has_other_text(params)
        if wanted not in self._loaded:
            files = {"text": other_text(self.name)} if wanted[1] else {}
            try:
                corpus, _ = load_corpus(self.name, self.rows, list(wanted[0]), files)
            except FeaturesError as error:
                raise StageError(str(error)) from None
            self._loaded[wanted] = corpus, digest(corpus)
        return self._loaded[wanted]

    def _has_other_text(self, params: Params) -> bool:
        return params.text[self.name].finetune != self.fine_tuned

    def has_features(self, params: Params) -> bool:
        """Whether the text features that `params` want are made: those of the main pipeline are."""
        return not self._has_other_text(params) or other_text(self.name).is_file()

    def corpus(self, params: Params) -> Corpus:
        """The standardised features of the modalities that `params` names."""
        return self._load(params)[0]

    def config(self, params: Params) -> dict:
        """The form of the model that `params` names."""
        return model_config(params, self.name, self.corpus(params), self.labels)

    def folder(self, params: Params) -> Path:
        """Where the trainings with these parameters are kept, a file a seed."""
        content = self._load(params)[1]
        return training_folder(content, params.model.name, self.config(params), params.train[self.name])

    def found(self, params: Params, seed: int, *, weights: bool) -> Trained | None:
        """What is known of a training, if it is finished (and its weights kept, if they are asked for)."""
        return store.found(self.folder(params), seed, weights=weights)

    def train(self, params: Params, seed: int, *, weights: bool) -> Trained:
        """The finished training, from the store or done now; one that failed is a finished one too."""
        return store.trained(self.folder(params), self.name, self.corpus(params), params.model.name,
                             self.config(params), params.train[self.name], seed, weights=weights)  # fmt: skip

    def model(self, params: Params, seed: int) -> tuple[ErcModel, np.ndarray]:
        """The model of a finished training whose weights were kept, and its guesses as in pipeline.evaluate's Seed."""
        tensors, guesses = kept_weights(self.folder(params), seed)
        network = make_model(params.model.name, self.config(params))
        network.load_state_dict(tensors)
        return network.to(device()), guesses.long().numpy()
