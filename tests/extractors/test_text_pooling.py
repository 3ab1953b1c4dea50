"""Pooling of text encoders: what a folder asks for, causal networks, encoders with a decoder, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModel,
    BartConfig,
    BartModel,
    CamembertConfig,
    CamembertModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralForCausalLM,
    MPNetConfig,
    MPNetModel,
    PreTrainedModel,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Model,
    ViTConfig,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    XLNetConfig,
    XLNetModel,
)

from extractors.result import ExtractorError
from extractors.settings import FineTuningRecipe
from extractors.text import pooling as poolings
from extractors.text.encoder import pooled
from extractors.text.extractor import TextExtractor, identity_of
from extractors.training.text_training import Labelled, copy_settings, train
from tests.extractors.encoders import LINES, RECIPE, alone, text_settings, write_network

STATED = {
    "first": "cls_token", "last": "lasttoken", "mean": "mean_tokens", "max": "max_tokens",
    "mean_sqrt_len": "mean_sqrt_len_tokens", "weighted_mean": "weightedmean_tokens",
}  # fmt: skip
"""Our names and those of sentence-transformers."""
SAME_BEGINNING = ["I am happy.", "I never said that, you know!", "I"]


def by_hand(states: np.ndarray, pooling: str) -> np.ndarray:
    """Pooling of the vectors [tokens, dim] of one text, as sentence-transformers describes it."""
    number = len(states)
    return {
        "first": lambda: states[0],
        "last": lambda: states[-1],
        "max": lambda: np.array([max(column) for column in states.T]),
        "mean": lambda: sum(states) / number,
        "mean_sqrt_len": lambda: sum(states) / number**0.5,
        "weighted_mean": lambda: (
            sum((place + 1) * state for place, state in enumerate(states)) / sum(range(1, number + 1))
        ),
    }[pooling]()


@pytest.mark.parametrize("pooling", STATED)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_no_pooled_vector(pooling: str, side: str) -> None:
    generator = np.random.default_rng(0)
    lengths = [5, 1, 3]
    states, mask = generator.normal(size=(3, 5, 4)).astype(np.float32), np.zeros((3, 5), np.int64)
    expected = []
    for text, length in enumerate(lengths):
        real = slice(5 - length, 5) if side == "left" else slice(0, length)
        mask[text, real] = 1
        expected.append(by_hand(states[text, real], pooling))
    found = pooled(torch.from_numpy(states), torch.from_numpy(mask), pooling)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def state_pooling(folder: Path, content: object, place: str = "1_Pooling") -> None:
    (folder / place).mkdir(exist_ok=True)
    (folder / place / "config.json").write_text(json.dumps(content))


def state_modules(folder: Path, *modules: tuple[str, str]) -> None:
    listed = [{"idx": place, "path": path, "type": f"sentence_transformers.models.{kind}"}
              for place, (kind, path) in enumerate(modules)]  # fmt: skip
    (folder / "modules.json").write_text(json.dumps(listed))


def token_vectors(folder: Path, text: str) -> np.ndarray:
    """The last layer's vectors of one text, from transformers alone."""
    extractor = TextExtractor(text_settings(folder, pooling="mean"), Path())
    ids = torch.tensor([extractor.encoder.tokens(alone([text]))[0].ids])
    network = AutoModel.from_pretrained(folder).eval()
    network = network.get_encoder() if network.config.is_encoder_decoder else network
    with torch.inference_mode():
        states: Tensor = network(ids).last_hidden_state[0]
    return states.numpy()


@pytest.fixture
def sentences(tiny_roberta: Path, tmp_path: Path) -> Path:
    """A copy of the small RoBERTa, to be made a sentence encoder."""
    return Path(shutil.copytree(tiny_roberta, tmp_path / "sentences"))


@pytest.mark.parametrize("pooling", STATED)
def test_a_sentence_encoders_own_pooling_is_obeyed(sentences: Path, pooling: str) -> None:
    flags = {f"pooling_mode_{name}": name == STATED[pooling] for name in STATED.values()}
    state_pooling(sentences, {"word_embedding_dimension": 32, **flags})
    encoder = TextExtractor(text_settings(sentences), Path()).encoder
    expected = [by_hand(token_vectors(sentences, text), pooling) for text in LINES]
    np.testing.assert_allclose(encoder.encode(LINES).numpy(), expected, rtol=1e-4, atol=1e-5)
    explicit = TextExtractor(text_settings(sentences, pooling=pooling), Path())
    assert explicit.identity == TextExtractor(text_settings(sentences), Path()).identity | {"pooling": pooling}
    for name in ("cls" if pooling == "first" else STATED[pooling].removesuffix("_tokens"), [STATED[pooling]]):
        state_pooling(sentences, {"embedding_dimension": 32, "pooling_mode": name, "include_prompt": True})
        assert poolings.own_pooling(sentences) == pooling  # as version 6 of sentence-transformers writes it


