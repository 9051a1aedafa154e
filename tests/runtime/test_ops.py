"""Every op of the table in the compiled runner: alone and behind a product, right and without an allocation.

Run as a program, this file prints what each cell allocates, as JSON. The tests run it once, as `test_allocations` does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict

import numpy as np
import pytest

from mlbench.ir import OPS, FloatArray, Graph, Node, Op, deviations, frozen
from mlbench.runtime import BaselineRunner, OptimizedRunner
from mlbench.runtime.reference import LAMBDA
from support.footprints import Footprint, footprint, run_as_program

BATCHES, COLUMNS = (1, 8, 64), (1, 24)
INPUTS = 6
NOTHING = Footprint(0, 0, 0)
SCALARS = {"leaky_relu": (0.1,), "elu": (1.3,), "selu": (1.7, 1.1), "celu": (0.7,), "hard_sigmoid": (0.3, 0.6), "clip": (0.4, 1.2)}
ENTRIES = 5
NORMS = {"layer_norm": 2, "rms_norm": 1}


def _constants(op: Op, columns: int, *, scalar: bool) -> list[FloatArray]:
    if op.name in SCALARS:
        return [frozen(number) for number in SCALARS[op.name]]
    row = np.linspace(0.5, 1.5, columns)
    if op.name in NORMS:
        return [*(frozen(row) for _ in range(NORMS[op.name])), frozen(1e-5)]
    if op.is_product:
        return [frozen(np.random.default_rng(3).uniform(0.5, 1, (columns, columns)))]
    if op.is_lookup:
        return [frozen(np.random.default_rng(4).uniform(0.5, 1, (ENTRIES, 1, _width(columns))))]
    return [frozen(0.7) if scalar else frozen(row)] * op.constants


def _width(columns: int) -> int:
    """Return the width of a table: 1 beside one column and beside a wide one, where an index takes more bytes than an entry."""
    return 3 if columns == 1 else 1


def _graph(op: Op, columns: int, form: str) -> Graph:
    """Return a graph of one op: on inputs, behind a product, or behind the bias of one, on the value of another width beside it."""
    attributes = _attributes(op, columns)
    arrays = _constants(op, columns, scalar=form == "scalar")
    constants = {f"k{index}": array for index, array in enumerate(arrays)}
    first = 1 if op.name == "repeat_column" or form == "narrow-first" else columns
    second = 1 if form == "narrow" else columns
    values = tuple(f"in{index}" for index in range(op.values or 2))
    inputs = dict(zip(values, (first, second, second), strict=False))
    nodes: list[Node] = []
    if form in ("behind", "fused"):
        constants |= {"w": frozen(np.random.default_rng(1).uniform(0.1, 0.3, (INPUTS, first))), "b": frozen(np.full(first, 0.2))}
        inputs["in0"] = INPUTS
        nodes.append(Node("matmul", ("in0", "w"), "p", first))
        if form == "fused":
            nodes.append(Node("add", ("p", "b"), "s", first))
        values = (nodes[-1].output, *values[1:])
    result = op.columns([first, second, second][: len(values)], [array.shape for array in arrays], attributes)
    nodes.append(Node(op.name, (*values, *(f"k{index}" for index in range(len(arrays)))), "y", result, attributes=attributes))
    return Graph({name: inputs[name] for name in inputs if name == "in0" or name in values}, constants, tuple(nodes), ("y",))


def _attributes(op: Op, columns: int) -> tuple[int, ...]:
    parts = {"slice": (columns // 3, columns - columns // 3 or 1), "repeat_column": (5,), "gather": (columns * _width(columns),)}
    return parts.get(op.name, ())


def _forms(op: Op) -> Iterator[str]:
    yield from ("alone", "behind", "fused")
    if op.constants == 1 and op.elementwise and op.name not in SCALARS:
        yield "scalar"
    if op.is_pointwise and not op.elementwise and not op.constants:
        yield from ("narrow", "narrow-first")


CELLS = {
    f"{op.name}-{form}-{columns}-batch{batch}": (op, form, columns, batch)
    for op in OPS.values() for form in _forms(op) for columns in COLUMNS for batch in BATCHES
}  # fmt: skip


def _inputs(graph: Graph, batch: int) -> tuple[FloatArray, ...]:
    random = np.random.default_rng(2)
    first, *more = (random.uniform(0.3, 1.5, (batch, columns)).astype(np.float32) for columns in graph.inputs.values())
    if graph.nodes[0].op.startswith("where"):
        first = (first > 0.8).astype(np.float32)
    return first, *more


def _call(op: Op, form: str, columns: int, batch: int) -> Callable[[], object]:
    graph = _graph(op, columns, form)
    runner, xs = OptimizedRunner(graph, batch), _inputs(graph, batch)
    return lambda: runner.run(*xs)


@pytest.fixture(scope="module")
def found() -> dict[str, Footprint]:
    """Return what every cell allocates; the program runs once for the module, and fails once."""
    pytest.importorskip("memray", reason="memray does not run on Windows")
    return run_as_program(__file__)


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_an_op_allocates_nothing(found: dict[str, Footprint], op: Op) -> None:
    """Alone, behind a product and its bias, on one column and more, of one row and more: no byte and no allocation."""
    assert {cell: each for cell, each in found.items() if cell.split("-")[0] == op.name} == {op.name: NOTHING}


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_an_op_is_right(op: Op) -> None:
    """In every form, both runners give what the float64 interpreter gives, as near as rounding lets them."""
    for form in _forms(op):
        for columns in COLUMNS:
            graph = _graph(op, columns, form)
            for batch in BATCHES:
                xs = _inputs(graph, batch)
                ((exact, deviation),) = deviations(graph, xs)
                is_known, bound = np.isfinite(deviation), LAMBDA * deviation + np.finfo(np.float32).tiny
                for runner in (BaselineRunner(graph), OptimizedRunner(graph, batch), OptimizedRunner(graph, batch, passes=[])):
                    assert (np.abs(runner.run(*xs) - exact) <= bound)[is_known].all(), (form, columns, batch)


def main() -> None:
    """Print what all cells of an op allocate together, and where that is something, what each does."""
    footprint(lambda: None)
    found: dict[str, Footprint] = {}
    for op in OPS.values():
        calls = {cell: _call(*facts) for cell, facts in CELLS.items() if facts[0] is op}

        def call_all(calls: tuple[Callable[[], object], ...] = tuple(calls.values())) -> None:
            for call in calls:
                call()

        together = footprint(call_all)
        found |= {op.name: together} if together == NOTHING else {cell: footprint(call) for cell, call in calls.items()}
    print(json.dumps({cell: asdict(each) for cell, each in found.items()}))


if __name__ == "__main__":
    main()
