"""The bundle models/D/bundle/: everything that prediction needs of a trained model, without any training data.

`bundle.json` has the model's configuration, the labels, and for each modality how its features are made: parameters,
normalisation, checksums of the encoders. The other files are the weights of each seed, `statistics.safetensors`
(standardisation, and the audio reduction), and the encoders that are not in a package: the fine-tuned text encoders and
the face encoder. Encoders that are used as published are recorded by name and checksum only.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from extractors.features import Origin
from foundation.errors import UserError
from foundation.folders import root
from model.interface import ErcModel
from model.registry import make_model
from model.scaling import Scaler

FORMAT = 2
"""Version of the bundle format; raise it with every change after which an older bundle cannot be read."""
NAME = "bundle"
SYNTHETIC = "demo"
"""Name of the corpus that is synthetic, for bundles from before there was the field `synthetic`."""
TEST_PREDICTIONS = "test_predictions.safetensors"
"""File next to the bundle with the test predictions of every epoch; only `evaluate` reads it."""
FILE, STATISTICS = "bundle.json", "statistics.safetensors"
TEXT_ENCODERS, FACE_ENCODER = "encoders/text", "encoders/face.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A trained model and everything that prediction needs."""

    corpus: str
    """Name of the training corpus."""
    synthetic: bool = False
    """Whether the training corpus is synthetic, so that its probabilities mean nothing for real people."""
    labels: tuple[str, ...]
    model: str
    config: dict[str, Any]
    seeds: list[int]
    turns: int
    """Number of turns in the longest conversation of the corpus."""
    origins: dict[str, dict[str, Any]]
    """Identity of the extractor of each modality: see extractors/features.py."""
    text_encoder: str
    """Name of the text encoder; empty if text is not used."""
    fine_tuned: bool
    """Whether the text encoder was fine-tuned on the corpus and is in the bundle."""
    roles: tuple[str, ...] = ()
    """Names of the speakers, in the order of their numbers, if the corpus has fixed roles."""
    scalers: dict[str, Scaler]
    reduction: dict[str, np.ndarray]
    """Tensors of the audio reduction; empty if there is none."""
    folder: Path

    @property
    def untrained_faces(self) -> bool:
        """Whether the face encoder is untrained: its random weights come from a fixed seed and need no file."""
        return str(self.origins["visual"]["weights"]).startswith("random")

    @property
    def encodes_faces(self) -> bool:
        """Whether the bundle needs the file of a face encoder; published vectors and untrained encoders need none."""
        return "visual" in self.origins and "weights" in self.origins["visual"] and not self.untrained_faces

    def network(self, seed: int) -> ErcModel:
        """Load the model of `seed` on the CPU.

        Raises:
            UserError: its file is missing or broken, or has another network's weights.
        """
        file = self.folder / f"seed{seed}.safetensors"
        weights = _read(file)
        try:
            network = make_model(self.model, self.config)
            network.load_state_dict(weights)
        except (RuntimeError, TypeError, KeyError) as error:
            raise UserError(f"{file}: does not fit this version of the model {self.model!r} "
                            f"({str(error).splitlines()[0]}); train anew with `dvc repro`") from None  # fmt: skip
        return network


