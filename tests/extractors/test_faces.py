"""Faces: crops, detectors, and the network's form."""

from collections.abc import Iterable, Sequence
from functools import partial
from hashlib import sha256
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from extractors.result import Clip
from extractors.visual import denseface, face_encoder, faces
from extractors.visual.faces import Box, Detector, Faces, crop, detector, followed, grey_levels, overlap, steadiest
from pipeline.synthetic import demo
from tests.conftest import write_clip
from tests.extractors.shown import frames

CLIPS = Path(__file__).parents[3] / "shared" / "data" / "clips"


def faces_in(pictures: Iterable[np.ndarray], detect: Detector, margin: float) -> Faces:
    """The largest and steadiest face of each picture."""
    return faces.grey_faces(*faces.speakers_faces(pictures, detect, 1, partial(crop, margin=margin)))


def test_a_crop_is_square_grey_and_repeats_the_edge_outside_the_picture() -> None:
    picture = np.full((80, 100, 3), 50, np.uint8)
    picture[:, 90:] = 200
    inside = crop(picture, (10, 10, 40, 40), 0.1)
    assert inside.shape == (64, 64)
    assert (inside == 50).all()
    beyond = crop(picture, (80, 0, 40, 40), 0.0)
    assert (beyond[:, 40:] == 200).all()
    assert (beyond[:, :10] == 50).all()


def test_a_crop_is_the_square_around_the_box_with_its_margin_on_every_side() -> None:
    places = np.mgrid[0:200, 0:250].astype(np.uint8)  # each pixel's row, and its column
    rows, columns = (crop(np.repeat(place[:, :, None], 3, axis=2), (100, 60, 40, 20), 0.25) for place in places)
    # 40 wide, and 10 more on either side; 20 high, and as high as it is wide.
    np.testing.assert_allclose(columns[:, [0, -1]], np.tile([90, 149], (64, 1)), atol=1)
    np.testing.assert_allclose(rows[[0, -1]], np.repeat([[40], [99]], 64, axis=1), atol=1)
    tall = crop(np.repeat(places[1][:, :, None], 3, axis=2), (100, 60, 20, 40), 0.0)
    np.testing.assert_allclose(tall[:, [0, -1]], np.tile([90, 129], (64, 1)), atol=1)


def test_a_crop_beyond_a_corner_repeats_both_edges() -> None:
    picture = np.zeros((80, 100, 3), np.uint8)
    picture[-1, -1] = 200
    beyond = crop(picture, (95, 75, 20, 20), 0.0)
    assert (beyond[30:, 30:] == 200).all()
    assert not beyond[:10, :10].any()


def test_a_crop_is_grey_as_the_eye_sees_colours() -> None:
    for colour, grey in (((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29)):
        picture = np.full((80, 80, 3), colour, np.uint8)
        assert (crop(picture, (10, 10, 40, 40), 0.0) == grey).all()


def test_a_large_face_is_reduced_by_averages_and_not_by_leaving_pixels_out() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 200
    np.testing.assert_allclose(crop(stripes, (0, 0, 256, 256), 0.0), 100, atol=1)


def test_boxes_of_a_first_look_are_those_of_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def small(min_face: int, step: float):
        def detect(picture: np.ndarray) -> list[Box]:
            seen.append((min_face, step, picture.shape))
            return [(3, 5, 7, 9)]

        return detect

    monkeypatch.setattr(faces, "_haar", small)
    looked = faces.detector.__wrapped__("haar", 40, 100)(np.zeros((400, 600, 3), np.uint8))
    assert looked == [(12, 20, 28, 36)]
    assert seen == [(40, 1.2, (100, 150, 3))]


def test_mtcnn_is_believed_from_nine_tenths_on_and_its_empty_boxes_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict] = []

    class Found:
        def __init__(self, **how: object) -> None:
            asked.append(how)

        def detect_faces(self, _: np.ndarray) -> list[dict]:
            boxes = [([1, 2, 30, 40], 0.95), ([5, 6, 30, 40], 0.85), ([1, 1, 0, 40], 0.99), ([1, 1, 30, 0], 0.99),
                     ([1, 1, 1, 1], 0.9)]  # fmt: skip
            return [{"box": box, "confidence": confidence} for box, confidence in boxes]

    monkeypatch.setattr(faces, "MTCNN", Found)
    detect = faces.detector.__wrapped__("mtcnn", 40)
    assert asked == [{"min_face_size": 40, "scale_factor": 0.709}]
    assert detect(np.zeros((100, 100, 3), np.uint8)) == [(1, 2, 30, 40), (1, 1, 1, 1)]
    assert len(detect(np.zeros((100, 40, 3), np.uint8))) == 2
    assert detect(np.zeros((100, 39, 3), np.uint8)) == []  # smaller than any face


