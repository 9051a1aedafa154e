"""What each optimisation is worth in each cell of the sweep; collected only with --mlbench-ablation.

    pytest benchmarks --mlbench-ablation -k ablation --mlbench-batch 64,512

A row of pytest-benchmark's table is the runner with every optimisation; the tables after it, and `extra_info["mlbench_ablation"]` in the
saved JSON, hold the ladder, each optimisation by itself, everything without it, and where the baseline's time goes.
"""

from __future__ import annotations

import pytest

from mlbench.pytest_plugin.plugin import MlbenchFixture
from mlbench.studies.cases import Cell

pytestmark = pytest.mark.benchmark(max_time=0.2, min_rounds=5, disable_gc=True, warmup=True, warmup_iterations=10)


def test_digits_ablation(mlbench: MlbenchFixture, digits_as_cell: Cell) -> None:
    """The trained digits model, on all of its held-out images in one call."""
    mlbench.ablation(digits_as_cell)


def test_mlp_ablation(mlbench: MlbenchFixture, sweep_cell: Cell) -> None:
    """A seeded Linear -> ReLU -> Linear of these sizes."""
    mlbench.ablation(sweep_cell)
