"""Reduction of features: what is kept, on what it is fitted, and that a change of it extracts nothing."""

import logging
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from extractors.audio import reduction
from extractors.audio.reduction import cached_fit, fit
from extractors.cache import WorkCache
from extractors.extraction import reduced
from extractors.features import Features, read_features
from extractors.settings import AudioSettings
from extractors.utterance import Utterance
from foundation.errors import UserError
from foundation.standardisation import LIMIT
from pipeline import extract, index, raw
from pipeline.params import load_params
from tests.conftest import in_this_process, write_clip

PROJECT = Path(__file__).parents[2]


def hidden(number: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Values [N, 40] of which columns 3, 17 and 30 tell the label; the scales are wild and one column is constant."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(3, size=number)
    values = draw.normal(size=(number, 40))
    for place, column in enumerate((3, 17, 30)):
        values[:, column] += 4 * (labels == place)
    values *= 10.0 ** (np.arange(40) % 9)
    values[:, 5] = 7.0
    return values.astype(np.float32), [str(label) for label in labels]


def test_svm_keeps_the_columns_that_tell_the_labels_apart() -> None:
    values, labels = hidden(300)
    fitted = fit(values, labels, "svm", 3)
    assert fitted.tensors["columns"].tolist() == [3, 17, 30]
    kept = fitted(values)
    assert kept.shape == (300, 3)
    expected = (values[:, 17] - values[:, 17].mean(dtype=float)) / values[:, 17].std(dtype=float)
    np.testing.assert_allclose(kept[:, 1], expected, atol=1e-4)
    two = ["a" if label == "0" else "b" for label in labels]
    assert fit(values, two, "svm", 1).tensors["columns"].tolist() == [3]


def test_svm_listens_to_every_class() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(3, size=300)
    values = draw.normal(size=(300, 12)).astype(np.float32)
    values[:, 2] += 4 * (labels == 0)
    values[:, 5] += 1 * (labels == 0)
    values[:, 8] += 3 * (labels == 1) - 3 * (labels == 2)  # which says nothing of class 0
    assert fit(values, [str(label) for label in labels], "svm", 2).tensors["columns"].tolist() == [2, 8]


def test_a_sound_millions_of_deviations_away_does_not_take_a_component_for_itself() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=(400, 3))
    values[:, 2] = 0.3 * values[:, 1] + 0.95 * values[:, 2]
    values[7, 0] = 1e6  # the rest of this column is then next to nothing
    assert np.abs(fit(values.astype(np.float32), [], "pca", 2).tensors["components"][:, 0]).max() < 0.2


def test_pca_keeps_the_directions_of_most_variance_whatever_the_scales() -> None:
    draw = np.random.default_rng(0)
    values = (draw.normal(size=(200, 2)) @ draw.normal(size=(2, 40)) * 10.0 ** (np.arange(40) % 9)).astype(np.float32)
    fitted = fit(values, [], "pca", 2)
    components = fitted.tensors["components"]
    np.testing.assert_allclose(components @ components.T, np.eye(2), atol=1e-4)
    standardised = (values - fitted.tensors["mean"]) / fitted.tensors["deviation"]
    np.testing.assert_allclose(fitted(values) @ components, standardised, atol=1e-2)  # two directions tell it all


def test_a_column_is_divided_by_its_deviation_unless_it_is_as_good_as_constant() -> None:
    """The deviations of N values, half of them `middle - half`, half `middle + half`, is `half`."""
    halves = np.where(np.arange(4096) % 2, 1.0, -1.0)[:, None]
    middle = np.array([0.0, 8192.5, 7.0, 1e6, 0.0])
    half = np.array([0.5, 0.5, 0.0, 0.5, 1e-7])
    found = fit((middle + half * halves).astype(np.float32), [], "pca", 30)
    assert found.tensors["mean"].tolist() == pytest.approx(middle)
    # The third never varies; the fourth by less than a millionth of its size, which is what float32 can hold.
    assert found.tensors["deviation"].tolist() == pytest.approx([0.5, 0.5, 1.0, 1.0, 1e-7])
    assert found.tensors["components"].shape == (5, 5)  # no more than there are columns
    assert {part.dtype for part in found.tensors.values()} == {np.dtype(np.float32)}


def test_two_fits_have_the_same_bytes_also_where_the_components_are_found_by_drawing() -> None:
    values = np.random.default_rng(0).normal(size=(510, 60)).astype(np.float32)  # scikit-learn's randomised solver
    one, other = (fit(values, [], "pca", 2).tensors["components"] for _ in range(2))
    assert one.tobytes() == other.tobytes()


def test_svm_ranks_a_column_by_what_it_says_and_not_by_what_it_takes_away_from_another() -> None:
    # The first column is the label and a disturbance, the second the disturbance alone, the third tells a little.
    draw = np.random.default_rng(0)
    label = np.where(np.arange(60) % 2, 1.0, -1.0)
    disturbance = draw.normal(size=60)
    values = np.stack([label + 2 * disturbance, disturbance, 0.4 * label + draw.normal(size=60)], axis=1)
    labels = [str(one) for one in label]
    assert fit(values.astype(np.float32), labels, "svm", 2).tensors["columns"].tolist() == [0, 2]


def test_of_columns_that_say_nothing_the_first_are_kept() -> None:
    label = np.arange(60) % 2
    values = np.full((60, 100), 3.0, np.float32)
    values[:, 90] = label
    assert fit(values, [str(one) for one in label], "svm", 3).tensors["columns"].tolist() == [0, 1, 90]


