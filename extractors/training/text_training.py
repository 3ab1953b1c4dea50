"""Fine-tuning of a text encoder on utterances; the epoch is chosen on validation (COSMIC's protocol).

Every step draws its random numbers from (seed, step), so a run resumed from its checkpoint gives the same bytes as an
uninterrupted one. A finished training leaves a folder that transformers can load, with `fit.json` beside the weights.
"""

import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm
from transformers.optimization import get_polynomial_decay_schedule_with_warmup

from extractors.result import ExtractorError
from extractors.settings import FineTuningRecipe, TextSettings
from extractors.text.adapters import adapter_weights
from extractors.text.encoder import Encoder, batches, precision_of
from extractors.text.folders import ADAPTERS, CARD, checksum
from extractors.text.layout import Tokens
from extractors.text.pooling import pooling_file, pooling_of
from extractors.text.window import Window
from foundation.checkpoint import load_checkpoint, save_checkpoint
from foundation.f1 import weighted_f1_of
from foundation.files import whole, write_whole
from foundation.identity import code_digest
from foundation.torch_setup import seed_of, seed_of_step, sent

WITHOUT = frozenset({"model", "layers", "finetune", "crossfit", "recipe", "allow_seen"})
"""Settings that are not in the identity: it has the encoder's checksum, the recipe's content and the texts of the fold
instead, and fine-tuning always uses the last layer."""
BETAS, EPSILON = (0.9, 0.98), 1e-6
"""AdamW betas and epsilon used by COSMIC."""
BUCKET = 16
"""Number of steps whose utterances are sorted by length together, to reduce padding."""
ENCODER, HEAD, FIT, STATE = "model.safetensors", "head.safetensors", "fit.json", "state.pt"


@dataclass(frozen=True, slots=True)
class Labelled:
    """Utterances, with the turns that are read around them, and their labels, as class numbers."""

    windows: list[Window]
    labels: list[int]


@dataclass(slots=True)
class TextTrainingState:
    """Progress of a training, without the states of network and optimiser."""

    step: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    history: list[dict[str, float]] = field(default_factory=list)
    """One row per epoch: epoch, loss, validation_weighted_f1."""
    loss_sum: float = 0.0
    most: int = 0
    """Utterances of a pass: the recipe's, or fewer since the card's memory was used up."""
    finished: bool = False


class Classifier(nn.Module):
    """Classifier: the encoder's pooled vector, followed by a classification head like RoBERTa's."""

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

    def forward(self, tokens: list[Tokens]) -> Tensor:
        """Compute the logits [utterances, C] of tokenised utterances."""
        logits: Tensor = self.head(self.encoder.vectors(tokens))
        return logits


@torch.inference_mode()
def probabilities(classifier: Classifier, windows: list[Window]) -> Tensor:
    """Compute the class probabilities of `windows`, float32 [windows, C], on the CPU."""
    classifier.eval()
    tokens = classifier.encoder.tokens(windows)
    found = torch.empty(len(windows), classifier.classes)
    for batch in batches([len(one.ids) for one in tokens]):
        found[batch] = classifier([tokens[place] for place in batch]).softmax(1).cpu()
    return found


def steps(lengths: list[int], recipe: FineTuningRecipe, epoch: int) -> Iterator[list[list[int]]]:
    """Yield the passes of each step as lists of utterance positions, in an order drawn from (seed, epoch)."""
    generator = torch.Generator().manual_seed(seed_of(recipe.seed, epoch))
    order = torch.randperm(len(lengths), generator=generator).tolist()
    a_step = recipe.batch * recipe.accumulation
    found = []
    for begin in range(0, len(order), BUCKET * a_step):
        bucket = sorted(order[begin : begin + BUCKET * a_step], key=lambda place: lengths[place])
        found += [bucket[at : at + a_step] for at in range(0, len(bucket), a_step)]
    for number in torch.randperm(len(found), generator=generator).tolist():
        step = found[number]
        yield [step[at : at + recipe.batch] for at in range(0, len(step), recipe.batch)]


