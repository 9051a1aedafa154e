"""What each optimisation is worth on a network of yours; collected only with --mlbench-model and --mlbench-ablation.

pytest benchmarks --mlbench-model model.onnx --mlbench-ablation
"""

from __future__ import annotations

import pytest

from mlbench.pytest_plugin.plugin import MlbenchFixture
from mlbench.studies.cases import Cell

pytestmark = pytest.mark.benchmark(max_time=0.2, min_rounds=5, disable_gc=True, warmup=True, warmup_iterations=10)


def test_model_ablation(mlbench: MlbenchFixture, model_cell: Cell) -> None:
    """The network, at each batch."""
    mlbench.ablation(model_cell)
