"""Loading of features and index for the models: features are standardised, and dialogues grouped by split."""

from pathlib import Path

import torch

from extractors.features import read_features
from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.log import log
from model.batching import NO_LABEL, Corpus
from model.scaling import Scaler
from pipeline.corpora.index_file import SPLITS, dialogues
from pipeline.params import MODALITIES


def load_corpus(
    name: str,
    rows: list[Utterance],
    order: tuple[str, ...],
    modalities: list[str],
    files: dict[str, Path] | None = None,
) -> tuple[Corpus, dict[str, Scaler]]:
    """Load standardised features of the modalities that occur in the training split, and the statistics used.

    Args:
        order: labels of the corpus, in order.
        files: feature files, by modality, that replace those in data/D/features.

    Raises:
        FeaturesError: a feature file cannot be used.
        UserError: none of `modalities` is present in train.
    """
    train = torch.tensor([row.split == "train" for row in rows])
    features, present, scalers = {}, {}, {}
    for modality in [name for name in MODALITIES if name in modalities]:  # fixed order, independent of params.yaml
        own = Path("data") / name / "features" / f"{modality}.safetensors"
        read = read_features((files or {}).get(modality, own), len(rows))
        there = torch.from_numpy(read.present)
        if not (there & train).any():
            log.warning("%s: %s is missing in all of the training split, and left out", name, modality)
            continue
        values = torch.from_numpy(read.values)
        scalers[modality] = Scaler.fit(values[there & train])
        features[modality], present[modality] = scalers[modality](values, there), there
    if not features:
        raise UserError(f"params.yaml: model.modalities = {modalities}: {name} has none of them in its training split")
    parts: dict[str, list[torch.Tensor]] = {split: [] for split in SPLITS}
    for positions in dialogues(rows):
        parts[rows[positions[0]].split].append(torch.tensor(positions))
    label = torch.tensor([order.index(row.label) if row.label else NO_LABEL for row in rows])
    return Corpus(features, present, torch.tensor([row.speaker for row in rows]), label, parts), scalers
