"""The zoo: right in both runners, without an allocation, in the least memory."""

from __future__ import annotations

import numpy as np
import pytest

from mlbench.compiler.memory import plan_memory
from mlbench.compiler.pipeline import compile_graph
from mlbench.errors import ModelError
from mlbench.ir import FloatArray, Graph, interpret
from mlbench.measure import footprint, has_memray
from mlbench.models.zoo import ZOO, load_zoo
from mlbench.runtime import BaselineRunner, OptimizedRunner
from mlbench.runtime.threads import BlasThreads
from support.strategies import batch_of

BATCHES = (1, 8, 64, 512)
networks = pytest.mark.parametrize("name", ZOO)


def inputs_of(graph: Graph, rows: int) -> tuple[FloatArray, ...]:
    """Return a batch for each input."""
    return tuple(batch_of(rows, columns, seed) for seed, columns in enumerate(graph.inputs.values()))


@networks
def test_both_runners_are_right(name: str) -> None:
    """What the float64 interpreter gives."""
    graph = load_zoo(name).graph()
    xs = inputs_of(graph, 9)
    exact = interpret(graph, xs)
    for runner in (BaselineRunner(graph), OptimizedRunner(graph, 9)):
        found = runner.run(*xs)
        for y, each in zip(found if isinstance(found, tuple) else (found,), exact, strict=True):
            np.testing.assert_allclose(y, each, rtol=1e-3, atol=1e-5 * np.abs(each).max())


@networks
@pytest.mark.parametrize("batch", BATCHES)
def test_the_arena_takes_what_lives_at_once(name: str, batch: int) -> None:
    """No network of the zoo takes more than its lower bound, but for what the alignment of buffers costs."""
    plan = plan_memory(compile_graph(load_zoo(name).graph(), batch).program)
    assert plan.arena_bytes <= plan.lower_bound_bytes + 64 * len(plan.buffers)


@pytest.mark.skipif(not has_memray(), reason="needs memray")
@networks
@pytest.mark.parametrize("batch", [1, 64])
def test_a_call_allocates_nothing(name: str, batch: int) -> None:
    """0 bytes and 0 allocations, branches and all."""
    graph = load_zoo(name).graph()
    xs, runner = inputs_of(graph, batch), OptimizedRunner(graph, batch)
    with BlasThreads(1):  # on two, OpenBLAS mallocs its table of jobs in each product that it shares
        found = footprint(lambda: runner.run(*xs))
    assert (found.peak_bytes, found.allocations) == (0, 0)


def test_the_same_name_is_the_same_network() -> None:
    """Weights are seeded."""
    one, other = (load_zoo("policy").graph().constants for _ in range(2))
    assert all(np.array_equal(array, other[name]) for name, array in one.items())


def test_an_unknown_network_is_named() -> None:
    """The message lists those there are."""
    with pytest.raises(ModelError, match=r"no network of the zoo is called 'resnet'; there are batch-norm-mlp, "):
        load_zoo("resnet")
