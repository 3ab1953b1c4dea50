"""Tiny random vision networks of each family, saved to folders with their image processors."""

from collections.abc import Callable
from pathlib import Path

import torch
import transformers as of
from transformers import PreTrainedModel

SIZE = {"height": 32, "width": 32}
SHORT = {"shortest_edge": 32}
VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
          "image_size": 32, "patch_size": 8}  # fmt: skip
TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}  # fmt: skip
FRAMES = 4
"""Frames that the networks of clips read."""
FAMILIES: dict[str, Callable[[], tuple[PreTrainedModel, object]]] = {
    "clip": lambda: (
        of.CLIPModel(of.CLIPConfig(vision_config=VISION, text_config=TEXT, projection_dim=24)),
        of.CLIPImageProcessor(size=SHORT, crop_size=SIZE),
    ),
    "siglip": lambda: (
        of.SiglipModel(of.SiglipConfig(vision_config=VISION, text_config=TEXT)), of.SiglipImageProcessor(size=SIZE),
    ),
    "siglip2": lambda: (
        of.Siglip2Model(of.Siglip2Config(vision_config={**VISION, "num_patches": 16}, text_config=TEXT)),
        of.Siglip2ImageProcessor(patch_size=8, max_num_patches=16),
    ),
    "dinov2": lambda: (
        of.Dinov2Model(of.Dinov2Config(**VISION)),
        of.BitImageProcessor(size={"shortest_edge": 40}, crop_size=SIZE),
    ),
    "vit": lambda: (of.ViTForImageClassification(of.ViTConfig(**VISION)), of.ViTImageProcessor(size=SIZE)),
    "beit": lambda: (of.BeitModel(of.BeitConfig(**VISION)), of.BeitImageProcessor(size=SIZE, crop_size=SIZE)),
    "swin": lambda: (
        of.SwinModel(of.SwinConfig(image_size=32, patch_size=2, embed_dim=16, depths=[1, 1], num_heads=[2, 2],
                                   window_size=4)),
        of.ViTImageProcessor(size=SIZE),
    ),
    "convnext": lambda: (
        of.ConvNextModel(of.ConvNextConfig(hidden_sizes=[8, 16, 16, 24], depths=[1, 1, 1, 1])),
        of.ConvNextImageProcessor(size={"shortest_edge": 64}),
    ),
    "videomae": lambda: (
        of.VideoMAEForVideoClassification(of.VideoMAEConfig(**VISION, num_frames=FRAMES)),
        of.VideoMAEImageProcessor(size=SHORT, crop_size=SIZE),
    ),
    "timesformer": lambda: (
        of.TimesformerModel(of.TimesformerConfig(**VISION, num_frames=FRAMES)),
        of.VideoMAEImageProcessor(size=SHORT, crop_size=SIZE),
    ),
}  # fmt: skip
CLIP_NETWORKS = {"videomae", "timesformer"}


def write_vision(folder: Path, family: str, seed: int = 0) -> Path:
    """Save a random network of `family` with its image processor."""
    torch.manual_seed(seed)
    network, processor = FAMILIES[family]()
    network.save_pretrained(folder)
    processor.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder


def reference(folder: Path, pictures: list) -> torch.Tensor:
    """Vectors of `pictures`, or of their clip, as transformers alone gives them."""
    network, processor = of.AutoModel.from_pretrained(folder), of.AutoImageProcessor.from_pretrained(folder)
    inputs = processor(pictures, return_tensors="pt")
    with torch.no_grad():
        if hasattr(network, "get_image_features"):
            return network.get_image_features(**inputs).pooler_output
        return network(**inputs).last_hidden_state.flatten(2).mean(2 if folder.name == "convnext" else 1)
