"""How far rounding may take a float32 run of a graph from the float64 interpreter, element by element.

It is Monte Carlo arithmetic (Parker, "Monte Carlo Arithmetic: exploiting randomness in floating-point arithmetic", 1997): the interpreter
runs the graph once as it is and COPIES times with a random error on each result, as large as float32's may be. How far the copies are apart
is what rounding explains. Unlike formulas for each op it follows errors that are correlated, such as those of a value that two branches
read.

The error of an op has the standard deviation factor * u * magnitude, u = 2**-24, and both are in the table below: the magnitude is that of
the largest number that a plain float32 form of the op rounds. So 1 + erf(x) errs by u, however small it is, and x - y by u (|x| + |y|),
because an optimiser may have folded either into another product. A product over k terms errs by sqrt(k + 4) u |x| @ |W| (Higham and Mary,
"A new approach to probabilistic rounding error analysis", 2019). Ops that select or move numbers are exact.

Copies come in pairs with opposite errors, so that one of them crosses the kink of a ReLU at zero. Where a number may overflow in float32
in one order of operations and not in another, and where rounding may move a divisor or the argument of a logarithm to zero or below, one
copy is NaN, and nothing is known about what depends on it. The same is done where rounding may move a number across a step, as in a
comparison, a floor or the index of the largest: either side is right there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.ir.graph import Graph, Step
from mlbench.ir.reference import REFERENCES

Wide = npt.NDArray[np.float64]
Rounding = Callable[..., tuple[Wide, float]]
"""Of the result, then the values, then the constants: the magnitude of each element and the factor."""

COPIES = 16
UNIT_ROUNDOFF = 2.0**-24
MAY_OVERFLOW = float(np.finfo(np.float32).max) / 2
_UNDERFLOW = 2.0**-149
_BLOCK_NUMBERS = 1 << 22
"""Numbers of the widest value, in all copies, that are computed at a time."""


def _relative(factor: float) -> Rounding:
    return lambda y, *_: (np.abs(y), factor)


def _absolute(factor: float) -> Rounding:
    return lambda y, *_: (np.ones_like(y), factor)


def _of_input(factor: float, least: float = 0) -> Rounding:
    return lambda _, x, *__: (np.maximum(np.abs(x), least), factor)


def _sum(_: Wide, x: Wide, y: Wide) -> tuple[Wide, float]:
    return np.abs(x) + np.abs(y), 1


def _product(_: Wide, x: Wide, weight: Wide) -> tuple[Wide, float]:
    size = np.abs(x).astype(np.float32) @ np.abs(weight).astype(np.float32)  # how large it is, which needs few digits
    return size.astype(np.float64), math.sqrt(len(weight) + 4)


def _power(y: Wide, *_: Wide) -> tuple[Wide, float]:
    return np.abs(y) * (1 + np.abs(np.log(np.abs(y), where=y != 0, out=np.zeros_like(y)))), 2


def _exponential(y: Wide, _: Wide, alpha: Wide, gamma: float | Wide = 1) -> tuple[Wide, float]:
    return np.abs(y) + np.abs(alpha * gamma), 2


def _hard_sigmoid(_: Wide, x: Wide, alpha: Wide, beta: Wide) -> tuple[Wide, float]:
    return np.minimum(np.abs(alpha * x), 1 + np.abs(beta)) + np.abs(beta), 1


def _softmax(y: Wide, x: Wide) -> tuple[Wide, float]:
    return y * (4 + math.sqrt(x.shape[1]) + x.max(axis=1, keepdims=True) - x) + 0.5, 1


def _log_softmax(y: Wide, x: Wide) -> tuple[Wide, float]:
    return np.abs(x) + np.abs(x.max(axis=1, keepdims=True)) + np.abs(y) + math.sqrt(x.shape[1]), 2


def _layer_norm(y: Wide, x: Wide, scale: Wide, shift: Wide, epsilon: Wide) -> tuple[Wide, float]:
    largest, deviation = np.abs(x).max(axis=1, keepdims=True), np.sqrt(x.var(axis=1, keepdims=True) + epsilon)
    mean = math.sqrt(x.shape[1] + 4) * np.abs(x).mean(axis=1, keepdims=True)
    normal = np.abs(x - x.mean(axis=1, keepdims=True)) / deviation
    size = np.abs(scale) * (np.abs(x) + largest + mean) / deviation * (1 + normal) + np.abs(y) + 2 * np.abs(shift)
    return _unless_squares_overflow(size, x), 1


def _rms_norm(y: Wide, x: Wide, *_: Wide) -> tuple[Wide, float]:
    return _unless_squares_overflow(np.abs(y), x), 2 + math.sqrt(x.shape[1] + 4) / 2


def _reduce_l2(y: Wide, x: Wide) -> tuple[Wide, float]:
    return _unless_squares_overflow(np.abs(y), x), 1 + math.sqrt(x.shape[1] + 4) / 2


def _reduce_sum(_: Wide, x: Wide) -> tuple[Wide, float]:
    return np.abs(x).sum(axis=1, keepdims=True), math.sqrt(x.shape[1] + 4)


def _reduce_mean(_: Wide, x: Wide) -> tuple[Wide, float]:
    total = np.abs(x).sum(axis=1, keepdims=True)
    return np.where(total > MAY_OVERFLOW, total, total / x.shape[1]), math.sqrt(x.shape[1] + 4)


def _unless_squares_overflow(size: Wide, x: Wide) -> Wide:
    squares = np.square(x).sum(axis=1, keepdims=True)
    return np.where(squares > MAY_OVERFLOW, squares, size)


ROUNDINGS: dict[str, Rounding | None] = {
    **dict.fromkeys(("relu", "abs", "neg", "maximum", "minimum", "clip", "maximum_values", "minimum_values", "reduce_max", "reduce_min")),
    **dict.fromkeys(("concat", "slice", "repeat_column", "gather", "where", "where_else")),
    **dict.fromkeys(("floor", "ceil", "round", "trunc", "sign", "fmod", "fmod_values", "argmax", "argmin")),
    **dict.fromkeys(("equal", "less", "less_equal", "greater", "greater_equal", "equal_values", "less_values", "less_equal_values")),
    **dict.fromkeys(("add", "subtract_from", "add_values", "subtract_values"), _sum),
    **dict.fromkeys(("multiply", "divide", "divide_into", "multiply_values", "divide_values", "reciprocal"), _relative(1)),
    **dict.fromkeys(("square", "sqrt", "leaky_relu", "prelu"), _relative(1)),
    **dict.fromkeys(("exp", "log"), _relative(4)),
    **dict.fromkeys(("sigmoid", "tanh", "erf", "sin", "cos"), _absolute(2)),
    **dict.fromkeys(("gelu", "gelu_tanh", "silu", "mish", "hard_swish"), _of_input(2)),
    **dict.fromkeys(("elu", "selu", "celu"), _exponential),
    **dict.fromkeys(("power", "power_values"), _power),
    "matmul": _product,
    "softplus": _of_input(2, 1),
    "softsign": _relative(2),
    "hard_sigmoid": _hard_sigmoid,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "reduce_sum": _reduce_sum,
    "reduce_mean": _reduce_mean,
    "reduce_l2": _reduce_l2,
}
"""How each op rounds; None for those that are exact."""

SINGULAR = {"sqrt": 0, "log": 0, "power": 0, "power_values": 0, "reciprocal": 0, "divide_into": 0, "divide_values": 1}
"""Ops that have no number, or no derivative, where one of their values is zero, and which value that is."""


def _from_whole(rows: int, x: Wide) -> Wide:
    return np.asarray(x - _again(np.rint(x[:rows])))


def _from_whole_but_zero(rows: int, x: Wide) -> Wide:
    nearest = _again(np.rint(x[:rows]))
    return np.where(nearest == 0, np.inf, x - nearest)


def _from_half(rows: int, x: Wide) -> Wide:
    return np.asarray(x - _again(np.floor(x[:rows]) + 0.5))


def _from_multiple(rows: int, x: Wide, y: Wide) -> Wide:
    step = y if y.ndim < 2 else y[:rows]
    multiple = _again(np.rint(x[:rows] / step))
    return np.where(multiple == 0, np.inf, x - y * multiple)


def _from_other(_: int, x: Wide, y: Wide) -> Wide:
    return x - y


def _lead(rows: int, x: Wide) -> Wide:
    """Return by how much the largest of each row leads, in the copies of the row that of the exact row."""
    if x.shape[1] == 1:
        return np.full_like(x, np.inf)
    first = _again(x[:rows].argmax(axis=1)[:, np.newaxis])
    others = np.array(x)
    np.put_along_axis(others, first, -np.inf, axis=1)
    return np.asarray(np.take_along_axis(x, first, axis=1) - others.max(axis=1, keepdims=True))


def _again(exact: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.tile(exact, (COPIES + 1, 1))


STEPS: dict[str, Callable[..., Wide]] = {
    **dict.fromkeys(("floor", "ceil"), _from_whole),
    "round": _from_half,
    "trunc": _from_whole_but_zero,
    "sign": lambda _, x: x,
    **dict.fromkeys(("fmod", "fmod_values"), _from_multiple),
    **dict.fromkeys(("equal", "less", "less_equal", "greater", "greater_equal"), _from_other),
    **dict.fromkeys(("equal_values", "less_values", "less_equal_values"), _from_other),
    "argmax": _lead,
    "argmin": lambda rows, x: _lead(rows, -x),
}
"""Ops whose result jumps, and how far the values are from the nearest jump: of the rows, the values with their copies, the constants."""
NEAR = 8.0
"""Standard deviations within which rounding may move a value."""


def deviations(graph: Graph, xs: Sequence[npt.NDArray[np.floating]]) -> tuple[tuple[Wide, Wide], ...]:
    """Return each output in float64, and the standard deviation of what a float32 run gives; NaN where nothing is known about it.

    Args:
        graph: a graph that `verify` accepts, as it was written.
        xs: one array of (batch, columns) for each input, in order.
    """
    widest = max([*graph.inputs.values(), *(node.columns for node in graph.nodes)])
    step = max(1, _BLOCK_NUMBERS // ((COPIES + 1) * widest))
    constants = {name: array.astype(np.float64) for name, array in graph.constants.items()}
    random = np.random.default_rng(0)
    wide = [x.astype(np.float32).astype(np.float64) for x in xs]
    with np.errstate(all="ignore"):
        blocks = [
            _block(graph, constants, [x[first : first + step] for x in wide], random) for first in range(0, max(len(wide[0]), 1), step)
        ]
    return tuple((np.vstack([each[0] for each in found]), np.vstack([each[1] for each in found])) for found in zip(*blocks, strict=True))


def _block(graph: Graph, constants: dict[str, Wide], xs: Sequence[Wide], random: np.random.Generator) -> list[tuple[Wide, Wide]]:
    """Run some rows and, below them, their copies: all ops work row by row."""
    rows = len(xs[0])
    bound = {name: np.tile(x, (COPIES + 1, 1)) for name, x in zip(graph.inputs, xs, strict=True)}
    for position, node in enumerate(graph.nodes):
        values = [bound[name] for name in node.values]
        value = _apply(Step(node.op, node.operands), values, constants, node.attributes, rows, random)
        for step in node.epilogue:
            value = _apply(step, [value], constants, (), rows, random)
        bound[node.output] = value
        for name in node.values:
            if name in bound and graph.dies_at(name, position):
                del bound[name]
    return [_spread(_stacked(bound[name], rows)) for name in graph.outputs]


def _spread(stacked: Wide) -> tuple[Wide, Wide]:
    """Return a value and the deviation of its copies from it; 0 where none of them is a number."""
    exact, copies = stacked[0], stacked[1:]
    is_none = ~np.isfinite(exact) & ~np.isfinite(copies).any(axis=0)
    return exact, np.where(is_none, 0.0, np.sqrt(np.square(copies - exact).mean(axis=0)))


def _apply(
    step: Step, values: Sequence[Wide], constants: dict[str, Wide], attributes: Sequence[int], rows: int, random: np.random.Generator
) -> Wide:
    operands = [constants[name] for name in step.operands]
    if step.op == "matmul":
        value = _product_of_copies(values[0], operands[0], rows)
    else:
        value = np.asarray(REFERENCES[step.op](*values, *operands, *attributes), np.float64, order="C")
    rounding = ROUNDINGS[step.op]
    if step.op in STEPS:
        _open_near_steps(value, STEPS[step.op](rows, *values, *operands), rows)
    if rounding is None:
        return value
    size, factor = rounding(value[:rows], *(each[:rows] for each in values), *operands)
    is_open = (size > MAY_OVERFLOW) & np.isfinite(value[:rows])
    size = np.where(np.isfinite(size) & np.isfinite(value[:rows]), size, 0.0)
    stacked = _stacked(value, rows)
    error = (factor * UNIT_ROUNDOFF * size + _UNDERFLOW) * random.standard_normal((COPIES // 2, *size.shape), np.float32)
    stacked[1::2] += error
    stacked[2::2] -= error
    if step.op in SINGULAR:
        exact, spread = _spread(_stacked(values[SINGULAR[step.op]], rows))
        is_open = is_open | (np.abs(exact) <= NEAR * spread) & (spread > 0)
        if step.op == "power_values":  # of a number below zero only whole powers exist
            is_open |= (exact < 0) & (_spread(_stacked(values[1], rows))[1] > 0)
    stacked[1][is_open] = np.where(np.isfinite(stacked[0][is_open]), np.nan, 0.0)
    return value


def _open_near_steps(value: Wide, distance: Wide, rows: int) -> None:
    """Make one copy NaN where rounding may move a number across a step."""
    exact, spread = _spread(_stacked(distance, rows))
    is_open = ~np.isfinite(spread) | ((np.abs(exact) <= NEAR * spread) & (spread > 0))
    stacked = _stacked(value, rows)
    stacked[1][is_open] = np.where(np.isfinite(stacked[0][is_open]), np.nan, 0.0)


def _product_of_copies(x: Wide, weight: Wide, rows: int) -> Wide:
    """Return the product with some rows in float64, and with what their copies differ by in float32: its seven digits are enough there."""
    exact = x[:rows]
    apart = _stacked(x, rows)[1:] - exact
    apart[:, ~np.isfinite(exact)] = 0
    products = apart.reshape(-1, x.shape[1]).astype(np.float32) @ weight.astype(np.float32)
    value = np.tile(exact @ weight, (COPIES + 1, 1))
    value[rows:] += products
    return value


def _stacked(value: Wide, rows: int) -> Wide:
    """Return a view of some rows and of their copies: (1 + COPIES, rows, columns)."""
    return value.reshape(COPIES + 1, rows, value.shape[1])
