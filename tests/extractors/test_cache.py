"""The work cache: what went in comes out, for its maker alone, and to several processes at once."""

import platform
import resource
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extractors.cache import CacheError, ShardCache, WorkCache, pack, unpack
from foundation.identity import fingerprint

PROJECT = Path(__file__).parents[2]


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


WRITER = """
import sys
from pathlib import Path
from extractors.cache import ShardCache, WorkCache
folder, part = Path(sys.argv[1]), sys.argv[2]
cache = ShardCache(folder, part) if part.startswith("shard") else WorkCache(folder)
name = cache.maker({"modality": "one"})
for number in range(50):
    cache.put(name, {f"{part}-{number}": b"x" * 5000})
cache.close()
"""


def test_several_processes_lose_nothing_with_and_without_logs_of_their_own(tmp_path: Path) -> None:
    parts = ("a", "b", "shard-c", "shard-d")
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), part], cwd=PROJECT) for part in parts]
    assert [writer.wait() for writer in writers] == [0] * 4
    keys = [f"{part}-{number}" for part in parts for number in range(50)]
    cache = WorkCache(tmp_path)
    assert len(cache.get(cache.maker({"modality": "one"}), keys)) == 200
    assert not list((tmp_path / "shards").iterdir())  # taken in


def test_a_shard_sees_what_was_there_before_and_others_see_what_it_adds(tmp_path: Path) -> None:
    before = WorkCache(tmp_path)
    one = before.maker({"modality": "one"})
    before.put(one, {"a": b"1"})
    before.close()
    shards = [ShardCache(tmp_path, f"{number}-of-2") for number in (1, 2)]
    shards[0].put(one, {"b": b"22", "c": b"", "d": b"4444"})
    shards[0].put("other", {"b": b"333"})
    assert shards[0].known(one, "abcd") == {"a", "b", "c", "d"}
    assert shards[0].get(one, "abcd") == {"a": b"1", "b": b"22", "c": b"", "d": b"4444"}
    assert shards[1].known(one, "abcd") == {"a"}  # what was there when it was opened
    late = ShardCache(tmp_path, "1-of-2")
    assert late.get(one, "abcd") == {"a": b"1", "b": b"22", "c": b"", "d": b"4444"}
    shards[1].put(shards[1].maker({"modality": "two"}), {"e": b"5"})
    for shard in (*shards, late):
        shard.close()
    after = WorkCache(tmp_path)
    assert after.get(one, "abcd") == {"a": b"1", "b": b"22", "c": b"", "d": b"4444"}
    assert after.get("other", "b") == {"b": b"333"}
    assert {made.identity.get("modality") for made in after.contents()} == {"one", "two", None}


def test_a_log_that_breaks_off_gives_its_whole_records_and_goes_on_being_read(tmp_path: Path) -> None:
    shard = ShardCache(tmp_path, "1-of-1")
    for key in "abc":
        shard.put("one", {key: key.encode() * 100})
    whole = shard.file.read_bytes()
    for kept in range(0, len(whole), 13):
        shard.file.write_bytes(whole[:kept])
        other = ShardCache(tmp_path, "other")
        number = kept * 3 // len(whole)
        assert other.known("one", "abc") == set("abc"[:number])
        other.close()
        cache = WorkCache(tmp_path)
        assert cache.get("one", "abc") == {key: key.encode() * 100 for key in "abc"[:number]}
        cache.close()
    shard.file.write_bytes(whole[:-1] + b"?")
    assert WorkCache(tmp_path).known("one", "abc") == set("ab")
    shard.file.write_bytes(whole + bytes(100))  # as a file system may leave a file that was growing
    assert WorkCache(tmp_path).known("one", "abc") == set("abc")
    assert shard.file.exists()  # it may still grow


