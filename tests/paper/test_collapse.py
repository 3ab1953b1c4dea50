"""What docs/distillation.md says of the printed form: with sums it ends in one class for all, with means it learns."""

import numpy as np
import pytest
import torch

from foundation.torch_setup import prepare_torch
from model.training import positions
from paper import collapse
from paper.collapse import FORMS, Form, configured, separable, trained
from pipeline.params import load_params
from tests.paper.small import PROJECT

PARAMS = load_params(PROJECT / "params.yaml")


def constant() -> float:
    """Weighted F1 of the most frequent class of validation, 2 s / (1 + s) of its share s, on that share."""
    corpus = separable()
    share = torch.bincount(corpus.label[positions(corpus, "validation")]).max() / len(positions(corpus, "validation"))
    return float(100 * share * 2 * share / (1 + share))


def test_the_printed_form_is_that_of_the_set_and_ours_that_of_the_parameters() -> None:
    config, settings = configured(FORMS[0], PARAMS)
    assert (config["reduction"], config["detach_teacher"], config["embedding_scale"]) == ("sum", False, 1.0)
    assert (config["feature_dropout"], config["gamma1"], config["dim"]) == (0.0, 1.0, 80)
    assert (settings.weight_decay, settings.ema_decay, settings.class_weights) == (0.0, 0.0, False)
    assert settings.patience == settings.epochs == 60
    config, settings = configured(FORMS[-1], PARAMS)
    assert (config["reduction"], config["gamma1"]) == (PARAMS.model.reduction, PARAMS.train["meld"].gamma1)
    assert settings.ema_decay == PARAMS.train["meld"].ema_decay
    others = {form.name: configured(form, PARAMS)[0] for form in FORMS[:-1]}
    changed = {name: {k for k in config if config[k] != others["as printed"][k]} for name, config in others.items()}
    assert changed == {
        "as printed": set(), "as printed, width 500": {"dim"}, "as printed, no dropout at all": {"dropout"},
        "as printed, teacher detached": {"detach_teacher"}, "as printed, no low-level distillation": {"gamma1"},
        "as printed, means for sums": {"reduction"},
    }  # fmt: skip


def test_the_corpus_is_one_that_the_nearest_mean_gets_right() -> None:
    corpus = separable()
    x = np.hstack([values.numpy() for values in corpus.features.values()])
    label, seen = corpus.label.numpy(), positions(corpus, "train").numpy()
    means = np.stack([x[seen][label[seen] == c].mean(axis=0) for c in range(collapse.CLASSES)])
    nearest = ((x[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (nearest == label).all()


@pytest.mark.slow
def test_with_sums_it_ends_in_a_constant_prediction_and_with_means_it_learns() -> None:
    prepare_torch(threads=1)
    printed, learns = (trained(Form("", 40, changes), PARAMS, seed=0) for changes in ({}, {"reduction": "mean"}))
    assert printed.history[-1]["validation_weighted_f1"] == pytest.approx(constant())
    assert printed.history[-1]["ce"] == pytest.approx(4 * np.log(6), rel=0.1)
    assert printed.history[-1]["mse"] < printed.history[0]["mse"] / 20
    assert learns.history[-1]["validation_weighted_f1"] == pytest.approx(100)
