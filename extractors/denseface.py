"""DenseNet-BC for faces: growth 12, depth 100, compression 0.5, grey 64x64 in, 342 pooled values out."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import DenseNet

DIM = 342
"""24 + 192 = 216 -> 108; + 192 = 300 -> 150; + 192 = 342: three blocks of 16 layers of 12 channels, halved between."""
SEED = 342
"""Of the untrained weights, which serve until trained ones are given."""


class DenseFace(nn.Module):
    """torchvision's DenseNet with a stem for small pictures: one 3x3 convolution of stride 2, nothing after it."""

    def __init__(self, num_classes: int = 7) -> None:
        super().__init__()
        network = DenseNet(
            growth_rate=12, block_config=(16, 16, 16), num_init_features=24, bn_size=4, num_classes=num_classes
        )
        network.features.conv0 = nn.Conv2d(1, 24, kernel_size=3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(network.features.conv0.weight)
        for name in ("norm0", "relu0", "pool0"):
            delattr(network.features, name)
        self.features, self.classifier = network.features, network.classifier

    def pooled(self, faces: Tensor) -> Tensor:
        """Whitened grey faces [N, 1, 64, 64] -> [N, 342]: the mean over the last feature map, before the classifier."""
        return torch.relu(self.features(faces)).mean(dim=(2, 3))

    @torch.inference_mode()
    def of_grey(self, mean: float, deviation: float, crops: np.ndarray) -> Tensor:
        """Grey faces, uint8 [N, 1, 64, 64], whitened -> float32 [N, 342] on the network's device, without gradients."""
        faces, on = torch.from_numpy(crops), self.classifier.weight.device
        if on.type == "cuda":
            faces = faces.pin_memory()
        whitened = (faces.to(on, non_blocking=True).float() - mean) / deviation
        return self.pooled(whitened.contiguous(memory_format=torch.channels_last)).float()

    def forward(self, faces: Tensor) -> Tensor:
        """Whitened grey faces [N, 1, 64, 64] -> class scores [N, classes]."""
        return self.classifier(self.pooled(faces))


def fused(network: DenseFace) -> DenseFace:
    """The network for inference alone: normalisations that follow a convolution become part of its weights.

    Values differ by rounding; a fifth of the time is saved.
    """
    for name in ("denseblock1", "denseblock2", "denseblock3"):
        for layer in network.features.get_submodule(name).children():
            layer.conv1 = fuse_conv_bn_eval(layer.conv1, layer.norm2)
            layer.norm2 = nn.Identity()
    return network


@dataclass(frozen=True, slots=True)
class Trained:
    """Weights with what they were trained by."""

    network: DenseFace
    classes: tuple[str, ...]
    mean: float
    """Mean and standard deviation of the grey levels of the training faces, by which they were whitened."""
    deviation: float


def untrained() -> Trained:
    """The network with random weights, the same ones on every machine and run."""
    state = torch.random.get_rng_state()
    torch.manual_seed(SEED)
    network = DenseFace()
    torch.random.set_rng_state(state)
    return Trained(network.eval(), (), 128.0, 64.0)


def save(weights: dict[str, Tensor], classes: tuple[str, ...], mean: float, deviation: float, file: Path) -> None:
    """Write trained `weights`: matrices as float16, which halves the file, statistics and biases as float32."""
    stored = {name: value.half() if value.ndim > 1 else value for name, value in weights.items()}
    stored["whitening"] = torch.tensor([mean, deviation], dtype=torch.float64)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(stored, file, metadata={"classes": json.dumps(classes)})


def load(file: Path) -> Trained:
    """The network with the weights of a safetensors file that `save` wrote.

    Raises:
        ValueError: the file cannot be read or holds other weights.
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
    mean, deviation = weights.pop("whitening").tolist()
    network = DenseFace(len(weights["classifier.bias"]))
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"holds no weights of this network: {str(error).splitlines()[1].strip()}") from None
    return Trained(network.eval(), classes, mean, deviation)