def test_haars_cascade_gets_the_grey_picture_and_the_smallest_face(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple] = []

    class Cascade:
        def __init__(self, file: str) -> None:
            assert Path(file).name == "haarcascade_frontalface_default.xml"

        def detectMultiScale(self, picture: np.ndarray, *how: object, **more: object) -> np.ndarray:
            asked.append((int(picture[0, 0]), picture.shape, *how, more))
            return np.array([[1, 2, 30, 40]])

    monkeypatch.setattr(faces.cv2, "CascadeClassifier", Cascade)
    red = np.full((100, 90, 3), (255, 0, 0), np.uint8)
    assert faces.detector.__wrapped__("haar", 24)(red) == [(1, 2, 30, 40)]
    assert asked == [(76, (100, 90), 1.1, 4, {"minSize": (24, 24)})]


class Scene:
    """A detector of pictures whose number stands in their first value; it counts which of them are searched."""

    def __init__(self, boxes: list[list[Box]]) -> None:
        self.boxes, self.searched = boxes, []
        self.pictures = [np.full((4, 4, 3), number, np.uint8) for number in range(len(boxes))]

    def __call__(self, picture: np.ndarray) -> list[Box]:
        self.searched.append(int(picture[0, 0, 0]))
        return self.boxes[self.searched[-1]]

    def followed(self, every: int) -> list[list[Box]]:
        seen = list(followed(iter(self.pictures), self, every))
        assert [int(picture[0, 0, 0]) for picture, _ in seen] == list(range(len(self.boxes)))
        assert len(set(self.searched)) == len(self.searched)
        return [found for _, found in seen]


def test_a_face_that_moves_is_followed_between_searched_pictures() -> None:
    moving: list[list[Box]] = [[(n, n, 40 + n, 40), (80 - n, 60, 20, 20)] for n in range(12)]
    for found in moving[::2]:
        found.reverse()  # the order in which a detector names faces means nothing
    scene = Scene(moving)
    boxes = scene.followed(4)
    assert sorted(scene.searched) == [0, 4, 8, 11]
    assert [sorted(found) for found in boxes] == [sorted(found) for found in moving]


def test_between_two_searched_pictures_that_differ_the_one_in_the_middle_is_searched_first() -> None:
    here, there = (5, 5, 20, 20), (40, 40, 20, 20)
    scene = Scene([[here] if n < 7 else [there] for n in range(9)])
    scene.followed(8)
    assert scene.searched == [0, 8, 4, 6, 7]


def test_boxes_that_share_half_of_their_union_are_the_same_face() -> None:
    # 20 of 30 columns are shared, and the union has 40; a step more, and it is less than half.
    one, at_half, beyond = (0, 0, 30, 10), (10, 0, 30, 10), (11, 0, 30, 10)
    for last, searched in ((at_half, [0, 2]), (beyond, [0, 2, 1])):
        scene = Scene([[one], [(5, 0, 30, 10)], [last]])
        assert scene.followed(2)[1] == [(5, 0, 30, 10)]
        assert scene.searched == searched


@pytest.mark.parametrize("every", [1, 2, 4, 7])
def test_no_face_is_lost_or_made_up_where_faces_come_go_or_jump(every: int) -> None:
    here, there = (5, 5, 20, 20), (40, 40, 20, 20)
    one_picture = [[here] if n == 5 else [] for n in range(12)]
    cut = [[here] if n < 7 else [there] for n in range(15)]
    comes_and_goes = [[here, there] if 3 <= n < 9 else [here] for n in range(10)]
    for boxes in ([], [[]], [[here]], [[], [here]], one_picture, cut, comes_and_goes):
        assert Scene(boxes).followed(every) == boxes


