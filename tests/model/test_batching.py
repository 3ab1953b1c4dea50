"""Batches, statistics and means: padding and missing modalities reach none of them."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from foundation.standardisation import LIMIT
from model.batching import NO_LABEL, in_order, shuffled
from model.losses import cross_entropy, inverse_frequency, masked_mean
from model.scaling import Scaler
from tests.model.dialogues import collate, random_corpus

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=12)


@given(LENGTHS, st.integers(1, 5))
def test_every_dialogue_is_in_exactly_one_batch(lengths: list[int], size: int) -> None:
    corpus = random_corpus(lengths)
    dialogues = corpus.dialogues["train"]
    generator = torch.Generator().manual_seed(0)
    for cut in (in_order(dialogues, size), shuffled(dialogues, size, generator)):
        batches = list(cut)
        assert all(len(batch) <= size for batch in batches)
        assert sorted(int(d[0]) for batch in batches for d in batch) == sorted(int(d[0]) for d in dialogues)
    # The largest batch comes first: if the memory does not suffice, one knows at once.
    found = [len(dialogue) for batch in in_order(dialogues, size) for dialogue in batch]
    assert found == sorted(lengths, reverse=True)


@given(LENGTHS)
def test_padding_is_zero_absent_and_without_a_label(lengths: list[int]) -> None:
    corpus = random_corpus(lengths)
    batch = collate(corpus, corpus.dialogues["train"])
    assert batch.mask.sum(1).tolist() == lengths
    assert (batch.label[~batch.mask] == NO_LABEL).all()
    assert (batch.speaker[~batch.mask] == 0).all()
    for name in corpus.features:
        assert not batch.present[name][~batch.mask].any()
        assert (batch.features[name][~batch.mask] == 0).all()
        assert torch.equal(batch.features[name][batch.mask], corpus.features[name][: sum(lengths)])


def test_little_of_an_epoch_is_padding() -> None:
    lengths = [1 + (7 * place) % 24 for place in range(400)]
    corpus = random_corpus(lengths)
    real = padded = 0
    for dialogues in shuffled(corpus.dialogues["train"], 4, torch.Generator().manual_seed(0)):
        batch = collate(corpus, dialogues)
        real, padded = real + int(batch.mask.sum()), padded + batch.mask.numel()
    assert real / padded > 0.9


def test_scaling_is_of_the_rows_it_was_given_and_constant_columns_become_zero() -> None:
    values = torch.randn(50, 3) * torch.tensor([1.0, 100.0, 0.0]) + torch.tensor([0.0, 5.0, 7.0])
    present = torch.ones(50, dtype=torch.bool)
    scaler = Scaler.fit(values[:30])
    changed = values.clone()
    changed[30:] = 1e6
    scaled = scaler(values, present)
    torch.testing.assert_close(scaled[:30, :2].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled[:30, :2].std(0, correction=0), torch.ones(2), atol=1e-4, rtol=0)
    assert (scaled[:, 2] == 0).all()
    assert scaler(changed, present).abs().max() == LIMIT
    assert (scaler(values, ~present) == 0).all()


def test_losses_are_means_over_real_utterances() -> None:
    logits = torch.randn(2, 3, 4)
    label = torch.tensor([[0, 1, NO_LABEL], [3, NO_LABEL, NO_LABEL]])
    mask = label != NO_LABEL
    real = torch.nn.functional.cross_entropy(logits[mask], label[mask])
    torch.testing.assert_close(cross_entropy(logits, label, mask), real)
    weights = torch.tensor([1.0, 5.0, 1.0, 2.0])
    real = torch.nn.functional.cross_entropy(logits[mask], label[mask], weights)
    torch.testing.assert_close(cross_entropy(logits, label, mask, weights), real)
    assert cross_entropy(logits, label, torch.zeros_like(mask)) == 0
    values = torch.tensor([[1.0, 2.0, 99.0], [3.0, 99.0, 99.0]])
    assert masked_mean(values, mask) == 2


def test_class_weights_follow_inverse_frequency_and_know_absent_classes() -> None:
    weights = inverse_frequency(torch.tensor([0, 0, 0, 1]), 3)
    torch.testing.assert_close(weights, torch.tensor([4 / 3, 4.0, 0.0]))  # one by the share, as in the public code


def test_without_a_row_to_learn_from_values_keep_their_scale() -> None:
    scaler = Scaler.fit(torch.empty(0, 2))
    assert scaler(torch.full((4, 2), 3.0), torch.ones(4, dtype=torch.bool)).tolist() == [[3.0, 3.0]] * 4
