"""The work cache: what went in comes out, for its maker alone, and to several processes at once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.cache import CacheError, WorkCache, fingerprint, pack, unpack


def test_results_belong_to_their_maker(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    cache.put("one", {"a": b"1", "b": b"2"})
    assert cache.get("one", ["b", "c"]) == {"b": b"2"}
    assert cache.get("two", ["a"]) == {}


def test_results_outlive_the_process_and_are_found_in_large_numbers(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    cache.put("one", {str(number): b"x" for number in range(1234)})
    cache.close()
    assert len(WorkCache(tmp_path).get("one", map(str, range(1300)))) == 1234


def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    def write(part: int) -> None:
        cache = WorkCache(tmp_path)
        for number in range(50):
            cache.put("one", {f"{part}-{number}": b"x"})
        cache.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    keys = [f"{part}-{number}" for part in range(4) for number in range(50)]
    assert len(WorkCache(tmp_path).get("one", keys)) == 200


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.booleans())))
def test_a_fingerprint_does_not_depend_on_order_but_on_every_value(values: dict) -> None:
    assert fingerprint(values) == fingerprint(dict(reversed(values.items())))
    for key in values:
        assert fingerprint({**values, key: "another value than before"}) != fingerprint(values)


@given(st.lists(st.integers(0, 4), max_size=3), st.sampled_from(["<f4", "|u1", "<i8"]))
def test_arrays_survive_packing(shape: list[int], kind: str) -> None:
    array = np.arange(np.prod(shape, dtype=int)).astype(kind).reshape(shape)
    again = unpack(pack(array))
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="the work cache cannot be opened"):
        WorkCache(tmp_path / "file")
    (tmp_path / "work.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(CacheError, match=r"work\.sqlite"):
        WorkCache(tmp_path)
