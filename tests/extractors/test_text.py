"""Text features: the shipped encoder, RoBERTa's own code path, pooling, layers, checkpoints, batching, what lacks."""

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import RobertaModel

from extractors.result import ExtractorError
from extractors.text.encoder import BATCH_TOKENS, batches
from extractors.text.extractor import TextExtractor
from extractors.text.folders import encoder_folder
from extractors.utterance import Utterance
from tests.extractors.encoders import LINES, alone, text_settings, write_roberta


def row(text: str) -> Utterance:
    return Utterance(utterance_id="u", dialogue_id="d", turn=0, speaker=0, split="train", text=text, label="")


@pytest.fixture(scope="module")
def minilm() -> TextExtractor:
    return TextExtractor(text_settings("minilm"), Path())


def test_minilm_is_384_wide_and_pools_the_mean(minilm: TextExtractor) -> None:
    assert (minilm.dim, minilm.encoder.pooling) == (384, "mean")
    vectors = torch.nn.functional.normalize(
        minilm.encoder.encode(["I am so happy!", "I feel great joy!", "The train leaves at nine."]), dim=1
    )
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert vectors.shape == (3, 384)


def test_a_vector_is_the_same_alone_and_in_a_batch(minilm: TextExtractor, tiny_roberta: Path) -> None:
    for extractor in (minilm, TextExtractor(text_settings(tiny_roberta), Path())):
        together = extractor.encoder.encode(LINES)
        for text, vector in zip(LINES, together, strict=True):
            torch.testing.assert_close(extractor.encoder.encode([text])[0], vector, atol=1e-5, rtol=1e-4)


