"""Train CMATH as the paper prints it, and in forms that differ from it in one thing, on a corpus that is easy to learn.

python -m paper.collapse

The corpus is made here, from fixed random numbers: 12 dialogues to train on and 4 each for validation and test, of 5 to
13 turns, six classes. In each of three modalities a class has a mean vector of its own, around which its utterances lie
so closely that a network that learns at all gets every one right. paper/sets/printed.yaml has the printed form. Each
form is trained from two seeds and prints the cross-entropy (of four classifiers: constant ones have 4 ln 6 = 7.17) of
the first and the last epoch, and weighted F1 on validation, the best and the last. docs/distillation.md has the table.
"""

import argparse
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from foundation.torch_setup import prepare_torch
from model.batching import Corpus
from model.registry import make_model
from model.settings import TrainingSettings
from model.training import Fit, fit
from paper.settings import SETS
from pipeline.params import Params, ParamsError, load_params, read_yaml

WIDTHS = {"text": 256, "audio": 300, "visual": 128}
SIZES = {"train": 12, "validation": 4, "test": 4}
"""Number of dialogues of each split."""
CLASSES, SPEAKERS = 6, 2
SEEDS = (0, 1)


@dataclass(frozen=True, slots=True)
class Form:
    """A form of CMATH and how it is trained."""

    name: str
    epochs: int
    changes: dict[str, object] = field(default_factory=dict)
    """Settings of the network that differ from the printed form's."""
    learning_rate: float = 0.003
    batch: int = 16
    printed: bool = True
    """Whether all other settings are printed; or else those of params.yaml."""


FORMS = [
    Form("as printed", 60),
    Form("as printed", 200),
    Form("as printed", 25, learning_rate=0.0002, batch=4),
    Form("as printed, width 500", 12, {"dim": 500, "heads": 10}),
    Form("as printed, no dropout at all", 100, {"dropout": 0.0}),
    Form("as printed, teacher detached", 100, {"detach_teacher": True}),
    Form("as printed, no low-level distillation", 100, {"gamma1": 0.0}),
    Form("as printed, means for sums", 60, {"reduction": "mean"}),
    Form("ours", 60, printed=False),
]


def separable() -> Corpus:
    """The corpus: normal features around the mean vector of their class."""
    draw = torch.Generator().manual_seed(0)
    parts: dict[str, list[torch.Tensor]] = {}
    begin = 0
    for split, number in SIZES.items():
        lengths = torch.randint(5, 14, (number,), generator=draw).tolist()
        parts[split] = [torch.arange(begin + sum(lengths[:at]), begin + sum(lengths[: at + 1])) for at in range(number)]
        begin += sum(lengths)
    label = torch.randint(CLASSES, (begin,), generator=draw)
    features = {}
    for name, width in WIDTHS.items():
        means = torch.randn(CLASSES, width, generator=draw)
        features[name] = means[label] + 0.5 * torch.randn(begin, width, generator=draw)
    present = {name: torch.ones(begin, dtype=torch.bool) for name in WIDTHS}
    return Corpus(features, present, torch.randint(SPEAKERS, (begin,), generator=draw), label, parts)


def configured(form: Form, params: Params) -> tuple[dict, TrainingSettings]:
    """Configuration of the network, width 80, and settings of its training."""
    values: dict[str, object] = read_yaml(SETS / "printed.yaml")["main"] if form.printed else {}  # type: ignore[index]
    printed = {key.rpartition(".")[2]: value for key, value in values.items()}
    train = params.train["meld"].model_dump() | {"class_weights": False} | printed
    chosen = params.model.model_dump(exclude={"name", "modalities"}) | {k: train[k] for k in ("gamma1", "gamma2")}
    config = chosen | {"dim": 80} | {name: value for name, value in printed.items() if name in chosen} | form.changes
    settings = {name: train[name] for name in ("weight_decay", "ema_decay")}
    settings |= {"learning_rate": form.learning_rate, "batch": form.batch, "epochs": form.epochs}
    shape = {"dims": WIDTHS, "speakers": SPEAKERS, "classes": CLASSES}
    return config | shape, TrainingSettings(**settings, patience=form.epochs)


def trained(form: Form, params: Params, seed: int) -> Fit:
    config, settings = configured(form, params)
    with tempfile.TemporaryDirectory() as folder:
        return fit(lambda: make_model("cmath", config), separable(), settings, None, seed, torch.device("cpu"),
                   Path(folder) / "checkpoint", each_epoch=lambda _: None)  # fmt: skip


def line(form: Form, seed: int, result: Fit) -> str:
    """Row of the table."""
    scores = [row["validation_weighted_f1"] for row in result.history]
    entropy = [row["ce"] for row in result.history]
    return (f"| {form.name} | {form.learning_rate:g}, {form.batch}, {form.epochs} | {seed} | {entropy[0]:.2f} -> "
            f"{entropy[-1]:.2f} | {max(scores):.1f}, {scores[-1]:.1f} |")  # fmt: skip


def main() -> None:
    try:
        params = load_params()
    except ParamsError as error:
        raise SystemExit(f"error: {error}") from None
    prepare_torch(threads=1)
    print("| form | rate, batch, epochs | seed | cross-entropy, first -> last | F1 on validation, best and last |")
    print("|---|---|---|---|---|")
    for form in FORMS:
        for seed in SEEDS:
            print(line(form, seed, trained(form, params, seed)), flush=True)


if __name__ == "__main__":
    argparse.ArgumentParser("python -m paper.collapse", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()  # fmt: skip
    main()
