"""Access to the trainings for all tables and figures, through the store of pipeline/training/store.py."""

from pathlib import Path

import numpy as np

from foundation.device import device
from foundation.errors import UserError
from model.batching import Corpus
from model.identity import digest
from model.interface import ErcModel
from model.registry import make_model
from paper.features import other_text
from pipeline.calibration import Calibration, fitted
from pipeline.corpora.index_file import read_index
from pipeline.corpora.labels import labels
from pipeline.params import Params
from pipeline.training import store
from pipeline.training.loading import load_corpus
from pipeline.training.pool import Task
from pipeline.training.store import Trained, kept_weights, model_config, training_folder


class Trainings:
    """Trainings on one corpus.

    A training uses the main pipeline's features, unless its parameters have another value of `finetune`: then it uses
    the text features of the stage text@D.

    Args:
        params: parameters of the main pipeline.

    Raises:
        UserError: params.yaml has no such corpus; index or features are missing or do not fit.
    """

    def __init__(self, corpus: str, params: Params) -> None:
        if corpus not in params.index:
            raise UserError(f"{corpus}: is no corpus; `index` of params.yaml has {', '.join(params.index)}")
        self.name = corpus
        self.fine_tuned = params.text[corpus].finetune
        self.rows = read_index(Path("data") / corpus / "index.csv")
        self.labels = labels(params.index[corpus].reader, [row.label for row in self.rows])
        self._loaded: dict[tuple[tuple[str, ...], bool], tuple[Corpus, str]] = {}

    def _load(self, params: Params) -> tuple[Corpus, str]:
        wanted = tuple(params.model.modalities), self._has_other_text(params)
        if wanted not in self._loaded:
            corpus, _ = load_corpus(self.name, self.rows, self.labels, list(wanted[0]), self._files(params))
            self._loaded[wanted] = corpus, digest(corpus)
        return self._loaded[wanted]

    def _has_other_text(self, params: Params) -> bool:
        return params.text[self.name].finetune != self.fine_tuned

    def _files(self, params: Params) -> dict[str, Path]:
        return {"text": other_text(self.name)} if self._has_other_text(params) else {}

    def has_features(self, params: Params) -> bool:
        """Whether the text features for `params` exist; those of the main pipeline always do."""
        return not self._has_other_text(params) or other_text(self.name).is_file()

    def corpus(self, params: Params) -> Corpus:
        """Standardised features of the modalities that `params` name."""
        return self._load(params)[0]

    def config(self, params: Params) -> dict:
        """Configuration of the model that `params` name."""
        return model_config(params, self.name, self.corpus(params), self.labels)

    def folder(self, params: Params) -> Path:
        """Folder of the trainings with these parameters; it has one file per seed."""
        content = self._load(params)[1]
        return training_folder(content, params.model.name, self.config(params), params.train[self.name])

    def found(self, params: Params, seed: int, *, weights: bool) -> Trained | None:
        """Find the record of a training; None if it is not finished, or if `weights` are requested and missing."""
        return store.found(self.folder(params), seed, weights=weights)

    def task(self, params: Params, seed: int, *, weights: bool) -> Task:
        """The training as a task that another process can do."""
        files = tuple((modality, file.absolute()) for modality, file in self._files(params).items())
        return Task(self.name, params, seed, weights, self.folder(params).absolute(), files)

    def train(self, params: Params, seed: int, *, weights: bool) -> Trained:
        """Get a finished training from the store, or train now; a failed training counts as finished."""
        return store.trained(self.folder(params), self.name, self.corpus(params), params.model.name,
                             self.config(params), params.train[self.name], seed, weights=weights)  # fmt: skip

    def calibration(self, params: Params, networks: dict[int, ErcModel]) -> Calibration:
        """Calibration of finished trainings, by seed, on validation: as the main pipeline's stage `train` makes it."""
        return fitted(networks, self.corpus(params), len(self.labels), params.train[self.name].decision)

    def model(self, params: Params, seed: int) -> tuple[ErcModel, np.ndarray]:
        """Load the model of a finished training with saved weights, and its test predictions of every epoch."""
        tensors, predictions = kept_weights(self.folder(params), seed)
        network = make_model(params.model.name, self.config(params))
        network.load_state_dict(tensors)
        return network.to(device()), predictions.long().numpy()
