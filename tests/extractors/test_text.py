"""Text features: the shipped encoder, RoBERTa's own code path, pooling, batching, and what is missing."""

from pathlib import Path

import pytest
import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

from extractors.result import ExtractorError
from extractors.text import BATCH_TOKENS, TextExtractor, batches, encoder_folder
from pipeline.params import TextOf
from pipeline.utterances import Utterance

LINES = ["Oh, that's wonderful news!", "No.", "I can't believe you ate the whole cake, again, without telling anyone."]


def settings(model: str, pooling: str = "auto", max_tokens: int = 64) -> TextOf:
    return TextOf.model_validate({"model": model, "pooling": pooling, "max_tokens": max_tokens})


def row(text: str) -> Utterance:
    return Utterance(utterance_id="u", dialogue_id="d", turn=0, speaker=0, split="train", text=text, label="")


@pytest.fixture(scope="module")
def minilm() -> TextExtractor:
    return TextExtractor(settings("minilm"), Path())


@pytest.fixture(scope="module")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like roberta-large's, with a random encoder of two layers."""
    folder = tmp_path_factory.mktemp("roberta")
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(LINES * 3, vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    bpe.save_model(str(folder))
    RobertaTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=bpe.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                           intermediate_size=64, max_position_embeddings=40)  # fmt: skip
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def test_minilm_is_384_wide_and_pools_the_mean(minilm: TextExtractor) -> None:
    assert (minilm.dim, minilm.pooling) == (384, "mean")
    vectors = torch.nn.functional.normalize(
        minilm.encode(["I am so happy!", "I feel great joy!", "The train leaves at nine."]), dim=1
    )
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert vectors.shape == (3, 384)


def test_a_vector_is_the_same_alone_and_in_a_batch(minilm: TextExtractor, tiny_roberta: Path) -> None:
    for extractor in (minilm, TextExtractor(settings(str(tiny_roberta)), Path())):
        together = extractor.encode(LINES)
        for text, vector in zip(LINES, together, strict=True):
            torch.testing.assert_close(extractor.encode([text])[0], vector, atol=1e-5, rtol=1e-4)


def test_roberta_gives_the_last_layers_first_token(tiny_roberta: Path) -> None:
    extractor = TextExtractor(settings(str(tiny_roberta)), Path())
    assert (extractor.dim, extractor.pooling) == (32, "first")
    ids = extractor.tokenizer(LINES[0], return_tensors="pt")
    reference = RobertaModel.from_pretrained(tiny_roberta, add_pooling_layer=False).eval()
    with torch.inference_mode():
        expected = reference(**ids).last_hidden_state[0, 0]
    torch.testing.assert_close(extractor.encode([LINES[0]])[0], expected)
    mean = TextExtractor(settings(str(tiny_roberta), "mean"), Path())
    assert not torch.allclose(mean.encode([LINES[0]])[0], expected)


def test_a_text_longer_than_the_encoder_reads_is_cut_not_refused(tiny_roberta: Path) -> None:
    extractor = TextExtractor(settings(str(tiny_roberta), max_tokens=512), Path())
    assert extractor.max_tokens == 38  # RoBERTa's first position is 2
    assert torch.isfinite(extractor.encode(["so " * 400])).all()


def test_an_empty_utterance_is_missing_and_equal_texts_are_one(minilm: TextExtractor) -> None:
    assert minilm.key(row("  ")) is None
    assert minilm.key(row("Yes.")) == minilm.key(row("Yes.")) != minilm.key(row("No."))


def test_known_texts_are_not_encoded_again(minilm: TextExtractor) -> None:
    rows = {str(minilm.key(row(text))): row(text) for text in LINES}
    known = {str(minilm.key(row(LINES[0])))}
    made = {key for batch in minilm.extract(rows, known) for key in batch}
    assert made == set(rows) - known


def test_batches_cover_everything_once_by_length_and_within_bounds() -> None:
    lengths = [(7 * place) % 60 + 1 for place in range(1000)]
    cut = list(batches(lengths))
    assert sorted(place for batch in cut for place in batch) == list(range(1000))
    assert all(len(batch) * max(lengths[place] for place in batch) <= BATCH_TOKENS for batch in cut)
    padded = sum(len(batch) * max(lengths[place] for place in batch) for batch in cut)
    assert sum(lengths) / padded > 0.85


def test_the_identity_follows_the_weights(tiny_roberta: Path, tmp_path: Path) -> None:
    before = TextExtractor(settings(str(tiny_roberta)), Path()).identity
    for file in tiny_roberta.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert TextExtractor(settings(str(tmp_path)), Path()).identity == before
    torch.manual_seed(1)
    RobertaModel(RobertaConfig.from_pretrained(tmp_path), add_pooling_layer=False).save_pretrained(tmp_path)
    assert TextExtractor(settings(str(tmp_path)), Path()).identity != before


def test_an_encoder_that_cannot_be_had_names_the_key_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ExtractorError, match=r"'no-such/encoder'.*text\.<corpus>\.model=minilm"):
        encoder_folder("no-such/encoder")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ExtractorError, match="is no encoder that transformers can load"):
        TextExtractor(settings(str(tmp_path)), Path())
