"""Small corpora of random dialogues for the tests of models."""

import torch

from model.batching import Corpus

DIMS = {"text": 7, "audio": 5, "visual": 3}


def random_corpus(
    lengths: list[int], *, classes: int = 4, speakers: int = 3, missing: float = 0.2, seed: int = 0
) -> Corpus:
    """Dialogues of `lengths` in every split, some modalities missing; the first text values tell the label."""
    draw = torch.Generator().manual_seed(seed)
    total = 3 * sum(lengths)
    label = torch.randint(classes, (total,), generator=draw)
    present = {name: torch.rand(total, generator=draw) >= missing for name in DIMS}
    features = {
        name: torch.randn(total, width, generator=draw) * present[name].unsqueeze(1) for name, width in DIMS.items()
    }
    features["text"][:, :classes] += 3 * torch.nn.functional.one_hot(label, classes) * present["text"].unsqueeze(1)
    parts: dict[str, list[torch.Tensor]] = {}
    begin = 0
    for split in ("train", "validation", "test"):
        parts[split] = []
        for length in lengths:
            parts[split].append(torch.arange(begin, begin + length))
            begin += length
    return Corpus(features, present, torch.randint(speakers, (total,), generator=draw), label, parts)
