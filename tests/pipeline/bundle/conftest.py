"""A bundle made within milliseconds, and a hub on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.bundles import write_small_bundle
from tests.pipeline.bundle.hub import WRITES, StandInHub, running, use


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle, made within milliseconds; the work cache is a folder of the test."""
    monkeypatch.setenv("CMATH_CACHE", str(tmp_path / "cache"))
    return write_small_bundle(tmp_path / "models/small")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    with running() as found:
        use(found.address, tmp_path / "home", WRITES, monkeypatch)
        yield found
