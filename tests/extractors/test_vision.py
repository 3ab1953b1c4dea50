"""Vision encoders of transformers: tiny networks of each family against transformers alone, crops, frames, refusals."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import transformers as of

from extractors.cache import WorkCache
from extractors.result import ExtractorError, Result
from extractors.settings import VisualSettings
from extractors.utterance import Utterance
from extractors.visual import colour, transformer
from extractors.visual import extractor as denseface
from extractors.visual.colour import Pictures, face, frame, picture_of, pictures_of_clip
from extractors.visual.extractor import VisualExtractor
from extractors.visual.transformer import TransformerVisualExtractor
from foundation.workers import TaskLost
from pipeline.cache import kind
from tests.conftest import in_this_process, write_clip
from tests.extractors.shown import frames
from tests.extractors.vision_encoders import CLIP_NETWORKS, FAMILIES, FRAMES, TEXT, reference, write_vision

pytestmark = pytest.mark.slow
BOX = (12, 10, 30, 40)


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    for family in FAMILIES:
        write_vision(folder / family, family)
    return folder


class Corpus:
    """Clips of 5, 10 and 0 seconds at a picture a second, the last one broken; every picture has a face in BOX."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, WorkCache(folder)
        self.searched: list[str] = []
        """Names of the clips whose pictures were asked for."""
        write_clip(folder / "0.mp4", 5.0)
        write_clip(folder / "1.mp4", 10.0)
        (folder / "2.mp4").write_bytes((folder / "0.mp4").read_bytes()[:900])
        self.rows = [
            Utterance(utterance_id=name, dialogue_id="d", turn=turn, speaker=0, split="test", text="", label="joy",
                      video=f"{name}.mp4", video_hash=hashlib.sha256((folder / f"{name}.mp4").read_bytes()).hexdigest())
            for turn, name in enumerate("012")
        ]  # fmt: skip

    def spread(self, work, clips, *more) -> Iterator[tuple]:
        for clip, found in in_this_process(work, clips, *more):
            self.searched.append(clip.path.stem)
            yield clip, found

    def extractor(self, encoder: Path, **changes: object) -> TransformerVisualExtractor:
        settings = {"encoder": str(encoder), "fps": 1.0, "detect_every": 1, "margin": 0.1, **changes}
        return TransformerVisualExtractor(VisualSettings.model_validate(settings), self.folder)

    def results(self, extractor: TransformerVisualExtractor | VisualExtractor) -> list[Result]:
        self.searched.clear()
        by_key = dict(zip(map(str, extractor.keys(self.rows)), self.rows, strict=True))
        extractor.prepare(by_key, self.cache)
        found = {key: result for part in extractor.extract(by_key, set()) for key, result in part.items()}
        return [found[key] for key in by_key]

    def whole(self, name: str = "0") -> list[np.ndarray]:
        """Frames of a clip, after a JPEG of quality 95 without subsampling of chroma."""
        return [as_jpeg(picture) for picture in frames(self.folder / f"{name}.mp4", 1.0)]

    def faces(self, name: str = "0") -> list[np.ndarray]:
        """The square of 48 pixels around BOX in each frame of a clip, after such a JPEG."""
        return [as_jpeg(picture[6:54, 3:51]) for picture in frames(self.folder / f"{name}.mp4", 1.0)]


def as_jpeg(picture: np.ndarray) -> np.ndarray:
    how = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    content = cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), how)[1]
    return np.ascontiguousarray(cv2.imdecode(content, cv2.IMREAD_COLOR)[:, :, ::-1])


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    made = Corpus(tmp_path)
    monkeypatch.setattr(transformer, "spread", made.spread)
    monkeypatch.setattr(denseface, "spread", made.spread)
    for room in ("colour", "faces"):
        monkeypatch.setattr(f"extractors.visual.{room}.detector", lambda *_: lambda picture: [BOX])
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clips_vector_is_what_transformers_alone_makes_of_its_faces(
    networks: Path, corpus: Corpus, family: str
) -> None:
    extractor = corpus.extractor(networks / family)
    first, second, broken = corpus.results(extractor)
    assert (first.used, second.used, broken.used) == (5, 10, 0)
    assert broken.vector is None
    assert "cannot be opened" in broken.reason
    for result, faces in ((first, corpus.faces("0")), (second, corpus.faces("1"))):
        if family in CLIP_NETWORKS:
            evenly = {5: [0, 1, 3, 4], 10: [0, 3, 6, 9]}[len(faces)]
            expected = reference(networks / family, [[faces[place] for place in evenly]])[0]
        else:
            expected = reference(networks / family, faces).mean(0)
        np.testing.assert_allclose(result.vector, expected.numpy(), rtol=1e-4, atol=1e-6)
        assert result.vector.shape == (extractor.dim,)
    assert not np.allclose(first.vector, second.vector, rtol=1e-3)


