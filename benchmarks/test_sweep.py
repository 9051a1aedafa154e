"""The sweep: both runners over batch x hidden, and the trained model on its real images.

pytest benchmarks --benchmark-autosave
"""

from __future__ import annotations

import pytest

from mlbench.pytest_plugin.plugin import MlbenchFixture
from mlbench.studies.cases import Case

pytestmark = pytest.mark.benchmark(max_time=0.5, min_rounds=5, disable_gc=True, warmup=True, warmup_iterations=10)


def test_digits(mlbench: MlbenchFixture, digits_case: Case) -> None:
    """The trained digits model, on all of its held-out images in one call."""
    mlbench.case(digits_case)


def test_mlp(mlbench: MlbenchFixture, sweep_case: Case) -> None:
    """A seeded Linear -> ReLU -> Linear of these sizes."""
    mlbench.case(sweep_case)
