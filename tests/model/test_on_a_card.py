"""Every model on a pretended GPU: nothing is mixed or refused, and an epoch waits for the GPU once, for its losses."""

import pytest
import torch

from model.registry import MODELS
from model.training import Average, _outputs, _train_epoch
from tests.model.dialogues import random_corpus
from tests.model.networks import network
from tests.pretended import CARD, OnCard, Pretended, Refused

CORPUS = random_corpus([4, 1, 3])
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 1.5])


class Training:
    """A small model in training, on `card` or on the CPU."""

    def __init__(self, name: str, card: Pretended | None = None) -> None:
        torch.manual_seed(0)
        self.model, self.corpus, self.weights = network(name), CORPUS, WEIGHTS
        self.average = Average(self.model, 0.9)
        if card:
            self.model, self.average.model = card.moved(self.model), card.moved(self.average.model)
            self.corpus, self.weights = CORPUS.to(CARD), OnCard(WEIGHTS)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)

    def epoch(self, number: int) -> dict[str, float]:
        torch.manual_seed(number)
        scaler = torch.amp.GradScaler("cuda", enabled=False)
        return _train_epoch(self.model, self.average, self.optimizer, scaler, self.corpus, 2, "float32", self.weights,
                            0, number)  # fmt: skip

    def logits(self) -> list[torch.Tensor]:
        with torch.no_grad():
            return [logits for logits, _ in _outputs(self.average.model, self.corpus, ("validation", "test"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_an_epoch_gives_the_cpus_numbers_and_waits_once(name: str) -> None:
    expected = Training(name)
    losses = expected.epoch(1)
    with Pretended() as card:
        found = Training(name, card)
        with card.waits() as waits:
            assert found.epoch(1) == losses
            assert waits == ["tolist"]
        with card.waits() as waits:
            logits = found.logits()
            assert waits == []
        assert all(torch.equal(one.cpu(), two) for one, two in zip(logits, expected.logits(), strict=True))


def test_the_pretended_card_refuses_what_cuda_refuses() -> None:
    with Pretended():
        there, here = torch.ones(2, 3, device="cuda"), torch.ones(2, 3)
        assert there.device == CARD
        for mixed in (lambda: there + here, lambda: torch.cat([there, here]), lambda: there[torch.tensor([0])],
                      lambda: torch.where(there > 0, there, here), lambda: there @ here.t()):  # fmt: skip
            with pytest.raises(Refused, match="both devices"):
                mixed()
        assert (there * torch.tensor(2.0)).device == CARD
        with pytest.raises(Refused, match="not deterministic"):
            there.cumsum(0)
        there.long().cumsum(0)
        with pytest.raises(Refused, match="not deterministic"):
            there.kthvalue(1)


def test_the_pretended_card_notes_what_is_waited_for() -> None:
    with Pretended() as card:
        there = torch.ones(2, 3, device="cuda")
        for wait, what in (
            (lambda: there.sum().item(), "_local_scalar_dense"),
            (lambda: float(there[0, 0]), "_local_scalar_dense"),
            (lambda: bool((there > 0).all()), "_local_scalar_dense"),
            (lambda: there[there > 0], "index"),
            (lambda: there.nonzero(), "nonzero"),
            (lambda: there.cpu(), "cpu"),
            (lambda: there.to("cpu"), "to the CPU"),
            (lambda: torch.ones(2).to("cuda"), "to the card, from memory that is not pinned"),
            (lambda: torch.ones(3).copy_(there[0]), "copy_"),
        ):
            with card.waits() as waits:
                wait()
                assert what in waits
        with card.waits() as waits:
            torch.ones(2).pin_memory().to("cuda", non_blocking=True)
            (there @ there.t()).softmax(-1).sum()
            there[torch.zeros(1, dtype=torch.long, device="cuda")]
            assert waits == []