@pytest.mark.slow
@given(data=st.data())
def test_each_picture_has_boxes_and_those_that_are_searched_have_the_detectors(data: st.DataObject) -> None:
    place = st.integers(0, 30)
    box = st.tuples(place, place, st.integers(1, 30), st.integers(1, 30))
    scene = Scene(data.draw(st.lists(st.lists(box, max_size=3), max_size=20)))
    boxes = scene.followed(data.draw(st.integers(1, 9)))
    assert all(boxes[number] == scene.boxes[number] for number in scene.searched)
    assert all(found for number, found in enumerate(boxes) if number not in scene.searched)


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """A picture of the synthetic corpus that shows a face, RGB uint8 [240, 320, 3]."""
    turn = next(turn for turn in demo.script("train") if turn.frames > 10)
    file = tmp_path_factory.mktemp("portrait") / "clip.mp4"
    demo.write_clip(file, turn)
    return next(frames(file, 1))


@pytest.mark.parametrize("name", ["mtcnn", "haar"])
def test_a_first_look_at_a_reduced_picture_finds_the_face_where_it_is(name: str, portrait: np.ndarray) -> None:
    large = np.repeat(np.repeat(portrait, 3, axis=0), 3, axis=1)
    for picture in (large, portrait):  # reduced, and smaller than what it would be reduced to
        expected, found = (max(detector(name, 40, edge)(picture), key=lambda box: box[2]) for edge in (0, 300))
        assert overlap(expected, found) > 0.6


@pytest.mark.parametrize("name", ["mtcnn", "haar"])
def test_a_small_face_is_found_though_the_first_look_misses_it(name: str, portrait: np.ndarray) -> None:
    picture = np.full((900, 1200, 3), 90, np.uint8)
    picture[300 : 300 + len(portrait), 500 : 500 + portrait.shape[1]] = portrait
    small = picture[::6, ::6]
    assert detector(name, 40)(np.ascontiguousarray(small)) == []
    assert detector(name, 40, 150)(picture) == detector(name, 40)(picture) != []


def test_no_face_is_found_that_is_smaller_than_the_smallest_looked_for(portrait: np.ndarray) -> None:
    small = np.ascontiguousarray(portrait[::2, ::2])
    [(_, _, width, _)] = detector("haar", 30)(small)
    assert width < 80
    assert detector("haar", 80)(small) == []


def faces_of(boxes: list[list[Box]]) -> Faces:
    """Faces where picture n has `boxes[n]`, box k filled with the grey level 50 (k + 1)."""
    pictures = [np.zeros((64, 64, 3), np.uint8) for _ in boxes]
    for picture, found in zip(pictures, boxes, strict=True):
        for number, (left, top, width, height) in enumerate(found):
            picture[top : top + height, left : left + width] = 50 * (number + 1)
    answers = iter(boxes)
    return faces_in(pictures, lambda _: next(answers), 0.0)


def test_the_largest_face_is_taken_and_pictures_without_one_are_counted() -> None:
    faces = faces_of([[(0, 0, 10, 10), (20, 20, 30, 30)], [], [(5, 5, 12, 12)]])
    assert (len(faces.crops), faces.frames) == (2, 3)
    assert faces.crops[0].mean() == pytest.approx(100, abs=5)


def test_a_bystander_who_is_nearer_for_a_moment_does_not_take_the_place_of_a_steady_face() -> None:
    steady, near = (5, 5, 20, 20), (35, 10, 24, 24)
    faces = faces_of([[steady], [steady, near], [steady], [steady]])
    assert faces.crops.mean(axis=(1, 2)) == pytest.approx([50] * 4, abs=3)


