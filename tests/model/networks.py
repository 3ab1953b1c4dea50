"""All eleven models, small, for the corpora of `tests.model.dialogues`."""

from typing import Any

import torch

from model.interface import ErcModel
from model.registry import MODELS, make_model
from tests.model.dialogues import DIMS

GRAPH = {"dim": 8, "graph_dim": 6, "alpha": 0.2, "decay": 0.5}
SPEAKERS = {"text": 1.5, "audio": 0.5, "visual": 0.5}
AS_PRINTED = {
    "ffn_multiple": 1, "dropout": 0.5, "feature_dropout": 0.0, "embedding_scale": 1.0, "kernel": 1, "gate": "softmax",
    "temperature": 1.0, "detach_teacher": False, "reduction": "mean", "ablate": "none", "gamma1": 1.0, "gamma2": 1.0,
}  # fmt: skip
"""What the paper leaves to CMATH's settings, for tests that change some of it."""
SMALL: dict[str, dict[str, Any]] = {
    "cmath": {**AS_PRINTED, "dim": 20, "heads": 2},
    "sdt": {"dim": 16, "heads": 2, "gate": "learned", "temperature": 2.0},
    "dialogue_rnn": {"global_dim": 10, "party_dim": 9, "emotion_dim": 8, "head_dim": 7, "recurrent_dropout": 0.1},
    "dialogue_gcn": {"hidden": 8, "bases": 3, "window": 2},
    "mmgcn": {**GRAPH, "layers": 4, "loss": "cross_entropy", "focal_gamma": 2.5},
    "ctnet": {"dim": 8, "hidden": 8, "heads": 2},
    "mm_dfn": {**GRAPH, "layers": 3, "speaker_weights": SPEAKERS, "focal_gamma": 0.5},
    "scmm": {"dim": 16, "heads": 2, "layers": 1, "window": 1, "balance_weight": 0.01},
    "cmcf_srnet": {"dim": 16, "graph_dim": 8, "heads": 2, "bases": 3, "local_window": 1, "graph_window": 2},
    "multidag": {"hidden": 10, "layers": 2, "buckets": 3},
    "adaign": {
        **GRAPH, "layers": 3, "speaker_weights": SPEAKERS, "focal_gamma": 0.5, "text_dim": 9, "temperature": 5.0,
        "keep_weight": 0.6, "intra_weight": 0.1,
    },
}  # fmt: skip
BASELINES = [name for name in MODELS if name != "cmath"]


def network(name: str, dims: dict[str, int] = DIMS, speakers: int = 3, **changes: Any) -> ErcModel:
    """A small model of `name`, the same one at each call; `changes` are other settings."""
    torch.manual_seed(0)
    form = {"dims": dims, "speakers": speakers, "classes": 4, "dropout": 0.1}
    return make_model(name, SMALL[name] | form | changes)
