"""Fine-tuning of a text encoder: batches, rates, accumulation, the choice of the epoch, and what is left behind."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import f1_score

from extractors.result import ExtractorError
from extractors.settings import ContextSettings, FineTuningRecipe
from extractors.text.encoder import Encoder
from extractors.text.extractor import TextExtractor
from extractors.text.folders import checksum, encoder_folder
from extractors.text.pooling import own_pooling
from extractors.text.window import Window
from extractors.training.text_training import (
    Classifier,
    Labelled,
    TextTrainingState,
    copy_settings,
    load,
    probabilities,
    steps,
    train,
)
from tests.extractors.encoders import RECIPE, alone, text_settings, write_roberta

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")


def recipe(**changes: object) -> FineTuningRecipe:
    return FineTuningRecipe.model_validate({**RECIPE, **changes})


def lines(number: int, seed: int) -> Labelled:
    """Words of letters, which of two kinds decides the label."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(2, size=number).tolist()
    return Labelled(
        alone([" ".join(draw.choice(list(("abc", "xyz")[kind]), draw.integers(2, 9))) for kind in labels]), labels
    )


def trained(folder: Path, model: Path, said: list[str] | None = None, **changes: object) -> TextTrainingState:
    chosen = recipe(**changes)
    say = (said if said is not None else []).append
    return train(model, text_settings(model), chosen, lines(40, 0), lines(20, 1), 2, CPU, folder, say=say)


def test_an_epochs_steps_take_each_utterance_once_with_its_like() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, size=1001).tolist()
    chosen = recipe(batch=8, accumulation=4)
    epoch = list(steps(lengths, chosen, 1))
    assert len(epoch) == 32
    assert sorted(place for step in epoch for batch in step for place in batch) == list(range(1001))
    assert all(len(step) <= 4 and len(batch) <= 8 for step in epoch for batch in step)
    padded = sum(len(batch) * max(lengths[place] for place in batch) for step in epoch for batch in step)
    assert sum(lengths) / padded > 0.85
    assert epoch == list(steps(lengths, chosen, 1))
    assert epoch != list(steps(lengths, chosen, 2))
    assert epoch != list(steps(lengths, recipe(batch=8, accumulation=4, seed=1), 1))


def test_the_rate_rises_on_a_line_and_falls_on_a_polynomial_also_after_a_kill(
    tiny_roberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def watched(optimizer: torch.optim.AdamW) -> None:
        if len(rates) == 7:
            monkeypatch.setattr(torch.optim.AdamW, "step", resumed)
            raise KeyboardInterrupt
        resumed(optimizer)

    def resumed(optimizer: torch.optim.AdamW) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        step(optimizer)

    changes = {"warmup": 0.4, "decay": 2.0, "epochs": 2, "patience": 2}  # 10 steps of 8 utterances
    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_roberta, text_settings(tiny_roberta), recipe(**changes), lines(40, 0), lines(20, 1), 2, CPU,
              tmp_path / "fit", seconds_between_checkpoints=0.0, say=lambda _: None)  # fmt: skip
    trained(tmp_path / "fit", tiny_roberta, **changes)
    shares = [0, 1 / 4, 2 / 4, 3 / 4, 1, 25 / 36, 16 / 36, 9 / 36, 4 / 36, 1 / 36]
    assert rates == pytest.approx(1e-3 * np.array(shares))


def test_a_warmup_over_all_steps_is_no_division_by_zero(tiny_roberta: Path, tmp_path: Path) -> None:
    assert trained(tmp_path / "fit", tiny_roberta, warmup=1.0, epochs=1).history[0]["loss"] > 0