@pytest.mark.parametrize("family", ["clip", "videomae"])
def test_whole_frames_are_encoded_without_a_search_for_faces_and_are_not_kept(
    networks: Path, corpus: Corpus, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colour, "detector", None)
    first, *_, broken = corpus.results(corpus.extractor(networks / family, crop="frame"))
    given = corpus.whole() if family == "clip" else [[corpus.whole()[place] for place in (0, 1, 3, 4)]]
    expected = reference(networks / family, given).mean(0)
    np.testing.assert_allclose(first.vector, expected.numpy(), rtol=1e-4, atol=1e-6)
    assert "cannot be opened" in broken.reason
    assert corpus.cache.contents() == []
    [key, *_] = corpus.extractor(networks / family).keys(corpus.rows)
    assert corpus.extractor(networks / family, crop="frame").thumbnails_of(str(key), 64, corpus.cache).size == 0


def test_it_is_said_of_each_clip_what_chose_its_face(networks: Path, corpus: Corpus) -> None:
    own = VisualSettings(weights="random", fps=1.0, speaker="lips")
    for extractor in (corpus.extractor(networks / "clip", speaker="lips"), VisualExtractor(own, corpus.folder)):
        assert [result.chosen_by for result in corpus.results(extractor)] == ["one face", "one face", ""]
    assert [result.chosen_by for result in corpus.results(corpus.extractor(networks / "clip"))] == ["", "", ""]


