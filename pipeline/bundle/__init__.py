"""The bundle models/D/bundle/: everything that prediction needs of a trained model, without any training data.

`bundle.json` has the model's configuration, the labels, the calibration of its probabilities
(pipeline/calibration.py), and for each modality how its features are made: parameters, normalisation, checksums of the
encoders. The other files are the weights of each seed, `statistics.safetensors`
(standardisation, and the audio reduction), and the encoders that are not in a package: the fine-tuned text encoders and
the face encoder. Encoders that are used as published are recorded by name and checksum only.

The folder is sealed (pipeline/sealed.py), and `read_bundle` checks all of it before anything is loaded.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from extractors.features import Origin
from foundation.errors import UserError
from foundation.files import is_file
from foundation.folders import root
from foundation.settings import Count, Settings
from model.interface import DataSpec, ErcModel
from model.registry import MODELS, make_model
from model.scaling import Scaler
from pipeline.calibration import Calibration
from pipeline.corpora.labels import NO_LABELS
from pipeline.sealed import read_description, require_sealed, write_description

FORMAT = 5
"""Version of the bundle format; raise it with every change after which an older bundle cannot be read."""
NAME = "bundle"
TEST_PREDICTIONS = "test_predictions.safetensors"
"""File next to the bundle with the test predictions of every epoch; only `evaluate` reads it."""
FILE, STATISTICS = "bundle.json", "statistics.safetensors"
TEXT_ENCODERS, FACE_ENCODER = "encoders/text", "encoders/face.safetensors"
DENSEFACE = "denseface"
"""The face encoder of this project, whose weights are in the bundle."""
SCALER, REDUCTION = "scaler.", "reduction."
"""Beginnings of the names in STATISTICS."""


class _Written(Settings):
    """Fields of bundle.json, its seal apart."""

    corpus: Annotated[str, Field(min_length=1)]
    synthetic: bool
    assembled: bool
    labels: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
    model: str
    config: dict[str, Any]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    turns: Count
    calibration: Calibration
    text_encoder: str
    audio_encoder: str
    visual_encoder: str
    fine_tuned: bool
    origins: dict[Literal["text", "audio", "visual"], dict[str, Any]]
    roles: list[str] = Field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A trained model and everything that prediction needs."""

    corpus: str
    """Name of the training corpus."""
    synthetic: bool
    """Whether the training corpus is synthetic, so that its probabilities mean nothing for real people."""
    assembled: bool = False
    """Whether the training corpus was put together from texts, voices and faces that are not of the same people."""
    labels: tuple[str, ...]
    model: str
    config: dict[str, Any]
    seeds: list[int]
    turns: int
    """Number of turns in the longest conversation of the corpus."""
    calibration: Calibration
    """What becomes of the networks' softmax."""
    origins: dict[str, dict[str, Any]]
    """Identity of the extractor of each modality: see extractors/features.py."""
    text_encoder: str
    """Name of the text encoder; empty if text is not used."""
    audio_encoder: str
    """Name of the audio encoder, as in section audio; empty if audio is not used, or comes from a published file."""
    visual_encoder: str
    """The same of section visual."""
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
        return self.visual_encoder == DENSEFACE and not self.untrained_faces

    def network(self, seed: int) -> ErcModel:
        """Load the model of `seed` on the CPU.

        Raises:
            UserError: its file is missing or broken, or has another network's weights.
        """
        file = self.folder / f"seed{seed}.safetensors"
        weights = _read(file)
        try:
            # On `meta` a network has shapes and no memory, so that wrong sizes cost nothing.
            with torch.device("meta"):
                expected = make_model(self.model, self.config).state_dict()
            _require_weights(weights, expected)
            network = make_model(self.model, self.config)
            network.load_state_dict(weights)
        except (RuntimeError, TypeError, KeyError, ValueError) as error:
            raise UserError(f"{file}: does not fit this version of the model {self.model!r} "
                            f"({str(error).splitlines()[0]}); train anew with `dvc repro`") from None  # fmt: skip
        return network


