"""The trainings behind every table and figure: each is done once, kept in the work cache, and found there again.

A finished training is `.cache/paper/<identity>/seed<k>.json` (its history, time and number of parameters) and, where it
is asked for, `seed<k>.safetensors`: the weights, and each epoch's unseen guesses on test. One that was killed goes on
at its checkpoint.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from extractors.cache import fingerprint
from extractors.device import device
from extractors.features import FeaturesError
from model.batching import Corpus
from model.interface import ErcModel
from model.registry import make_model
from model.training import DivergenceError, fit
from paper.features import other_text
from paper.identity import code_digest, digest
from pipeline.corpora.labels import labels
from pipeline.params import Params
from pipeline.stage import StageError, cache_folder, log
from pipeline.train import CHECKPOINT_SECONDS, load_corpus, model_config, training_settings
from pipeline.utterances import read_index

GUESSES = "test_guesses"


@dataclass(frozen=True, slots=True)
class Trained:
    """What is known of a finished training."""

    history: list[dict[str, float]]
    """A row an epoch: losses and the validation score; none where the loss was not finite in the first."""
    best_epoch: int
    seconds: float | None
    """An epoch, mean of those that one process did; None where it was killed after the last of them."""
    parameters: int

    @property
    def score(self) -> float | None:
        """Weighted F1 on validation, percent, of the epoch that was kept; None where the training failed."""
        return self.history[self.best_epoch - 1]["validation_weighted_f1"] if self.history else None


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

    def folder(self, params: Params) -> Path:
        """Where the trainings with these parameters are kept, a file a seed."""
        corpus, content = self._load(params)
        settings = params.train[self.name].model_dump(exclude={"seeds", "gamma1", "gamma2"})
        values = {
            "corpus": content,
            "model": params.model.name,
            "config": model_config(params, self.name, corpus, self.labels),
            "train": settings,
            "code": code_digest(params.model.name),
            "torch": torch.__version__,
            "device": device().type,
        }
        return cache_folder() / "paper" / fingerprint(values)

    def found(self, params: Params, seed: int, *, weights: bool) -> Trained | None:
        """What is known of a training, if it is finished (and its weights kept, if they are asked for)."""
        folder = self.folder(params)
        file = folder / f"seed{seed}.json"
        if not file.is_file():
            return None
        known = Trained(**json.loads(file.read_text(encoding="utf-8")))
        kept = (folder / f"seed{seed}.safetensors").is_file() or not known.history
        return known if kept or not weights else None

    def train(self, params: Params, seed: int, *, weights: bool) -> Trained:
        """The finished training, from the work cache or done now; one that failed is a finished one too."""
        known = self.found(params, seed, weights=weights)
        if known:
            return known
        corpus = self.corpus(params)
        folder, name = self.folder(params), params.model.name
        config = model_config(params, self.name, corpus, self.labels)
        settings = training_settings(params.train[self.name], corpus, config["classes"])
        checkpoint = folder / f"seed{seed}.pt"
        before, begin = _epochs(checkpoint), time.monotonic()
        parameters = sum(value.numel() for value in make_model(name, config).parameters())
        try:
            result = fit(lambda: make_model(name, config), corpus, settings, seed, device(), checkpoint,
                         CHECKPOINT_SECONDS)  # fmt: skip
        except DivergenceError as error:
            log.warning("%s: %s", name, error)
            known = Trained([], 0, None, parameters)
        else:
            now = len(result.history) - before
            seconds = round((time.monotonic() - begin) / now, 3) if now else None
            known = Trained(result.history, result.best_epoch, seconds, parameters)
            if weights:
                tensors = {key: value.contiguous() for key, value in result.weights.items()}
                half = folder / f"seed{seed}.half.safetensors"
                save_file({**tensors, GUESSES: result.test_guesses}, half)
                half.replace(folder / f"seed{seed}.safetensors")
        _write(folder / f"seed{seed}.json", json.dumps(asdict(known)))
        checkpoint.unlink(missing_ok=True)
        return known

    def model(self, params: Params, seed: int) -> tuple[ErcModel, np.ndarray]:
        """The model of a finished training whose weights were kept, and its guesses as in pipeline.evaluate's Seed."""
        tensors = load_file(self.folder(params) / f"seed{seed}.safetensors")
        guesses = tensors.pop(GUESSES).long().numpy()
        network = make_model(params.model.name, model_config(params, self.name, self.corpus(params), self.labels))
        network.load_state_dict(tensors)
        return network.to(device()), guesses


def _write(file: Path, text: str) -> None:
    """Write the file; a kill leaves none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(".half")
    half.write_text(text, encoding="utf-8")
    half.replace(file)


def _epochs(checkpoint: Path) -> int:
    """How many epochs an interrupted training has behind it."""
    if not checkpoint.is_file():
        return 0
    return int(torch.load(checkpoint, mmap=True, weights_only=True)["state"]["epoch"])
