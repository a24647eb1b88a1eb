"""Fixtures shared by all tests: every installed framework runs every test that asks for `backend`."""

from pathlib import Path

import numpy as np
import pytest

from xai_med.registry import get_backend

FRAMEWORKS = ("torch", "paddle")
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(params=FRAMEWORKS)
def backend(request: pytest.FixtureRequest):
    """Each backend in turn; skipped where its framework is not installed."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return get_backend(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(20240501)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the repository; skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the shared data folder is not beside the repository")
    return SHARED