def _require_weights(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise ValueError unless `weights` have the names, shapes and types that are `expected`, and are finite."""
    for name in sorted(weights.keys() ^ expected.keys()):
        raise ValueError(f"{name} is {'not of this network' if name in weights else 'missing'}")
    for name, value in weights.items():
        other = expected[name]
        if value.shape != other.shape or value.dtype != other.dtype:
            raise ValueError(f"{name} is {value.dtype} {list(value.shape)}, not {other.dtype} {list(other.shape)}")
        if not value.isfinite().all():
            raise ValueError(f"{name} has values that are not finite")


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
    statistics = {f"{REDUCTION}{name}": torch.from_numpy(value) for name, value in bundle.reduction.items()}
    for modality, scaler in bundle.scalers.items():
        statistics |= {f"{SCALER}{modality}.mean": scaler.mean, f"{SCALER}{modality}.std": scaler.std}
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
        "assembled": bundle.assembled,
        "labels": list(bundle.labels),
        "model": bundle.model,
        "config": bundle.config,  # must not be sorted: the weights depend on the order of the modalities
        "seeds": bundle.seeds,
        "turns": bundle.turns,
        "calibration": bundle.calibration.model_dump(),
        "text_encoder": bundle.text_encoder,
        "audio_encoder": bundle.audio_encoder,
        "visual_encoder": bundle.visual_encoder,
        "fine_tuned": bundle.fine_tuned,
        "origins": bundle.origins,
    }
    if bundle.roles:
        content["roles"] = list(bundle.roles)
    write_description(folder / FILE, content)


def _copy_text_encoders(source: Path, target: Path) -> None:
    """Copy only the encoders, without their training dialogues and their training history."""
    card = json.loads((source / "encoder.json").read_text("utf-8"))
    number = len(card["encoders"])
    for place in range(number):
        shutil.copytree(source / str(place), target / str(place), ignore=shutil.ignore_patterns("head.safetensors"))
    stripped = {"fine_tuned": True, "encoders": [{}] * number, "folds": {}}
    (target / "encoder.json").write_text(json.dumps(stripped, indent=2, sort_keys=True) + "\n", "utf-8")


def read_bundle(folder: Path) -> Bundle:
    """Read the bundle in `folder`, or in its subfolder `bundle`, and check all of it but the weights.

    Raises:
        UserError: there is none, it is broken or was changed, its parts contradict each other, or it has another format
            version.
    """
    place = folder if is_file(folder / FILE) else folder / NAME
    file = place / FILE
    try:
        content = read_description(file)
    except FileNotFoundError:
        raise UserError(f"{folder}: has no {NAME}/{FILE}: it is no trained model. `dvc repro` trains one, and writes "
                        "models/demo (or the name of your corpus)") from None  # fmt: skip
    require_format(file, content)
    content = require_sealed(file, content)
    del content["format"]
    try:
        written = _Written.model_validate(content)
        dims = _dims_of(written)
        _require_whole(written.calibration, written.seeds, len(written.labels))
        for index in sorted((place / TEXT_ENCODERS).glob("*/*.index.json")):
            _require_own_names(index)
    except ValidationError as error:
        raise UserError(f"{file}: {_first(error)}; copy the folder anew") from None
    except ValueError as error:
        raise UserError(f"{file}: {error}; copy the folder anew") from None
    for label in written.labels:
        if label in NO_LABELS:
            raise UserError(f"{file}: has the label {label!r}, which is a column of predictions.csv; rename it in the "
                            "corpus, and train anew with `dvc repro`")  # fmt: skip
    statistics = _read(place / STATISTICS)
    try:
        scalers = {modality: _scaler(statistics, modality, width) for modality, width in dims.items()}
        reduction = _reduction(statistics, written.origins.get("audio", {}), dims.get("audio", 0))
        if statistics:
            raise ValueError(f"{min(statistics)} is of no modality of the model")
    except ValueError as error:
        raise UserError(f"{place / STATISTICS}: {error}; copy the folder anew") from None
    fields = written.model_dump(exclude={"labels", "roles", "calibration"})
    return Bundle(**fields, labels=tuple(written.labels), roles=tuple(written.roles), calibration=written.calibration,
                  scalers=scalers, reduction=reduction, folder=place)  # fmt: skip


def require_format(file: Path, content: dict[str, Any]) -> None:
    """Raise UserError unless `content`, which was read from the description `file`, has the format of this version."""
    found = content.get("format")
    if found == FORMAT:
        return
    remedy = "use the version that wrote it, or train anew with `dvc repro`"
    if isinstance(found, int) and found > FORMAT:
        remedy = "it needs a newer version of the project (`git pull`)"
    raise UserError(f"{file}: is a bundle of format {found}, and this version of the project reads format {FORMAT}: "
                    f"{remedy}")  # fmt: skip


def _first(error: ValidationError) -> str:
    """The first of the wrong fields, and what is wrong with it."""
    wrong = error.errors()[0]
    return f"{'.'.join(str(step) for step in wrong['loc'])}: {wrong['msg']}"


def _dims_of(written: _Written) -> dict[str, int]:
    """Feature widths by modality; raises ValueError if the fields of bundle.json contradict each other."""
    for name in ("labels", "seeds", "roles"):
        values = getattr(written, name)
        if len(set(values)) != len(values):
            raise ValueError(f"{name} names something twice")
    if written.model not in MODELS:
        raise ValueError(f"model {written.model!r} is none of {', '.join(MODELS)}")
    form: type[DataSpec] = MODELS[written.model][1]
    try:
        config = form(**written.config)
    except ValidationError as error:
        raise ValueError(f"does not fit this version of the model {written.model!r} (config.{_first(error)}); train "
                         "anew with `dvc repro`") from None  # fmt: skip
    if config.classes != len(written.labels):
        raise ValueError(f"has {len(written.labels)} labels, and its network tells {config.classes} classes apart")
    if not config.dims or min(config.dims.values()) < 1 or config.speakers < 1:
        raise ValueError("config has no modality, or an empty one, or no speaker")
    if config.dims.keys() != written.origins.keys():
        raise ValueError(f"origins are of {', '.join(written.origins)}, and the network has {', '.join(config.dims)}")
    if written.fine_tuned and "text" not in config.dims:
        raise ValueError("has a fine-tuned text encoder, and no text")
    if written.visual_encoder == DENSEFACE and "weights" not in written.origins.get("visual", {}):
        raise ValueError(f"names the visual encoder {DENSEFACE}, and not its weights")
    return config.dims


def _require_whole(calibration: Calibration, seeds: list[int], classes: int) -> None:
    """Raise ValueError unless every seed has a temperature, and every class a share of train."""
    if calibration.of_seeds.keys() != set(map(str, seeds)):
        raise ValueError(f"calibration.of_seeds is of {', '.join(calibration.of_seeds) or 'no seed'}, and the model "
                         f"has the seeds {', '.join(map(str, seeds))}")  # fmt: skip
    if len(calibration.priors) != classes:
        raise ValueError(f"calibration.priors has {len(calibration.priors)} shares, and there are {classes} labels")


def _require_own_names(index: Path) -> None:
    """Raise ValueError if the table of a text encoder's files of weights names one in another folder."""
    try:
        names = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ValueError(f"{index.name} of a text encoder is no table of files") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not (index.parent / name).is_file():
            raise ValueError(f"{index.name} of a text encoder names {name!r}, which is no file beside it")


def _scaler(statistics: dict[str, Tensor], modality: str, width: int) -> Scaler:
    """Take the standardisation of a modality out of `statistics`; raises ValueError if it is not whole."""
    mean, std = (_taken(statistics, f"{SCALER}{modality}.{name}", [width]) for name in ("mean", "std"))
    if not (std > 0).all():
        raise ValueError(f"{SCALER}{modality}.std has values that are not positive")
    return Scaler(mean, std)


def _reduction(statistics: dict[str, Tensor], origin: dict[str, Any], width: int) -> dict[str, np.ndarray]:
    """Take the audio reduction to `width` columns out of `statistics`; raises ValueError if it is not whole."""
    if "reduction" not in origin:
        return {}
    mean = statistics.get(f"{REDUCTION}mean")
    if mean is None:
        raise ValueError(f"{REDUCTION}mean is missing")
    before = mean.numel()
    found = {name: _taken(statistics, f"{REDUCTION}{name}", [before]) for name in ("mean", "deviation")}
    if not (found["deviation"] > 0).all():
        raise ValueError(f"{REDUCTION}deviation has values that are not positive")
    if f"{REDUCTION}columns" in statistics:
        columns = _taken(statistics, f"{REDUCTION}columns", [width], torch.int64)
        if columns.min() < 0 or columns.max() >= before:
            raise ValueError(f"{REDUCTION}columns names columns that there are not")
        found["columns"] = columns
    else:
        found["components"] = _taken(statistics, f"{REDUCTION}components", [width, before])
    return {name: value.numpy() for name, value in found.items()}


def _taken(statistics: dict[str, Tensor], name: str, shape: list[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Take a tensor out of `statistics`; raises ValueError unless it has this shape and type, and is finite."""
    value = statistics.pop(name, None)
    if value is None:
        raise ValueError(f"{name} is missing")
    if list(value.shape) != shape or value.dtype != dtype:
        raise ValueError(f"{name} is {value.dtype} {list(value.shape)}, where the model needs {dtype} {shape}")
    if not value.isfinite().all():
        raise ValueError(f"{name} has values that are not finite")
    return value


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
