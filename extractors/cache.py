"""The work cache stores results under a key made from their inputs, so that a resumed or changed run repeats nothing.

A key is the input content (hashes, interval, region) together with the maker's fingerprint; a value is bytes. The cache
is one SQLite file that neither git nor DVC tracks. Several processes of one machine can use it at the same time, and a
kill leaves no half-written entry.

If several machines share the folder, each process appends to a log file of its own instead: SQLite needs locks and
shared memory, which do not work on network file systems. A log has a single writer, and its readers stop at the first
incomplete record, so it needs neither. The next process that opens the SQLite file copies the logs into it.
"""

import json
import os
import platform
import socket
import sqlite3
import struct
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from foundation.errors import UserError
from foundation.identity import fingerprint
from foundation.log import log as logger

PARTS = 500
"""Number of keys per SQL statement; SQLite limits the number of variables."""
FORM = 1
"""Form of the database, as SQLite's user_version."""
DATABASE, LOGS = "work.sqlite", "shards"
OPEN, SEALED = ".part", ".log"
"""File endings of a log that may still grow (or whose process was killed), and of a closed log."""
HEAD = struct.Struct("<QI")
"""Header of each record in a log: its length and its CRC-32."""


REMEDY = ("Make room on its disk (`python -m pipeline.cache --prune` removes what is not used any more), allow it to "
          "be written to, or set CMATH_CACHE to a folder on another disk")  # fmt: skip


class CacheError(UserError):
    """The work cache cannot be read or written; the message says where and why."""


@dataclass(frozen=True, slots=True)
class CachedMaker:
    """Summary of the cached results of one maker."""

    fingerprint: str
    identity: dict[str, object]
    """Identity of the maker; empty if it was not recorded."""
    entries: int
    bytes_: int


