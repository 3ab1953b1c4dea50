"""What every model promises: a dialogue's prediction depends on itself alone, and no modality need be there."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.batching import NO_LABEL
from model.registry import MODELS
from tests.model.dialogues import CLOSE, DIMS, collate, logits, padded, random_corpus
from tests.model.networks import BASELINES, network

LENGTHS = st.lists(st.integers(1, 8), min_size=2, max_size=5)
FEW = settings(max_examples=12)

every_model = pytest.mark.parametrize("name", list(MODELS))
every_baseline = pytest.mark.parametrize("name", BASELINES)


@pytest.mark.slow
@every_model
@FEW
@given(lengths=LENGTHS, seed=st.integers(0, 100))
def test_a_dialogue_is_the_same_alone_and_in_any_company(name: str, lengths: list[int], seed: int) -> None:
    corpus, model = random_corpus(lengths, missing=0.4, seed=seed), network(name)
    dialogues = corpus.dialogues["train"]
    together = logits(model, corpus, dialogues)
    turned = logits(model, corpus, dialogues[::-1])[::-1]
    for place, dialogue in enumerate(dialogues):
        alone = logits(model, corpus, [dialogue])[0]
        torch.testing.assert_close(together[place], alone, **CLOSE)
        torch.testing.assert_close(turned[place], alone, **CLOSE)


@pytest.mark.slow
@every_model
@FEW
@given(lengths=LENGTHS, turns=st.integers(1, 9), seed=st.integers(0, 100))
def test_padding_reaches_no_logit_and_no_loss(name: str, lengths: list[int], turns: int, seed: int) -> None:
    corpus, model = random_corpus(lengths, seed=seed), network(name).eval()
    batch = collate(corpus, corpus.dialogues["train"])
    with torch.inference_mode():
        tight, loose = model(batch), model(padded(batch, turns))
    torch.testing.assert_close(loose.logits[:, : batch.mask.shape[1]][batch.mask], tight.logits[batch.mask], **CLOSE)
    assert tight.losses.keys() == model.loss_weights.keys()
    for term, value in tight.losses.items():
        torch.testing.assert_close(loose.losses[term], value, **CLOSE)


@every_model
def test_an_unlabelled_turn_is_context_and_enters_no_loss(name: str) -> None:
    """A dialogue without labels changes no term; of a labelled dialogue's turns, the unlabelled have no gradient."""
    corpus, model = random_corpus([3, 5, 4], missing=0.2), network(name).eval()
    first, second, third = corpus.dialogues["train"]
    label = corpus.label.clone()
    label[first] = NO_LABEL
    label[second[[1, 3]]] = NO_LABEL
    some = replace(corpus, label=label)
    weights = torch.tensor([0.5, 2.0, 1.0, 1.5])
    with_it, without = (model(collate(some, group), weights) for group in ([first, second, third], [second, third]))
    for term, value in without.losses.items():
        torch.testing.assert_close(with_it.losses[term], value, **CLOSE)
        assert torch.isfinite(value)
    output = model(collate(some, [second]), weights)
    output.logits.retain_grad()
    torch.stack(list(output.losses.values())).sum().backward()
    assert output.logits.grad is not None
    touched = output.logits.grad[0].abs().sum(1) > 0
    assert touched.tolist() == [True, False, True, False, True]
    context = collate(some, [second])
    context.features["text"][0, 1] += 5.0
    context.present["text"][0, 1] = True
    assert not torch.allclose(model(context).logits[0, 2:], output.logits[0, 2:], atol=1e-6)  # it is context
    nothing = model(collate(some, [first]), weights)
    assert all(torch.isfinite(value) for value in nothing.losses.values())


@every_baseline
@pytest.mark.parametrize("modality", list(DIMS))
def test_what_a_missing_modality_holds_is_never_read(name: str, modality: str) -> None:
    corpus, model = random_corpus([4, 6]), network(name)
    before = logits(model, corpus, corpus.dialogues["train"])
    rubbish = corpus.features[modality].clone()
    rubbish[~corpus.present[modality]] = 77.0
    changed = replace(corpus, features={**corpus.features, modality: rubbish})
    for one, two in zip(before, logits(model, changed, corpus.dialogues["train"]), strict=True):
        torch.testing.assert_close(one, two)


