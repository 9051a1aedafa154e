"""Is the baseline an honest opponent? `BaselineRunner` against the five lines one would write by hand.

    pytest benchmarks/test_honest_baseline.py

A ratio of 1.00x means that the runner costs nothing; below 1 it is slower than the lines. Peak and
allocations stand side by side; that they are equal is tested in `tests/runtime/test_baseline.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mlbench import BaselineRunner, Model
from mlbench.ir import FloatArray
from mlbench.pytest_plugin.plugin import MlbenchFixture
from mlbench.studies.cases import Cell, inputs_of, model_of

pytestmark = pytest.mark.benchmark(max_time=0.2, min_rounds=5, disable_gc=True, warmup=True, warmup_iterations=10)


def by_hand(model: Model) -> Callable[[FloatArray], FloatArray]:
    """Return the five lines, or three more for each further hidden layer."""
    *hidden, (w, b) = [(layer.weight, layer.bias) for layer in model.layers]
    if len(hidden) > 1:
        return by_hand_deep(hidden, w, b)
    ((w1, b1),) = hidden

    def run(x: FloatArray) -> FloatArray:
        h = x @ w1
        h = h + b1
        h = np.maximum(h, 0)
        h = h @ w
        y: FloatArray = h + b
        return y

    return run


def by_hand_deep(hidden: list[tuple[FloatArray, FloatArray]], w: FloatArray, b: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return the lines for any depth, as a loop."""

    def run(x: FloatArray) -> FloatArray:
        h = x
        for weight, bias in hidden:
            h = h @ weight
            h = h + bias
            h = np.maximum(h, 0)
        h = h @ w
        y: FloatArray = h + b
        return y

    return run


def test_five_lines(mlbench: MlbenchFixture, sweep_cell: Cell) -> None:
    """Runner and lines give the same bits, and take turns."""
    model, x = model_of(sweep_cell), inputs_of(sweep_cell)[0]
    assert isinstance(model, Model)
    lines = by_hand(model)
    mlbench(BaselineRunner(model).run, x, reference=lines, check=lambda y: np.testing.assert_array_equal(y, lines(x)))
