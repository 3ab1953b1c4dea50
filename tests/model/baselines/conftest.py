"""The baselines' settings in params.yaml."""

import pytest

from pipeline.params import load_params


@pytest.fixture(scope="session")
def published() -> dict:
    return load_params().baselines.model_dump()
