"""Small corpora of random dialogues for the tests of models, and what models say of them."""

import torch
from torch import Tensor

from model.batching import Batch, Corpus, batches
from model.interface import ErcModel

DIMS = {"text": 7, "audio": 5, "visual": 3}
CLOSE = {"atol": 1e-5, "rtol": 1e-4}
"""As near as a prediction must be to itself in other company."""


def collate(corpus: Corpus, dialogues: list[Tensor]) -> Batch:
    """One padded batch of `dialogues`, in the given order."""
    return next(batches(corpus, [dialogues]))


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


def logits(model: ErcModel, corpus: Corpus, dialogues: list[Tensor]) -> list[Tensor]:
    """Logits of each dialogue, without padding, in evaluation."""
    with torch.inference_mode():
        output = model.eval()(collate(corpus, dialogues)).logits
    return [output[row, : len(dialogue)] for row, dialogue in enumerate(dialogues)]


def padded(batch: Batch, turns: int) -> Batch:
    """`batch` with more padding, filled with rubbish that nothing may read."""
    pad = (0, turns)
    return Batch(
        {name: torch.nn.functional.pad(v, (0, 0, *pad), value=99.0) for name, v in batch.features.items()},
        {name: torch.nn.functional.pad(v, pad) for name, v in batch.present.items()},
        torch.nn.functional.pad(batch.speaker, pad, value=1),
        torch.nn.functional.pad(batch.mask, pad),
        torch.nn.functional.pad(batch.label, pad, value=-1),
        torch.nn.functional.pad(batch.who, pad, value=-1),
    )
