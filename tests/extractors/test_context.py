"""Turns around an utterance in a text encoder's input: its tokens, and what its vector depends on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, GPT2Config, GPT2Model, T5Config, T5Model

from extractors.result import ExtractorError
from extractors.settings import ContextSettings
from extractors.text.encoder import Encoder
from extractors.text.extractor import TextExtractor
from extractors.text.folders import encoder_folder
from extractors.text.layout import Layout, Tokens
from extractors.text.window import Window, windows_of
from extractors.utterance import Utterance
from tests.extractors.encoders import alone, text_settings, write_network

CPU = torch.device("cpu")
SAID = [
    ("Ross", "Oh, that's wonderful news!"),
    ("Monica", "No."),
    ("Ross", "I can't believe you ate the whole cake."),
    ("Phoebe", "Without telling anyone?"),
    ("Monica", "It was good cake."),
]


def dialogue(said: list[tuple[str, str]] = SAID, name: str = "d", split: str = "test") -> list[Utterance]:
    speakers = list(dict.fromkeys(speaker for speaker, _ in said))
    return [
        Utterance(utterance_id=f"{name}_{turn}", dialogue_id=name, turn=turn, speaker=speakers.index(speaker),
                  speaker_name=speaker, split=split, text=text, label="joy")
        for turn, (speaker, text) in enumerate(said)
    ]  # fmt: skip


def extractor_of(model: Path | str, max_tokens: int = 64, pooling: str = "auto", **context: object) -> TextExtractor:
    chosen = ContextSettings.model_validate(context)
    return TextExtractor(text_settings(model, max_tokens=max_tokens, pooling=pooling, context=chosen), Path())


def vectors(extractor: TextExtractor, rows: list[Utterance]) -> np.ndarray:
    """Vectors of `rows`, as the stage extract has them made."""
    keys = [str(key) for key in extractor.keys(rows)]
    made = {key: result for part in extractor.extract(dict(zip(keys, rows, strict=True)), set())
            for key, result in part.items()}  # fmt: skip
    return np.stack([made[key].vector for key in keys])


def tokens_of(extractor: TextExtractor, turn: int, rows: list[Utterance] | None = None) -> Tokens:
    windows = windows_of(rows or dialogue(), extractor.settings.context)
    return extractor.encoder.tokens(windows)[turn]


def read(extractor: TextExtractor, turn: int, rows: list[Utterance] | None = None) -> str:
    """What the encoder reads for a turn, as text."""
    return str(extractor.encoder.tokenizer.decode(tokens_of(extractor, turn, rows).ids))


# ---- what is read ----


def test_a_pair_has_the_ids_and_segments_that_transformers_gives_a_pair() -> None:
    extractor = extractor_of("minilm", past=2)
    pair = AutoTokenizer.from_pretrained(encoder_folder("minilm"))(
        "B: No. A: I can't believe you ate the whole cake.", "C: Without telling anyone?"
    )
    tokens = tokens_of(extractor, 3)
    assert tokens.ids == pair["input_ids"]
    assert tokens.segments == pair["token_type_ids"]
    first = AutoTokenizer.from_pretrained(encoder_folder("minilm"))("", "A: Oh, that's wonderful news!")
    assert (tokens_of(extractor, 0).ids, tokens_of(extractor, 0).segments) == (
        first["input_ids"],
        first["token_type_ids"],
    )


def test_roberta_has_separators_and_no_segments(tiny_roberta: Path) -> None:
    extractor = extractor_of(tiny_roberta, past=1, future=1)
    rows = dialogue([("Ross", "No."), ("Monica", "Oh!"), ("Ross", "No.")])
    assert read(extractor, 1, rows) == "<s> A: No.</s></s> B: Oh!</s></s> A: No.</s>"
    assert read(extractor, 0, rows) == "<s></s></s> A: No.</s></s> B: Oh!</s>"
    assert read(extractor, 2, rows) == "<s> B: Oh!</s></s> A: No.</s>"
    assert tokens_of(extractor, 1, rows).segments == []
    assert tokens_of(extractor, 1, rows).ids == AutoTokenizer.from_pretrained(tiny_roberta)(
        " A: No.", " B: Oh!</s></s> A: No."
    )["input_ids"]  # fmt: skip


def test_turns_after_the_utterance_are_a_segment_like_those_before() -> None:
    tokens = tokens_of(extractor_of("minilm", past=1, future=1), 1)
    words = AutoTokenizer.from_pretrained(encoder_folder("minilm")).convert_ids_to_tokens(tokens.ids)
    here = [word for word, segment in zip(words, tokens.segments, strict=True) if segment]
    assert here == ["b", ":", "no", ".", "[SEP]"]
    assert words[-3:] == ["cake", ".", "[SEP]"]
    assert words[: words.index("[SEP]")] == ["[CLS]", "a", ":", "oh", ",", "that", "'", "s", "wonderful", "news", "!"]


def test_speakers_are_written_numbered_by_appearance_or_left_out() -> None:
    rows = dialogue([("Ross", "No."), ("Monica", "It was"), ("Phoebe", "good cake?")])
    said = {names: read(extractor_of("minilm", past=1, names=names), 2, rows) for names in ("written", "index", "none")}
    assert said["written"] == "[CLS] monica : it was [SEP] phoebe : good cake? [SEP]"
    assert said["index"] == "[CLS] b : it was [SEP] c : good cake? [SEP]"
    assert said["none"] == "[CLS] it was [SEP] good cake? [SEP]"


def test_the_27th_speaker_has_a_letter_of_their_own() -> None:
    rows = dialogue([(f"speaker {place}", "Hi.") for place in range(53)])
    names = [window.speaker for window in windows_of(rows, ContextSettings(past=1))]
    assert [names[place] for place in (0, 1, 25, 26, 52)] == ["A:", "B:", "Z:", "A1:", "A2:"]
    assert len(set(names)) == 53


def test_speakers_are_numbered_by_appearance_also_where_the_corpus_numbers_them_by_role() -> None:
    rows = [replace(row, speaker=1 - row.speaker) for row in dialogue(SAID[:2])]
    assert [window.speaker for window in windows_of(rows, ContextSettings(past=1))] == ["A:", "B:"]


def test_turns_without_words_are_passed_over_and_those_without_a_label_are_read() -> None:
    rows = dialogue()
    rows[1], rows[2] = replace(rows[1], text="  "), replace(rows[2], label="")
    before = ("A: Oh, that's wonderful news!", "A: I can't believe you ate the whole cake.")
    assert windows_of(rows, ContextSettings(past=2))[3] == Window("Without telling anyone?", "B:", before)


def test_turns_are_read_in_their_order_whatever_the_order_of_the_rows() -> None:
    rows, settings = dialogue(), ContextSettings(past=2, future=1)
    assert windows_of(rows[::-1], settings)[::-1] == windows_of(rows, settings)


def test_nothing_crosses_a_dialogue_or_a_split() -> None:
    settings = ContextSettings(past=8, future=8)
    rows = [row for pair in zip(dialogue(name="a"), dialogue(SAID[::-1], name="b"), strict=True) for row in pair]
    assert windows_of(rows, settings)[::2] == windows_of(dialogue(name="a"), settings)
    rows = [replace(row, split="train" if row.turn < 2 else "test") for row in dialogue()]
    assert windows_of(rows, settings)[2].past == ()
    assert windows_of(rows, settings)[1].future == ()


def shown_by_size(folder: Path, turn: int, rows: list[Utterance], **context: object) -> list[str]:
    """What is read for a turn with 8 to 38 tokens, each text once."""
    extractor = extractor_of(folder, **context)
    tokenizer, settings = extractor.encoder.tokenizer, extractor.settings.context
    window, shown = windows_of(rows, settings)[turn], []
    for most in range(8, 39):
        [tokens] = Layout(tokenizer, 0, most, settings).tokens([window])
        assert len(tokens.ids) <= most
        shown.append(tokenizer.decode(tokens.ids))
    return list(dict.fromkeys(shown))


def test_the_farthest_turns_are_left_out_whole_and_none_is_passed_over(tiny_roberta: Path) -> None:
    said = [("A", "Oh no."), ("B", "I can't believe you ate the whole cake."), ("A", "Oh."), ("B", "No."), ("A", "Hi.")]
    assert shown_by_size(tiny_roberta, 4, dialogue(said), past=8)[-3:] == [
        "<s></s></s> A: Hi.</s>",
        "<s> B: No.</s></s> A: Hi.</s>",
        "<s> A: Oh. B: No.</s></s> A: Hi.</s>",  # the long turn does not fit; the one before it is not read either
    ]


def test_room_is_filled_from_both_sides_in_turns(tiny_roberta: Path) -> None:
    rows = dialogue([("A", "Oh."), ("A", "No."), ("A", "Hi."), ("A", "No."), ("A", "Oh.")])
    assert shown_by_size(tiny_roberta, 2, rows, past=8, future=8, names="none")[-5:] == [
        "<s></s></s> Hi.</s>",
        "<s> No.</s></s> Hi.</s>",
        "<s> No.</s></s> Hi.</s></s> No.</s>",
        "<s> Oh. No.</s></s> Hi.</s></s> No.</s>",
        "<s> Oh. No.</s></s> Hi.</s></s> No. Oh.</s>",
    ]


def test_a_long_utterance_keeps_its_beginning_and_its_end_is_cut(tiny_roberta: Path) -> None:
    extractor = extractor_of(tiny_roberta, 20, past=2)
    rows = dialogue([("A", "No."), ("B", "so " * 100)])
    tokens = tokens_of(extractor, 1, rows)
    assert len(tokens.ids) == 20
    assert read(extractor, 1, rows).startswith("<s></s></s> B: so so so")
    assert read(extractor, 1, rows).endswith("</s>")


def test_a_name_takes_no_more_than_half_of_the_room(tiny_roberta: Path) -> None:
    rows = dialogue([("N" * 60, "No."), ("O" * 60, "Oh no, no.")])
    tokens = tokens_of(extractor_of(tiny_roberta, 30, past=1, names="written"), 1, rows)
    words = extractor_of(tiny_roberta).encoder.tokenizer.decode(tokens.ids[slice(*tokens.own)])
    assert len(tokens.ids) <= 30
    assert words == " Oh no, no."


def test_words_without_a_token_have_a_vector_of_numbers() -> None:
    extractor = extractor_of("minilm", past=1)
    assert np.isfinite(vectors(extractor, dialogue([("A", "No."), ("B", "\u200d"), ("A", "Oh.")]))).all()


# ---- what becomes of it ----


@pytest.mark.parametrize("pooling", ["mean", "first", "last", "max"])
def test_the_vector_is_made_of_the_utterances_own_words_or_the_first_token(pooling: str, tiny_roberta: Path) -> None:
    said = [("A", "Oh no."), ("B", "No cake?"), ("A", "Oh!")]
    found = vectors(extractor_of(tiny_roberta, pooling=pooling, past=1, future=1), dialogue(said))[1]
    tokenizer, network = AutoTokenizer.from_pretrained(tiny_roberta), AutoModel.from_pretrained(tiny_roberta).eval()
    ids = tokenizer(" A: Oh no.", " B: No cake?</s></s> A: Oh!", return_tensors="pt")["input_ids"]
    begin = len(tokenizer(" A: Oh no.</s></s> B:")["input_ids"]) - 1  # without the last </s>
    words = len(tokenizer(" No cake?")["input_ids"]) - 2
    with torch.inference_mode():
        states = network(ids).last_hidden_state[0]
    own = states[begin : begin + words]
    assert tokenizer.decode(ids[0, begin : begin + words]) == " No cake?"
    expected = {"mean": own.mean(0), "first": states[0], "last": own[-1], "max": own.amax(0)}[pooling]
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_segment_ids_reach_the_network() -> None:
    found = vectors(extractor_of("minilm", past=1), dialogue(SAID[:2]))[1]
    folder = encoder_folder("minilm")
    network = AutoModel.from_pretrained(folder).eval()
    pair = AutoTokenizer.from_pretrained(folder)("A: Oh, that's wonderful news!", "B: No.", return_tensors="pt")
    with torch.inference_mode():
        states = network(**pair).last_hidden_state[0]
    np.testing.assert_allclose(found, states[-3:-1].mean(0).numpy(), rtol=1e-4, atol=1e-5)  # `no` and the point


def test_without_other_turns_nothing_is_different(tiny_roberta: Path) -> None:
    plain = TextExtractor(text_settings(tiny_roberta), Path())
    for names in ("written", "index", "none"):
        extractor = extractor_of(tiny_roberta, past=0, future=0, names=names)
        assert extractor.identity == plain.identity
        assert "context" not in plain.identity
        assert extractor.keys(dialogue()) == plain.keys(dialogue())
        assert vectors(extractor, dialogue()).tobytes() == vectors(plain, dialogue()).tobytes()
    expected = plain.encoder.encode([text for _, text in SAID]).numpy()
    np.testing.assert_allclose(vectors(plain, dialogue()), expected, rtol=1e-4, atol=1e-5)


# ---- what must not matter, and what must ----


@pytest.mark.parametrize("model", ["minilm", "roberta"])
def test_a_turn_outside_the_window_changes_nothing_and_one_inside_does(model: str, tiny_roberta: Path) -> None:
    extractor = extractor_of("minilm" if model == "minilm" else tiny_roberta, past=1, future=1)
    short = [("A", "No."), ("B", "Oh!"), ("A", "Cake?"), ("C", "No cake."), ("B", "News.")]
    before, keys = vectors(extractor, dialogue(short)), extractor.keys(dialogue(short))
    for changed in range(len(short)):
        rows = dialogue([(name, "Hi." if turn == changed else text) for turn, (name, text) in enumerate(short)])
        same = [turn for turn, key in enumerate(extractor.keys(rows)) if key == keys[turn]]
        assert same == [turn for turn in range(len(short)) if abs(turn - changed) > 1]
        after = vectors(extractor, rows)
        for turn in range(len(short)):
            close = np.allclose(after[turn], before[turn], rtol=1e-4, atol=1e-5)
            assert close == (turn in same), (changed, turn)


def test_a_changed_line_costs_itself_and_its_followers(tiny_roberta: Path) -> None:
    extractor = extractor_of(tiny_roberta, past=8)
    said = [("A" if turn % 3 else "B", f"Line {turn}.") for turn in range(30)]
    keys = extractor.keys(dialogue(said))
    said[10] = (said[10][0], "Another line.")
    assert [turn for turn, key in enumerate(extractor.keys(dialogue(said))) if key != keys[turn]] == [*range(10, 19)]


def test_a_dialogue_that_is_not_over_yet_has_the_vectors_of_the_whole(tiny_roberta: Path) -> None:
    extractor = extractor_of(tiny_roberta, past=8)
    whole, keys = vectors(extractor, dialogue()), extractor.keys(dialogue())
    for length in range(1, len(SAID)):
        assert extractor.keys(dialogue(SAID[:length])) == keys[:length]
        part = vectors(extractor_of(tiny_roberta, past=8), dialogue(SAID[:length]))
        np.testing.assert_allclose(part, whole[:length], rtol=1e-4, atol=1e-5)


def test_an_utterance_has_the_same_vector_alone_and_in_a_batch() -> None:
    extractor = extractor_of("minilm", past=2, future=2)
    tokens = extractor.encoder.tokens(windows_of(dialogue(), extractor.settings.context))
    together = extractor.encoder.vectors_of(tokens)
    for one, vector in zip(tokens, together, strict=True):
        np.testing.assert_allclose(extractor.encoder.vectors_of([one])[0], vector, rtol=1e-4, atol=1e-5)


def test_other_names_in_the_same_order_change_nothing_unless_names_are_written(tiny_roberta: Path) -> None:
    others = {"Ross": "Phoebe", "Monica": "Ross", "Phoebe": "Chandler"}
    renamed = [(others[name], text) for name, text in SAID]
    for names in ("index", "none", "written"):
        extractor = extractor_of(tiny_roberta, past=2, names=names)
        before, after = (extractor.keys(dialogue(said)) for said in (SAID, renamed))
        assert (before == after) == (names != "written")
    swapped = [("Monica" if name == "Ross" else "Ross" if name == "Monica" else name, text) for name, text in SAID]
    rows = [replace(row, speaker_name=name) for row, (name, _) in zip(dialogue(), swapped, strict=True)]
    index = extractor_of(tiny_roberta, past=2)
    assert index.keys(rows) == index.keys(dialogue())
    one_speaker = [replace(row, speaker=0) for row in dialogue()]
    assert index.keys(one_speaker)[1] != index.keys(dialogue())[1]


@pytest.mark.parametrize("change", [{"past": 3}, {"future": 1}, {"names": "none"}, {"names": "written"}])
def test_each_setting_is_part_of_the_identity(change: dict, tiny_roberta: Path) -> None:
    usual = {"past": 2, "future": 0, "names": "index"}
    assert (
        extractor_of(tiny_roberta, **usual).identity["context"]
        != extractor_of(tiny_roberta, **{**usual, **change}).identity["context"]
    )


# ---- other kinds of networks ----


def written_gpt2(folder: Path, tiny_roberta: Path) -> Path:
    torch.manual_seed(0)
    network = GPT2Model(GPT2Config(vocab_size=300, n_positions=64, n_embd=32, n_layer=2, n_head=2))
    return write_network(folder, tiny_roberta, network)


def test_a_causal_network_takes_the_utterances_last_word_and_refuses_later_turns(
    tiny_roberta: Path, tmp_path: Path
) -> None:
    folder = written_gpt2(tmp_path / "gpt2", tiny_roberta)
    extractor = extractor_of(folder, past=1)
    assert extractor.encoder.pooling == "last"
    tokens = tokens_of(extractor, 1)
    network = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = network(torch.tensor([tokens.ids])).last_hidden_state[0]
    expected = states[tokens.own[1] - 1].numpy()
    np.testing.assert_allclose(vectors(extractor, dialogue())[1], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ExtractorError, match=r"causal network, in which no token sees those behind it; set `future`"):
        Encoder(folder, extractor_of(folder, past=1, future=1).settings, CPU)


def test_a_tokenizer_without_separators_gets_its_end_mark_between_the_turns_and_the_utterance(
    tiny_roberta: Path, tmp_path: Path
) -> None:
    folder = written_gpt2(tmp_path / "gpt2", tiny_roberta)
    from tokenizers import Tokenizer
    from tokenizers.processors import ByteLevel

    bare = Tokenizer.from_file(str(folder / "tokenizer.json"))
    bare.post_processor = ByteLevel(trim_offsets=False)
    bare.save(str(folder / "tokenizer.json"))
    card = (folder / "tokenizer_config.json").read_text().replace("RobertaTokenizerFast", "PreTrainedTokenizerFast")
    card = card.replace('"RobertaTokenizer"', '"PreTrainedTokenizerFast"')
    (folder / "tokenizer_config.json").write_text(card)
    assert read(extractor_of(folder, past=1), 1, dialogue([("A", "No."), ("B", "Oh.")])) == " A: No.</s> B: Oh."


def test_the_encoder_of_t5_reads_the_turns_before(tiny_roberta: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = T5Config(vocab_size=300, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2, decoder_start_token_id=0)
    folder = write_network(tmp_path / "t5", tiny_roberta, T5Model(config))
    extractor = extractor_of(folder, past=1)
    assert extractor.encoder.pooling == "mean"
    tokens = tokens_of(extractor, 1)
    network = AutoModel.from_pretrained(folder).eval().get_encoder()
    with torch.inference_mode():
        states = network(torch.tensor([tokens.ids])).last_hidden_state[0]
    expected = states[tokens.own[0] : tokens.own[1]].mean(0).numpy()
    np.testing.assert_allclose(vectors(extractor, dialogue())[1], expected, rtol=1e-3, atol=1e-5)
    assert extractor.encoder.tokens(alone(["No."]))  # a window without turns is a window, too