def test_the_pooling_is_looked_for_where_modules_json_says(sentences: Path, tmp_path: Path) -> None:
    state_modules(sentences, ("Transformer", ""), ("Pooling", "pool"), ("Normalize", "2_Normalize"))
    state_pooling(sentences, {"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}, "pool")
    state_pooling(sentences, {"pooling_mode_mean_tokens": True})
    extractor = TextExtractor(text_settings(sentences), Path())
    assert extractor.identity["pooling"] == "last"
    last = token_vectors(sentences, LINES[0])[-1]
    np.testing.assert_allclose(extractor.encoder.encode(LINES[:1])[0], last, rtol=1e-4, atol=1e-5)  # not of length 1
    (tmp_path / "fine-tuned").mkdir()
    copy_settings(sentences, tmp_path / "fine-tuned")
    assert poolings.own_pooling(tmp_path / "fine-tuned") == "last"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: state_modules(folder, ("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")),
         r"modules\.json: the encoder has a module Dense, which is not supported.* set text's `pooling`"),
        (lambda folder: state_pooling(folder, {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}),
         "the encoder's pooling is cls_token with max_tokens, which is not supported; set text's `pooling`"),
        (lambda folder: state_pooling(folder, {"pooling_mode": "attention"}), "pooling is attention, which is not"),
        (lambda folder: (folder / "1_Pooling").mkdir() or (folder / "1_Pooling/config.json").write_text("{"),
         r"1_Pooling/config\.json: cannot be read"),
        (lambda folder: state_pooling(folder, ["mean"]), r"1_Pooling/config\.json: names no pooling"),
        (lambda folder: (folder / "modules.json").write_text('["Pooling"]'), r"modules\.json: is no list of modules"),
    ],
)  # fmt: skip
def test_a_pooling_that_cannot_be_had_is_refused_in_words(
    sentences: Path, change: Callable[[Path], object], words: str
) -> None:
    change(sentences)
    with pytest.raises(ExtractorError, match=words) as caught:
        TextExtractor(text_settings(sentences), Path())
    assert "\n" not in str(caught.value)
    explicit = TextExtractor(text_settings(sentences, pooling="mean"), Path())
    expected = by_hand(token_vectors(sentences, LINES[0]), "mean")
    np.testing.assert_allclose(explicit.encoder.encode(LINES[:1])[0], expected, rtol=1e-4, atol=1e-5)
    assert "pooling" not in identity_of(text_settings(sentences), Path())  # what clears the cache goes on


SMALL = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LLAMA = {**SMALL, "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64}
CAUSAL: dict[str, Callable[[], PreTrainedModel]] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=64)),
    "llama": lambda: LlamaModel(LlamaConfig(**LLAMA)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**LLAMA)),
    "qwen3": lambda: Qwen3Model(Qwen3Config(**LLAMA, head_dim=16)),
}


def written(folder: Path, tokenizer: Path, make: Callable[[], PreTrainedModel]) -> Path:
    torch.manual_seed(0)
    return write_network(folder, tokenizer, make())


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_network_is_pooled_at_its_last_token(kind: str, tiny_roberta: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / kind, tiny_roberta, CAUSAL[kind])
    extractor = TextExtractor(text_settings(folder), Path())
    assert extractor.identity["pooling"] == extractor.encoder.pooling == "last"
    vectors = extractor.encoder.encode(SAME_BEGINNING)
    for text, vector in zip(SAME_BEGINNING, vectors, strict=True):
        np.testing.assert_allclose(vector, token_vectors(folder, text)[-1], rtol=1e-3, atol=1e-5)
    assert all((vectors[0] - other).abs().max() > 1e-3 for other in vectors[1:])


SPEECH = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "conv_dim": (8, 8),
    "conv_stride": (5, 2), "conv_kernel": (10, 3), "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
NO_TEXTS: dict[str, Callable[[], PreTrainedModel]] = {
    "of sound": lambda: Wav2Vec2Model(Wav2Vec2Config(**SPEECH)),
    "of pictures": lambda: ViTModel(ViTConfig(**{**SMALL, "vocab_size": None}, intermediate_size=64)),
}


@pytest.mark.parametrize("kind", NO_TEXTS)
def test_a_network_that_encodes_no_text_is_refused_in_one_line(kind: str, tiny_roberta: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "other", tiny_roberta, NO_TEXTS[kind])
    with pytest.raises(ExtractorError, match="is no encoder of texts, for it cannot encode three tokens") as caught:
        TextExtractor(text_settings(folder), Path()).encoder  # noqa: B018
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CamembertModel(CamembertConfig(**SMALL, max_position_embeddings=66)),
        lambda: MPNetModel(MPNetConfig(**SMALL, max_position_embeddings=66)),
    ],
)
def test_a_text_is_cut_to_the_positions_that_a_network_has(
    make: Callable[[], PreTrainedModel], tiny_roberta: Path, tmp_path: Path
) -> None:
    folder = written(tmp_path / "network", tiny_roberta, make)
    encoder = TextExtractor(text_settings(folder, max_tokens=512), Path()).encoder
    assert encoder.max_tokens == 64
    assert torch.isfinite(encoder.encode(["a b c " * 50])).all()