def test_passes_that_are_accumulated_are_one_large_batch(tmp_path: Path) -> None:
    model = write_roberta(tmp_path / "still", dropout=0.0)
    for name, batch, accumulation in (("one", 8, 1), ("four", 2, 4)):
        trained(tmp_path / name, model, batch=batch, accumulation=accumulation, dropout=0.0, epochs=1)
    start = load_file(model / "model.safetensors")
    one, four = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "four"))
    for name in one:
        torch.testing.assert_close(one[name], four[name], atol=2e-4, rtol=0)
    moved = max(float((one[name] - start[name]).abs().max()) for name in one)
    assert moved > 2e-3  # ten times what the two may differ by


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_card_without_memory_gets_smaller_passes_and_the_same_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, changes = write_roberta(tmp_path / "still", dropout=0.0), {"dropout": 0.0, "epochs": 1}
    trained(tmp_path / "whole", model, batch=8, accumulation=1, **changes)
    forward, sizes, said = Classifier.forward, list[int](), list[str]()

    def small(classifier: Classifier, tokens: list[list[int]]) -> torch.Tensor:
        if classifier.training:
            sizes.append(len(tokens))
            if len(tokens) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(classifier, tokens)

    monkeypatch.setattr(Classifier, "forward", small)
    trained(tmp_path / "parts", model, said, batch=8, accumulation=1, **changes)
    assert sizes == [8, 4, *[2, 2, 2, 2] * 5]  # 40 utterances in steps of 8
    assert said[:2] == [
        f"the card's memory is used up; passes of {size} utterances from now on, in the same steps" for size in (4, 2)
    ]
    for name, values in weights(tmp_path / "whole").items():
        torch.testing.assert_close(weights(tmp_path / "parts")[name], values, atol=2e-4, rtol=0)


