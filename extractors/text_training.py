"""Fine-tuning of a text encoder on single utterances, the epoch chosen on validation (COSMIC's protocol).

Every step draws its numbers from (seed, step), so a training that was killed goes on from its checkpoint to the same
bytes. A finished one stays in its folder, an encoder that transformers can load, with `fit.json` beside the weights.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from extractors.cache import fingerprint
from extractors.encoder import Encoder, batches
from extractors.encoder_folders import checksum, pooling_of
from extractors.result import ExtractorError
from extractors.text import VERSION as TEXT_VERSION
from pipeline.params import Recipe, TextOf

VERSION = 1
"""To be raised with every change of this module that changes a number."""
WITHOUT = frozenset({"model", "layers", "finetune", "crossfit", "recipe"})
"""Settings that change no weight: the encoder's checksum, the recipe's content and the texts of a fold stand for what
they name, and training is of the last layer whatever features are made of."""
BETAS, EPSILON = (0.9, 0.98), 1e-6
"""Of AdamW, as COSMIC has them."""
BUCKET = 16
"""Steps among whose utterances those of like length are put together."""
ENCODER, HEAD, FIT, STATE = "model.safetensors", "head.safetensors", "fit.json", "state.pt"


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts and the places of their labels among the classes."""

    texts: list[str]
    labels: list[int]


@dataclass(slots=True)
class State:
    """Where a training is, apart from network and optimiser."""

    step: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)
    """A row an epoch: epoch, loss, validation_weighted_f1."""
    loss_sum: float = 0.0
    finished: bool = False


class Classifier(nn.Module):
    """The encoder's pooled vector through RoBERTa's own classification head."""

    def __init__(self, encoder: Encoder, classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder, self.network, self.classes = encoder, encoder.network, classes
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(encoder.dim, encoder.dim),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(encoder.dim, classes),
        ).to(encoder.device)

    def forward(self, tokens: list[list[int]]) -> Tensor:
        """Logits [texts, C] of texts given as ids of tokens."""
        logits: Tensor = self.head(self.encoder.vectors(tokens))
        return logits


@torch.inference_mode()
def probabilities(classifier: Classifier, texts: list[str]) -> Tensor:
    """Class probabilities of `texts`, float32 [texts, C], on the CPU."""
    classifier.eval()
    tokens = classifier.encoder.tokens(texts)
    found = torch.empty(len(texts), classifier.classes)
    for batch in batches([len(ids) for ids in tokens]):
        found[batch] = classifier([tokens[place] for place in batch]).softmax(1).cpu()
    return found


def steps(lengths: list[int], recipe: Recipe, epoch: int) -> Iterator[list[list[int]]]:
    """Places of an epoch's utterances, a list of passes a step, in an order of (seed, epoch)."""
    generator = torch.Generator().manual_seed(_mixed(recipe.seed, epoch))
    order = torch.randperm(len(lengths), generator=generator).tolist()
    a_step = recipe.batch * recipe.accumulation
    found = []
    for begin in range(0, len(order), BUCKET * a_step):
        bucket = sorted(order[begin : begin + BUCKET * a_step], key=lambda place: lengths[place])
        found += [bucket[at : at + a_step] for at in range(0, len(bucket), a_step)]
    for number in torch.randperm(len(found), generator=generator).tolist():
        step = found[number]
        yield [step[at : at + recipe.batch] for at in range(0, len(step), recipe.batch)]


def share_of_peak(step: int, total: int, recipe: Recipe) -> float:
    """Learning rate at `step` of `total`, counted from 1, as a share of its peak: a line up, a polynomial down."""
    rise = recipe.warmup * total
    if step <= rise:
        return step / rise
    return float((1 - (step - rise) / (total - rise + 1)) ** recipe.decay)


def identity(
    published: Path,
    settings: TextOf,
    recipe: Recipe,
    data: Labelled,
    validation: Labelled,
    classes: int,
    device: torch.device,
) -> str:
    """A name for all that decides the weights: nothing of the test split is in it."""
    return fingerprint(
        {
            **settings.model_dump(exclude=set(WITHOUT)),
            "pooling": pooling_of(published, settings),
            "version": [VERSION, TEXT_VERSION],
            "encoder": checksum(published),
            "recipe": recipe.model_dump(),
            "data": [asdict(data), asdict(validation)],
            "classes": classes,
            "libraries": [version(name) for name in ("torch", "transformers", "tokenizers")],
            "device": device.type,
        }
    )


