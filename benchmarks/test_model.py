"""A network of yours on both runners; collected only with --mlbench-model, in place of the sweep.

pytest benchmarks --mlbench-model model.onnx --mlbench-batch 1,64 --benchmark-autosave
"""

from __future__ import annotations

import pytest

from mlbench.pytest_plugin.plugin import MlbenchFixture
from mlbench.studies.cases import Case

pytestmark = pytest.mark.benchmark(max_time=0.5, min_rounds=5, disable_gc=True, warmup=True, warmup_iterations=10)


def test_model(mlbench: MlbenchFixture, model_case: Case) -> None:
    """The network, at each batch."""
    mlbench.case(model_case)