def test_alone_each_utterance_has_a_pass_of_its_own_and_an_identity_of_its_own(
    tiny_roberta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vector is then the same to the bit whatever is extracted with it, and no other is taken for it."""
    settings = text_settings(tiny_roberta)
    single, together = (TextExtractor(settings, Path(), alone=one) for one in (True, False))
    assert together.identity == {name: value for name, value in single.identity.items() if name != "alone"}
    assert single.identity != together.identity
    rows = [row(text) for text in ("Yes.", "No, I do not think so at all.", "Oh!", "Well, maybe tomorrow.")]
    passes: list[int] = []
    encode = single.encoder.vectors_of
    monkeypatch.setattr(single.encoder, "vectors_of", lambda tokens: passes.append(len(tokens)) or encode(tokens))

    def vectors(some: list[Utterance]) -> dict[str, bytes]:
        keyed_rows = keyed(single, some)
        found = {key: result for part in single.extract(keyed_rows, set()) for key, result in part.items()}
        return {keyed_rows[key].text: result.vector.tobytes() for key, result in found.items()}

    whole = vectors(rows)
    assert passes == [1, 1, 1, 1]
    assert all(vectors([one]) == {one.text: whole[one.text]} for one in rows)


def test_roberta_gives_the_last_layers_first_token(tiny_roberta: Path) -> None:
    extractor = TextExtractor(text_settings(tiny_roberta), Path())
    assert (extractor.dim, extractor.encoder.pooling) == (32, "first")
    ids = extractor.encoder.tokenizer(LINES[0], return_tensors="pt")
    reference = RobertaModel.from_pretrained(tiny_roberta, add_pooling_layer=False).eval()
    with torch.inference_mode():
        expected = reference(**ids).last_hidden_state[0, 0]
    torch.testing.assert_close(extractor.encoder.encode([LINES[0]])[0], expected)
    mean = TextExtractor(text_settings(tiny_roberta, pooling="mean"), Path())
    assert not torch.allclose(mean.encoder.encode([LINES[0]])[0], expected)


def test_last4_is_the_mean_of_the_last_four_layers(tiny_roberta: Path, tmp_path: Path) -> None:
    extractor = TextExtractor(text_settings(tiny_roberta, layers="last4"), Path())
    reference = RobertaModel.from_pretrained(tiny_roberta, add_pooling_layer=False).eval()
    with torch.inference_mode():
        ids = extractor.encoder.tokenizer(LINES[0], return_tensors="pt")
        layers = reference(**ids, output_hidden_states=True).hidden_states
    assert len(layers) == 5  # the embeddings come first, and must not count
    torch.testing.assert_close(extractor.encoder.encode([LINES[0]])[0], sum(layers[1:])[0, 0] / 4)
    assert extractor.identity != TextExtractor(text_settings(tiny_roberta), Path()).identity
    with pytest.raises(ExtractorError, match=r"'last4', but the encoder .* has only 2"):
        TextExtractor(text_settings(write_roberta(tmp_path / "flat", layers=2), layers="last4"), Path()).encoder  # noqa: B018


def as_old_checkpoint(folder: Path, target: Path) -> Path:
    """The same encoder as torch saved it before there was safetensors."""
    shutil.copytree(folder, target)
    torch.save(load_file(target / "model.safetensors"), target / "pytorch_model.bin")
    (target / "model.safetensors").unlink()
    return target


def test_weights_in_torchs_own_format_give_the_same_vectors(tiny_roberta: Path, tmp_path: Path) -> None:
    old = TextExtractor(text_settings(as_old_checkpoint(tiny_roberta, tmp_path / "old")), Path())
    new = TextExtractor(text_settings(tiny_roberta), Path())
    assert torch.equal(old.encoder.encode(LINES), new.encoder.encode(LINES))
    other = load_file(write_roberta(tmp_path / "other", seed=1) / "model.safetensors")
    torch.save(other, tmp_path / "old" / "pytorch_model.bin")
    assert TextExtractor(text_settings(tmp_path / "old"), Path()).identity != old.identity


class Payload:
    """What a malicious checkpoint would run."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return Path.touch, (self.file,)


def test_a_checkpoint_with_code_in_it_is_refused_and_runs_nothing(tiny_roberta: Path, tmp_path: Path) -> None:
    folder, ran = as_old_checkpoint(tiny_roberta, tmp_path / "bad"), tmp_path / "ran"
    torch.save({"embeddings": Payload(ran)}, folder / "pytorch_model.bin", pickle_module=pickle)
    with pytest.raises(ExtractorError, match="is no encoder that transformers can load"):
        TextExtractor(text_settings(folder), Path()).encoder  # noqa: B018
    assert not ran.exists()


@pytest.fixture(scope="module")
def cross_fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What finetune_text leaves: two encoders, and the dialogues that each has not seen."""
    folder = tmp_path_factory.mktemp("fitted")
    for number in (0, 1):
        write_roberta(folder / str(number), seed=number)
    card = {"fine_tuned": True, "encoders": [{}, {}], "folds": {"a": 0, "b": 1}}
    (folder / "encoder.json").write_text(json.dumps(card))
    return folder


def cross_fitted_rows() -> list[Utterance]:
    """The same lines in both folds of train and in test."""
    return [
        replace(row(text), dialogue_id=dialogue, split=split)
        for text in LINES
        for dialogue, split in (("a", "train"), ("b", "train"), ("c", "test"), ("c", "validation"))
    ]


def keyed(extractor: TextExtractor, rows: list[Utterance]) -> dict[str, Utterance]:
    return {str(key): row for key, row in zip(extractor.keys(rows), rows, strict=True)}


def test_train_gets_the_encoder_that_has_not_seen_it_and_the_rest_the_mean(cross_fitted: Path) -> None:
    # The published encoder is not asked for any more: there is none of this name.
    extractor = TextExtractor(text_settings("no-such/encoder", finetune=True, crossfit=2), Path(), cross_fitted)
    rows = keyed(extractor, cross_fitted_rows())
    assert len(rows) == 9
    made = {key: result for part in extractor.extract(rows, set()) for key, result in part.items()}
    assert set(made) == set(rows)
    first, second = (TextExtractor(text_settings(cross_fitted / str(number)), Path()).encoder for number in (0, 1))
    for key, utterance in rows.items():
        by_encoder = [encoder.encode([utterance.text])[0] for encoder in (first, second)]
        expected = {"a": by_encoder[0], "b": by_encoder[1], "c": (by_encoder[0] + by_encoder[1]) / 2}
        torch.testing.assert_close(
            torch.from_numpy(made[key].vector), expected[utterance.dialogue_id], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("kept", [1, 2])
def test_a_cross_fitted_extraction_that_was_killed_goes_on_to_the_same_bytes(cross_fitted: Path, kept: int) -> None:
    def parts(known: set[str]) -> list[dict[str, bytes]]:
        extractor = TextExtractor(text_settings("minilm", finetune=True, crossfit=2), Path(), cross_fitted)
        rows = keyed(extractor, cross_fitted_rows())
        made = extractor.extract(rows, known)
        return [{key: result.to_bytes() for key, result in part.items()} for part in made]

    whole = parts(set())
    assert len(whole) == 3  # what a kill can come between
    assert parts({key for part in whole[:kept] for key in part}) == whole[kept:]


def test_features_of_a_fine_tuned_encoder_want_one(tmp_path: Path, cross_fitted: Path) -> None:
    with pytest.raises(ExtractorError, match="has no fine-tuned encoder: `dvc repro` makes it"):
        TextExtractor(text_settings("minilm", finetune=True), Path(), tmp_path)
    (tmp_path / "encoder.json").write_text('{"fine_tuned": false}')
    with pytest.raises(ExtractorError, match="has no fine-tuned encoder"):
        TextExtractor(text_settings("minilm", finetune=True), Path(), tmp_path)
    extractor = TextExtractor(text_settings("minilm", finetune=True), Path(), cross_fitted)
    with pytest.raises(ExtractorError, match="dialogue new is unknown"):
        extractor.keys([replace(row("Yes."), dialogue_id="new", split="train")])


def test_a_text_longer_than_the_encoder_reads_is_cut_not_refused(tiny_roberta: Path) -> None:
    extractor = TextExtractor(text_settings(tiny_roberta, max_tokens=512), Path())
    assert extractor.encoder.max_tokens == 38  # RoBERTa's first position is 2
    assert torch.isfinite(extractor.encoder.encode(["so " * 400])).all()


def test_no_more_than_max_tokens_are_read(tiny_roberta: Path) -> None:
    short, long = (TextExtractor(text_settings(tiny_roberta, max_tokens=most), Path()).encoder for most in (8, 30))
    ids, more = (encoder.tokens(alone([LINES[2]]))[0].ids for encoder in (short, long))
    assert (len(ids), len(more)) == (8, 30)
    assert ids == [*more[:7], more[-1]]  # its end is the end of the text
    assert not torch.allclose(short.encode([LINES[2]]), long.encode([LINES[2]]))


def test_an_empty_utterance_is_missing_and_equal_texts_are_one(minilm: TextExtractor) -> None:
    nothing, yes, again, no = minilm.keys([row("  "), row("Yes."), row("Yes."), row("No.")])
    assert nothing is None
    assert yes == again != no


def test_known_texts_are_not_encoded_again(minilm: TextExtractor) -> None:
    rows = keyed(minilm, [row(text) for text in LINES])
    known = set(keyed(minilm, [row(LINES[0])]))
    made = {key for batch in minilm.extract(rows, known) for key in batch}
    assert made == set(rows) - known


def test_batches_cover_everything_once_by_length_and_within_bounds() -> None:
    lengths = [(7 * place) % 60 + 1 for place in range(1000)]
    cut = list(batches(lengths))
    assert sorted(place for batch in cut for place in batch) == list(range(1000))
    assert all(len(batch) * max(lengths[place] for place in batch) <= BATCH_TOKENS for batch in cut)
    padded = sum(len(batch) * max(lengths[place] for place in batch) for batch in cut)
    assert sum(lengths) / padded > 0.85


def test_an_encoder_that_cannot_be_had_names_the_key_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ExtractorError) as caught:
        encoder_folder("no-such/encoder")
    for said in ("'no-such/encoder'", "hf download no-such/encoder --local-dir corpora/encoders/encoder ",
                 "`-S text.<corpus>.model=corpora/encoders/encoder`", "`-S text.<corpus>.model=minilm`"):  # fmt: skip
        assert said in str(caught.value)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ExtractorError, match="is no encoder that transformers can load"):
        TextExtractor(text_settings(tmp_path), Path()).encoder  # noqa: B018