def identity(
    published: Path,
    settings: TextSettings,
    recipe: FineTuningRecipe,
    data: Labelled,
    validation: Labelled,
    classes: int,
    device: torch.device,
) -> dict[str, object]:
    """Everything that determines the weights; nothing of the test split is part of it."""
    return {
        **settings.model_dump(exclude=set(WITHOUT)),
        "pooling": pooling_of(published, settings),
        "code": code_digest([Path(__file__)]),
        "encoder": checksum(published),
        "recipe": recipe.model_dump(),
        "data": [asdict(data), asdict(validation)],
        "classes": classes,
        "libraries": [version(name) for name in ("torch", "transformers", "tokenizers")],
        "device": device.type,
        "precision": precision_of(device, recipe),
    }


def train(
    published: Path,
    settings: TextSettings,
    recipe: FineTuningRecipe,
    data: Labelled,
    validation: Labelled,
    classes: int,
    device: torch.device,
    folder: Path,
    seconds_between_checkpoints: float = 300.0,
    say: Callable[[str], None] = print,
) -> TextTrainingState:
    """Fine-tune the `published` encoder on `data`, and write the weights that are best on `validation` to `folder`.

    Raises:
        ExtractorError: the encoder cannot be loaded, or the loss became NaN or infinite.
    """
    if (folder / FIT).is_file():
        return TextTrainingState(**json.loads((folder / FIT).read_text("utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed_of(recipe.seed, 0))
    encoder = Encoder(published, settings.model_copy(update={"layers": "last"}), device, recipe)
    classifier = Classifier(encoder, classes, recipe.dropout)
    optimizer = torch.optim.AdamW(trained(classifier), lr=recipe.learning_rate, betas=BETAS, eps=EPSILON,
                                  weight_decay=recipe.weight_decay, fused=True)  # fmt: skip
    state = TextTrainingState()
    if stored := load_checkpoint(folder / STATE):
        classifier.load_state_dict(stored["classifier"], strict=not recipe.adapters)
        optimizer.load_state_dict(stored["optimizer"])
        state = TextTrainingState(**stored["state"])
    tokens, label = encoder.tokens(data.windows), torch.tensor(data.labels)
    state.most = state.most or recipe.batch
    lengths, order = [len(one.ids) for one in tokens], list[list[list[int]]]()
    an_epoch = math.ceil(len(tokens) / (recipe.batch * recipe.accumulation))
    total = an_epoch * recipe.epochs
    rise = min(round(recipe.warmup * total), total - 1)
    schedule = get_polynomial_decay_schedule_with_warmup(optimizer, rise, total, lr_end=0.0, power=recipe.decay,
                                                         last_epoch=state.step - 1)  # fmt: skip
    if state.step:
        say(f"resuming at step {state.step} of {total}")
    saved = time.monotonic()
    with tqdm(total=total, initial=state.step, desc="fine-tuning", unit="step", disable=None) as progress:
        while not state.finished:
            epoch, place = divmod(state.step, an_epoch)
            if not place or not order:
                order = list(steps(lengths, recipe, epoch + 1))
            while (loss := _step(classifier, optimizer, order[place], tokens, label, state, recipe.seed)) is None:
                state.most = (state.most + 1) // 2
                say(f"the card's memory is used up; passes of {state.most} utterances from now on, in the same steps")
            state.loss_sum += loss
            schedule.step()
            state.step += 1
            progress.update()
            ends = place + 1 == an_epoch
            if ends:
                _finish_epoch(classifier, state, recipe, validation, an_epoch, folder, say)
            if ends or time.monotonic() - saved >= seconds_between_checkpoints:
                save_checkpoint(folder / STATE, classifier=trained_state(classifier), optimizer=optimizer.state_dict(),
                                state=asdict(state))  # fmt: skip
                saved = time.monotonic()
    copy_settings(published, folder)
    if recipe.adapters:
        write_whole(folder / CARD, json.dumps({"rank": recipe.adapters, "published": checksum(published)}) + "\n")
    write_whole(folder / FIT, json.dumps(asdict(state), indent=2) + "\n")
    (folder / STATE).unlink()
    return state


def _step(
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    passes: list[list[int]],
    tokens: list[Tokens],
    label: Tensor,
    state: TextTrainingState,
    seed: int,
) -> float | None:
    """Make one update with the mean loss over the utterances of all `passes`, and return this loss.

    A pass is cut into parts of `state.most` utterances. If the card's memory is used up, nothing is changed and the
    result is None; with parts of one utterance this is an error.
    """
    torch.manual_seed(seed_of_step(seed, state.step))
    classifier.train()
    optimizer.zero_grad(set_to_none=True)
    number, losses = sum(map(len, passes)), []
    try:
        for batch in (one[at : at + state.most] for one in passes for at in range(0, len(one), state.most)):
            logits = classifier([tokens[place] for place in batch])
            part = F.cross_entropy(logits, sent(label[batch], logits.device), reduction="sum") / number
            part.backward()
            losses.append(part.detach())
    except torch.OutOfMemoryError:
        if state.most == 1:
            raise
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        return None
    loss = float(torch.stack(losses).sum())
    if not math.isfinite(loss):
        raise ExtractorError("the loss of fine-tuning became infinite or NaN: lower `learning_rate` of text's `recipe` "
                             "in params.yaml")  # fmt: skip
    optimizer.step()
    return loss


def _finish_epoch(
    classifier: Classifier,
    state: TextTrainingState,
    recipe: FineTuningRecipe,
    validation: Labelled,
    an_epoch: int,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Score the epoch on validation, save its weights if they are the best so far, and decide whether to stop.

    Patience counts only once the encoder is better than the best constant prediction, the most frequent class: with
    few utterances it predicts that class for some epochs before it learns.
    """
    constant = weighted_f1_of(validation.labels, [statistics.mode(validation.labels)] * len(validation.labels))
    predicted = probabilities(classifier, validation.windows).argmax(1).tolist()
    score = weighted_f1_of(validation.labels, predicted)
    epoch = len(state.history) + 1
    state.history.append({"epoch": epoch, "loss": state.loss_sum / an_epoch, "validation_weighted_f1": score})
    say(f"epoch {epoch} of {recipe.epochs}: loss {state.loss_sum / an_epoch:.3f}, validation weighted F1 {score:.2f}")
    state.loss_sum = 0.0
    if score > state.best_score:
        state.best_score, state.best_epoch = score, epoch
        if recipe.adapters:
            _write(adapter_weights(classifier.network), folder / ADAPTERS)
        else:
            _write(classifier.network.state_dict(), folder / ENCODER)
        _write(classifier.head.state_dict(), folder / HEAD)
    waited = epoch - state.best_epoch if state.best_score > constant else 0
    state.finished = epoch == recipe.epochs or waited >= recipe.patience


def trained(classifier: Classifier) -> list[nn.Parameter]:
    """Parameters that are trained: all, or the adapters and the head."""
    return [parameter for parameter in classifier.parameters() if parameter.requires_grad]


def trained_state(classifier: Classifier) -> dict[str, Tensor]:
    """State of `classifier` without the parameters that stay as published."""
    frozen = {name for name, parameter in classifier.named_parameters() if not parameter.requires_grad}
    return {name: value for name, value in classifier.state_dict().items() if name not in frozen}


def load(folder: Path, settings: TextSettings, device: torch.device) -> Classifier:
    """Load the encoder and the head that `train` wrote to `folder`."""
    encoder = Encoder(folder, settings.model_copy(update={"layers": "last"}), device)
    head = load_file(folder / HEAD)
    classifier = Classifier(encoder, len(head["4.bias"]), 0.0)
    classifier.head.load_state_dict(head)
    return classifier.eval()


def copy_settings(published: Path, folder: Path) -> None:
    """Copy configuration, vocabulary and pooling of the `published` encoder, which fine-tuning does not change."""
    for file in (*published.glob("*.json"), *published.glob("*.txt"), *pooling_file(published).parent.glob("*.json")):
        if not file.name.endswith(".index.json"):  # the index of weights that are split into several files
            target = folder / file.relative_to(published)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)


def _write(tensors: dict[str, Tensor], file: Path) -> None:
    with whole(file) as half:
        # transformers requires the metadata entry `format`.
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, half, {"format": "pt"})
