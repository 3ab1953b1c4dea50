"""Features and index as the models see them: standardised by train, dialogues by split."""

from pathlib import Path

import torch

from extractors.features import read_features
from model.batching import Corpus
from model.scaling import Scaler
from pipeline.corpora.labels import labels
from pipeline.params import MODALITIES
from pipeline.stage import StageError, log
from pipeline.utterances import SPLITS, Utterance, dialogues


def load_corpus(
    name: str, rows: list[Utterance], modalities: list[str], files: dict[str, Path] | None = None
) -> tuple[Corpus, dict[str, Scaler]]:
    """Standardised features of the modalities that the training split has, and the statistics used.

    Args:
        files: feature files, by modality, that stand in for those of data/D/features.

    Raises:
        FeaturesError: a feature file cannot be used.
        StageError: none of `modalities` is present in train.
    """
    train = torch.tensor([row.split == "train" for row in rows])
    features, present, scalers = {}, {}, {}
    for modality in [name for name in MODALITIES if name in modalities]:  # one order, however they were listed
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
        raise StageError(f"params.yaml: model.modalities = {modalities}: {name} has none of them in its training split")
    order = labels(name, [row.label for row in rows])
    parts: dict[str, list[torch.Tensor]] = {split: [] for split in SPLITS}
    for positions in dialogues(rows):
        parts[rows[positions[0]].split].append(torch.tensor(positions))
    label = torch.tensor([order.index(row.label) for row in rows])
    return Corpus(features, present, torch.tensor([row.speaker for row in rows]), label, parts), scalers