@every_baseline
def test_a_modality_that_goes_missing_changes_its_own_dialogue_alone(name: str) -> None:
    corpus, model = random_corpus([4, 6], missing=0.0), network(name)
    present = corpus.present["text"].clone()
    present[2] = False
    changed = replace(corpus, present={**corpus.present, "text": present})
    before, after = (logits(model, some, corpus.dialogues["train"]) for some in (corpus, changed))
    assert not torch.allclose(before[0], after[0])
    torch.testing.assert_close(before[1], after[1])


@every_baseline
@pytest.mark.parametrize("missing", [["text"], ["audio", "visual"], ["text", "audio", "visual"]], ids="+".join)
@pytest.mark.parametrize("lengths", [[1], [1, 5]], ids=str)
def test_dialogues_without_any_turn_of_a_modality_are_finite(name: str, missing: list[str], lengths: list[int]) -> None:
    corpus, model = random_corpus(lengths), network(name)
    present = {m: torch.zeros_like(v) if m in missing else v for m, v in corpus.present.items()}
    batch = collate(replace(corpus, present=present), corpus.dialogues["train"])
    output = model.train()(batch, torch.tensor([0.5, 2.0, 0.0, 1.5]))
    torch.stack(list(output.losses.values())).sum().backward()
    assert torch.isfinite(output.logits[batch.mask]).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@every_baseline
def test_every_parameter_learns(name: str) -> None:
    corpus, model = random_corpus([5, 7, 3], missing=0.1), network(name)
    output = model.train()(collate(corpus, corpus.dialogues["train"]))
    torch.stack([model.loss_weights[term] * value for term, value in output.losses.items()]).sum().backward()
    assert not [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]


@every_baseline
@pytest.mark.parametrize(
    "modalities",
    [["text"], ["audio"], ["visual"], ["text", "audio"], ["text", "visual"], ["audio", "visual"]],
    ids="+".join,
)
def test_every_set_of_modalities_works(name: str, modalities: list[str]) -> None:
    corpus = random_corpus([1, 3, 5])
    some = replace(
        corpus,
        features={m: corpus.features[m] for m in modalities},
        present={m: corpus.present[m] for m in modalities},
    )
    model = network(name, dims={m: DIMS[m] for m in modalities})
    model.train()(collate(some, some.dialogues["train"]))
    for values in logits(model, some, some.dialogues["train"]):
        assert torch.isfinite(values).all()


@every_baseline
@pytest.mark.parametrize("speakers", [1, 9])
def test_one_speaker_or_nine(name: str, speakers: int) -> None:
    corpus, model = random_corpus([1, 12, 4], speakers=speakers), network(name, speakers=speakers)
    for values in logits(model, corpus, corpus.dialogues["train"]):
        assert torch.isfinite(values).all()


@every_baseline
def test_the_representation_is_what_the_logits_are_made_of(name: str) -> None:
    corpus, model = random_corpus([3, 5]), network(name).eval()
    batch = collate(corpus, corpus.dialogues["train"])
    output = model(batch)
    assert output.representation.shape[:2] == output.logits.shape[:2]
    last = model.fused_classifier if name == "sdt" else model.classifier
    torch.testing.assert_close(last(output.representation), output.logits)


@every_model
def test_every_epoch_trains_on_all_of_train_but_for_multidags_curriculum(name: str) -> None:
    corpus, model = random_corpus([3, 5, 2, 4]), network(name)
    assert model.curriculum == (3 if name == "multidag" else 1)
    for epoch in (model.curriculum, 7):
        firsts = sorted(int(dialogue[0]) for dialogue in model.curriculum_subset(corpus, epoch))
        assert firsts == [int(dialogue[0]) for dialogue in corpus.dialogues["train"]]