def test_a_shard_leaves_a_database_alone_that_is_open(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    cache.put("one", {"a": b"1"})
    shard = ShardCache(tmp_path, "1-of-1")
    assert shard.in_use
    assert shard.known("one", "a") == set()
    cache.close()
    assert not ShardCache(tmp_path, "1-of-1").in_use


def test_a_shard_leaves_a_database_alone_that_is_being_made_or_written(tmp_path: Path) -> None:
    (tmp_path / "work.sqlite").touch()  # and has no table yet
    assert ShardCache(tmp_path, "1-of-1").in_use
    (tmp_path / "work.sqlite").unlink()
    cache = WorkCache(tmp_path)
    cache.put("one", {"a": b"1"})
    cache.close()
    (tmp_path / "work.sqlite-journal").touch()
    shard = ShardCache(tmp_path, "1-of-1")
    assert (shard.in_use, shard.get("one", "a")) == (True, {})


def test_a_closed_shard_leaves_a_closed_log_or_nothing(tmp_path: Path) -> None:
    used, unused = ShardCache(tmp_path, "1-of-2"), ShardCache(tmp_path, "2-of-2")
    assert used.file.name.startswith(f"1-of-2-{socket.gethostname()}-")
    assert {file.suffix for file in (tmp_path / "shards").iterdir()} == {".part"}
    used.put("one", {"a": b"1"})
    used.close()
    unused.close()
    assert [file.name for file in (tmp_path / "shards").iterdir()] == [used.file.with_suffix(".log").name]


def test_a_log_that_goes_while_it_is_looked_for_hides_no_other(tmp_path: Path) -> None:
    shard = ShardCache(tmp_path, "1-of-1")
    shard.put("one", {"a": b"1"})
    shard.close()
    (tmp_path / "shards/0.log").symlink_to("gone")
    other = ShardCache(tmp_path, "other")
    assert other.get("one", "a") == {"a": b"1"}
    other.close()
    assert WorkCache(tmp_path).get("one", "a") == {"a": b"1"}


def test_what_was_removed_does_not_come_back_out_of_a_log_that_is_still_open(tmp_path: Path) -> None:
    shard = ShardCache(tmp_path, "1-of-1")
    maker = shard.maker({"modality": "one"})
    shard.put(maker, {"a": b"1"})
    cache = WorkCache(tmp_path)
    cache.remove([maker])
    shard.put(maker, {"b": b"2"})
    assert WorkCache(tmp_path).get(maker, "ab") == {"b": b"2"}


def test_what_a_shard_writes_is_on_the_disk_at_once_or_it_says_that_there_is_no_room(tmp_path: Path) -> None:
    shard = ShardCache(tmp_path, "1-of-1")
    shard.put("one", {"a": bytes(1000)})
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
    try:
        with pytest.raises(CacheError, match=r"\.part: the work cache cannot be written \(the disk is full\).*--prune"):
            shard.put("one", {"b": bytes(5000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert WorkCache(tmp_path).get("one", "ab") == {"a": bytes(1000)}


def test_a_cache_that_cannot_be_read_is_named_with_the_remedy(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    with sqlite3.connect(cache.file) as database:
        database.execute("DROP TABLE result")
    with pytest.raises(
        CacheError,
        match=r"^work\.sqlite: the work cache cannot be read \(no such table.*\); if it is broken, delete it$",
    ):
        cache.get("one", "a")


def test_room_that_cannot_be_given_back_is_said(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    cache.put("one", {"a": b"1"})
    # VACUUM attaches the copy that it makes, as another database.
    cache._database.set_authorizer(
        lambda action, *_: sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK
    )
    said = r"work\.sqlite: entries were deleted, but their room was not given back \(.+\); say so again when no other"
    with pytest.raises(CacheError, match=said):
        cache.remove(["one"])
    assert cache.known("one", "a") == set()


def test_makers_are_listed_by_the_room_that_they_take(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    for name, size in (("b", 5), ("a", 9), ("c", 7)):
        cache.put(name, {"key": bytes(size)})
    assert [made.fingerprint for made in cache.contents()] == ["a", "c", "b"]


def test_a_full_disk_is_said_and_what_was_kept_before_is_safe(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    cache.put("one", {"a": b"1"})
    cache._database.execute("PRAGMA max_page_count = 10")
    with pytest.raises(CacheError, match=r"work\.sqlite: the .*\(database or disk is full\); what was kept before is "
                       r"safe, and the same command goes on from there\. Make room .*CMATH_CACHE"):  # fmt: skip
        cache.put("one", {"b": b"2", "c": bytes(100_000)})
    assert cache.known("one", "abc") == {"a"}


def test_the_cache_can_say_what_it_has_and_forget_it(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    small, large = (cache.maker({"modality": name}) for name in ("small", "large"))
    cache.put(small, {"a": b"1"})
    cache.put(large, {str(number): bytes(1000) for number in range(1000)})
    cache.put("unknown", {"b": b"22"})
    said = {made.fingerprint: made for made in cache.contents()}
    assert [(said[name].entries, said[name].bytes_) for name in (small, large, "unknown")] == [
        (1, 1), (1000, 1_000_000), (1, 2),
    ]  # fmt: skip
    assert said[large].identity == {"modality": "large", "processor": platform.machine()}
    assert said["unknown"].identity == {}
    cache.remove([large])
    assert [made.fingerprint for made in cache.contents()] == ["unknown", small]
    assert cache.file.stat().st_size < 100_000
    assert sqlite3.connect(cache.file).execute("PRAGMA integrity_check").fetchone() == ("ok",)


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
    (tmp_path / "work.sqlite").mkdir()
    with pytest.raises(CacheError, match=r"work\.sqlite"):
        WorkCache(tmp_path)


@pytest.mark.parametrize("flipped", range(0, 64, 7))
def test_a_value_that_changed_on_the_disk_is_removed_and_said(tmp_path: Path, flipped: int) -> None:
    cache = WorkCache(tmp_path)
    cache.put("one", {"a": bytes(8), "b": b"whole"})
    value = bytearray(8)
    value[flipped // 8] ^= 1 << flipped % 8
    with sqlite3.connect(tmp_path / "work.sqlite") as database:
        database.execute("UPDATE result SET value = ? WHERE key = 'a'", [bytes(value)])
    with pytest.raises(CacheError, match=r"work\.sqlite: 1 results had changed .* the same command makes them anew"):
        cache.get("one", ["a", "b"])
    assert cache.known("one", ["a", "b"]) == {"b"}
    assert cache.get("one", ["a", "b"]) == {"b": b"whole"}


def test_a_shard_refuses_a_value_that_changed_on_the_disk(tmp_path: Path) -> None:
    cache = WorkCache(tmp_path)
    cache.put("one", {"a": b"1"})
    cache.close()
    with sqlite3.connect(tmp_path / "work.sqlite") as database:
        database.execute("UPDATE result SET value = X'32' WHERE key = 'a'")
    database.close()
    shard = ShardCache(tmp_path, "1-of-1")
    with pytest.raises(CacheError, match="1 results have changed since they were written"):
        shard.get("one", ["a"])


def test_values_out_of_a_log_have_a_checksum_too(tmp_path: Path) -> None:
    shard = ShardCache(tmp_path, "1-of-1")
    shard.put("one", {"a": b"1"})
    shard.close()
    cache = WorkCache(tmp_path)
    assert cache.get("one", ["a"]) == {"a": b"1"}
    with sqlite3.connect(tmp_path / "work.sqlite") as database:
        database.execute("UPDATE result SET value = X'32' WHERE key = 'a'")
    with pytest.raises(CacheError, match="1 results had changed"):
        cache.get("one", ["a"])


@pytest.mark.parametrize("content", [b"no database at all, but text", b"SQLite format 3\x00" + bytes(200)])
def test_a_file_that_is_no_database_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "work.sqlite").write_bytes(content)
    cache = WorkCache(tmp_path)
    cache.put("one", {"a": b"1"})
    assert cache.get("one", ["a"]) == {"a": b"1"}
    assert (tmp_path / "work.broken1").read_bytes() == content
    assert "it is work.broken1 now" in caplog.text
    cache.close()
    (tmp_path / "work.sqlite").write_bytes(content)
    WorkCache(tmp_path).close()
    assert (tmp_path / "work.broken2").is_file()


def test_a_cache_of_a_newer_version_is_refused_in_one_line(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "work.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(CacheError, match=r"work\.sqlite: was made by a newer version .* CMATH_CACHE"):
        WorkCache(tmp_path)


def test_a_cache_of_an_older_version_is_still_of_use(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "work.sqlite") as database:
        database.execute("CREATE TABLE result (fingerprint TEXT, key TEXT, value BLOB NOT NULL,"
                         " PRIMARY KEY (fingerprint, key)) WITHOUT ROWID")  # fmt: skip
        database.execute("INSERT INTO result VALUES ('one', 'a', X'31')")
    cache = WorkCache(tmp_path)
    cache.put("one", {"b": b"2"})
    assert cache.get("one", ["a", "b"]) == {"a": b"1", "b": b"2"}
