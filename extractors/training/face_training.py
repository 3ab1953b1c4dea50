"""Training of the face encoder from one seed: on small pictures first, then on larger ones.

The epoch is chosen on held-out faces. Every step draws its random numbers from (seed, step), so a run resumed from its
checkpoint gives the same bytes as an uninterrupted one.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm
from transformers.optimization import get_cosine_schedule_with_warmup

from extractors.settings import FaceTrainingSettings
from extractors.visual.denseface import DenseFace
from extractors.visual.faces import EDGE
from foundation.checkpoint import load_checkpoint, save_checkpoint
from foundation.precision import chosen_precision, lowered
from foundation.torch_setup import seed_of, seed_of_step, sent

RISE = 0.2
"""Fraction of all steps in which the learning rate rises to its peak."""


@dataclass(slots=True)
class FaceTrainingState:
    """Progress of a training, without the states of network and optimiser."""

    step: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    loss_sum: float = 0.0


def precision_on(device: torch.device) -> str:
    """Precision of matrix products in training: bfloat16, but on cards that emulate it, float32."""
    return "bfloat16" if device.type == "cpu" else chosen_precision("auto", device, older="float32")


def resized(faces: Tensor, edge: int) -> Tensor:
    """Resize grey faces [N, 1, H, W] to `edge` pixels."""
    return F.interpolate(faces, (edge, edge), mode="bilinear", align_corners=False)


def augmented(faces: Tensor, edge: int, recipe: FaceTrainingSettings) -> Tensor:
    """Augment normalised faces [N, 1, H, W] and resize them to `edge` pixels.

    Each face has random numbers of its own, and all are transformed at once: torchvision's transforms draw one set of
    numbers for a whole batch, so that they would need a loop over the faces.

    Faces are randomly rotated, scaled, shifted, mirrored, changed in brightness and contrast, and partly covered.
    """
    number = len(faces)

    def within(limit: float) -> Tensor:
        return (torch.rand(number) * 2 - 1) * limit

    angle, factor = within(math.radians(recipe.rotation)), 1 + within(recipe.scale)
    mirror = torch.where(torch.rand(number) < 0.5, -1.0, 1.0)
    turn = torch.stack(
        [
            torch.stack([mirror * angle.cos() * factor, -angle.sin() * factor, 2 * within(recipe.shift)], dim=1),
            torch.stack([mirror * angle.sin() * factor, angle.cos() * factor, 2 * within(recipe.shift)], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(turn, [number, 1, edge, edge], align_corners=False)
    faces = F.grid_sample(faces, grid, padding_mode="border", align_corners=False)
    faces = faces * (1 + within(0.2)).view(-1, 1, 1, 1) + within(0.2).view(-1, 1, 1, 1)
    height, width = (torch.rand(number) * 0.3 + 0.1 for _ in range(2))
    top, left = torch.rand(number) * (1 - height), torch.rand(number) * (1 - width)
    place = (torch.arange(edge) + 0.5) / edge
    rows = (place >= top[:, None]) & (place < (top + height)[:, None])
    columns = (place >= left[:, None]) & (place < (left + width)[:, None])
    covered = rows[:, :, None] & columns[:, None, :] & (torch.rand(number) < recipe.erase).view(-1, 1, 1)
    return faces.masked_fill(covered.unsqueeze(1), 0.0)  # 0 is the mean grey level


@torch.inference_mode()
def probabilities(network: DenseFace, faces: Tensor, device: torch.device, size: int = 128) -> Tensor:
    """Class probabilities [N, C] of normalised faces [N, 1, H, W], resized to the extractor's size."""
    network.eval()
    parts = []
    for part in faces.split(size):
        seen = resized(sent(part, device), EDGE).contiguous(memory_format=torch.channels_last)
        parts.append(network(seen).float().softmax(1).cpu())
    return torch.cat(parts)


def train(
    faces: Tensor,
    targets: Tensor,
    held_out: tuple[Tensor, Tensor],
    recipe: FaceTrainingSettings,
    device: torch.device,
    checkpoint: Path,
    seconds_between_checkpoints: float = 60.0,
    say: Callable[[str], None] = print,
) -> FaceTrainingState:
    """Train on normalised `faces` [N, 1, H, W] with class probabilities `targets` [N, C].

    Returns the state with the weights of the best epoch on `held_out`, a pair of faces and class probabilities.
    """
    torch.manual_seed(recipe.seed)
    network = DenseFace(targets.shape[1]).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=recipe.learning_rate, momentum=0.9, nesterov=True,
                                weight_decay=recipe.weight_decay)  # fmt: skip
    steps = len(faces) // recipe.batch
    edges = [phase.edge for phase in recipe.phases for _ in range(phase.epochs)]
    total, state = steps * len(edges), FaceTrainingState()
    if stored := load_checkpoint(checkpoint):
        network.load_state_dict(stored["network"])
        optimizer.load_state_dict(stored["optimizer"])
        state = FaceTrainingState(**stored["state"])
        say(f"resuming at step {state.step} of {total}")
    schedule = get_cosine_schedule_with_warmup(optimizer, round(RISE * total), total, last_epoch=state.step - 1)
    # bfloat16 needs no loss scaling, so CPU and GPU use the same code; batch-norm statistics stay float32.
    products = lowered(precision_on(device), device)
    # On the device: a number that is read in every step would make the program wait for a GPU.
    loss_sum = torch.tensor(state.loss_sum, dtype=torch.float64, device=device)
    saved = time.monotonic()
    with tqdm(total=total, initial=state.step, unit="step", disable=None) as progress:
        while state.step < total:
            epoch, place = divmod(state.step, steps)
            torch.manual_seed(seed_of(recipe.seed, epoch))
            order = torch.randperm(len(faces))
            torch.manual_seed(seed_of_step(recipe.seed, state.step))
            chosen = order[place * recipe.batch : (place + 1) * recipe.batch]
            network.train()
            seen, wanted = sent(augmented(faces[chosen], edges[epoch], recipe), device), sent(targets[chosen], device)
            with products:
                scores = network(seen.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(scores.float(), wanted, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            state.step += 1
            loss_sum += loss.detach()
            progress.update()
            if place + 1 == steps:
                predicted = probabilities(network, held_out[0], device).argmax(1)
                accuracy = 100 * float((predicted == held_out[1].argmax(1)).float().mean())
                row = {"epoch": epoch + 1, "edge": edges[epoch], "loss": float(loss_sum) / steps, "accuracy": accuracy}
                state.history.append(row)
                say(f"epoch {epoch + 1} of {len(edges)} at {edges[epoch]} pixels: loss {row['loss']:.3f}, "
                    f"held-out accuracy {accuracy:.2f} %")  # fmt: skip
                loss_sum.zero_()
                if accuracy > state.best_accuracy:
                    state.best_accuracy, state.best_epoch = accuracy, epoch + 1
                    weights = network.state_dict().items()
                    state.best = {name: value.detach().cpu().clone().contiguous() for name, value in weights}
            if place + 1 == steps or time.monotonic() - saved >= seconds_between_checkpoints:
                state.loss_sum = float(loss_sum)
                save_checkpoint(checkpoint, network=network.state_dict(), optimizer=optimizer.state_dict(),
                                state={name: getattr(state, name) for name in state.__dataclass_fields__})  # fmt: skip
                saved = time.monotonic()
    return state