def write_bundle(bundle: Bundle, weights: dict[int, dict[str, Tensor]], encoders: Path, face_weights: str) -> None:
    """Write `bundle` to its folder; the same model gives the same bytes.

    Args:
        weights: weights by seed.
        encoders: output folder of finetune_text.
        face_weights: file of the face encoder, as in section `visual` of params.yaml.

    Raises:
        UserError: the face encoder's file is not the one that made the features.
    """
    folder = bundle.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for seed, tensors in weights.items():
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / f"seed{seed}.safetensors")
    statistics = {f"reduction.{name}": torch.from_numpy(value) for name, value in bundle.reduction.items()}
    for modality, scaler in bundle.scalers.items():
        statistics |= {f"scaler.{modality}.mean": scaler.mean, f"scaler.{modality}.std": scaler.std}
    save_file(statistics, folder / STATISTICS)
    if bundle.fine_tuned:
        _copy_text_encoders(encoders, folder / TEXT_ENCODERS)
    if bundle.encodes_faces:
        source, target = root() / face_weights, folder / FACE_ENCODER
        if not source.is_file() or _digest(source) != bundle.origins["visual"]["weights"]:
            raise UserError(f"{source}: is not the face encoder that made the features; `dvc repro` makes them anew")
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)
    content = {
        "format": FORMAT,
        "corpus": bundle.corpus,
        "synthetic": bundle.synthetic,
        "labels": bundle.labels,
        "model": bundle.model,
        "config": bundle.config,  # must not be sorted: the weights depend on the order of the modalities
        "seeds": bundle.seeds,
        "turns": bundle.turns,
        "text_encoder": bundle.text_encoder,
        "fine_tuned": bundle.fine_tuned,
        "origins": bundle.origins,
    }
    if bundle.roles:
        content["roles"] = bundle.roles
    (folder / FILE).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _copy_text_encoders(source: Path, target: Path) -> None:
    """Copy only the encoders, without their training dialogues and their training history."""
    card = json.loads((source / "encoder.json").read_text("utf-8"))
    number = len(card["encoders"])
    for place in range(number):
        shutil.copytree(source / str(place), target / str(place), ignore=shutil.ignore_patterns("head.safetensors"))
    stripped = {"fine_tuned": True, "encoders": [{}] * number, "folds": {}}
    (target / "encoder.json").write_text(json.dumps(stripped, indent=2, sort_keys=True) + "\n", "utf-8")


def read_bundle(folder: Path) -> Bundle:
    """Read the bundle in `folder`, or in its subfolder `bundle`.

    Raises:
        UserError: there is none, it is broken, or it has another format version.
    """
    place = folder if (folder / FILE).is_file() else folder / NAME
    file = place / FILE
    try:
        content = json.loads(file.read_text("utf-8"))
        written = content.pop("format")
    except FileNotFoundError:
        raise UserError(f"{folder}: has no {NAME}/{FILE}: it is no trained model. `dvc repro` trains one, and writes "
                        "models/demo (or the name of your corpus)") from None  # fmt: skip
    except (ValueError, KeyError, AttributeError, OSError) as error:
        raise UserError(f"{file}: cannot be read as a bundle ({error}); copy the folder anew") from None
    if written != FORMAT:
        raise UserError(f"{file}: is a bundle of format {written}, and this version of the project reads format "
                        f"{FORMAT}: use the version that wrote it, or train anew with `dvc repro`")  # fmt: skip
    statistics = _read(place / STATISTICS)
    try:
        scalers = {
            modality: Scaler(statistics[f"scaler.{modality}.mean"], statistics[f"scaler.{modality}.std"])
            for modality in content["config"]["dims"]
        }
        reduction = {
            name.removeprefix("reduction."): value.numpy()
            for name, value in statistics.items()
            if name.startswith("reduction.")
        }
        labels, roles = tuple(content.pop("labels")), tuple(content.pop("roles", ()))
        content.setdefault("synthetic", content["corpus"] == SYNTHETIC)
        return Bundle(**content, labels=labels, roles=roles, scalers=scalers, reduction=reduction, folder=place)
    except (KeyError, TypeError) as error:
        raise UserError(f"{file}: lacks what a bundle has ({error}); copy the folder anew") from None


def reduction_of(origins: dict[str, Origin]) -> dict[str, np.ndarray]:
    """Tensors of the audio reduction; empty if there is none."""
    return origins["audio"].reduction if "audio" in origins else {}


def _read(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except FileNotFoundError:
        raise UserError(f"{file}: no such file: the bundle is not whole; copy it anew, or `dvc repro`") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: cannot be read ({error}); copy it anew, or `dvc repro`") from None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