@pytest.mark.parametrize("kind", ["pca", "svm"])
def test_what_was_fitted_before_is_found_again_and_nothing_else_is(
    kind: reduction.ReductionKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, labels = hidden(60)
    cache = WorkCache(tmp_path)
    first = cached_fit(values, labels, audio(kind, 3), cache)
    fitted: list[str] = []
    monkeypatch.setattr(reduction, "fit", lambda *given: fitted.append("") or fit(*given))
    again = cached_fit(values.copy(), list(labels), audio(kind, 3), cache)
    assert not fitted
    assert {name: part.tobytes() for name, part in again.tensors.items()} == {
        name: part.tobytes() for name, part in first.tensors.items()
    }
    np.testing.assert_array_equal(again(values), first(values))
    cached_fit(values, labels[::-1], audio(kind, 3), cache)
    assert len(fitted) == (kind == "svm")  # pca looks at no label
    cached_fit(values, labels, audio(kind, 2), cache)
    cached_fit(values[1:], labels[1:], audio(kind, 3), cache)
    assert len(fitted) == 2 + (kind == "svm")
    halves = labels[::2]
    cached_fit(values.reshape(30, 80), halves, audio(kind, 3), cache)  # the same bytes in other rows
    assert len(fitted) == 3 + (kind == "svm")


def test_a_value_millions_of_deviations_away_is_cut() -> None:
    values, labels = hidden(300)
    fitted = fit(values, labels, "svm", 3)
    assert np.abs(fitted(values * 1e6)).max() == LIMIT


def rows_of(labels: list[str], train: int) -> list[Utterance]:
    return [
        Utterance(utterance_id=str(place), dialogue_id="d", turn=place, speaker=0, text="", label=label,
                  split="train" if place < train else "test")
        for place, label in enumerate(labels)
    ]  # fmt: skip


def audio(reduce: str, dim: int) -> AudioSettings:
    return AudioSettings.model_validate({"set": "IS10", "min_seconds": 0.25, "reduce": reduce, "dim": dim})


def test_more_columns_than_train_allows_are_capped_and_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    values, labels = hidden(20)
    features = Features(values, np.ones(20, bool), {})
    with caplog.at_level(logging.INFO, "cmath"):
        assert reduced(features, rows_of(labels, 12), audio("pca", 30)).values.shape == (20, 11)
    assert "fewer than the 30 columns of params.yaml" in caplog.text
    assert reduced(features, rows_of(labels, 12), audio("svm", 30)).values.shape == (20, 30)
    assert reduced(features, rows_of(labels, 12), audio("none", 30)) is features
    assert reduced(features, rows_of(labels, 1), audio("pca", 30)) is features
    with pytest.raises(UserError, match="train knows only the label x"):
        reduced(features, rows_of(["x"] * 20, 12), audio("svm", 3))


def test_a_missing_modality_stays_zero_and_teaches_nothing() -> None:
    values, labels = hidden(60)
    present = np.arange(60) % 4 > 0
    values[~present] = 0
    found = reduced(Features(values, present, {}), rows_of(labels, 50), audio("svm", 3))
    assert not found.values[~present].any()
    assert found.identity["reduction"] == [reduction.VERSION, "svm", 3, 40]  # a bundle is refused by its version
    expected = fit(values[:50][present[:50]], [label for label, there in zip(labels, present, strict=True) if there][
        : int(present[:50].sum())], "svm", 3)  # fmt: skip
    for name, tensor in expected.tensors.items():
        np.testing.assert_array_equal(found.reduction[name], tensor)


@pytest.mark.slow
def test_a_change_of_reduction_extracts_nothing_and_stands_in_the_file(
    tmp_path: Path, meld: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = meld()
    for number, clip in enumerate(sorted(folder.rglob("*.mp4"))):  # no two the same
        write_clip(clip, 0.3 + 0.05 * number)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("extractors.clips.spread", in_this_process)
    content = YAML(typ="safe").load((PROJECT / "params.yaml").read_text())
    content["index"]["meld"]["raw"] = str(folder)
    file = tmp_path / "data/meld/features/audio.safetensors"

    def extracted(**changes: object) -> dict[str, np.ndarray]:
        content["audio"]["meld"] |= {"set": "eGeMAPSv02", **changes}
        with (tmp_path / "params.yaml").open("w") as stream:
            YAML(typ="safe").dump(content, stream)
        params = load_params()
        if not (tmp_path / "data").exists():
            raw.run(Namespace(corpus="meld"), params)
            index.run(Namespace(corpus="meld"), params)
        with caplog.at_level(logging.INFO, "cmath"):
            extract.run(extract.arguments().parse_args(["meld", "audio"]), params)
        return {name: value.copy() for name, value in load_file(file).items()}  # the file is written over

    whole = extracted(reduce="none", dim=5)
    assert whole["features"].shape == (9, 88)
    assert "audio: 9 to extract, 0 from the work cache" in caplog.text
    narrow = extracted(reduce="svm", dim=5)
    assert "audio: 0 to extract, 9 from the work cache" in caplog.text
    columns = narrow["reduction.columns"]
    standardised = (whole["features"] - narrow["reduction.mean"]) / narrow["reduction.deviation"]
    np.testing.assert_allclose(narrow["features"], np.clip(standardised, -LIMIT, LIMIT)[:, columns], atol=1e-5)
    assert read_features(file, 9).values.shape == (9, 5)
    assert extracted(reduce="pca", dim=2)["features"].shape == (9, 2)
    np.testing.assert_array_equal(extracted(reduce="none", dim=2)["features"], whole["features"])
