"""A tiny input on its way through both runners: the same numbers in other places, and what rounding did to them.

The values of the compiled graph are computed node by node by NumPy, because the arena keeps none of them. The results are those of the
runners themselves, and float64 judges them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mlbench.compiler.memory import MemoryPlan
from mlbench.compiler.schedule.program import Program
from mlbench.ir import FloatArray, Graph, interpret, op_named
from mlbench.results.explanation import Flow, Shown
from mlbench.runtime import BaselineRunner, OptimizedRunner, check_result
from mlbench.studies.network_files import AnyModel
from mlbench.units import format_bytes

ROWS, COLUMNS = 2, 6
"""Of each value that is shown."""
NEAR = 1e-3
"""A value that is farther from the one of its name, against the largest of that, is another value."""


def flow_of(model: AnyModel, program: Program, runner: OptimizedRunner, xs: Sequence[FloatArray]) -> Flow:
    """Return what both runners make of the inputs.

    Args:
        model: what runs.
        program: what the compiled runner runs, with all its constants; the runner has forgotten those that it does not read.
        runner: the compiled runner.
        xs: the inputs.

    Raises:
        WrongResultError: when a result is farther from float64 than rounding explains.
    """
    written = model.graph()
    exact = _named(written, interpret(_all_shown(written), list(xs)))
    eager = _named(written, _run(written, xs))
    compiled = _named(program.graph, _run(program.graph, xs))
    ours, theirs = runner.run(*xs), BaselineRunner(model).run(*xs)
    given = tuple(xs) if len(xs) > 1 else xs[0]
    results = ours if isinstance(ours, tuple) else (ours,)
    compiled |= dict(zip(program.graph.outputs, results, strict=True))
    found, plain = check_result(model, given, ours, "the compiled runner"), check_result(model, given, theirs, "the eager runner")
    places = _places(runner.plan, is_static=program.schedule.is_static)
    return Flow(
        tuple(Shown(name, "input", "the caller's array", _shown(x), "") for name, x in zip(written.inputs, xs, strict=True)),
        tuple(
            Shown(node.output, node.op, f"a new array of {format_bytes(eager[node.output].nbytes)}", _shown(eager[node.output]),
                  _error(eager[node.output], exact[node.output]))
            for node in written.nodes
        ),
        tuple(
            Shown(node.output, node.op, places[node.output], _shown(compiled[node.output]),
                  _error(compiled[node.output], exact[node.output]) if node.output in exact else "")
            for node in program.graph.nodes
        ),
        COLUMNS,
        f"{plain.max_error:.3g}",
        f"{found.max_error:.3g}",
        f"{found.tolerance:.3g}",
    )  # fmt: skip


def _all_shown(graph: Graph) -> Graph:
    """Return the graph with every value as a result, and rows where it has strips of them: a tiny input has fewer rows than a strip."""
    weights = {name for node in graph.nodes if op_named(node.op).is_product for name in node.operands}
    constants = {name: array[0] if array.ndim == 2 and name not in weights else array for name, array in graph.constants.items()}
    return replace(graph, constants=constants, outputs=tuple(node.output for node in graph.nodes))


def _run(graph: Graph, xs: Sequence[FloatArray]) -> tuple[FloatArray, ...]:
    found = BaselineRunner(_all_shown(graph)).run(*xs)
    return found if isinstance(found, tuple) else (found,)


def _named(graph: Graph, values: Sequence[npt.NDArray[np.floating]]) -> dict[str, npt.NDArray[np.floating]]:
    return dict(zip((node.output for node in graph.nodes), values, strict=True))


def _places(plan: MemoryPlan, *, is_static: bool) -> dict[str, str]:
    """Return where each value lies."""
    if not is_static:
        return {value: f"a new array of {format_bytes(each.size_bytes)}" for each in plan.buffers for value in each.values}
    return {
        value: f"arena, bytes {each.offset:,} to {each.offset + each.size_bytes - 1:,}"
        + (f", written over {each.values[place - 1]}" if place else "")
        for each in plan.buffers
        for place, value in enumerate(each.values)
    }


def _shown(values: npt.NDArray[np.floating]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"{number:.4g}" for number in row[:COLUMNS]) for row in values[:ROWS])


def _error(found: npt.NDArray[np.floating], exact: npt.NDArray[np.floating]) -> str:
    """Return the largest distance from float64; empty where it is another value, such as one whose bias moved on."""
    if found.shape != exact.shape:
        return ""
    with np.errstate(all="ignore"):
        error, largest = np.abs(found - exact).max(initial=0), np.abs(exact).max(initial=0)
    return f"{error:.3g}" if error <= NEAR * largest or not np.isfinite(error) else ""
