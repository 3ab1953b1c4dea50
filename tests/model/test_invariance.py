"""What a dialogue's prediction may depend on: itself, and nothing around it."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.cmath import Cmath, CmathConfig
from tests.model.dialogues import CLOSE, DIMS, collate, logits, padded, random_corpus
from tests.model.networks import AS_PRINTED

LENGTHS = st.lists(st.integers(1, 8), min_size=2, max_size=6)


def model(**changes: object) -> Cmath:
    torch.manual_seed(0)
    settings = {"dims": DIMS, "speakers": 3, "classes": 4, "dim": 20, "heads": 2}
    return Cmath(CmathConfig(**(AS_PRINTED | settings | changes))).eval()


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("ablate", ["none", "mr", "cma_t", "hd"])
@settings(max_examples=15)
@given(lengths=LENGTHS, seed=st.integers(0, 100))
def test_a_dialogue_is_the_same_alone_and_in_any_company(
    lengths: list[int], seed: int, kernel: int, ablate: str
) -> None:
    corpus, network = random_corpus(lengths, missing=0.4, seed=seed), model(kernel=kernel, ablate=ablate)
    dialogues = corpus.dialogues["train"]
    together = logits(network, corpus, dialogues)
    turned = logits(network, corpus, dialogues[::-1])[::-1]
    for place, dialogue in enumerate(dialogues):
        alone = logits(network, corpus, [dialogue])[0]
        torch.testing.assert_close(together[place], alone, **CLOSE)
        torch.testing.assert_close(turned[place], alone, **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@settings(max_examples=15)
@given(lengths=LENGTHS, turns=st.integers(1, 9), kernel=st.sampled_from([1, 3]))
def test_padding_reaches_no_logit_and_no_loss(lengths: list[int], turns: int, kernel: int, reduction: str) -> None:
    corpus, network = random_corpus(lengths), model(kernel=kernel, reduction=reduction)
    batch = collate(corpus, corpus.dialogues["train"])
    with torch.inference_mode():
        tight, loose = network(batch), network(padded(batch, turns))
    torch.testing.assert_close(loose.logits[:, : batch.mask.shape[1]][batch.mask], tight.logits[batch.mask], **CLOSE)
    for name, value in tight.losses.items():
        torch.testing.assert_close(loose.losses[name], value, **CLOSE)


@pytest.mark.parametrize("name", list(DIMS))
def test_what_a_missing_modality_holds_is_never_read(name: str) -> None:
    corpus, network = random_corpus([4, 6]), model()
    before = logits(network, corpus, corpus.dialogues["train"])
    rubbish = corpus.features[name].clone()
    rubbish[~corpus.present[name]] = 77.0
    changed = replace(corpus, features={**corpus.features, name: rubbish})
    for one, two in zip(before, logits(network, changed, corpus.dialogues["train"]), strict=True):
        torch.testing.assert_close(one, two)


def test_a_modality_that_goes_missing_changes_its_own_dialogue_alone() -> None:
    corpus, network = random_corpus([4, 6], missing=0.0), model()
    present = corpus.present["audio"].clone()
    present[2] = False
    changed = replace(corpus, present={**corpus.present, "audio": present})
    before, after = (logits(network, some, corpus.dialogues["train"]) for some in (corpus, changed))
    assert not torch.allclose(before[0], after[0])
    torch.testing.assert_close(before[1], after[1])


@pytest.mark.parametrize("missing", [["audio"], ["audio", "visual"], ["text", "audio", "visual"]])
def test_dialogues_without_any_turn_of_a_modality_are_finite(missing: list[str]) -> None:
    corpus, network = random_corpus([1, 5]), model()
    present = {name: torch.zeros_like(v) if name in missing else v for name, v in corpus.present.items()}
    batch = collate(replace(corpus, present=present), corpus.dialogues["train"])
    output = network.train()(batch)
    total = torch.stack(list(output.losses.values())).sum()
    total.backward()
    assert torch.isfinite(output.logits[batch.mask]).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    "names",
    [["text"], ["audio"], ["visual"], ["text", "audio"], ["text", "visual"], ["audio", "visual"], list(DIMS)],
    ids="+".join,
)
@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
def test_every_set_of_modalities_of_table_5_works(names: list[str], gate: str) -> None:
    corpus = random_corpus([1, 3, 5])
    some = replace(
        corpus, features={n: corpus.features[n] for n in names}, present={n: corpus.present[n] for n in names}
    )
    network = model(dims={name: DIMS[name] for name in names}, gate=gate)
    for values in logits(network, some, some.dialogues["train"]):
        assert torch.isfinite(values).all()
