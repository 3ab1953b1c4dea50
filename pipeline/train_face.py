"""train_face: FER-2013 to the weights of the face encoder, models/face/denseface.safetensors, and their card.

No part of the default graph, for the repository ships the weights of one run:
    dvc exp run -S 'face.datasets=[fer2013]' -S face.data=FOLDER train_face@fer2013      trains them again
    python -m pipeline.train_face --evaluate --data FOLDER      scores the shipped weights on the official PublicTest

The epoch is chosen on a held-out part of Training; PublicTest is looked at once, at the end. A run that was killed goes
on where it was.
"""

import argparse
import csv
import hashlib
import json
import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split

from extractors import denseface, face_encoder, face_training, faces
from extractors.cache import fingerprint
from extractors.denseface import DenseFace
from extractors.device import device
from extractors.face_encoder import Trained, load, save
from extractors.face_training import Recipe, probabilities, train
from extractors.faces import grey_levels
from pipeline.corpora import fer2013
from pipeline.params import Face, Params
from pipeline.stage import StageError, cache_folder, log, root, start

SHIPPED = root() / "extractors/weights/denseface.safetensors"
MADE = Path("models/face/denseface.safetensors")
RESULTS = Path("results/face")
CODE = (face_training, denseface, face_encoder, faces)
"""Modules that decide the weights, beside this one."""
NOT_OF_WEIGHTS = frozenset({"datasets", "data"})
"""Of `face`: whether it is trained at all, and where the faces lie, whose content stands in the name."""
CHECKPOINT_SECONDS = float(os.environ.get("CMATH_CHECKPOINT_SECONDS", "60"))


