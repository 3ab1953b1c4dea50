"""train_face: trains the face encoder on FER-2013; writes models/face/denseface.safetensors and a model card.

This stage does not run by default, because the repository contains the weights of one run:
    dvc exp run -S 'face.datasets=[fer2013]' -S face.data=FOLDER train_face@fer2013      trains them again
    python -m pipeline.train_face --evaluate --data FOLDER      scores these weights on the official PublicTest

The epoch is chosen on a held-out part of Training; PublicTest is used once, at the end. An interrupted run can be
resumed.
"""

import argparse
import csv
import hashlib
import json
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from extractors.settings import FaceTrainingSettings
from extractors.training import face_training
from extractors.training.face_training import precision_on, probabilities, train
from extractors.visual import face_encoder
from extractors.visual.denseface import DenseFace
from extractors.visual.face_encoder import FaceWeights, load, save
from extractors.visual.faces import grey_levels
from foundation.checkpoint import checkpoint_seconds
from foundation.device import device
from foundation.errors import UserError
from foundation.f1 import accuracy, class_f1, confusion, weighted_f1
from foundation.files import open_whole, write_whole
from foundation.folders import root
from foundation.identity import code_digest
from foundation.log import log
from foundation.torch_setup import prepare_torch
from foundation.trainings import folder_of, write_about
from pipeline.corpora import fer2013
from pipeline.params import Params
from pipeline.stage import start

SHIPPED = root() / "extractors/visual/weights/denseface.safetensors"
WEIGHTS = Path("models/face/denseface.safetensors")
RESULTS = Path("results/face")
NOT_OF_WEIGHTS = frozenset({"datasets", "data"})
"""Fields of `face` that are not in the identity: whether to train, and the data folder (its content is hashed)."""
CHECKPOINT_SECONDS = 60.0
"""Seconds between two checkpoints, unless the environment says otherwise."""