def test_a_card_too_small_for_one_utterance_is_an_error(
    tiny_roberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(classifier: Classifier, tokens: list[list[int]]) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Classifier, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        trained(tmp_path / "fit", tiny_roberta)


def test_layers_that_are_computed_again_give_the_same_weights(tiny_roberta: Path, tmp_path: Path) -> None:
    changes = {"epochs": 1, "dropout": 0.3}
    trained(tmp_path / "kept", tiny_roberta, **changes)
    network = Encoder(tiny_roberta, text_settings(tiny_roberta), CPU, recipe(checkpointing=True)).network
    assert network.is_activation_checkpointing
    trained(tmp_path / "again", tiny_roberta, checkpointing=True, **changes)
    for name, values in weights(tmp_path / "kept").items():
        torch.testing.assert_close(weights(tmp_path / "again")[name], values, atol=1e-6, rtol=0)


def test_the_weights_left_are_those_of_the_best_epoch_and_tell_the_classes_apart(
    tiny_roberta: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    state = trained(tmp_path / "fit", tiny_roberta, said, epochs=8, patience=8)
    scores = [row["validation_weighted_f1"] for row in state.history]
    assert (state.best_score, state.best_epoch) == (max(scores), scores.index(max(scores)) + 1)
    assert state.best_score > 80
    assert [line.split(":")[0] for line in said] == [f"epoch {number} of 8" for number in range(1, 9)]
    classifier = load(tmp_path / "fit", text_settings(tiny_roberta), CPU)
    shares = probabilities(classifier, lines(20, 1).windows)
    torch.testing.assert_close(shares.sum(1), torch.ones(20))
    again = 100 * f1_score(lines(20, 1).labels, shares.argmax(1), average="weighted")
    assert again == pytest.approx(state.best_score)


def test_it_stops_when_patience_is_at_its_end_and_a_finished_one_is_not_trained_again(
    tiny_roberta: Path, tmp_path: Path
) -> None:
    state = trained(tmp_path / "fit", tiny_roberta, epochs=30, patience=2)
    scores = [row["validation_weighted_f1"] for row in state.history]
    assert len(scores) == state.best_epoch + 2 < 30
    assert max(scores) == scores[-3] > constant()
    said: list[str] = []
    assert asdict(trained(tmp_path / "fit", tiny_roberta, said, epochs=30)) == asdict(state)
    assert said == []
    assert json.loads((tmp_path / "fit" / "fit.json").read_text())["best_epoch"] == state.best_epoch


def constant() -> float:
    """Weighted F1 on validation of the most frequent class."""
    labels = lines(20, 1).labels
    return 100 * float(f1_score(labels, [max(set(labels), key=labels.count)] * 20, average="weighted", zero_division=0))


def test_patience_does_not_count_before_the_encoder_is_better_than_a_constant_prediction(
    tiny_roberta: Path, tmp_path: Path
) -> None:
    state = trained(tmp_path / "fit", tiny_roberta, epochs=5, patience=1, learning_rate=1e-9)
    assert [row["validation_weighted_f1"] for row in state.history] == pytest.approx([constant()] * 5)


def test_what_is_left_is_a_folder_that_transformers_and_the_extractor_read(tiny_roberta: Path, tmp_path: Path) -> None:
    trained(tmp_path / "fit", tiny_roberta)
    files = {path.name for path in (tmp_path / "fit").iterdir()}
    assert {"config.json", "model.safetensors", "head.safetensors", "tokenizer.json", "fit.json"} <= files
    assert not [name for name in files if name.endswith((".pt", ".bin", ".half"))]
    before = TextExtractor(text_settings(tiny_roberta), Path())
    after = TextExtractor(text_settings(tmp_path / "fit"), Path())
    assert before.encoder.tokens(alone(["No."])) == after.encoder.tokens(alone(["No."]))
    assert not torch.allclose(before.encoder.encode(["No."]), after.encoder.encode(["No."]))
    assert str(tmp_path) not in (tmp_path / "fit" / "config.json").read_text()


def test_a_sentence_encoder_keeps_its_way_of_pooling(tmp_path: Path) -> None:
    copy_settings(encoder_folder("minilm"), tmp_path)
    assert own_pooling(tmp_path) == "mean"
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_rate_that_is_too_high_is_named(tiny_roberta: Path, tmp_path: Path) -> None:
    with pytest.raises(ExtractorError, match="lower `learning_rate` of text's `recipe`"):
        trained(tmp_path / "fit", tiny_roberta, learning_rate=1e30)
    assert not (tmp_path / "fit" / "fit.json").exists()


def test_a_cpu_computes_in_bfloat16_where_it_is_asked_for(tiny_roberta: Path) -> None:
    tokens, found = Encoder(tiny_roberta, text_settings(tiny_roberta), CPU).tokens(alone(["No.", "Oh."])), {}
    for precision in ("auto", "float32", "bfloat16"):
        encoder = Encoder(tiny_roberta, text_settings(tiny_roberta), CPU, recipe(precision=precision))
        found[precision] = encoder.vectors_of(tokens)
    assert found["auto"].tobytes() == found["float32"].tobytes()
    apart = abs(found["bfloat16"] - found["float32"]).max()
    assert 1e-4 < apart < 0.1  # 8 bits of a value of about 1


def test_the_recipes_dropout_is_the_encoders_but_for_attention(tiny_roberta: Path) -> None:
    network = Encoder(tiny_roberta, text_settings(tiny_roberta), CPU, recipe(dropout=0.7)).network
    found = {name: part.p for name, part in network.named_modules() if isinstance(part, torch.nn.Dropout)}
    assert found["embeddings.dropout"] == 0.7
    assert {p for name, p in found.items() if ".attention.self." not in name} == {0.7}
    assert {p for name, p in found.items() if ".attention.self." in name} == {0.1}


def test_training_drops_out_in_every_epoch_in_the_encoder_too(
    tiny_roberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, bool]] = []
    forward = torch.nn.Dropout.forward

    def watched(part: torch.nn.Dropout, values: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            seen.append((part.p, part.training))
        return forward(part, values)

    monkeypatch.setattr(torch.nn.Dropout, "forward", watched)
    state = trained(tmp_path / "fit", tiny_roberta, dropout=0.6, learning_rate=1e-12)
    assert set(seen) == {(0.6, True)}
    losses = [row["loss"] for row in state.history]
    assert abs(losses[1] - losses[2]) > 1e-4  # what drops out is drawn anew


def test_weights_decay_as_the_recipe_says(tiny_roberta: Path, tmp_path: Path) -> None:
    def norm(weight_decay: float) -> float:
        folder = tmp_path / str(weight_decay)
        trained(folder, tiny_roberta, epochs=1, weight_decay=weight_decay, learning_rate=1e-2)
        return float(load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"].norm())

    assert norm(20.0) < 0.8 * norm(0.0)


def test_training_is_of_the_last_layer_whatever_features_are_made_of(tiny_roberta: Path, tmp_path: Path) -> None:
    made = []
    for layers in ("last", "last4"):
        settings, folder = text_settings(tiny_roberta, layers=layers), tmp_path / layers
        train(tiny_roberta, settings, recipe(epochs=1), lines(16, 0), lines(8, 1), 2, CPU, folder, say=lambda _: None)
        made.append((folder / "model.safetensors").read_bytes())
        shares = probabilities(load(folder, settings, CPU), lines(8, 1).windows)
        made.append(shares.numpy().tobytes())
    assert made[:2] == made[2:]


# ---- with the turns around ----


def replies(number: int, seed: int) -> Labelled:
    """Equal words, whose label is told by the turn before them alone."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(2, size=number).tolist()
    windows = [Window("Oh.", "B:", (f"A: {' '.join(draw.choice(list(('abc', 'xyz')[kind]), 4))}",)) for kind in labels]
    return Labelled(windows, labels)


def test_what_only_the_turn_before_tells_is_learnt(tiny_roberta: Path, tmp_path: Path) -> None:
    scores = {}
    for past in (0, 1):
        settings, folder = text_settings(tiny_roberta, context=ContextSettings(past=past)), tmp_path / str(past)
        chosen = recipe(epochs=4, patience=4, accumulation=1, dropout=0.0)
        state = train(tiny_roberta, settings, chosen, replies(80, 0), replies(20, 1), 2, CPU, folder, say=len)
        scores[past] = state.best_score
        shares = probabilities(load(folder, settings, CPU), replies(20, 1).windows)
        found = f1_score(replies(20, 1).labels, shares.argmax(1), average="weighted", zero_division=0)
        assert 100 * found == pytest.approx(state.best_score)
    assert scores[0] < 70  # all texts are equal
    assert scores[1] == 100


# ---- adapters ----

ADAPTED = {"adapters": 2, "learning_rate": 2e-2}


def test_adapters_are_trained_and_kept_and_the_published_weights_are_not(tiny_roberta: Path, tmp_path: Path) -> None:
    state = trained(tmp_path / "fit", tiny_roberta, epochs=8, patience=8, dropout=0.0, **ADAPTED)
    assert state.best_score > 80
    files = {file.name for file in (tmp_path / "fit").iterdir()}
    assert {"adapters.safetensors", "adapters.json", "head.safetensors", "config.json", "tokenizer.json"} <= files
    assert "model.safetensors" not in files
    kept = load_file(tmp_path / "fit" / "adapters.safetensors")
    layers = 4 * 6  # query, key, value, the output of attention, and two of the feed-forward network
    assert len(kept) == 2 * layers
    widths = (32 + 32) * 4 + (32 + 64) * 2
    assert sum(value.numel() for value in kept.values()) == 2 * 4 * widths


def test_merged_adapters_are_the_published_weights_with_the_sums(tiny_roberta: Path, tmp_path: Path) -> None:
    trained(tmp_path / "fit", tiny_roberta, epochs=2, dropout=0.0, **ADAPTED)
    settings = text_settings(tiny_roberta)
    found = Encoder(tmp_path / "fit", settings, CPU).network.state_dict()
    expected = load_file(tiny_roberta / "model.safetensors")
    kept = load_file(tmp_path / "fit" / "adapters.safetensors")
    for name, down in kept.items():
        if "lora_A" in name:
            layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            up = kept[name.replace("lora_A", "lora_B")]
            assert up.abs().max() > 0
            expected[f"{layer}.weight"] += 2 * up @ down
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, atol=1e-6, rtol=1e-5)
    shares = probabilities(load(tmp_path / "fit", settings, CPU), lines(20, 1).windows)
    best = json.loads((tmp_path / "fit" / "fit.json").read_text())["best_score"]
    again = 100 * f1_score(lines(20, 1).labels, shares.argmax(1), average="weighted", zero_division=0)
    assert again == pytest.approx(best)


def test_adapters_that_were_killed_go_on_to_the_same_bytes(tiny_roberta: Path, tmp_path: Path) -> None:
    trained(tmp_path / "whole", tiny_roberta, **ADAPTED)

    def killed(line: str) -> None:
        raise KeyboardInterrupt

    settings, chosen = text_settings(tiny_roberta), recipe(**ADAPTED)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_roberta, settings, chosen, lines(40, 0), lines(20, 1), 2, CPU, tmp_path / "fit", 0.0, killed)
    state = torch.load(tmp_path / "fit" / "state.pt", weights_only=False)
    assert not [name for name in state["classifier"] if "lora" not in name and not name.startswith("head")]
    trained(tmp_path / "fit", tiny_roberta, **ADAPTED)
    for file in (tmp_path / "whole").iterdir():
        assert (tmp_path / "fit" / file.name).read_bytes() == file.read_bytes()


def test_other_adapters_are_another_encoder_of_another_name(tiny_roberta: Path, tmp_path: Path) -> None:
    trained(tmp_path / "fit", tiny_roberta, epochs=1, **ADAPTED)
    before = checksum(tmp_path / "fit")
    file = tmp_path / "fit" / "adapters.safetensors"
    save_file({name: value + 1 for name, value in load_file(file).items()}, file)
    assert checksum(tmp_path / "fit") != before


def test_adapters_of_another_encoder_are_refused(tiny_roberta: Path, tmp_path: Path) -> None:
    trained(tmp_path / "fit", tiny_roberta, epochs=1, **ADAPTED)
    other = write_roberta(tmp_path / "other", seed=1)
    with pytest.raises(ExtractorError, match=r"fit: has adapters of another encoder than .*other' \(its checksum"):
        Encoder(tmp_path / "fit", text_settings(other), CPU)
    card = tmp_path / "fit" / "adapters.json"
    for written in ("{", "[]", '{"rank": 0, "published": ""}', '{"rank": "2", "published": ""}', '{"rank": 9999999}'):
        card.write_text(written)
        with pytest.raises(ExtractorError, match=r"adapters.json: cannot be understood"):
            Encoder(tmp_path / "fit", text_settings(tiny_roberta), CPU)
    card.write_text(json.dumps({"rank": 3, "published": checksum(tiny_roberta)}))
    with pytest.raises(ExtractorError, match=r"these adapters cannot be used \(they are those of another encoder"):
        Encoder(tmp_path / "fit", text_settings(tiny_roberta), CPU)


@pytest.mark.parametrize("content", [b"", b"no tensors", None])
def test_broken_adapters_are_refused(content: bytes | None, tiny_roberta: Path, tmp_path: Path) -> None:
    trained(tmp_path / "fit", tiny_roberta, epochs=1, **ADAPTED)
    file = tmp_path / "fit" / "adapters.safetensors"
    if content is None:
        save_file({name: value * torch.nan for name, value in load_file(file).items()}, file)
    else:
        file.write_bytes(content)
    with pytest.raises(ExtractorError, match=r"adapters.safetensors: these adapters cannot be used"):
        Encoder(tmp_path / "fit", text_settings(tiny_roberta), CPU)
