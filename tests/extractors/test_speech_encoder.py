"""Vectors of transformers encoders of speech: each family against transformers alone, pieces, layers, pooling."""

import json
import wave
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ASTConfig, ASTModel, AutoFeatureExtractor, AutoModel

from extractors.audio import speech_encoder, transformer
from extractors.audio.speech_encoder import SpeechEncoder
from extractors.audio.transformer import TransformerExtractor
from extractors.cache import WorkCache
from extractors.extraction import by_key, extract
from extractors.media import RATE
from extractors.registry import make
from extractors.result import ExtractorError, Result
from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.folders import cache_folder
from tests.conftest import in_this_process
from tests.extractors.encoders import CODE
from tests.extractors.speech import FAMILIES, WIDTH, audio_settings, voice, write_speech

CPU = torch.device("cpu")
CLOSE = {"rtol": 1e-4, "atol": 2e-5}
"""Sums in another order."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("speech")
    return {family: write_speech(top / family.replace(" ", "_"), family) for family in FAMILIES}


def encoder(folder: Path, **changes: object) -> SpeechEncoder:
    return SpeechEncoder(folder, audio_settings(folder, **changes), CPU)


def states_alone(folder: Path, sound: np.ndarray) -> list[np.ndarray]:
    """All layers of a sound by transformers alone, [layers, frames, width]; the last one as the network returns it."""
    given = AutoFeatureExtractor.from_pretrained(folder)(sound, sampling_rate=RATE, return_tensors="pt")
    network = AutoModel.from_pretrained(folder).eval()
    network = network.get_encoder() if hasattr(network, "decoder") else network
    with torch.no_grad():
        found = network(**given, output_hidden_states=True)
    return [layer[0].numpy() for layer in (*found.hidden_states[:-1], found.last_hidden_state)]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sound_has_the_vector_that_transformers_alone_makes_of_it(family: str, folders: dict[str, Path]) -> None:
    sound = voice(0.93)
    alone = states_alone(folders[family], sound)
    # Of 0.93 s; the others are of what these two are padded with.
    frames = {"whisper": 47, "wav2vec2-bert": 45}.get(family, len(alone[-1]))
    expected = alone[-1][:frames].mean(0)
    found = encoder(folders[family], layers="last").vectors_of([sound])
    assert found.shape == (1, WIDTH)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected, **CLOSE)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sound_in_a_batch_has_the_vector_that_it_has_alone(family: str, folders: dict[str, Path]) -> None:
    network, sounds = encoder(folders[family]), [voice(seconds, seed) for seed, seconds in enumerate((0.4, 0.93, 0.61))]
    alone = np.concatenate([network.vectors_of([sound]) for sound in sounds])
    pieces = [piece for owner, sound in enumerate(sounds) for piece in network.pieces(sound, owner)]
    batches = list(network.batches(pieces, speech_encoder.CUDA_FRAMES))
    assert len(batches) == (1 if network.masks or family == "whisper" else 3)  # padding changes what was made without
    for batch in batches:
        for piece, (number, sums) in zip(batch, network.sums_of(batch), strict=True):
            np.testing.assert_allclose(sums[0] / number, alone[piece.owner], **CLOSE)


def test_batches_are_sorted_by_length_and_hold_so_many_frames(folders: dict[str, Path]) -> None:
    network = encoder(folders["wavlm large"])
    pieces = [piece for owner in range(9) for piece in network.pieces(voice(0.3 + 0.1 * owner), owner)]
    batches = list(network.batches(pieces, 100))
    assert [piece.owner for batch in batches for piece in batch] == list(range(8, -1, -1))
    assert all(len(batch) * network._length(batch[0]) <= 100 for batch in batches)
    assert len(batches) < 9


@pytest.mark.parametrize(("layers", "first"), [("last", 4), ("last4", 1), ("all", 0)])
def test_layers_are_the_last_or_the_mean_of_four_or_of_all_and_the_input(
    layers: str, first: int, folders: dict[str, Path]
) -> None:
    sound = voice(0.5)
    alone = np.stack(states_alone(folders["hubert large"], sound))  # 4 layers and what the first one reads
    assert len(alone) == 5
    found = encoder(folders["hubert large"], layers=layers).vectors_of([sound])[0]
    np.testing.assert_allclose(found, alone[first:].mean(0).mean(0), **CLOSE)


def test_pooling_is_the_mean_or_mean_and_deviation_over_the_frames(folders: dict[str, Path]) -> None:
    sound = voice(0.5)
    alone = states_alone(folders["wavlm"], sound)[-1]
    network = encoder(folders["wavlm"], layers="last", pooling="mean_std")
    assert network.dim == 2 * WIDTH
    found = network.vectors_of([sound])[0]
    np.testing.assert_allclose(found, np.concatenate([alone.mean(0), alone.std(0)]), **CLOSE)


@pytest.mark.parametrize("family", ["wav2vec2 large", "data2vec-audio", "sew"])
def test_pieces_count_each_frame_once_and_have_no_seam(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without layers of attention, what a frame sees is no wider than the margin: so nothing may differ. With them
    # every frame sees the whole piece, and no cut can be without a difference.
    folder = write_speech(tmp_path, family, num_hidden_layers=0, feat_extract_norm="layer")
    network = encoder(folder, layers="last")
    sound = voice(3.11)
    whole = network.vectors_of([sound])[0]
    [piece] = network.pieces(sound)
    frames = network._frames(len(piece.values))
    monkeypatch.setattr(speech_encoder, "PIECE", 40)
    monkeypatch.setattr(speech_encoder, "MARGIN", 20)
    pieces = network.pieces(sound)
    assert len(pieces) == -(-frames // 40) == 4
    assert sum(number for piece in pieces for number, _ in network.sums_of([piece])) == frames
    np.testing.assert_allclose(network.vectors_of([sound])[0], whole, **CLOSE)
    monkeypatch.setattr(speech_encoder, "MARGIN", 0)
    assert np.abs(network.vectors_of([sound])[0] - whole).max() > 1e-4  # a seam, which the margin prevents


def test_pieces_of_a_whole_encoder_differ_little_from_the_whole(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = voice(3.11)
    for family in ("wavlm large", "wav2vec2-bert"):
        network = encoder(folders[family])
        whole = network.vectors_of([sound])[0]
        with monkeypatch.context() as patch:
            patch.setattr(speech_encoder, "PIECE", 60)
            patch.setattr(speech_encoder, "MARGIN", 20)
            assert len(network.pieces(sound)) == 3
            cut = network.vectors_of([sound])[0]
        assert np.corrcoef(whole, cut)[0, 1] > 0.99


def test_whisper_reads_windows_and_counts_the_frames_that_are_sound(folders: dict[str, Path]) -> None:
    sound = voice(2.3)
    network = encoder(folders["whisper"], layers="last")
    assert [(piece.begin, piece.end) for piece in network.pieces(sound)] == [(0, 50), (0, 50), (0, 15)]
    parts = [states_alone(folders["whisper"], sound[RATE * at : RATE * (at + 1)])[-1] for at in range(3)]
    expected = np.concatenate([parts[0], parts[1], parts[2][:15]]).mean(0)
    np.testing.assert_allclose(network.vectors_of([sound])[0], expected, **CLOSE)


# ---- what is refused ----


def refused(folder: Path, **changes: object) -> str:
    with pytest.raises(ExtractorError) as caught:
        encoder(folder, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_used_is_refused_in_a_line(tmp_path: Path) -> None:
    ASTModel(ASTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
             ).save_pretrained(tmp_path / "ast")  # fmt: skip
    assert "is of the kind 'audio-spectrogram-transformer', which is no encoder of speech" in refused(tmp_path / "ast")
    telephone = write_speech(tmp_path / "telephone", rate=8000)
    assert "was made for sound of 8000 Hz, and all sound here has 16000 Hz" in refused(telephone)
    small = write_speech(tmp_path / "small", num_hidden_layers=3)
    assert "has only 3: use `last` or `all`" in refused(small)
    (small / "preprocessor_config.json").unlink()
    assert "is no encoder that transformers can load" in refused(small, layers="last")
    broken = write_speech(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    assert "is no encoder that transformers can load" in refused(broken)
    (broken / "config.json").write_text("[]")
    assert "is no encoder that transformers knows" in refused(broken)


def test_an_encoder_whose_weights_are_not_all_there_is_refused_and_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = write_speech(tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights.pop("masked_spec_embed", None)  # only training needs it
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    encoder(folder)
    del weights["encoder.layers.0.attention.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "lacks encoder.layers.0.attention.q_proj.weight" in refused(folder)


# ---- the extractor ----


def write_wave(file: Path, sound: np.ndarray) -> Path:
    with wave.open(str(file), "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(RATE)
        stream.writeframes((32767 * sound).astype("<i2").tobytes())
    return file


@pytest.fixture
def rows(tmp_path: Path) -> list[Utterance]:
    """Three sounds of different length, one shorter than `min_seconds`, silence, and a file that is no medium."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for place, seconds in enumerate((0.8, 0.05, 0.5)):
        write_wave(raw / f"{place}.wav", voice(seconds, place))
    write_wave(raw / "3.wav", np.zeros(RATE))
    (raw / "4.wav").write_bytes(b"no sound")
    usual = {"dialogue_id": "d", "turn": 0, "speaker": 0, "split": "test", "text": "", "label": "joy"}
    return [
        Utterance(utterance_id=f"u{place}", audio=f"{place}.wav",
                  audio_hash=sha256((raw / f"{place}.wav").read_bytes()).hexdigest(), **usual)
        for place in range(5)
    ]  # fmt: skip


