"""A trained model that several tests take, made once."""

from pathlib import Path

import pytest

from tests.pipeline.trained import train_small, write_demo


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model of a few clips, which lie in the folder `raw` beside it."""
    folder = tmp_path_factory.mktemp("trained")
    write_demo(folder / "raw")
    return train_small(folder / "project", "demo", folder / "raw")