def run(args: argparse.Namespace, params: Params) -> None:
    torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(True)
    settings = params.face
    try:
        data = fer2013.read(root() / (args.data or settings.data), settings.labels)
    except fer2013.FerError as error:
        raise StageError(str(error)) from None
    if args.evaluate:
        print(table(evaluate(_loaded(args.weights), data)))
        return
    log.info("face: %d faces to train on, %s, on %s", len(data.train.pixels), ", ".join(data.classes), device())
    fitted, chosen_on = train_test_split(
        np.arange(len(data.train.pixels)),
        test_size=settings.held_out,
        random_state=settings.seed,
        stratify=data.train.targets.argmax(axis=1),
    )
    pixels, targets = torch.from_numpy(data.train.pixels), torch.from_numpy(data.train.targets)
    mean, deviation = grey_levels(np.bincount(data.train.pixels[fitted].ravel(), minlength=256))
    white = ((pixels.float() - mean) / deviation).unsqueeze(1)
    checkpoint = cache_folder() / "face" / f"{identity(settings, data)}.pt"
    state = train(
        white[fitted],
        targets[fitted],
        (white[chosen_on], targets[chosen_on]),
        recipe(settings),
        device(),
        checkpoint,
        CHECKPOINT_SECONDS,
        log.info,
    )
    save(state.best, data.classes, mean, deviation, MADE)
    scores = evaluate(_loaded(MADE), data)
    RESULTS.mkdir(parents=True, exist_ok=True)
    metrics = {**scores, "held_out_accuracy": round(state.best_accuracy, 2), "best_epoch": state.best_epoch}
    (RESULTS / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    with (RESULTS / "history.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(state.history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(state.history)
    MADE.with_suffix(".md").write_text(card(settings, data, metrics, mean, deviation), "utf-8")
    checkpoint.unlink(missing_ok=True)
    log.info("PublicTest, looked at once:\n%s", table(scores))


def recipe(settings: Face) -> Recipe:
    chosen = settings.model_dump(include=set(Recipe.__dataclass_fields__) - {"phases"})
    return Recipe(phases=[(phase.edge, phase.epochs) for phase in settings.phases], **chosen)


def identity(settings: Face, data: fer2013.Fer2013) -> str:
    """A name for all that decides the weights, so that no other training's checkpoint is taken up."""
    content = hashlib.sha256(data.train.pixels.tobytes() + data.train.targets.tobytes()).hexdigest()
    files = [Path(__file__), *(Path(str(module.__file__)) for module in CODE)]
    code = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    chosen = settings.model_dump(mode="json", exclude=set(NOT_OF_WEIGHTS))
    made_by = {"torch": torch.__version__, "sklearn": version("scikit-learn"), "device": device().type}
    return fingerprint({**chosen, "faces": content, "code": code, **made_by})


def _loaded(file: Path) -> Trained:
    try:
        return load(file)
    except ValueError as error:
        raise StageError(f"{file}: {error}") from None


def evaluate(trained: Trained, data: fer2013.Fer2013) -> dict:
    """Scores of the stored weights on PublicTest, percent, and those of the most frequent training class."""
    if trained.classes != data.classes:
        raise StageError(f"the weights know {', '.join(trained.classes)}; face.labels gives {', '.join(data.classes)}")
    white = ((torch.from_numpy(data.test.pixels).float() - trained.mean) / trained.deviation).unsqueeze(1)
    network = DenseFace.of(trained.weights).to(device())
    guess = probabilities(network, white, device()).argmax(1).numpy()
    label = data.test.targets.argmax(axis=1)
    constant = np.full_like(label, np.bincount(data.train.targets.argmax(axis=1)).argmax())
    f1 = f1_score(label, guess, labels=range(len(data.classes)), average=None, zero_division=0)
    return {
        **_scores(label, guess),
        "f1": {name: _percent(value) for name, value in zip(data.classes, f1, strict=True)},
        "constant": _scores(label, constant),
    }


def _scores(label: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": _percent(accuracy_score(label, guess)),
        "weighted_f1": _percent(f1_score(label, guess, average="weighted", zero_division=0)),
    }


def _percent(value: float) -> float:
    return round(100 * float(value), 2)


def table(scores: dict) -> str:
    lines = [("accuracy", scores["accuracy"]), ("weighted F1", scores["weighted_f1"])]
    lines += [(f"F1 {name}", value) for name, value in scores["f1"].items()]
    lines += [("constant accuracy", scores["constant"]["accuracy"])]
    return "\n".join(f"{name:18s} {value:6.2f} %" for name, value in lines)


CARD = """# DenseNet-BC for faces

Growth 12, depth 100, compression 0.5, grey 64x64 in, 342 pooled values out; made by the stage `train_face`.

| on PublicTest ({tested} faces), percent | |
|---|---|
{scores}
| always the most frequent training class: accuracy | {constant:.2f} |
| held-out part of Training: accuracy (chose the epoch) | {held_out_accuracy:.2f} |

- **Data**: FER-2013, Training: {trained} faces, of which {held_out:.0%} held out. Labels: {labels}.
- **Recipe**: {phases}; best epoch {best_epoch}. SGD with Nesterov momentum 0.9, batch {batch}, one cycle up to
  {learning_rate:g}, weight decay {weight_decay:g}, label smoothing {label_smoothing:g}, bfloat16, seed {seed}.
- **Augmentation**: each face is mirrored, turned by up to {rotation:g} degrees, scaled by up to {scale:.0%}, moved by
  up to {shift:.0%}, relit, and with probability {erase:g} partly covered.
- **Whitening**: mean {mean:.2f} and deviation {deviation:.2f} of the training faces' grey levels; the extractor whitens
  a corpus by its own.
- **Storage**: matrices as float16. The scores are those of the stored file.
- **Code**: commit {commit}.
- **Limits**: pictures from the web with posed and acted emotion, labelled by few people: about 65 % of the labels are
  what another person would say. Frontal faces. Nothing was done for balance of age, sex or skin, so errors may differ
  by group. Not for decisions about people.
"""


def card(settings: Face, data: fer2013.Fer2013, metrics: dict, mean: float, deviation: float) -> str:
    """What the weights are, as Markdown."""
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
        constant=metrics["constant"]["accuracy"],
        held_out_accuracy=metrics["held_out_accuracy"],
        best_epoch=metrics["best_epoch"],
        mean=mean,
        deviation=deviation,
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
