"""The models that no public code defines: what our interpretation of them promises."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.baselines.scmm import Router, Scmm
from model.batching import Corpus
from model.interface import ErcModel
from model.registry import MODELS
from tests.model.dialogues import collate, random_corpus
from tests.model.networks import network


def test_the_models_say_whether_they_are_a_reimplementation() -> None:
    assert {name for name, (model, _) in MODELS.items() if model.reimplementation} == {
        "ctnet",
        "scmm",
        "cmcf_srnet",
        "adaign",
    }


def test_a_router_takes_each_utterances_likeliest_path_in_evaluation() -> None:
    torch.manual_seed(0)
    router = Router(6, 0.0).eval()
    values, real, counted = 5 * torch.randn(2, 1, 60, 6), torch.arange(60), torch.ones(60, dtype=torch.bool)
    there = torch.ones(2, 1, 60, dtype=torch.bool)
    paths = [torch.full((1, 60, 6), float(k)) for k in range(3)]
    chosen, _ = router(values, there, real, counted, paths, 1.0)
    expected = router.score(values.mean(0)).argmax(-1).float()
    assert torch.equal(chosen[..., 0], expected)
    assert len(expected.unique()) > 1


def test_the_balance_is_zero_only_where_all_paths_are_equally_likely() -> None:
    router, counted = Router(6, 0.0), torch.ones(4, dtype=torch.bool)
    paths = [torch.zeros(1, 4, 6)] * 3
    there = torch.ones(2, 1, 4, dtype=torch.bool)
    arguments = (torch.randn(2, 1, 4, 6), there, torch.arange(4), counted, paths, 1.0)
    with torch.no_grad():
        router.score[-1].weight.zero_()
        router.score[-1].bias.zero_()
        assert router(*arguments)[1].item() == pytest.approx(0.0, abs=1e-6)
        router.score[-1].bias[0] = 20.0
        assert router(*arguments)[1].item() == pytest.approx(torch.tensor(3.0).log().item(), rel=1e-4)


def test_scmms_temperature_falls_to_a_half() -> None:
    model = network("scmm")
    assert isinstance(model, Scmm)
    found = []
    for epoch in (1, 2, 200):
        model.begin_epoch(epoch)
        found.append(model.temperature)
    assert found == [1.0, pytest.approx(0.97), 0.5]


def change(model: ErcModel, corpus: Corpus, modality: str, turn: int, watch: torch.nn.Module) -> Tensor:
    """Which turns of `watch`'s output [1, T, d] change with one turn's features."""
    features = corpus.features[modality].clone()
    features[turn] += 1.0
    seen: list[Tensor] = []
    handle = watch.register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
    for some in (corpus, replace(corpus, features={**corpus.features, modality: features})):
        model.eval()(collate(some, some.dialogues["train"]))
    handle.remove()
    return (seen[0] != seen[1]).any(-1)[0]


def test_cmcf_srnets_cross_modal_attention_is_local_and_its_graph_reaches_further() -> None:
    corpus, model = random_corpus([12], missing=0.0), network("cmcf_srnet", local_window=2, graph_window=3)
    fused = change(model, corpus, "audio", 5, model.fuse)
    assert fused.nonzero().flatten().tolist() == [3, 4, 5, 6, 7]
    refined = change(model, corpus, "audio", 5, model.refine)
    assert refined.all()  # 2 + 3 turns by the convolution, 3 more by the transformer


def test_scmms_short_path_sees_its_neighbours_alone() -> None:
    corpus, model = random_corpus([9], missing=0.0), network("scmm", layers=1, window=2)
    # The modalities are rows of one batch: the first is text, whose features change.
    assert change(model, corpus, "text", 4, model.long[0]).all()
    short = change(model, corpus, "text", 4, model.short[0])
    assert short.nonzero().flatten().tolist() == [2, 3, 4, 5, 6]


def test_ctnets_cross_modal_part_takes_nothing_from_a_modality_that_is_missing() -> None:
    corpus, model = random_corpus([4], missing=0.0), network("ctnet")
    present = {**corpus.present, "audio": torch.zeros_like(corpus.present["audio"])}
    silent = replace(corpus, present=present)
    seen: list[tuple[Tensor, ...]] = []
    model.cross["text"].register_forward_hook(lambda _m, inputs, out: seen.append((inputs[0]["text"], out)))
    with torch.no_grad():
        model.cross["text"].take["visual"].value.weight.zero_()
        model.cross["text"].take["visual"].value.bias.zero_()
        model.eval()(collate(silent, silent.dialogues["train"]))
    torch.testing.assert_close(seen[0][1], model.cross["text"].norm(seen[0][0]))