class Cache(Protocol):
    """Interface of a work cache, as the extractors use it."""

    def maker(self, identity: Mapping[str, object]) -> str:
        """Fingerprint of a maker of results; its identity is stored beside the results in readable form.

        The processor type is part of the fingerprint, because results differ in their last bits between types.
        """
        ...

    def known(self, fingerprint: str, keys: Iterable[str]) -> set[str]:
        """Find the `keys` that are cached, without reading their values."""
        ...

    def get(self, fingerprint: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Read the values of the `keys` that are cached."""
        ...

    def put(self, fingerprint: str, values: Mapping[str, bytes]) -> None:
        """Store all `values`, or none of them if the disk is full or the process dies.

        Raises:
            CacheError: they cannot be written; earlier entries are safe.
        """
        ...

    def close(self) -> None: ...


class WorkCache:
    """Cache in `folder`/work.sqlite, for any number of processes on one machine."""

    def __init__(self, folder: Path) -> None:
        self.file, self._logs = folder / DATABASE, folder / LOGS
        try:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._open()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):  # locked, read-only, no space: the file is whole
                    raise
                self._set_aside(error)
                self._open()
        except (sqlite3.Error, OSError) as error:
            raise CacheError(f"{self.file}: the work cache cannot be opened ({error}). {REMEDY}") from None

    def _open(self) -> None:
        self._database = sqlite3.connect(self.file, timeout=60)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        (form,) = self._database.execute("PRAGMA user_version").fetchone()
        if form > FORM:
            raise CacheError(f"{self.file}: was made by a newer version of this project; set CMATH_CACHE to another "
                             "folder, or update the project")  # fmt: skip
        with self._database:
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS result (fingerprint TEXT, key TEXT, value BLOB NOT NULL, sum INTEGER,"
                " PRIMARY KEY (fingerprint, key)) WITHOUT ROWID"
            )
            self._database.execute("CREATE TABLE IF NOT EXISTS maker (fingerprint TEXT PRIMARY KEY, identity TEXT)")
            self._database.execute("CREATE TABLE IF NOT EXISTS taken (log TEXT PRIMARY KEY, until INTEGER)")
            if "sum" not in {row[1] for row in self._database.execute("PRAGMA table_info(result)")}:
                self._database.execute("ALTER TABLE result ADD COLUMN sum INTEGER")  # of FORM 0, whose rows have none
            self._database.execute(f"PRAGMA user_version = {FORM}")
        self._take_in()

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Rename a file that is no database, or a broken one, so that a new one can be begun."""
        self._database.close()
        aside = next(file for number in count(1) if not (file := self.file.with_suffix(f".broken{number}")).exists())
        for ending in ("-wal", "-shm"):
            Path(f"{self.file}{ending}").unlink(missing_ok=True)
        self.file.rename(aside)
        logger.warning("%s: is no whole work cache (%s); it is %s now, and what it held is made anew", self.file, error,
                       aside.name)  # fmt: skip

    def close(self) -> None:
        self._database.close()

    def maker(self, identity: Mapping[str, object]) -> str:
        whole = _with_processor(identity)
        name = fingerprint(whole)
        self._write("INSERT OR IGNORE INTO maker VALUES (?, ?)", [(name, json.dumps(whole, sort_keys=True))])
        return name

    def known(self, fingerprint: str, keys: Iterable[str]) -> set[str]:
        return {key for (key,) in _asked(self._database, "key", fingerprint, keys)}

    def get(self, fingerprint: str, keys: Iterable[str]) -> dict[str, bytes]:
        found, damaged = _whole(_asked(self._database, "key, value, sum", fingerprint, keys))
        if damaged:
            self._write("DELETE FROM result WHERE fingerprint = ? AND key = ?", [(fingerprint, key) for key in damaged])
            raise CacheError(f"{self.file}: {len(damaged)} results had changed since they were written (a fault of the "
                             "disk?) and were removed; the same command makes them anew")  # fmt: skip
        return found

    def put(self, fingerprint: str, values: Mapping[str, bytes]) -> None:
        rows = [(fingerprint, key, value, zlib.crc32(value)) for key, value in values.items()]
        self._write("INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?)", rows)

    def contents(self) -> list[CachedMaker]:
        """Summaries of all makers in the cache, the largest first."""
        rows = self._database.execute(
            "SELECT result.fingerprint, identity, COUNT(*), SUM(LENGTH(value)) FROM result"
            " LEFT JOIN maker ON maker.fingerprint = result.fingerprint GROUP BY result.fingerprint ORDER BY 4 DESC"
        )
        return [
            CachedMaker(name, json.loads(identity or "{}"), number, bytes_) for name, identity, number, bytes_ in rows
        ]

    def remove(self, fingerprints: Iterable[str]) -> None:
        """Delete all results of these makers and free their disk space.

        Raises:
            CacheError: another process has the cache open, or there is no space for the copy that SQLite makes.
        """
        names = [(name,) for name in fingerprints]
        for table in ("result", "maker"):
            self._write(f"DELETE FROM {table} WHERE fingerprint = ?", names)
        try:
            self._database.execute("VACUUM")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise CacheError(f"{self.file}: entries were deleted, but their room was not given back ({error}); say so "
                             "again when no other process uses the cache") from None  # fmt: skip

    def _write(self, statement: str, rows: list[tuple]) -> None:
        try:
            with self._database:
                self._database.executemany(statement, rows)
        except sqlite3.Error as error:
            raise CacheError(_cannot_be_written(self.file, error)) from None

    def _take_in(self) -> None:
        """Copy new records from the logs into the database, and delete closed logs."""
        for log in sorted(self._logs.glob("*")):
            taken = self._database.execute("SELECT until FROM taken WHERE log = ?", [log.stem]).fetchone()
            try:
                for header, values, until in _records(log, taken[0] if taken else 0):
                    with self._database:
                        if "identity" in header:
                            identity = header["identity"]
                            row = (fingerprint(identity), json.dumps(identity, sort_keys=True))
                            self._database.execute("INSERT OR IGNORE INTO maker VALUES (?, ?)", row)
                        else:
                            rows = [(header["fingerprint"], key, value, zlib.crc32(value))
                                    for key, value in _parts(header, values)]  # fmt: skip
                            self._database.executemany("INSERT OR IGNORE INTO result VALUES (?, ?, ?, ?)", rows)
                        self._database.execute("INSERT OR REPLACE INTO taken VALUES (?, ?)", (log.stem, until))
            except FileNotFoundError:  # just renamed by its process, or copied by another: the next opening takes it
                continue
            if log.suffix == SEALED:
                log.unlink(missing_ok=True)
                with self._database:
                    self._database.execute("DELETE FROM taken WHERE log = ?", [log.stem])


class ShardCache:
    """Cache in a `folder` that several machines share; each process writes to a log of its own.

    It also reads what the other logs and work.sqlite contained when it was opened.
    """

    def __init__(self, folder: Path, shard: str) -> None:
        name = f"{shard}-{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
        self.file, self.database = folder / LOGS / f"{name}{OPEN}", folder / DATABASE
        self._places: dict[tuple[str, str], tuple[IO[bytes], int, int]] = {}
        self._read: list[IO[bytes]] = []
        self._database: sqlite3.Connection | None = None
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            for log in sorted(self.file.parent.glob("*")):
                self._look_into(log)
            self.in_use = any(Path(f"{self.database}{ending}").exists() for ending in ("-wal", "-journal"))
            if self.database.exists() and not self.in_use:
                self._open_database()
            self._log = self.file.open("x+b", buffering=0)
        except OSError as error:
            raise CacheError(f"{self.file}: the work cache cannot be opened ({error}). {REMEDY}") from None

    def _open_database(self) -> None:
        """Open work.sqlite without locks. This is safe because nobody has it open: otherwise it had a -wal file."""
        try:
            self._database = sqlite3.connect(f"{self.database.resolve().as_uri()}?immutable=1", uri=True)
            self._database.execute("SELECT sum FROM result LIMIT 1")
        except sqlite3.Error:  # another process is just creating it
            self._database, self.in_use = None, True

    def _look_into(self, log: Path) -> None:
        try:
            stream = log.open("rb")
        except FileNotFoundError:
            return
        self._read.append(stream)
        for header, values, until in _records(log, 0):
            begin = until - len(values)
            for key, length in header.get("keys", {}).items():
                self._places[header["fingerprint"], key] = (stream, begin, length)
                begin += length

    def close(self) -> None:
        self._log.close()
        if self.file.stat().st_size:
            self.file.rename(self.file.with_suffix(SEALED))
        else:
            self.file.unlink()
        for stream in self._read:
            stream.close()
        if self._database:
            self._database.close()

    def maker(self, identity: Mapping[str, object]) -> str:
        whole = _with_processor(identity)
        self._append({"identity": whole}, [])
        return fingerprint(whole)

    def known(self, fingerprint: str, keys: Iterable[str]) -> set[str]:
        wanted = set(keys)
        found = {key for key in wanted if (fingerprint, key) in self._places}
        if self._database:
            found |= {key for (key,) in _asked(self._database, "key", fingerprint, wanted - found)}
        return found

    def get(self, fingerprint: str, keys: Iterable[str]) -> dict[str, bytes]:
        wanted = set(keys)
        found: dict[str, bytes] = {}
        for key in wanted:
            if (fingerprint, key) in self._places:
                stream, begin, length = self._places[fingerprint, key]
                found[key] = os.pread(stream.fileno(), length, begin)
        if self._database:
            whole, damaged = _whole(_asked(self._database, "key, value, sum", fingerprint, wanted - set(found)))
            if damaged:
                raise CacheError(f"{self.database}: {len(damaged)} results have changed since they were written (a "
                                 "fault of the disk?); `dvc repro` on one machine removes them")  # fmt: skip
            found |= whole
        return found

    def put(self, fingerprint: str, values: Mapping[str, bytes]) -> None:
        keys = {key: len(value) for key, value in values.items()}
        self._append({"fingerprint": fingerprint, "keys": keys}, list(values.values()))

    def _append(self, header: dict, values: list[bytes]) -> None:
        body = json.dumps(header).encode() + b"\n" + b"".join(values)
        try:
            begin = self._log.tell()
            whole = HEAD.pack(len(body), zlib.crc32(body)) + body
            if self._log.write(whole) != len(whole):
                raise OSError("the disk is full")
            os.fsync(self._log.fileno())
        except OSError as error:
            raise CacheError(_cannot_be_written(self.file, error)) from None
        begin += len(whole) - sum(map(len, values))
        for key, length in header.get("keys", {}).items():
            self._places[header["fingerprint"], key] = (self._log, begin, length)
            begin += length


def _with_processor(identity: Mapping[str, object]) -> dict[str, object]:
    return {**identity, "processor": platform.machine()}


def _cannot_be_written(file: Path, error: Exception) -> str:
    return (f"{file}: the work cache cannot be written ({error}); what was kept before is safe, and the same command "
            f"goes on from there. {REMEDY}")  # fmt: skip


def _asked(database: sqlite3.Connection, columns: str, fingerprint: str, keys: Iterable[str]) -> Iterator[tuple]:
    wanted = list(dict.fromkeys(keys))
    for begin in range(0, len(wanted), PARTS):
        part = wanted[begin : begin + PARTS]
        marks = ",".join("?" * len(part))
        try:
            yield from database.execute(
                f"SELECT {columns} FROM result WHERE fingerprint = ? AND key IN ({marks})", [fingerprint, *part]
            )
        except sqlite3.Error as error:
            raise CacheError(f"{DATABASE}: the work cache cannot be read ({error}); if it is broken, delete it"
                             ) from None  # fmt: skip


def _whole(rows: Iterable[tuple[str, bytes, int | None]]) -> tuple[dict[str, bytes], list[str]]:
    """Values by key of rows (key, value, checksum), and the keys of those that differ from their checksum."""
    found, damaged = dict[str, bytes](), []
    for key, value, check in rows:
        if check is None or zlib.crc32(value) == check:
            found[key] = value
        else:
            damaged.append(key)
    return found, damaged


def _records(log: Path, begin: int) -> Iterator[tuple[dict, bytes, int]]:
    """Yield header, values and end of each complete record of `log` from `begin` on.

    After a kill, the last record may be incomplete.
    """
    with log.open("rb") as stream:
        stream.seek(begin)
        while len(head := stream.read(HEAD.size)) == HEAD.size:
            length, check = HEAD.unpack(head)
            body = stream.read(length) if length <= os.fstat(stream.fileno()).st_size else b""
            if not body or len(body) < length or zlib.crc32(body) != check:
                return
            header, _, values = body.partition(b"\n")
            yield json.loads(header), values, stream.tell()


def _parts(header: dict, values: bytes) -> Iterator[tuple[str, bytes]]:
    begin = 0
    for key, length in header["keys"].items():
        yield key, values[begin : begin + length]
        begin += length


def pack(array: np.ndarray) -> bytes:
    """Convert an array to bytes: first its type and shape, then its values."""
    header = json.dumps([array.dtype.str, array.shape]).encode()
    return header + b"\n" + np.ascontiguousarray(array).tobytes()


def unpack(value: bytes) -> np.ndarray:
    """Restore an array from the bytes that `pack` made."""
    header, _, content = value.partition(b"\n")
    kind, shape = json.loads(header)
    return np.frombuffer(content, np.dtype(kind)).reshape(shape)