def results(rows: list[Utterance], folder: Path, raw: Path, **changes: object) -> list[Result]:
    extractor = make("audio", audio_settings(folder, **changes), raw)
    keys = extractor.keys(rows)
    found, _ = extract(extractor, by_key(keys, rows), "audio")
    return [found[key] for key in keys]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "spread", in_this_process)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("on", ["cpu", "cuda"])
def test_sounds_have_vectors_and_what_is_silent_or_broken_is_missing(
    on: str, rows: list[Utterance], folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders["wavlm large"]
    if on == "cuda":  # groups, as on a card, which there is none of here
        monkeypatch.setattr(TransformerExtractor, "groups", lambda _, rows: [list(rows)[:3], list(rows)[3:]])
    found = results(rows, folder, tmp_path / "raw", min_seconds=0.25)
    network = encoder(folder)
    for place, result in enumerate(found[:3]):
        with wave.open(str(tmp_path / "raw" / f"{place}.wav")) as stream:
            sound = np.frombuffer(stream.readframes(10**6), "<i2").astype(np.float32) / 32768
        assert result.used == len(sound)
        padded = np.pad(sound, (0, max(0, RATE // 4 - len(sound))))
        np.testing.assert_allclose(result.vector, network.vectors_of([padded])[0], **CLOSE)
    assert [(result.vector, result.reason) for result in found[3:4]] == [(None, "silent")]
    assert found[4].vector is None
    assert found[4].lasting


@pytest.mark.slow
def test_worker_processes_decode_and_each_vector_is_the_same(
    rows: list[Utterance], folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders["wavlm"]
    once = results(rows, folder, tmp_path / "raw")
    monkeypatch.setenv("CMATH_CACHE", str(tmp_path / "other"))
    monkeypatch.setenv("CMATH_WORKERS", "3")
    again = results(rows[::-1], folder, tmp_path / "raw")[::-1]
    assert [one.to_bytes() for one in once] == [one.to_bytes() for one in again]


@pytest.mark.usefixtures("here")
def test_a_killed_run_goes_on_where_it_was(
    rows: list[Utterance], folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders["wavlm"]
    made: list[int] = []
    vectors_of = SpeechEncoder.vectors_of

    def counted(self: SpeechEncoder, sounds: list[np.ndarray]) -> np.ndarray:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(len(sounds))
        return vectors_of(self, sounds)

    with monkeypatch.context() as patch:
        patch.setattr(SpeechEncoder, "vectors_of", counted)
        with pytest.raises(KeyboardInterrupt):
            results(rows, folder, tmp_path / "raw")
    resumed = results(rows, folder, tmp_path / "raw")
    cache = WorkCache(cache_folder())
    assert sum(one.entries for one in cache.contents()) == len(rows)
    cache.close()
    with monkeypatch.context() as patch:
        patch.setenv("CMATH_CACHE", str(tmp_path / "other"))
        whole = results(rows, folder, tmp_path / "raw")
    assert [one.to_bytes() for one in resumed] == [one.to_bytes() for one in whole]
    assert made


@pytest.mark.usefixtures("here")
def test_a_sound_that_cannot_be_encoded_costs_itself_alone(
    rows: list[Utterance], folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors_of = SpeechEncoder.vectors_of

    def fails(self: SpeechEncoder, sounds: list[np.ndarray]) -> np.ndarray:
        if any(len(sound) == RATE // 2 for sound in sounds):
            raise RuntimeError("out of memory")
        return vectors_of(self, sounds)

    monkeypatch.setattr(SpeechEncoder, "vectors_of", fails)
    monkeypatch.setattr(TransformerExtractor, "groups", lambda _, rows: [list(rows)])
    found = results(rows, folders["wavlm"], tmp_path / "raw")
    assert [result.vector is not None for result in found] == [True, True, False, False, False]
    assert (found[2].reason, found[2].lasting) == ("failed (RuntimeError: out of memory)", False)


def test_the_identity_has_the_weights_layers_and_pooling_and_no_folder(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    other = write_speech(tmp_path / "other", "wavlm", seed=1)
    one = make("audio", audio_settings(folders["wavlm"]), tmp_path).identity
    assert one["encoder"] != make("audio", audio_settings(other), tmp_path).identity["encoder"]
    assert one == make("audio", audio_settings(folders["wavlm"], set="IS13", dim=5), tmp_path).identity
    assert {one["modality"], one["layers"], one["pooling"], one["device"]} == {"audio", "last4", "mean", "cpu"}
    assert str(folders["wavlm"]) not in json.dumps(one)
    assert {"torch", "transformers", "av", "librosa", "version", "min_seconds"} <= one.keys()


def test_without_a_hub_the_error_says_how_to_get_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"audio's `encoder` in params.yaml is 'no-such/encoder'.*hf download"):
        make("audio", audio_settings("no-such/encoder"), tmp_path)
    unknown = make("audio", audio_settings("no-such/encoder"), tmp_path, fetch=False).identity
    assert "encoder" not in unknown
    with pytest.raises(UserError, match=r"'wavlm', which is none of opensmile.*docs/encoders.md"):
        make("audio", audio_settings("wavlm"), tmp_path)
    with pytest.raises(UserError, match=r"is {'a': 1}, and the encoder 'opensmile' has none"):
        make("audio", audio_settings("opensmile", options={"a": 1}), tmp_path)


def test_code_that_comes_with_an_encoder_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    folder = write_speech(tmp_path / "foreign", "wavlm")
    (folder / "mine.py").write_text(CODE.format(mark=str(mark), kind="wavlm"))
    for name, more in (("config.json", {"AutoConfig": "mine.Mine", "AutoModel": "mine.MyModel"}),
                       ("preprocessor_config.json", {"AutoFeatureExtractor": "mine.MyModel"})):  # fmt: skip
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, "auto_map": more}))
    assert encoder(folder).vectors_of([voice(0.5)]).shape == (1, WIDTH)
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "model_type": "mine"}))
    assert "is no encoder that transformers knows" in refused(folder)
    assert not mark.exists()
