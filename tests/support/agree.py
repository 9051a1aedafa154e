"""What the worker of a test is asked to call: an adapter against float64, in a process of its own."""

from __future__ import annotations

import gc
import os
from typing import Any

import numpy as np

from mlbench.models import mlp
from mlbench.runtime import check_result
from mlbench.studies.peers import adapter, as_numpy


def agree(module: str, batch: int, hidden: tuple[int, ...], how: dict[str, Any]) -> float:
    """Return error / tolerance of an adapter after many calls, when nobody else holds the input any more."""
    model = mlp(6, hidden, 4, **how)
    x = np.random.default_rng(batch).standard_normal((batch, 6), dtype=np.float32)
    call = adapter(module).load(model, x.copy(), 1)
    gc.collect()
    junk = [np.full((batch, width), 1e9, np.float32) for width in (6, 4) for _ in range(100)]
    for _ in range(200):
        call()
    del junk
    return check_result(model, x, as_numpy(call()), module).worst


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))
