"""A small bundle, made within milliseconds by the pipeline's own code."""

from pathlib import Path

import torch

from model.registry import make_model
from model.scaling import Scaler
from pipeline.bundle import Bundle, write_bundle
from tests.model.networks import SMALL
from tests.pipeline.calibrated import uncalibrated


def write_small_bundle(folder: Path) -> Path:
    """A bundle of CMATH for texts of four numbers and three labels, with one seed, in `folder`/bundle."""
    torch.manual_seed(0)
    config = SMALL["cmath"] | {"dims": {"text": 4}, "speakers": 2, "classes": 3}
    bundle = Bundle(
        corpus="small",
        synthetic=False,
        labels=("joy", "sadness", "neutral"),
        model="cmath",
        config=config,
        seeds=[0],
        turns=5,
        calibration=uncalibrated([0], 3),
        origins={"text": {"modality": "text", "version": 1, "pooling": "mean", "encoders": ["0" * 64]}},
        text_encoder="minilm",
        audio_encoder="",
        visual_encoder="",
        fine_tuned=False,
        scalers={"text": Scaler(torch.zeros(4), torch.ones(4))},
        reduction={},
        folder=folder / "bundle",
    )
    write_bundle(bundle, {0: make_model("cmath", config).state_dict()}, folder, "")
    return bundle.folder
