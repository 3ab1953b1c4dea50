"""The feature file: deterministic bytes, and errors that name it."""

import resource
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from extractors.features import Features, FeaturesError, read_features, write_features
from foundation.disk import DiskError


def some() -> Features:
    return Features(np.arange(6, dtype=np.float32).reshape(3, 2), np.array([True, False, True]), {"b": 1, "a": "x"})


def test_the_file_has_the_names_and_types_of_the_contract(tmp_path: Path) -> None:
    write_features(some(), tmp_path / "text.safetensors")
    with safe_open(tmp_path / "text.safetensors", "np") as stored:
        assert sorted(stored.keys()) == ["features", "present"]
        assert stored.get_tensor("features").dtype == np.float32
        assert stored.get_tensor("present").dtype == bool
        assert "identity" in stored.metadata()


def test_a_matrix_that_lies_in_memory_by_columns_comes_back_as_it_was(tmp_path: Path) -> None:
    features = Features(np.asfortranarray(some().values), some().present, {}, {"columns": np.arange(6).reshape(3, 2).T})
    write_features(features, tmp_path / "audio.safetensors")
    np.testing.assert_array_equal(read_features(tmp_path / "audio.safetensors", 3).values, some().values)
    with safe_open(tmp_path / "audio.safetensors", "np") as stored:
        np.testing.assert_array_equal(stored.get_tensor("reduction.columns"), features.reduction["columns"])


def test_the_same_features_give_the_same_bytes(tmp_path: Path) -> None:
    write_features(some(), tmp_path / "one")
    write_features(Features(some().values, some().present, {"a": "x", "b": 1}), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    read = read_features(tmp_path / "one", 3)
    np.testing.assert_array_equal(read.values, some().values)
    assert read.identity == {"a": "x", "b": 1}


def test_unusable_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "audio.safetensors"
    with pytest.raises(FeaturesError, match="no such file"):
        read_features(file, 3)
    write_features(some(), file)
    with pytest.raises(FeaturesError, match=r"has 3 rows, and .* where the index has 4"):
        read_features(file, 4)
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(FeaturesError, match="is no feature file"):
        read_features(file, 3)


def test_values_that_are_not_finite_are_not_written_and_the_row_is_named(tmp_path: Path) -> None:
    values = some().values
    values[2, 1] = np.inf
    with pytest.raises(FeaturesError, match=r"1 utterances have values that are not finite, the first in row 3"):
        write_features(Features(values, some().present, {}), tmp_path / "audio.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": np.full((3, 2), np.nan, np.float32)}, "holds values that are not finite"),
        ({"features": np.zeros((3, 2), np.float64)}, "`features` is float64 of 2 dimensions"),
        ({"features": np.zeros(3, np.float32)}, "`features` is float32 of 1 dimensions"),
        ({"features": np.zeros((2, 2), np.float32)}, "has 2 rows, and says of 3 whether they are present"),
        ({"present": np.ones(2, bool)}, "has 3 rows, and says of 2 whether they are present"),
        ({"present": np.ones(3, np.uint8)}, "`present` is uint8 of 1 dimensions"),
        ({"present": None}, "is no feature file"),
        ({"identity": "[1]"}, "does not say what made it"),
        ({"identity": "{"}, "is no feature file"),
    ],
)
def test_a_feature_file_is_checked_as_a_whole(tmp_path: Path, changes: dict, words: str) -> None:
    file = tmp_path / "audio.safetensors"
    content = {"features": some().values, "present": some().present, "identity": "{}", **changes}
    tensors = {name: value for name, value in content.items() if name != "identity" and value is not None}
    save_file(tensors, file, metadata={"identity": content["identity"]})
    with pytest.raises(FeaturesError, match=rf"audio.safetensors: {words}") as refused:
        read_features(file, 3)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_written_is_said_and_leaves_no_half(tmp_path: Path) -> None:
    many = Features(np.zeros((1000, 100)), np.ones(1000, bool), {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # as a full disk would, the system refuses the rest
    try:
        with pytest.raises(
            DiskError, match=r"audio.safetensors: cannot be written, because the disk is full .*same command again"
        ):
            write_features(many, tmp_path / "audio.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []
