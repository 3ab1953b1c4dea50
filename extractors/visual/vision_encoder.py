"""A transformers vision encoder with its image processor, which turns pictures, or the frames of a clip, into vectors.

The vector of a picture is what the network was trained to compare pictures by, if it has that (CLIP, SigLIP:
`get_image_features`), else the mean over all tokens of the last layer (ViT, BEiT, DINOv2, Swin) or over all positions
(ConvNeXt). Poolers of ViT and BEiT are often untrained, and are never used. A network of clips (VideoMAE, TimeSformer,
ViViT) reads as many frames as its configuration says and gives one vector for all.

MERBench does the same for CLIP, but takes the sum of DINOv2's and data2vec's tokens, which is the mean times their
number: after standardisation the two are one. It reads 64 frames with DINOv2, and here it is `fps`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor

from extractors.hub import first_line
from extractors.pretrained import BROKEN, load_network, precision_of, quiet
from extractors.result import ExtractorError
from extractors.visual.colour import picture_of
from foundation.precision import lowered

PICTURES, CLIPS = 64, 8
"""Pictures, or clips, per pass of the network on CUDA, whatever the card: the last bits depend on it. A CPU's pass has
one."""
UNUSED = ("pooler", "text_model", "text_projection", "logit", "mask_token")
"""Parts of a network that no vector needs."""


class VisionEncoder:
    """Transformers vision encoder and its image processor."""

    dim: int
    """Width of a vector."""

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        """Load the encoder in `folder`, which params.yaml calls `name`.

        Raises:
            ExtractorError: the folder has no vision encoder, or not all that belongs to it.
        """
        quiet()
        self.folder, self.name, self.device = folder, name, device
        try:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            self.network, missing = load_network(folder, config)
        except BROKEN as error:
            raise self._unfit(f"is no encoder that transformers can load ({first_line(error)})") from None
        self.compares = hasattr(self.network, "get_image_features")
        if not self.compares and self.network.main_input_name != "pixel_values":
            raise self._unfit(f"is a network ({config.model_type}) that reads no pictures")
        if lacking := [key for key in missing if not any(part in key for part in UNUSED)]:
            raise self._unfit(f"lacks {len(lacking)} of the network's weights ({lacking[0]}, …)")
        try:
            self.processor = AutoImageProcessor.from_pretrained(folder, backend="torchvision", trust_remote_code=False)
        except BROKEN as error:
            raise self._unfit("does not say how pictures are prepared for it; copy its preprocessor_config.json there "
                              f"too ({first_line(error).partition('. ')[0]})") from None  # fmt: skip
        self.frames: int | None = getattr(config, "num_frames", None)
        """Number of frames that a network of clips reads; None for a network of single pictures."""
        self.batch = 1 if device.type == "cpu" else CLIPS if self.frames else PICTURES
        self.precision = precision_of(device)
        if self.compares and hasattr(self.network, "text_model"):
            del self.network.text_model  # half of the memory
        self.network.eval().to(device)
        self._try()

    def _unfit(self, why: str) -> ExtractorError:
        return ExtractorError(f"{self.folder}: {why}; visual's `encoder` in params.yaml is {self.name!r}")

    def _try(self) -> None:
        """Encode two pictures of other sizes, so that what does not fit is found before the work begins."""
        draw = np.random.default_rng(0)
        pictures = [draw.integers(256, size=size, dtype=np.uint8) for size in ((64, 64, 3), (48, 96, 3))]
        number = self.frames or 1
        try:
            tried = [self._inputs([picture] * number) for picture in pictures]
            values, again = self.vectors(tried), self.vectors(tried)
        except BROKEN as error:
            raise self._unfit(f"gives no vectors of pictures ({first_line(error)})") from None
        if values.dim() != 2 or len(values) < 2:
            raise self._unfit(f"gives no single vector of a picture, but {list(values.shape[1:])} values")
        if not torch.allclose(values, again, rtol=1e-2, atol=1e-3):
            raise self._unfit("gives another vector each time, for it hides parts of a picture at random")
        self.dim = values.shape[1]

    def inputs(self, jpegs: list[bytes]) -> dict[str, Tensor]:
        """What the network is given for one picture, or for the frames of one clip, [1, …] each."""
        return self._inputs([picture_of(content) for content in jpegs])

    def _inputs(self, pictures: list[np.ndarray]) -> dict[str, Tensor]:
        given = [pictures] if self.frames else pictures
        return dict(self.processor(given, return_tensors="pt", input_data_format="channels_last"))

    @torch.inference_mode()
    def vectors(self, inputs: list[dict[str, Tensor]]) -> Tensor:
        """Vectors of at most `batch` `inputs`, float32 [inputs, dim] on the device.

        A pass always has `batch` inputs (the last one is repeated), so a vector does not depend on their number.
        """
        filled = inputs + inputs[-1:] * (self.batch - len(inputs))
        parts = {name: torch.cat([one[name] for one in filled]) for name in inputs[0]}
        if self.device.type == "cuda":
            parts = {name: part.pin_memory() for name, part in parts.items()}
        parts = {name: part.to(self.device, non_blocking=True) for name, part in parts.items()}
        return self.forward(parts)[: len(inputs)]

    def forward(self, parts: dict[str, Tensor]) -> Tensor:
        """Vectors of one pass, float32 [inputs, dim]."""
        with lowered(self.precision, self.device):
            if self.compares:
                vectors: Tensor = self.network.get_image_features(**parts).pooler_output
                return vectors.float()
            states: Tensor = self.network(**parts).last_hidden_state.float()
        return states.mean((2, 3)) if states.dim() == 4 else states.mean(1)
