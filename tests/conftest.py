"""What every test may rely on: a cache of its own, so that nothing is left in the user's and nothing there decides a test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mlbench.cache import VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remember things in a folder of this run; processes that tests start inherit it."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before
