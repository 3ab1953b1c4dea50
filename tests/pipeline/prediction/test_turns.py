"""`context: past`: no turn sees a later one, and a dialogue can be told turn by turn."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.batching import Batch, Corpus
from model.interface import ErcModel
from model.registry import MODELS
from pipeline.params import Baselines
from pipeline.prediction.turns import Turns
from tests.model.dialogues import CLOSE, DIMS, collate, logits, random_corpus
from tests.model.networks import network

CAN = ["cmath", "sdt", "dialogue_rnn", "dialogue_gcn", "ctnet", "scmm", "cmcf_srnet", "multidag"]
OF_CMATH: list[dict[str, Any]] = [
    {}, {"kernel": 3}, {"kernel": 5, "gate": "sigmoid"}, {"ablate": "mr"}, {"ablate": "cma_t"},
]  # fmt: skip
FOLLOWING = [("cmath", change) for change in OF_CMATH] + [(name, {}) for name in CAN if name != "cmath"]

every_following = pytest.mark.parametrize(
    ("name", "change"), FOLLOWING, ids=["-".join([name, *map(str, change.values())]) for name, change in FOLLOWING]
)


def dialogue(turns: int, missing: float = 0.4, seed: int = 0) -> Corpus:
    """A corpus whose first dialogue of train has `turns` turns; nobody is heard in the first three of them."""
    corpus = random_corpus([turns], missing=missing, seed=seed)
    audio = corpus.present["audio"].clone()
    audio[:3] = False
    return replace(corpus, present={**corpus.present, "audio": audio})


def told(model: ErcModel, corpus: Corpus, turns: int) -> Iterator[Tensor]:
    """Logits [C] of each of the first turns of the first dialogue, told one after the other."""
    following = Turns(model)
    for place in range(turns):
        yield following.step(collate(corpus, [torch.tensor([place])]))[0]


def changed_from(corpus: Corpus, place: int) -> Corpus:
    """The corpus with other features, presence and speakers from the utterance `place` on."""
    features = {name: values.clone() for name, values in corpus.features.items()}
    present = {name: values.clone() for name, values in corpus.present.items()}
    for name in features:
        features[name][place:] = -2 * features[name][place:] + 1
        present[name][place:] = True
    speaker = corpus.speaker.clone()
    speaker[place:] = 2 - speaker[place:]
    return replace(corpus, features=features, present=present, speaker=speaker)


@every_following
def test_a_later_turn_changes_no_earlier_logits(name: str, change: dict[str, Any]) -> None:
    corpus, model = dialogue(7), network(name, context="past", **change)
    whole = corpus.dialogues["train"][0]
    before = logits(model, corpus, [whole])[0]
    for place in range(1, 7):
        after = logits(model, changed_from(corpus, place), [whole])[0]
        torch.testing.assert_close(after[:place], before[:place], **CLOSE)
        assert not torch.allclose(after[place], before[place], atol=1e-3)
        torch.testing.assert_close(logits(model, corpus, [whole[:place]])[0], before[:place], **CLOSE)


@every_following
def test_an_earlier_turn_is_still_context(name: str, change: dict[str, Any]) -> None:
    if change.get("ablate") == "cma_t":
        pytest.skip("without the transformer, no turn sees another one")
    corpus, model = dialogue(4, missing=0.0), network(name, context="past", **change)
    whole = corpus.dialogues["train"][0]
    features = {name: values.clone() for name, values in corpus.features.items()}
    for values in features.values():
        values[2] += 3.0
    before, after = (logits(model, some, [whole])[0] for some in (corpus, replace(corpus, features=features)))
    assert not torch.allclose(after[3], before[3], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in CAN if name != "multidag"])
def test_with_the_whole_dialogue_a_later_turn_does_change_earlier_logits(name: str) -> None:
    corpus, model = dialogue(6, missing=0.0), network(name)
    whole = corpus.dialogues["train"][0]
    before, after = (logits(model, some, [whole])[0] for some in (corpus, changed_from(corpus, 4)))
    assert not torch.allclose(after[3], before[3], atol=1e-6)


@every_following
def test_a_dialogue_told_turn_by_turn_has_the_logits_of_the_batch(name: str, change: dict[str, Any]) -> None:
    corpus, model = dialogue(9), network(name, context="past", **change)
    expected = logits(model, corpus, [corpus.dialogues["train"][0]])[0]
    torch.testing.assert_close(torch.stack(list(told(model, corpus, 9))), expected, **CLOSE)


@every_following
def test_what_was_said_of_a_turn_stays_to_the_bit(name: str, change: dict[str, Any]) -> None:
    corpus, model = dialogue(9), network(name, context="past", **change)
    first = list(told(model, corpus, 9))
    for place in (1, 4, 8):
        again = list(told(model, changed_from(corpus, place), 9))
        assert all(torch.equal(*pair) for pair in zip(first[:place], again[:place], strict=True))


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_of_whole_dialogues_is_told_the_dialogue_so_far(name: str) -> None:
    corpus, model = dialogue(4), network(name)
    whole = corpus.dialogues["train"][0]
    for place, found in enumerate(told(model, corpus, 4)):
        torch.testing.assert_close(found, logits(model, corpus, [whole[: place + 1]])[0][-1], **CLOSE)


def test_dialogues_grow_side_by_side() -> None:
    """A dialogue beside the same one without text: each as if it were alone."""
    corpus, model = dialogue(5), network("cmath", context="past")
    mute = replace(corpus, present={**corpus.present, "text": torch.zeros_like(corpus.present["text"])})
    both = Turns(model)
    for place, (one, other) in enumerate(zip(told(model, corpus, 5), told(model, mute, 5), strict=True)):
        turn = collate(corpus, [torch.tensor([place])])
        without = {**turn.present, "text": torch.zeros_like(turn.present["text"])}
        pair = Batch({name: values.repeat(2, 1, 1) for name, values in turn.features.items()},
                     {name: torch.cat([turn.present[name], without[name]]) for name in DIMS},
                     *(values.repeat(2, 1) for values in (turn.speaker, turn.mask, turn.label, turn.who)))  # fmt: skip
        torch.testing.assert_close(both.step(pair), torch.stack([one, other]), **CLOSE)


def test_a_turn_of_cmath_costs_the_turn_and_not_the_dialogue() -> None:
    """Of all layers, each sees the new turn alone; only the attention itself looks at the earlier ones."""
    corpus, model = dialogue(20), network("cmath", context="past", kernel=3)
    seen: list[int] = []
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.LayerNorm):
            layer.register_forward_hook(lambda _, given, __: seen.append(given[0].shape[-2]))
    list(told(model, corpus, 20))
    assert len(seen) > 20 * 50
    assert set(seen) == {1}


def test_the_models_that_can_follow_a_dialogue_are_those_that_say_so() -> None:
    for name, (_, form) in MODELS.items():
        says = Baselines.model_fields[name].annotation.can_follow  # type: ignore[union-attr]
        assert says == (name in CAN) == ("context" in form.model_fields)