def test_a_network_of_clips_repeats_frames_of_a_clip_that_has_fewer(networks: Path, corpus: Corpus) -> None:
    result, *_ = corpus.results(corpus.extractor(networks / "videomae", fps=0.4))
    begin, end = corpus.faces()[0], corpus.faces()[3]  # at 0 s, and the first picture after 2.5 s
    begin, end = (as_jpeg(one[6:54, 3:51]) for one in frames(corpus.folder / "0.mp4", 0.4))
    assert result.used == 2 < FRAMES
    expected = reference(networks / "videomae", [[begin, begin, end, end]])[0]
    np.testing.assert_allclose(result.vector, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_poolings_over_the_faces_of_a_clip(networks: Path, corpus: Corpus) -> None:
    values = reference(networks / "clip", corpus.faces()).numpy()
    for pooling, expected in {
        "mean_std": np.concatenate([values.mean(0), values.std(0)]), "max": values.max(0),
    }.items():  # fmt: skip
        extractor = corpus.extractor(networks / "clip", pooling=pooling)
        np.testing.assert_allclose(corpus.results(extractor)[0].vector, expected, rtol=1e-4, atol=1e-5)
        assert extractor.dim == len(expected)


def test_a_picture_has_the_same_bytes_in_any_company_and_about_the_same_in_a_cards_passes(
    networks: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    extractor = corpus.extractor(networks / "clip")
    samples = [[colour.jpeg(picture)] for picture in corpus.faces("1")]
    together = extractor.encode(samples)
    monkeypatch.setenv("CMATH_WORKERS", "2")
    assert extractor.encode(samples[::-1]).tobytes() == together[::-1].tobytes()
    assert extractor.encode(samples[3:4]).tobytes() == together[3].tobytes()
    extractor.encoder.batch = 4
    passes: list[int] = []
    forward = extractor.encoder.forward
    monkeypatch.setattr(
        extractor.encoder, "forward", lambda parts: passes.append(len(parts["pixel_values"])) or forward(parts)
    )
    np.testing.assert_allclose(extractor.encode(samples), together, rtol=1e-4, atol=1e-6)
    assert passes == [4, 4, 4]  # the last one has two pictures, and is filled


def test_what_was_found_and_encoded_before_a_kill_is_not_done_again(
    networks: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformer, "GROUP", {"cpu": 1})
    whole = corpus.results(corpus.extractor(networks / "clip"))
    assert corpus.searched == ["0", "1", "2"]
    corpus.cache = WorkCache(corpus.folder / "other")
    extractor = corpus.extractor(networks / "clip")
    by_key = dict(zip(map(str, extractor.keys(corpus.rows)), corpus.rows, strict=True))
    corpus.searched.clear()
    extractor.prepare(by_key, corpus.cache)
    running = extractor.extract(by_key, set())
    first = next(running)
    next(running)
    running.close()  # after two of three clips
    again = corpus.extractor(networks / "clip")
    again.prepare(by_key, corpus.cache)
    encoded: list[int] = []
    encode = again.encode
    monkeypatch.setattr(again, "encode", lambda samples: encoded.append(len(samples)) or encode(samples))
    rest = {key: result for part in again.extract(by_key, set(first)) for key, result in part.items()}
    assert corpus.searched == ["0", "1", "2"]  # the second clip's faces were there
    assert encoded == [10]  # and its vector not; the first clip's was
    for key, expected in zip(by_key, whole, strict=True):
        assert {**first, **rest}[key].to_bytes() == expected.to_bytes()


def test_faces_are_kept_in_colour_for_every_encoder_that_asks_for_them_and_for_no_other(
    networks: Path, corpus: Corpus
) -> None:
    grey = VisualExtractor(VisualSettings(weights="random", fps=1.0), corpus.folder)
    before = corpus.results(grey)
    assert {kind(made.identity) for made in corpus.cache.contents()} == {"faces"}
    corpus.results(corpus.extractor(networks / "clip"))
    assert corpus.searched == ["0", "1", "2"]
    corpus.results(corpus.extractor(networks / "vit", pooling="max"))
    assert corpus.searched == []
    corpus.results(corpus.extractor(networks / "vit", margin=0.5))
    assert corpus.searched == ["0", "1", "2"]
    assert sorted(kind(made.identity) for made in corpus.cache.contents()) == ["colour faces", "colour faces", "faces"]
    extractor = corpus.extractor(networks / "clip")
    [key, *_] = extractor.keys(corpus.rows)
    np.testing.assert_array_equal(extractor.thumbnails_of(str(key), 48, corpus.cache), corpus.faces())
    assert [one.to_bytes() for one in corpus.results(grey)] == [one.to_bytes() for one in before]


def test_faces_are_at_most_224_pixels_wide_and_frames_256_high_and_none_is_enlarged() -> None:
    picture = np.random.default_rng(0).integers(256, size=(600, 900, 3), dtype=np.uint8)
    assert picture_of(face(picture, (300, 100, 400, 300), 0.1)).shape == (224, 224, 3)
    assert picture_of(face(picture, (300, 100, 100, 90), 0.25)).shape == (150, 150, 3)
    assert picture_of(frame(picture)).shape == (256, 384, 3)
    assert picture_of(frame(picture[:, :300])).shape == (512, 256, 3)
    assert picture_of(frame(picture[:100, :300])).shape == (100, 300, 3)
    red = np.full((80, 80, 3), (250, 10, 20), np.uint8)
    assert np.abs(picture_of(frame(red)).astype(int) - red).max() <= 2


def test_pictures_come_back_from_their_bytes() -> None:
    for pictures in (Pictures([b"one\n", b"", b"three"], 7), Pictures([], 0, "is broken\nhere")):
        assert Pictures.from_bytes(pictures.to_bytes()) == pictures


def test_a_clip_without_a_face_or_lost_is_missing_with_its_reason(
    networks: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colour, "detector", lambda *_: lambda picture: [])
    taken = {"0": pictures_of_clip, "1": lambda _: TaskLost("died"), "2": pictures_of_clip}
    monkeypatch.setattr(transformer, "pictures_of_clip", lambda clip: taken[clip.path.stem](clip))
    first, second, _ = corpus.results(corpus.extractor(networks / "clip"))
    assert (first.reason, first.lasting) == ("no face", True)
    assert (second.reason, second.lasting) == ("died", False)


def refused(corpus: Corpus, folder: Path, **changes: object) -> str:
    with pytest.raises(ExtractorError) as error:
        corpus.results(corpus.extractor(folder, **changes))
    assert corpus.searched == []
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_no_vision_encoder_is_refused_in_one_line(networks: Path, corpus: Corpus, tmp_path: Path) -> None:
    of.BertModel(of.BertConfig(**TEXT)).save_pretrained(tmp_path / "text")
    assert "is a network (bert) that reads no pictures" in refused(corpus, tmp_path / "text")
    small = {"conv_dim": [8] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    of.WavLMModel(of.WavLMConfig(**sizes, **small)).save_pretrained(tmp_path / "audio")
    assert "is a network (wavlm) that reads no pictures" in refused(corpus, tmp_path / "audio")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text("{")
    assert "is no encoder that transformers can load" in refused(corpus, tmp_path / "broken")
    write_vision(tmp_path / "clip", "clip")
    (tmp_path / "clip/preprocessor_config.json").unlink()
    assert "copy its preprocessor_config.json there too" in refused(corpus, tmp_path / "clip")
    of.ViTConfig(hidden_size=32, num_attention_heads=2).save_pretrained(tmp_path / "odd")
    config = (tmp_path / "odd/config.json").read_text()
    (tmp_path / "odd/config.json").write_text(config.replace('"num_attention_heads": 2', '"num_attention_heads": 5'))
    assert "is no encoder that transformers can load" in refused(corpus, tmp_path / "odd")
    of.Dinov2Config(hidden_size=32, num_attention_heads=2).save_pretrained(tmp_path / "half")
    (tmp_path / "half/model.safetensors").write_bytes((networks / "vit/model.safetensors").read_bytes())
    assert "of the network's weights" in refused(corpus, tmp_path / "half")
    of.ViTMAEModel(of.ViTMAEConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32,
                                   patch_size=8)).save_pretrained(tmp_path / "mae")  # fmt: skip
    of.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "mae")
    assert "gives another vector each time" in refused(corpus, tmp_path / "mae")
    of.ViTModel(of.ViTConfig(image_size=32)).save_pretrained(tmp_path / "unsized")
    of.ViTImageProcessor(do_resize=False).save_pretrained(tmp_path / "unsized")
    assert "gives no vectors of pictures" in refused(corpus, tmp_path / "unsized")
    assert "is no folder with a config.json" in refused(corpus, tmp_path / "nothing")
    said = refused(corpus, networks / "videomae", pooling="max")
    assert "gives one vector for all frames of a clip: use `mean`" in said
