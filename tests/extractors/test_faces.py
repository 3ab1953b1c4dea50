"""Faces: crops, detectors, and the network's form."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from extractors import denseface
from extractors.faces import Box, crop, detector, faces_in


def test_a_crop_is_square_grey_and_repeats_the_edge_outside_the_picture() -> None:
    picture = np.full((80, 100, 3), 50, np.uint8)
    picture[:, 90:] = 200
    inside = crop(picture, (10, 10, 40, 40), 0.1)
    assert inside.shape == (64, 64)
    assert (inside == 50).all()
    beyond = crop(picture, (80, 0, 40, 40), 0.0)
    assert (beyond[:, 40:] == 200).all()
    assert (beyond[:, :10] == 50).all()


def test_the_largest_face_of_each_picture_is_taken_and_faceless_pictures_are_counted() -> None:
    boxes: list[list[Box]] = [[(0, 0, 10, 10), (20, 20, 30, 30)], [], [(5, 5, 12, 12)]]
    pictures = [np.zeros((64, 64, 3), np.uint8) for _ in boxes]
    pictures[0][20:50, 20:50] = 255
    answers = iter(boxes)
    faces = faces_in(pictures, lambda _: next(answers), 0.0)
    assert (len(faces.crops), faces.frames) == (2, 3)
    assert faces.crops[0].mean() > 250


@pytest.mark.parametrize("name", ["mtcnn", "haar"])
def test_detectors_find_nothing_in_noise_and_survive_tiny_pictures(name: str) -> None:
    detect = detector(name, 40)
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    assert detect(noise) == []
    assert detect(np.zeros((8, 8, 3), np.uint8)) == []


def test_denseface_has_342_values_the_depth_and_the_channels_of_the_reference() -> None:
    network = denseface.untrained()
    with torch.inference_mode():
        assert network.pooled(torch.zeros(2, 1, 64, 64)).shape == (2, 342)
    convolutions = [module for module in network.features.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) + 1 == 100  # and the classifier
    assert convolutions[0].stride == (2, 2)
    assert network.features.norm5.num_features == denseface.DIM


def test_untrained_weights_are_the_same_every_time_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = denseface.untrained(), denseface.untrained()
    assert torch.rand(1) == expected
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_weights_come_back_from_a_file_and_foreign_ones_are_refused(tmp_path) -> None:
    network = denseface.untrained()
    save_file(network.state_dict(), tmp_path / "face.safetensors")
    again, checksum = denseface.load(tmp_path / "face.safetensors")
    faces = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(again(faces), network(faces))
    assert len(checksum) == 64
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds no weights of this network"):
        denseface.load(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="cannot be read"):
        denseface.load(tmp_path / "gone.safetensors")
