"""Focal loss against its equation, and what MMGCN's code has in its place."""

import numpy as np
import pytest
import torch

from model.baselines.focal import focal, mmgcn_focal
from model.batching import NO_LABEL
from model.losses import cross_entropy
from tests.model.networks import network
from tests.model.statements import softmax

LOGITS = torch.tensor([[[2.0, 0.5, -1.0], [0.0, 0.3, 0.1], [9.0, 9.0, 9.0]]])
LABEL = torch.tensor([[0, 2, NO_LABEL]])
MASK = torch.tensor([[True, True, False]])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.5])
def test_focal_loss_follows_its_equation(gamma: float) -> None:
    p = softmax(LOGITS[0, :2].numpy())[[0, 1], [0, 2]]
    assert focal(LOGITS, LABEL, MASK, gamma).item() == pytest.approx((-((1 - p) ** gamma) * np.log(p)).mean(), rel=1e-5)
    weight = torch.tensor([0.5, 1.0, 3.0])
    expected = (-((1 - p) ** gamma) * np.array([0.5, 3.0]) * np.log(p)).mean()
    assert focal(LOGITS, LABEL, MASK, gamma, weight).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.5])
def test_no_gradient_passes_the_factor(gamma: float) -> None:
    # d/dz_k of -(1 - p)^gamma w log p, with the factor held fixed: (1 - p)^gamma w (p_k - [k is the label]).
    logits = LOGITS.clone().requires_grad_()
    focal(logits, LABEL, MASK, gamma, torch.tensor([0.5, 1.0, 3.0])).backward()
    p, truth = softmax(LOGITS[0, :2].double().numpy()), np.eye(3)[[0, 2]]
    factor = (1 - (p * truth).sum(1)) ** gamma * np.array([0.5, 3.0])
    np.testing.assert_allclose(logits.grad[0, :2].numpy(), factor[:, None] * (p - truth) / 2, rtol=1e-5)
    assert not logits.grad[0, 2].any()


def test_without_focus_it_is_the_cross_entropy() -> None:
    torch.testing.assert_close(focal(LOGITS, LABEL, MASK, 0.0), cross_entropy(LOGITS, LABEL, MASK))


def test_a_certain_utterance_has_a_finite_gradient() -> None:
    certain = torch.tensor([[[80.0, 0.0, 0.0]]], requires_grad=True)
    focal(certain, torch.tensor([[0]]), torch.tensor([[True]]), 0.5).backward()
    assert torch.isfinite(certain.grad).all()


def test_mmgcns_own_loss_punishes_certainty_that_wrong_classes_are_wrong() -> None:
    log_p = np.log(softmax(LOGITS[0, :2].numpy()))
    truth = np.eye(3)[[0, 2]]
    expected = (-((1 - truth * log_p) ** 2.5) * log_p).mean()
    assert mmgcn_focal(LOGITS, LABEL, MASK, 2.5).item() == pytest.approx(expected, rel=1e-5)
    sure = torch.tensor([[[8.0, -8.0, -8.0]]])
    one, real = torch.tensor([[0]]), torch.tensor([[True]])
    assert mmgcn_focal(sure, one, real, 2.5) > mmgcn_focal(sure / 4, one, real, 2.5)
    assert focal(sure, one, real, 2.5) < focal(sure / 4, one, real, 2.5)


@pytest.mark.parametrize(("loss", "term"), [("cross_entropy", "ce"), ("mmgcn_focal", "focal")])
def test_mmgcn_is_trained_on_the_loss_that_was_asked_for(loss: str, term: str) -> None:
    from tests.model.dialogues import collate, random_corpus

    corpus, model = random_corpus([3, 2]), network("mmgcn", loss=loss).eval()
    batch, weight = collate(corpus, corpus.dialogues["train"]), torch.tensor([0.5, 2.0, 1.25, 0.25])
    output = model(batch, weight)
    expected = {
        "cross_entropy": cross_entropy(output.logits, batch.label, batch.mask, weight),
        "mmgcn_focal": mmgcn_focal(output.logits, batch.label, batch.mask, 2.5),
    }
    assert output.losses == {term: expected[loss]}
    assert model.loss_weights == {term: 1.0}
