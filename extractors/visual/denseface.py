"""The face encoder for training: DenseNet-BC (growth 12, depth 100, compression 0.5), grey 64x64 in, 342 values out."""

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet

from extractors.visual.face_encoder import BLOCKS, BOTTLENECK, GROWTH, LAYERS, STEM, FaceWeights, Weights

SEED = 342
"""Seed of the untrained weights."""


class DenseFace(nn.Module):
    """torchvision's DenseNet with a stem for small pictures: a single 3x3 convolution of stride 2."""

    def __init__(self, num_classes: int = 7) -> None:
        super().__init__()
        network = DenseNet(
            growth_rate=GROWTH,
            block_config=(LAYERS,) * BLOCKS,
            num_init_features=STEM,
            bn_size=BOTTLENECK // GROWTH,
            num_classes=num_classes,
        )
        network.features.conv0 = nn.Conv2d(1, STEM, kernel_size=3, stride=2, padding=1, bias=False)
        nn.init.kaiming_normal_(network.features.conv0.weight)
        for name in ("norm0", "relu0", "pool0"):
            delattr(network.features, name)
        self.features, self.classifier = network.features, network.classifier

    @classmethod
    def of(cls, weights: Weights) -> "DenseFace":
        """Create the network with trained weights, in evaluation mode."""
        network = cls(len(weights["classifier.bias"]))
        network.load_state_dict(weights)
        return network.eval()

    def pooled(self, faces: Tensor) -> Tensor:
        """Normalised grey faces [N, 1, 64, 64] -> [N, 342], the mean of the last feature maps."""
        return torch.relu(self.features(faces)).mean(dim=(2, 3))

    def forward(self, faces: Tensor) -> Tensor:
        """Normalised grey faces [N, 1, 64, 64] -> logits [N, classes]."""
        return self.classifier(self.pooled(faces))


def untrained() -> FaceWeights:
    """Make random weights, the same on every machine and in every run."""
    state = torch.random.get_rng_state()
    torch.manual_seed(SEED)
    network = DenseFace()
    torch.random.set_rng_state(state)
    return FaceWeights(network.state_dict(), (), 128.0, 64.0)
