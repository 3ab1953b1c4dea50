"""Text, face and vision encoders on a pretended GPU: extraction and a training step mix no devices, and wait once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from extractors.settings import FineTuningRecipe
from extractors.text.encoder import Encoder
from extractors.training import face_training, text_training
from extractors.visual.colour import jpeg
from extractors.visual.denseface import DenseFace
from extractors.visual.face_encoder import FaceEncoder
from extractors.visual.vision_encoder import VisionEncoder
from tests.extractors.encoders import LINES, RECIPE, alone, text_settings
from tests.extractors.vision_encoders import FAMILIES, write_vision
from tests.pretended import CARD, OnCard, Pretended

CPU = torch.device("cpu")
POOLINGS = ("first", "last", "mean", "max", "mean_sqrt_len", "weighted_mean")

pytestmark = pytest.mark.slow


def on(card: Pretended, encoder: Encoder) -> Encoder:
    """The encoder on the card, in float32 as on the CPU."""
    encoder.network = card.moved(encoder.network)
    encoder.device = CARD
    return encoder


@pytest.mark.parametrize("layers", ["last", "last4"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_texts_have_the_cpus_vectors_and_a_pass_waits_for_its_result(
    tiny_roberta: Path, pooling: str, layers: str
) -> None:
    def encoder() -> Encoder:
        return Encoder(tiny_roberta, text_settings(tiny_roberta, pooling=pooling, layers=layers), CPU)

    expected = encoder()
    tokens = expected.tokens(alone(LINES))
    with torch.no_grad():
        vectors = expected.vectors(tokens)
        with Pretended() as card:
            found = on(card, encoder())
            with card.waits() as waits:
                there = found.vectors(tokens)
                assert isinstance(there, OnCard)
                # The ids go there from pinned memory; transformers asks whether there is padding.
                assert waits == ["_local_scalar_dense"]
            assert torch.equal(there.cpu(), vectors)


def test_a_step_of_fine_tuning_gives_the_cpus_weights_and_waits_for_its_loss(tiny_roberta: Path) -> None:
    recipe = FineTuningRecipe.model_validate({**RECIPE, "dropout": 0.0})
    label = torch.tensor([0, 2, 1])

    def classifier(card: Pretended | None) -> text_training.Classifier:
        torch.manual_seed(0)
        encoder = Encoder(tiny_roberta, text_settings(tiny_roberta), CPU, recipe)
        found = text_training.Classifier(encoder, 3, 0.0)
        if card:
            found.network, found.head = card.moved(found.network), card.moved(found.head)
            on(card, encoder).network = found.network
        return found

    def stepped(one: text_training.Classifier) -> float:
        optimizer = torch.optim.AdamW(one.parameters(), lr=1e-3, fused=True)
        state = text_training.TextTrainingState(most=2)
        tokens = one.encoder.tokens(alone(LINES))
        loss = text_training._step(one, optimizer, [[0, 1], [2]], tokens, label, state, seed=0)
        assert loss is not None
        return loss

    expected = classifier(None)
    loss = stepped(expected)
    with Pretended() as card:
        found = classifier(card)
        with card.waits() as waits:
            assert stepped(found) == loss
            assert waits == 3 * ["_local_scalar_dense"]  # as above, once a pass; and once for the loss of the step
        for name, weight in found.state_dict().items():
            assert torch.equal(weight.cpu(), expected.state_dict()[name]), name


def test_faces_have_the_cpus_vectors() -> None:
    torch.manual_seed(0)
    weights = DenseFace(7).state_dict()
    crops = torch.randint(256, (3, 1, 64, 64), dtype=torch.uint8).numpy()
    expected = FaceEncoder(weights).of_grey(120.0, 60.0, crops)
    with Pretended() as card:
        found = card.moved(FaceEncoder(weights))
        with torch.no_grad(), card.waits() as waits:
            there = FaceEncoder.of_grey.__wrapped__(found, 120.0, 60.0, crops)  # type: ignore[attr-defined]
            assert isinstance(there, OnCard)
            assert waits == []
        assert torch.allclose(there.cpu(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_have_the_cpus_vectors_and_a_pass_waits_for_nothing(tmp_path: Path, family: str) -> None:
    folder = write_vision(tmp_path / family, family)
    expected, found = (VisionEncoder(folder, family, CPU) for _ in range(2))
    draw = np.random.default_rng(0)
    clips = [[draw.integers(256, size=(40, 40, 3), dtype=np.uint8) for _ in range(found.frames or 1)] for _ in "abc"]
    inputs = [expected.inputs([jpeg(picture) for picture in pictures]) for pictures in clips]
    alone = torch.cat([expected.vectors([one]) for one in inputs])
    with Pretended() as card:
        found.network, found.device, found.batch = card.moved(found.network), CARD, 4  # one place is filled
        with torch.no_grad(), card.waits() as waits:
            there = VisionEncoder.vectors.__wrapped__(found, inputs)  # type: ignore[attr-defined]
            assert isinstance(there, OnCard)
            # transformers asks Siglip2 for the pictures' shapes, and takes VideoMAE's positions to the card each time.
            assert waits == [] or family in ("siglip2", "videomae")
        assert torch.allclose(there.cpu(), alone, rtol=1e-4, atol=1e-6)


def test_an_epoch_of_face_training_gives_the_cpus_loss_and_waits_for_nothing_but_its_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces, targets = torch.randn(8, 1, 32, 32), torch.eye(7).repeat(2, 1)[:8]
    recipe: Any = SimpleNamespace(seed=0, batch=4, learning_rate=0.1, weight_decay=1e-4, label_smoothing=0.1,
                                  rotation=10.0, scale=0.1, shift=0.1, erase=0.5,
                                  phases=[SimpleNamespace(edge=32, epochs=1)])  # fmt: skip
    monkeypatch.setattr(face_training, "precision_on", lambda _: "float32")

    def trained(device: torch.device, name: str) -> face_training.FaceTrainingState:
        return face_training.train(faces, targets, (faces, targets), recipe, device, tmp_path / name, say=quiet)

    expected = trained(CPU, "cpu")
    with Pretended() as card:

        class There(DenseFace):
            """The network as `train` makes it; `Module.to` cannot move it to a pretended card."""

            def to(self, *_: Any, **__: Any) -> "There":
                return self

        monkeypatch.setattr(face_training, "DenseFace", lambda classes: card.moved(There(classes)))
        with card.waits() as waits:
            found = trained(CARD, "card")
        steps = waits[: waits.index("cpu")]
        assert steps == []
        [epoch], [of_cpu] = found.history, expected.history
        assert epoch == pytest.approx(of_cpu, rel=1e-4)  # the order of a picture's memory is another one


def quiet(_: str) -> None:
    pass