def run(args: argparse.Namespace, params: Params) -> None:
    prepare_torch()
    settings = params.face
    data = fer2013.read(root() / (args.data or settings.data), settings.labels)
    if args.evaluate:
        print(table(evaluate(_loaded(args.weights), data)))
        return
    log.info("face: %d faces to train on, %s, on %s", len(data.train.pixels), ", ".join(data.classes), device())
    fitted, chosen_on = fer2013.held_out(data.train, settings.held_out, settings.seed)
    pixels, targets = torch.from_numpy(data.train.pixels), torch.from_numpy(data.train.targets)
    mean, std = grey_levels(np.bincount(data.train.pixels[fitted].ravel(), minlength=256))
    normalised = ((pixels.float() - mean) / std).unsqueeze(1)
    work = folder_of(identity(settings, data))
    write_about(work, what="face encoder")
    state = train(
        normalised[fitted],
        targets[fitted],
        (normalised[chosen_on], targets[chosen_on]),
        settings,
        device(),
        work / "state.pt",
        checkpoint_seconds(CHECKPOINT_SECONDS),
        log.info,
    )
    save(state.best, data.classes, mean, std, WEIGHTS)
    scores = evaluate(_loaded(WEIGHTS), data)
    metrics = {**scores, "held_out_accuracy": round(state.best_accuracy, 2), "best_epoch": state.best_epoch}
    write_whole(RESULTS / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    with open_whole(RESULTS / "history.csv") as stream:
        writer = csv.DictWriter(stream, list(state.history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(state.history)
    write_whole(WEIGHTS.with_suffix(".md"), card(settings, data, metrics, mean, std))
    log.info("scores on PublicTest, which is used this once:\n%s", table(scores))


def identity(settings: FaceTrainingSettings, data: fer2013.Fer2013) -> dict[str, object]:
    """Everything that determines the weights."""
    return {
        **settings.model_dump(mode="json", exclude=set(NOT_OF_WEIGHTS)),
        "faces": hashlib.sha256(data.train.pixels.tobytes() + data.train.targets.tobytes()).hexdigest(),
        "code": code_digest([Path(str(face_training.__file__)), Path(str(face_encoder.__file__))]),
        "torch": torch.__version__,
        "sklearn": version("scikit-learn"),
        "device": device().type,
        "precision": precision_on(device()),
    }


def _loaded(file: Path) -> FaceWeights:
    try:
        return load(file)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from None


def evaluate(trained: FaceWeights, data: fer2013.Fer2013) -> dict:
    """Scores on PublicTest, percent, of the stored weights and of the majority-class baseline."""
    if trained.classes != data.classes:
        raise UserError(f"the weights tell {', '.join(trained.classes)} apart, but face.labels of params.yaml gives "
                        f"{', '.join(data.classes)}: choose the labels that these weights were trained on")  # fmt: skip
    normalised = ((torch.from_numpy(data.test.pixels).float() - trained.mean) / trained.std).unsqueeze(1)
    network = DenseFace.of(trained.weights).to(device())
    predicted = probabilities(network, normalised, device()).argmax(1).numpy()
    label = data.test.targets.argmax(axis=1)
    majority = np.full_like(label, np.bincount(data.train.targets.argmax(axis=1)).argmax())
    counts, always = (confusion(label, said, len(data.classes)) for said in (predicted, majority))
    f1 = {name: round(float(value), 2) for name, value in zip(data.classes, class_f1(counts), strict=True)}
    return {**_scores(counts), "f1": f1, "majority": _scores(always)}


def _scores(counts: np.ndarray) -> dict[str, float]:
    return {"accuracy": round(accuracy(counts), 2), "weighted_f1": round(weighted_f1(counts), 2)}


def table(scores: dict) -> str:
    lines = [("accuracy", scores["accuracy"]), ("weighted F1", scores["weighted_f1"])]
    lines += [(f"F1 {name}", value) for name, value in scores["f1"].items()]
    lines += [("majority-class accuracy", scores["majority"]["accuracy"])]
    return "\n".join(f"{name:18s} {value:6.2f} %" for name, value in lines)


CARD = """# DenseNet-BC for faces

Growth 12, depth 100, compression 0.5. Input: a grey face of 64x64 pixels. Output: 342 pooled values. Made by the stage
`train_face`.

| on PublicTest ({tested} faces), percent | |
|---|---|
{scores}
| majority-class baseline: accuracy | {majority:.2f} |
| held-out part of Training: accuracy (chose the epoch) | {held_out_accuracy:.2f} |

- **Data**: FER-2013, Training: {trained} faces, of which {held_out:.0%} are held out. Labels: {labels}.
- **Recipe**: {phases}. The best epoch is {best_epoch}. SGD with
  Nesterov momentum 0.9, batch {batch}, one cycle up to {learning_rate:g}, weight decay {weight_decay:g}, label
  smoothing {label_smoothing:g}, {precision}, seed {seed}.
- **Augmentation**: each face is mirrored, rotated by up to {rotation:g} degrees, scaled by up to {scale:.0%}, shifted
  by up to {shift:.0%}, changed in brightness and contrast, and with probability {erase:g} partly covered.
- **Normalisation**: mean {mean:.2f} and standard deviation {std:.2f} of the grey levels of the training faces. The
  extractor normalises each corpus by the corpus's own mean and standard deviation.
- **Storage**: matrices are stored as float16. The scores are those of the stored file.
- **Code**: commit {commit}.
- **Limits**: The pictures are from the web, with posed and acted emotion, labelled by few people. About 65 % of the
  labels are what another person would say. The faces are frontal. Nothing was done to balance age, sex or skin colour,
  so errors may differ by group. Do not use it for decisions about people.
"""


def card(settings: FaceTrainingSettings, data: fer2013.Fer2013, metrics: dict, mean: float, std: float) -> str:
    """Model card of the weights, as Markdown."""
    shown = {"accuracy": metrics["accuracy"], "weighted F1": metrics["weighted_f1"]}
    shown |= {f"F1 {name}": value for name, value in metrics["f1"].items()}
    labels = {"fer2013": "FER-2013's own", "majority": "FER+, most frequent", "soft": "FER+, shares of the votes"}
    return CARD.format(
        **settings.model_dump(exclude={"phases", "labels", "data"}),
        phases=", then ".join(f"{phase.epochs} epochs at {phase.edge} pixels" for phase in settings.phases),
        labels=labels[settings.labels],
        tested=len(data.test.pixels),
        trained=len(data.train.pixels),
        scores="\n".join(f"| {name} | {value:.2f} |" for name, value in shown.items()),
        majority=metrics["majority"]["accuracy"],
        held_out_accuracy=metrics["held_out_accuracy"],
        best_epoch=metrics["best_epoch"],
        precision=precision_on(device()),
        mean=mean,
        std=std,
        commit=_commit(),
    )


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    result = subprocess.run(command, cwd=root(), capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", help="folder of FER-2013, instead of face.data of params.yaml")
    arguments.add_argument("--evaluate", action="store_true", help="train nothing: score weights on PublicTest")
    arguments.add_argument("--weights", type=Path, default=SHIPPED, help="of --evaluate (default: the shipped ones)")
    start(run, arguments)