def test_a_worker_searches_with_one_thread_and_says_of_a_broken_clip_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(faces.cv2, "setNumThreads", threads.append)
    faces.prepare({"detector": "haar", "min_face": 40, "first_look": 0, "fps": 2.0, "margin": 0.1, "detect_every": 1})
    assert threads == [1]
    sound = write_clip(tmp_path / "sound.mp4", picture=False)
    digest = sha256(sound.read_bytes()).hexdigest()
    found = faces.faces_of_clip(Clip("k", sound, digest, None, None))
    assert (found.crops.shape, found.crops.dtype) == ((0, 64, 64), np.uint8)
    assert (found.frames, found.problem) == (0, "has no video stream")
    of_none = faces_in([np.zeros((64, 64, 3), np.uint8)], lambda _: [], 0.1)
    assert (of_none.crops.shape, of_none.crops.dtype, of_none.frames) == ((0, 64, 64), np.uint8, 1)


@given(data=st.data())
def test_no_other_choice_of_boxes_is_larger_and_steadier(data: st.DataObject) -> None:
    place = st.integers(0, 40)
    box = st.tuples(place, place, st.integers(1, 30), st.integers(1, 30))
    boxes = data.draw(st.lists(st.lists(box, min_size=1, max_size=3), min_size=1, max_size=4))
    largest = max(b[2] * b[3] for found in boxes for b in found)

    def worth(choice: Sequence[int]) -> float:
        taken = [found[number] for found, number in zip(boxes, choice, strict=True)]
        return sum(b[2] * b[3] / largest for b in taken) + sum(overlap(a, b) for a, b in pairwise(taken))

    best = max(worth(choice) for choice in product(*(range(len(found)) for found in boxes)))
    assert worth(steadiest(boxes)) == pytest.approx(best)


def test_overlap_is_the_shared_share_of_the_union() -> None:
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(50 / 150)
    assert overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0


@pytest.mark.parametrize("number", [0, 1, 5])
def test_faces_are_kept_without_loss(number: int) -> None:
    crops = np.random.default_rng(number).integers(0, 256, (number, 64, 64)).astype(np.uint8)
    again = Faces.from_bytes(Faces(crops, 9, "because").to_bytes())
    assert (again.frames, again.problem) == (9, "because")
    np.testing.assert_array_equal(again.crops, crops)


@pytest.mark.parametrize("name", ["mtcnn", "haar"])
def test_detectors_find_nothing_in_noise_and_survive_tiny_pictures(name: str) -> None:
    detect = detector(name, 40)
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    assert detect(noise) == []
    assert detect(np.zeros((8, 8, 3), np.uint8)) == []


def test_denseface_has_342_values_the_depth_and_the_channels_of_the_reference() -> None:
    network = denseface.DenseFace()
    with torch.inference_mode():
        assert network.pooled(torch.zeros(2, 1, 64, 64)).shape == (2, 342)
    convolutions = [module for module in network.features.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) + 1 == 100  # and the classifier
    assert convolutions[0].stride == (2, 2)
    assert network.features.norm5.num_features == face_encoder.DIM


def test_untrained_weights_are_the_same_every_time_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = denseface.untrained().weights, denseface.untrained().weights
    assert torch.rand(1) == expected
    assert all(torch.equal(a, b) for a, b in zip(one.values(), two.values(), strict=True))


