"""CMATH's modality dropout: in training turns lose modalities, as if they had never been there."""

from dataclasses import replace

import pytest
import torch

from model.cmath import without_some
from tests.model.dialogues import collate, random_corpus
from tests.model.networks import network

P = 0.3
QUIET = {"dropout": 0.0, "feature_dropout": 0.0}
"""No other chance than that of the modalities, but for the sample of Eq. 17."""


def presence(turns: int, missing: float = 0.2) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return {name: torch.rand(1, turns, generator=draw) >= missing for name in ("text", "audio", "visual")}


def test_each_modality_goes_with_its_chance_and_no_turn_loses_all() -> None:
    torch.manual_seed(0)
    present = presence(50_000)
    kept = without_some(present, P)
    assert list(kept) == list(present)
    before, after = torch.stack(list(present.values())), torch.stack(list(kept.values()))
    assert not (after & ~before).any()  # nothing that was missing is there
    assert torch.equal(after.any(dim=0), before.any(dim=0))
    whole = before.all(dim=0)
    # Of three modalities: each goes with P, but for the P ** 3 of the turns that would lose all.
    assert after[:, whole].float().mean(dim=1).tolist() == pytest.approx([1 - P + P**3] * 3, abs=0.01)
    one = before.sum(dim=0) == 1
    assert torch.equal(after[:, one], before[:, one])


def test_a_step_is_that_of_a_batch_in_which_they_are_missing() -> None:
    corpus = random_corpus([6, 5, 4], missing=0.1)
    batch = collate(corpus, corpus.dialogues["train"])
    torch.manual_seed(5)
    fewer = without_some(batch.present, P)
    drawn = torch.get_rng_state()
    assert any(not torch.equal(fewer[name], batch.present[name]) for name in fewer)
    emptied = {name: values * fewer[name].unsqueeze(-1) for name, values in batch.features.items()}

    torch.manual_seed(5)
    found = network("cmath", modality_dropout=P, **QUIET).train()
    torch.manual_seed(5)
    lost = found(batch)
    told = network("cmath", **QUIET).train()
    torch.set_rng_state(drawn)
    missing = told(replace(batch, present=fewer, features=emptied))
    assert torch.equal(lost.logits, missing.logits)
    assert lost.losses.keys() == missing.losses.keys()
    for name, value in missing.losses.items():
        torch.testing.assert_close(lost.losses[name], value)


def test_in_evaluation_nothing_is_lost() -> None:
    corpus = random_corpus([6, 5, 4])
    batch = collate(corpus, corpus.dialogues["train"])
    with torch.inference_mode():
        sure = network("cmath").eval()(batch).logits
        assert torch.equal(network("cmath", modality_dropout=0.9).eval()(batch).logits, sure)


def test_without_it_no_random_number_is_drawn_for_it() -> None:
    corpus = random_corpus([6, 5, 4], missing=0.0)
    batch = collate(corpus, corpus.dialogues["train"])
    outputs = []
    for more in ({}, {"modality_dropout": 0.0}):
        model = network("cmath", **more).train()
        torch.manual_seed(2)
        outputs.append(model(batch).logits)
    assert torch.equal(*outputs)
