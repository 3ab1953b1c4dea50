"""The work cache: results kept by what they were made from, so that a killed or changed run repeats nothing.

A key is the content that went in (hashes, interval, region) together with the maker's fingerprint; a value is bytes.
One SQLite file outside git's and DVC's sight serves several processes at once, and a kill leaves nothing half-written.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

PARTS = 500
"""Keys asked for in one statement; SQLite limits the number of its variables."""


class CacheError(Exception):
    """The work cache cannot be read or written; the message says where and why."""


def fingerprint(values: Mapping[str, object]) -> str:
    """A name for a maker of results: the same values, in any order, give the same name."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class WorkCache:
    """Results by (fingerprint, key) in `folder`/work.sqlite."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "work.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.file, timeout=60)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS result (fingerprint TEXT, key TEXT, value BLOB NOT NULL,"
                " PRIMARY KEY (fingerprint, key)) WITHOUT ROWID"
            )
        except (sqlite3.Error, OSError) as error:
            raise CacheError(f"{self.file}: the work cache cannot be opened ({error})") from None

    def close(self) -> None:
        self._database.close()

    def get(self, fingerprint: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Those of `keys` that are there, with their values."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, bytes] = {}
        for begin in range(0, len(wanted), PARTS):
            part = wanted[begin : begin + PARTS]
            marks = ",".join("?" * len(part))
            found.update(
                self._database.execute(
                    f"SELECT key, value FROM result WHERE fingerprint = ? AND key IN ({marks})", [fingerprint, *part]
                )
            )
        return found

    def known(self, fingerprint: str, keys: Iterable[str]) -> set[str]:
        """Those of `keys` that are there, without reading their values."""
        wanted = list(dict.fromkeys(keys))
        found: set[str] = set()
        for begin in range(0, len(wanted), PARTS):
            part = wanted[begin : begin + PARTS]
            marks = ",".join("?" * len(part))
            rows = self._database.execute(
                f"SELECT key FROM result WHERE fingerprint = ? AND key IN ({marks})", [fingerprint, *part]
            )
            found.update(key for (key,) in rows)
        return found

    def put(self, fingerprint: str, values: Mapping[str, bytes]) -> None:
        """Keep `values`, all of them or, when the disk is full or the process dies, none."""
        rows = [(fingerprint, key, value) for key, value in values.items()]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO result VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise CacheError(f"{self.file}: the work cache cannot be written ({error}); what was kept before is "
                             "safe, and the same command goes on from there") from None  # fmt: skip


def pack(array: np.ndarray) -> bytes:
    """An array as bytes, its type and shape before its values."""
    header = json.dumps([array.dtype.str, array.shape]).encode()
    return header + b"\n" + np.ascontiguousarray(array).tobytes()


def unpack(value: bytes) -> np.ndarray:
    """The array that `pack` packed."""
    header, _, content = value.partition(b"\n")
    kind, shape = json.loads(header)
    return np.frombuffer(content, np.dtype(kind)).reshape(shape)