@pytest.mark.slow
def test_the_encoder_of_features_gives_what_the_trained_network_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = denseface.DenseFace(2)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as training leaves it: none of it is 0 or 1
            for part in (module.weight, module.running_var):
                torch.nn.init.uniform_(part, 0.5, 2)
            for part in (module.bias, module.running_mean):
                torch.nn.init.normal_(part)
    face_encoder.save(network.state_dict(), ("calm", "cross"), 0, 1, tmp_path / "face.safetensors")
    weights = face_encoder.load(tmp_path / "face.safetensors").weights
    faces = torch.randn(5, 1, 64, 64)
    with torch.inference_mode():
        expected = denseface.DenseFace.of(weights).pooled(faces)
        assert expected.std(dim=0).median() > 0.1
        torch.testing.assert_close(face_encoder.FaceEncoder(weights)(faces), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_weights_come_back_from_a_small_file_and_foreign_ones_are_refused(tmp_path: Path) -> None:
    weights = denseface.untrained().weights
    file, other = tmp_path / "face.safetensors", tmp_path / "other.safetensors"
    face_encoder.save(weights, ("calm", "cross"), 120.5, 60.25, file)
    assert file.stat().st_size < 2_000_000
    again = face_encoder.load(file)
    assert (again.classes, again.mean, again.std) == (("calm", "cross"), 120.5, 60.25)
    faces = torch.randn(4, 1, 64, 64)
    with torch.inference_mode():
        stored, given = (denseface.DenseFace.of(one)(faces) for one in (again.weights, weights))
        torch.testing.assert_close(stored, given, rtol=0.02, atol=0.02)  # stored as float16
    save_file({"other": torch.zeros(1)}, other)
    with pytest.raises(ValueError, match="holds no weights of this network"):
        face_encoder.load(other)
    last = "features.denseblock3.denselayer16.conv2.weight"
    face_encoder.save({name: value for name, value in weights.items() if name != last}, (), 0, 1, other)
    with pytest.raises(ValueError, match=f"no weights of this network: {last} is missing"):
        face_encoder.load(other)
    face_encoder.save({**weights, last: torch.zeros(12, 48, 1, 1)}, (), 0, 1, other)
    with pytest.raises(ValueError, match=rf"{last} is \[12, 48, 1, 1\], not \[12, 48, 3, 3\]"):
        face_encoder.load(other)
    with pytest.raises(ValueError, match="cannot be read"):
        face_encoder.load(tmp_path / "gone.safetensors")


def test_normalisation_is_mean_and_standard_deviation_of_counted_levels() -> None:
    pixels = np.random.default_rng(0).normal(120, 30, 5000).clip(0, 255).astype(np.uint8)
    assert grey_levels(np.bincount(pixels, minlength=256)) == pytest.approx((pixels.mean(), pixels.std()))
    assert grey_levels(np.bincount([7, 7], minlength=256)) == (7, 0)


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs real clips")
def test_real_talking_heads_have_a_face_in_every_frame() -> None:
    files = sorted(CLIPS.glob("1001_*.flv"))
    assert len(files) == 6
    for file in files:
        faces = faces_in(frames(file, 3), detector("mtcnn", 40), 0.1)
        assert 0 < faces.frames == len(faces.crops), file.name


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs real clips")
@pytest.mark.parametrize("name", ["1001_DFA_ANG_XX.flv", "bbaf2n.mpg"])
def test_a_real_face_is_followed_to_where_a_search_finds_it(name: str) -> None:
    pictures = list(frames(CLIPS / name, 5))
    searched = []

    def detect(picture: np.ndarray) -> list[Box]:
        searched.append(0)
        return detector("mtcnn", 40, 240)(picture)

    boxes = [found for _, found in followed(pictures, detect, 5)]
    assert len(searched) < 0.6 * len(pictures)
    for picture, found in zip(pictures, boxes, strict=True):
        assert overlap(detector("mtcnn", 40)(picture)[0], found[0]) > 0.6


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs real clips")
def test_mpeg1_decodes_and_has_a_face() -> None:
    faces = faces_in(frames(CLIPS / "bbaf2n.mpg", 3), detector("mtcnn", 40), 0.1)
    assert 0 < faces.frames == len(faces.crops)


def test_overlap_is_the_intersection_over_the_union_wherever_the_boxes_lie() -> None:
    # Left, top, width, height; 4 x 10 of 20 x 10 and 14 x 30 pixels are shared.
    one, other = (100, 3, 20, 10), (116, 3, 14, 30)
    assert overlap(one, other) == overlap(other, one) == pytest.approx(40 / (200 + 420 - 40))
    below = (7, 52, 9, 40), (7, 80, 9, 20)  # 9 x 12
    assert overlap(*below) == pytest.approx(108 / (360 + 180 - 108))
    assert overlap((0, 0, 5, 5), (100, 0, 5, 5)) == overlap((0, 0, 5, 5), (0, 100, 5, 5)) == 0