def train(
    published: Path,
    settings: TextOf,
    recipe: Recipe,
    data: Labelled,
    validation: Labelled,
    classes: int,
    device: torch.device,
    folder: Path,
    seconds_between_checkpoints: float = 300.0,
    say: Callable[[str], None] = print,
) -> State:
    """Fine-tune the `published` encoder on `data` into `folder`, which then holds the weights best on `validation`.

    Raises:
        ExtractorError: the encoder cannot be loaded, or the loss left the finite numbers.
    """
    if (folder / FIT).is_file():
        return State(**json.loads((folder / FIT).read_text("utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(_mixed(recipe.seed, 0))
    encoder = Encoder(published, settings.model_copy(update={"layers": "last"}), device, recipe.dropout)
    classifier = Classifier(encoder, classes, recipe.dropout)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=recipe.learning_rate, betas=BETAS, eps=EPSILON,
                                  weight_decay=recipe.weight_decay, fused=True)  # fmt: skip
    state = State()
    if (folder / STATE).exists():
        stored = torch.load(folder / STATE, map_location="cpu", weights_only=True)
        classifier.load_state_dict(stored["classifier"])
        optimizer.load_state_dict(stored["optimizer"])
        state = State(**stored["state"])
    tokens, label = encoder.tokens(data.texts), torch.tensor(data.labels)
    lengths, order = [len(ids) for ids in tokens], list[list[list[int]]]()
    an_epoch = math.ceil(len(tokens) / (recipe.batch * recipe.accumulation))
    total = an_epoch * recipe.epochs
    if state.step:
        say(f"going on at step {state.step} of {total}")
    saved = time.monotonic()
    with tqdm(total=total, initial=state.step, desc="fine-tuning", unit="step", disable=None) as progress:
        while not state.finished:
            epoch, place = divmod(state.step, an_epoch)
            if not place or not order:
                order = list(steps(lengths, recipe, epoch + 1))
            torch.manual_seed(_mixed(recipe.seed, 7919 * (state.step + 1)))
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * share_of_peak(state.step + 1, total, recipe)
            state.loss_sum += _step(classifier, optimizer, order[place], tokens, label)
            state.step += 1
            progress.update()
            ends = place + 1 == an_epoch
            if ends:
                _finish_epoch(classifier, state, recipe, validation, an_epoch, folder, say)
            if ends or time.monotonic() - saved >= seconds_between_checkpoints:
                _save_state(folder / STATE, classifier, optimizer, state)
                saved = time.monotonic()
    copy_settings(published, folder)
    (folder / FIT).write_text(json.dumps(asdict(state), indent=2) + "\n", "utf-8")
    (folder / STATE).unlink()
    return state


def _step(
    classifier: Classifier, optimizer: torch.optim.Optimizer, passes: list[list[int]], tokens: list, label: Tensor
) -> float:
    """One update by the mean loss over the utterances of all `passes`, which is returned."""
    classifier.train()
    optimizer.zero_grad(set_to_none=True)
    number, loss = sum(map(len, passes)), 0.0
    for batch in passes:
        logits = classifier([tokens[place] for place in batch])
        part = F.cross_entropy(logits, label[batch].to(logits.device), reduction="sum") / number
        part.backward()
        loss += float(part.detach())
    if not math.isfinite(loss):
        raise ExtractorError("fine-tuning left the finite numbers: lower `learning_rate` of text's `recipe` in "
                             "params.yaml")  # fmt: skip
    optimizer.step()
    return loss


def _finish_epoch(
    classifier: Classifier,
    state: State,
    recipe: Recipe,
    validation: Labelled,
    an_epoch: int,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Score the epoch on validation, keep its weights if they are the best so far, and see whether it is the last."""
    guess = probabilities(classifier, validation.texts).argmax(1).tolist()
    score = 100 * float(f1_score(validation.labels, guess, average="weighted", zero_division=0))
    epoch = len(state.history) + 1
    state.history.append({"epoch": epoch, "loss": state.loss_sum / an_epoch, "validation_weighted_f1": score})
    say(f"epoch {epoch} of {recipe.epochs}: loss {state.loss_sum / an_epoch:.3f}, validation weighted F1 {score:.2f}")
    state.loss_sum = 0.0
    if score > state.best_score:
        state.best_score, state.best_epoch = score, epoch
        _write(classifier.network.state_dict(), folder / ENCODER)
        _write(classifier.head.state_dict(), folder / HEAD)
    state.finished = epoch == recipe.epochs or epoch - state.best_epoch >= recipe.patience


def load(folder: Path, settings: TextOf, device: torch.device) -> Classifier:
    """The encoder and head that `train` left in `folder`."""
    encoder = Encoder(folder, settings.model_copy(update={"layers": "last"}), device)
    head = load_file(folder / HEAD)
    classifier = Classifier(encoder, len(head["4.bias"]), 0.0)
    classifier.head.load_state_dict(head)
    return classifier.eval()


def copy_settings(published: Path, folder: Path) -> None:
    """Configuration, vocabulary and way of pooling of the `published` encoder, which fine-tuning leaves as they are."""
    for file in (*published.glob("*.json"), *published.glob("*.txt"), *published.glob("1_Pooling/*.json")):
        if not file.name.endswith(".index.json"):  # of weights in several files
            target = folder / file.relative_to(published)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)


def _write(tensors: dict[str, Tensor], file: Path) -> None:
    """A safetensors file, whole or not at all."""
    half = file.with_suffix(".half")
    # `format` is what transformers asks for.
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, half, {"format": "pt"})
    half.replace(file)


def _save_state(file: Path, classifier: Classifier, optimizer: torch.optim.Optimizer, state: State) -> None:
    half = file.with_suffix(".half")
    stored = {"classifier": classifier.state_dict(), "optimizer": optimizer.state_dict(), "state": asdict(state)}
    torch.save(stored, half)
    half.replace(file)


def _mixed(seed: int, number: int) -> int:
    return (seed * 1_000_003 + number) % 2**31
