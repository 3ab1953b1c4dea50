"""The face encoder for feature extraction: its weight file, and DenseNet-BC for inference only.

Training uses `denseface.DenseFace`, torchvision's network. This module has the same network without the parts that
inference does not need, and without importing torchvision, which takes more than a second.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from foundation.files import whole

STEM, GROWTH, BOTTLENECK, LAYERS, BLOCKS = 24, 12, 48, 16, 3
"""Channels of the first convolution, channels that a layer adds, channels between its two convolutions, layers per
block, number of blocks."""
DIM = 342
"""Output width. Each block adds 16 x 12 = 192 channels, and each transition halves: 24 + 192 = 216 -> 108; 108 + 192 =
300 -> 150; 150 + 192 = 342."""
Weights = Mapping[str, Tensor]
"""State dict of a `denseface.DenseFace`, float32."""


@dataclass(frozen=True, slots=True)
class FaceWeights:
    """Trained weights, with the classes and the normalisation used in training."""

    weights: Weights
    classes: tuple[str, ...]
    mean: float
    """Mean (and `std`: standard deviation) of the grey levels of the training faces, used to normalise them."""
    std: float


class FaceEncoder(nn.Module):
    """DenseNet-BC up to its pooled values; batch norms that follow a convolution are merged into its weights.

    This saves a fifth of the time, and the values differ from the trained network's only by rounding.
    """

    def __init__(self, weights: Weights) -> None:
        """Create the network from the state dict of a `denseface.DenseFace`.

        Raises:
            ValueError: a tensor is missing, or its shape is not this network's.
        """
        super().__init__()
        parts: list[nn.Module] = [_convolution(weights, "conv0", STEM, 1, 3, stride=2)]
        channels = STEM
        for block in range(1, BLOCKS + 1):
            for layer in range(1, LAYERS + 1):
                parts.append(_Layer(weights, f"denseblock{block}.denselayer{layer}", channels))
                channels += GROWTH
            if block < BLOCKS:
                name = f"transition{block}"
                parts += [
                    _norm(weights, f"{name}.norm", channels), _relu(),
                    _convolution(weights, f"{name}.conv", channels // 2, channels, 1), nn.AvgPool2d(2),
                ]  # fmt: skip
                channels //= 2
        self.features = nn.Sequential(*parts, _norm(weights, "norm5", channels), _relu())

    def forward(self, faces: Tensor) -> Tensor:
        """Normalised grey faces [N, 1, 64, 64] -> [N, 342], the mean of the last feature maps."""
        return self.features(faces).mean(dim=(2, 3))

    @torch.inference_mode()
    def of_grey(self, mean: float, std: float, crops: np.ndarray) -> Tensor:
        """Encode grey faces, uint8 [N, 1, 64, 64] -> float32 [N, 342] on the network's device, without gradients."""
        faces, on = torch.from_numpy(crops), next(self.parameters()).device
        if on.type == "cuda":
            faces = faces.pin_memory()
        normalised = (faces.to(on, non_blocking=True).float() - mean) / std
        return self(normalised.contiguous(memory_format=torch.channels_last)).float()


class _Layer(nn.Module):
    """Bottleneck layer, whose output channels are appended to its input."""

    def __init__(self, weights: Weights, name: str, channels: int) -> None:
        super().__init__()
        self.new = nn.Sequential(
            _norm(weights, f"{name}.norm1", channels), _relu(),
            _convolution(weights, f"{name}.conv1", BOTTLENECK, channels, 1, then=f"{name}.norm2"), _relu(),
            _convolution(weights, f"{name}.conv2", GROWTH, BOTTLENECK, 3),
        )  # fmt: skip

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps, self.new(maps)], dim=1)


def _relu() -> nn.ReLU:
    return nn.ReLU(inplace=True)  # saves a copy; no other layer reads the input


def _norm(weights: Weights, name: str, channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels).eval()
    for part in ("weight", "bias", "running_mean", "running_var"):
        getattr(norm, part).data = _tensor(weights, f"{name}.{part}", channels)
    return norm


def _convolution(
    weights: Weights, name: str, channels: int, before: int, edge: int, stride: int = 1, then: str = ""
) -> nn.Conv2d:
    """Make an `edge` x `edge` convolution, `before` -> `channels`, merged with the batch norm `then` if given."""
    made = nn.Conv2d(before, channels, edge, stride, padding=edge // 2, bias=False, device="meta").eval()
    made.weight = nn.Parameter(_tensor(weights, f"{name}.weight", channels, before, edge, edge))
    return fuse_conv_bn_eval(made, _norm(weights, then, channels)) if then else made


def _tensor(weights: Weights, name: str, *shape: int) -> Tensor:
    found = weights.get(f"features.{name}")
    if found is None:
        raise ValueError(f"holds no weights of this network: features.{name} is missing")
    if found.shape != shape:
        raise ValueError(f"holds no weights of this network: features.{name} is {list(found.shape)}, not {list(shape)}")
    return found


def save(weights: Weights, classes: tuple[str, ...], mean: float, std: float, file: Path) -> None:
    """Write trained `weights`: matrices as float16 to halve the file, statistics and biases as float32."""
    stored = {name: value.half() if value.ndim > 1 else value for name, value in weights.items()}
    stored["whitening"] = torch.tensor([mean, std], dtype=torch.float64)
    with whole(file) as half:
        save_file(stored, half, metadata={"classes": json.dumps(classes)})


def load(file: Path) -> FaceWeights:
    """Load the weights from a safetensors file that `save` wrote.

    Raises:
        ValueError: the file cannot be read, or has other content.
    """
    try:
        with safe_open(file, "pt") as stored:
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
            classes = tuple(json.loads((stored.metadata() or {}).get("classes", "[]")))
    except (OSError, SafetensorError) as error:
        raise ValueError(f"cannot be read as safetensors ({error})") from None
    for name in ("classifier.bias", "whitening"):
        if name not in weights:
            raise ValueError(f"holds no weights of this network: {name} is missing")
    mean, std = weights.pop("whitening").tolist()
    weights = {name: value.float() if value.ndim > 1 else value for name, value in weights.items()}
    FaceEncoder(weights)  # raises ValueError for another network's weights, before anything is extracted
    return FaceWeights(weights, classes, mean, std)