def test_xlnet_has_the_token_for_the_text_at_its_end(tiny_roberta: Path, tmp_path: Path) -> None:
    config = XLNetConfig(vocab_size=300, d_model=32, n_layer=2, n_head=2, d_inner=64)
    folder = written(tmp_path / "xlnet", tiny_roberta, lambda: XLNetModel(config))
    extractor = TextExtractor(text_settings(folder), Path())
    assert extractor.encoder.pooling == "last"
    for text, vector in zip(LINES, extractor.encoder.encode(LINES), strict=True):
        np.testing.assert_allclose(vector, token_vectors(folder, text)[-1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "qwen3"])
def test_a_causal_network_is_never_pooled_at_its_first_token(
    kind: str, tiny_roberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / kind, tiny_roberta, CAUSAL[kind])
    said = "is a causal network, whose first token sees nothing behind it.* `pooling` in params.yaml to last, mean"
    with pytest.raises(ExtractorError, match=said):
        TextExtractor(text_settings(folder, pooling="first"), Path()).encoder  # noqa: B018
    monkeypatch.setattr(poolings, "CAUSAL", frozenset())  # a kind of network that is not known as causal
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["NewModel"]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExtractorError, match=said):
        TextExtractor(text_settings(folder), Path()).encoder  # noqa: B018
    state_pooling(folder, {"pooling_mode_cls_token": True})
    with pytest.raises(ExtractorError, match=said):
        TextExtractor(text_settings(folder), Path()).encoder  # noqa: B018
    assert TextExtractor(text_settings(folder, pooling="mean"), Path()).encoder.pooling == "mean"


T5 = {"vocab_size": 300, "d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
BART = {
    "vocab_size": 300, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64,
}  # fmt: skip
WITH_DECODER: dict[str, Callable[[], PreTrainedModel]] = {
    "t5": lambda: T5Model(T5Config(**T5)),
    "t5 without decoder": lambda: T5EncoderModel(T5Config(**T5)),
    "bart": lambda: BartModel(BartConfig(**BART)),
}


@pytest.mark.parametrize("kind", WITH_DECODER)
def test_of_an_encoder_decoder_the_encoders_vectors_are_taken(kind: str, tiny_roberta: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = WITH_DECODER[kind]().eval()
    folder = write_network(tmp_path / "both", tiny_roberta, network)
    extractor = TextExtractor(text_settings(folder), Path())
    assert extractor.identity["pooling"] == extractor.encoder.pooling == "mean"
    assert extractor.identity["part"] == "encoder"
    for text, vector in zip(LINES, extractor.encoder.encode(LINES), strict=True):
        ids = torch.tensor([extractor.encoder.tokens(alone([text]))[0].ids])
        with torch.inference_mode():
            states = network.get_encoder()(ids).last_hidden_state[0].numpy()
        np.testing.assert_allclose(vector, states.mean(0), rtol=1e-3, atol=1e-5)
    first = TextExtractor(text_settings(folder, pooling="first"), Path()).encoder.encode(SAME_BEGINNING)
    assert not torch.equal(first[0], first[1])


def test_an_encoder_decoder_is_not_fine_tuned(tiny_roberta: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "t5", tiny_roberta, WITH_DECODER["t5"])
    data = Labelled(alone(LINES), [0, 1, 0])
    recipe = FineTuningRecipe.model_validate(RECIPE)
    with pytest.raises(
        ExtractorError, match="an encoder and a decoder, which cannot be fine-tuned here: set `finetune`"
    ):
        train(folder, text_settings(folder), recipe, data, data, 2, torch.device("cpu"), tmp_path / "fit")


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
def test_a_fine_tuned_causal_network_keeps_its_last_token(kind: str, tiny_roberta: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / kind, tiny_roberta, CAUSAL[kind])
    data = Labelled(alone(LINES), [0, 1, 0])
    recipe = FineTuningRecipe.model_validate(RECIPE | {"epochs": 1, "learning_rate": 1e-4})
    train(folder, text_settings(folder), recipe, data, data, 2, torch.device("cpu"), tmp_path / "fit", say=len)
    before, after = (TextExtractor(text_settings(place), Path()).encoder for place in (folder, tmp_path / "fit"))
    assert after.pooling == "last"
    assert 0 < (before.encode(LINES) - after.encode(LINES)).abs().max() < 1  # trained, not made anew


def test_a_configuration_that_transformers_does_not_believe_is_refused_in_a_line(
    tiny_roberta: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_roberta, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))
    with pytest.raises(ExtractorError, match=r"copy: is no encoder that transformers can load .*hidden_size") as error:
        TextExtractor(text_settings(folder), Path()).encoder  # noqa: B018
    assert "\n" not in str(error.value)


def test_weights_that_were_cut_off_are_refused_in_a_line(tiny_roberta: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_roberta, folder)
    weights = (folder / "model.safetensors").read_bytes()
    for length in (0, 5, 100, len(weights) // 2, len(weights) - 1):
        (folder / "model.safetensors").write_bytes(weights[:length])
        with pytest.raises(ExtractorError, match="copy: is no encoder that transformers can load") as error:
            TextExtractor(text_settings(folder), Path()).encoder  # noqa: B018
        assert "\n" not in str(error.value)
