"""All models, CMATH and its ten baselines, by the names that params.yaml uses."""

from typing import Any

from model.baselines.adaign import Adaign, AdaignConfig
from model.baselines.cmcf_srnet import CmcfSrnet, CmcfSrnetConfig
from model.baselines.ctnet import Ctnet, CtnetConfig
from model.baselines.dialogue_gcn import DialogueGcn, DialogueGcnConfig
from model.baselines.dialogue_rnn import DialogueRnn, DialogueRnnConfig
from model.baselines.mm_dfn import MmDfn, MmDfnConfig
from model.baselines.mmgcn import Mmgcn, MmgcnConfig
from model.baselines.multidag import MultiDag, MultiDagConfig
from model.baselines.scmm import Scmm, ScmmConfig
from model.baselines.sdt import Sdt, SdtConfig
from model.cmath import Cmath, CmathConfig
from model.interface import ErcModel

MODELS: dict[str, tuple[type[ErcModel], type]] = {
    "cmath": (Cmath, CmathConfig),
    "sdt": (Sdt, SdtConfig),
    "dialogue_rnn": (DialogueRnn, DialogueRnnConfig),
    "dialogue_gcn": (DialogueGcn, DialogueGcnConfig),
    "mmgcn": (Mmgcn, MmgcnConfig),
    "ctnet": (Ctnet, CtnetConfig),
    "mm_dfn": (MmDfn, MmDfnConfig),
    "scmm": (Scmm, ScmmConfig),
    "cmcf_srnet": (CmcfSrnet, CmcfSrnetConfig),
    "multidag": (MultiDag, MultiDagConfig),
    "adaign": (Adaign, AdaignConfig),
}
"""Maps a name to the model class and its configuration class."""


def make_model(name: str, config: dict[str, Any]) -> ErcModel:
    """Create a model with random weights.

    Args:
        name: one of `MODELS`.
        config: fields of the model's configuration: `dims`, `speakers`, `classes` and the model's own settings.
    """
    network, form = MODELS[name]
    return network(form(**config))
