"""A judge of what a runner gives for a random graph: how far rounding takes float64 runs that are shaken.

**The tolerance** is how far rounding may take a result. The graph runs in float64 some times, and before and behind every op each element
is off by a few units in the last place of float32, at random. FACTOR times the largest difference to the exact run is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlbench.ir import REFERENCES, FloatArray, Graph, Node, interpret
from support.random_graphs import COMPARISONS, COMPARISONS_OF_VALUES, PLACES, TO_WHOLE, RandomGraph

Wide = npt.NDArray[np.float64]
FACTOR, RUNS, NOISE = 8.0, 4, 4 * 2.0**-24
_EXACT = {*TO_WHOLE, *COMPARISONS, *COMPARISONS_OF_VALUES, *PLACES}
"""Ops whose result is a whole number, without any rounding."""
_CANCELLING = ("gelu", "gelu_tanh", "silu", "mish", "sigmoid", "elu", "selu", "celu", "hard_swish", "softplus", "log_softmax", "sin", "cos")
"""Ops that add up numbers which may cancel out."""


def results_of(found: FloatArray | tuple[FloatArray, ...]) -> tuple[FloatArray, ...]:
    """Return what a call gave as a tuple, one array or several."""
    return found if isinstance(found, tuple) else (found,)


def judge(case: RandomGraph, rows: int, ys: Sequence[FloatArray], exact: Sequence[Wide], allowed: Sequence[Wide]) -> str:
    """Return what is wrong with the results for the first rows of a case, or nothing."""
    for name, y, right, bound in zip(case.graph.outputs, ys, exact, allowed, strict=True):
        if y.shape != right[:rows].shape or y.dtype != np.float32:
            return f"{name} is {y.dtype} of shape {y.shape}; expected float32 of shape {right[:rows].shape}"
        error = np.abs(y - right[:rows])
        if not (error <= bound).all():
            row, column = np.argwhere(~(error <= bound))[0]
            return (
                f"{name} at row {row}, column {column} is {y[row, column]!r}; expected {right[row, column]:.9g}, give or take "
                f"{bound.flat[0]:.3g}"
            )
    return ""


def expected(case: RandomGraph) -> tuple[tuple[Wide, ...], tuple[Wide, ...]]:
    """Return the outputs in float64, and what each may be off."""
    exact = interpret(case.graph, case.xs)
    random = np.random.default_rng(0)
    runs = [_noisy(case.graph, case.xs, random) for _ in range(RUNS)]
    bounds = []
    for index, right in enumerate(exact):
        off = max(float(np.abs(run[index] - right).max(initial=0)) for run in runs)
        bounds.append(np.array([FACTOR * off + NOISE * float(np.abs(right).max(initial=0)) + float(np.finfo(np.float32).tiny)]))
    return exact, tuple(bounds)


def _noisy(graph: Graph, xs: Sequence[FloatArray], random: np.random.Generator) -> tuple[Wide, ...]:
    def shaken(value: Wide) -> Wide:
        return value * (1 + NOISE * random.uniform(-1, 1, value.shape))

    bound = {name: x.astype(np.float64) for name, x in zip(graph.inputs, xs, strict=True)}
    constants = {name: array.astype(np.float64) for name, array in graph.constants.items()}
    exact: set[str] = set()
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            values = [bound[name] if name in exact else shaken(bound[name]) for name in node.values]
            operands = [
                constants[name] if node.op == "power" else shaken(constants[name]) for name in node.operands
            ]  # (-2) ** 3 is a number
            result = np.asarray(REFERENCES[node.op](*values, *operands, *node.attributes), np.float64)
            size = np.abs(values[0]).max(initial=1) if node.op in _CANCELLING else 0.0
            if _is_exact(node, exact):
                exact.add(node.output)
                bound[node.output] = result
                continue
            bound[node.output] = shaken(result) + size * NOISE * random.uniform(-1, 1, result.shape)
    return tuple(bound[name] for name in graph.outputs)


def _is_exact(node: Node, exact: set[str]) -> bool:
    """Whether a node binds whole numbers: it makes them, or moves those of others."""
    return node.op in _EXACT or (node.op in {"concat", "slice", "repeat_column"} and all(name in exact for name in node.values))
