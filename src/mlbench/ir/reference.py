"""The float64 interpreter of graphs: what a graph computes, node by node, with nothing decided about how.

It is the plain judge of everything that runs a graph. It reads the nodes alone: no op's kernel line, no pass, no schedule. Each op has one
line here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.ir.graph import Graph, Step

Wide = npt.NDArray[np.float64]


_ERF_STEP = 2.0**-9
_ERF = np.array([math.erf(_ERF_STEP * place) for place in range(-3072, 3073)])
"""erf from -6 to 6, where it is 1 in float64."""


def _erf(x: Wide) -> Wide:
    """Return the error function by its Taylor series around the nearest place of the table: the fifth term is below 2e-16."""
    clipped = np.clip(np.nan_to_num(x), -6, 6)
    place = np.rint(clipped / _ERF_STEP)
    near = place * _ERF_STEP
    t = clipped - near
    slope = 2 / math.sqrt(math.pi) * np.exp(-near * near)
    series = t * (1 - t * (near - t * ((2 * near * near - 1) / 3 - t * near * (near * near / 3 - 0.5))))
    return np.asarray(np.where(np.isnan(x), x, _ERF[place.astype(int) + 3072] + slope * series))


def _softplus(x: Wide) -> Wide:
    return np.asarray(np.logaddexp(x, 0))


def _sigmoid(x: Wide) -> Wide:
    return np.asarray(1 / (1 + np.exp(-x)))


def _softmax(x: Wide) -> Wide:
    shares: Wide = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _log_softmax(x: Wide) -> Wide:
    below: Wide = x - x.max(axis=1, keepdims=True)
    return np.asarray(below - np.log(np.exp(below).sum(axis=1, keepdims=True)))


def _layer_norm(x: Wide, scale: Wide, shift: Wide, epsilon: Wide) -> Wide:
    return np.asarray((x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + epsilon) * scale + shift)


def _rms_norm(x: Wide, scale: Wide, epsilon: Wide) -> Wide:
    return np.asarray(x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + epsilon) * scale)


def _exponential_below(x: Wide, alpha: Wide) -> Wide:
    return np.where(x > 0, x, alpha * np.expm1(x))


def _where(condition: Wide, x: Wide, y: Wide) -> Wide:
    return np.where(np.isnan(condition), np.nan, np.where(condition != 0, x, y))


def _gather(x: Wide, table: Wide, columns: int) -> Wide:
    entries, _, width = table.shape
    found = table[np.nan_to_num(x).astype(np.int64) % entries].reshape((-1, columns))
    return np.where(np.repeat(np.isnan(x), width, axis=1), np.nan, found)


REFERENCES: dict[str, Callable[..., Any]] = {
    "matmul": lambda x, weight: x @ weight,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "square": np.square,
    "abs": np.abs,
    "neg": np.negative,
    "reciprocal": lambda x: 1 / x,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "trunc": np.trunc,
    "sign": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "erf": _erf,
    "gelu": lambda x: x / 2 * (1 + _erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * _sigmoid(x),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "hard_swish": lambda x: x * np.maximum(0, np.minimum(1, x / 6 + 0.5)),
    "elu": _exponential_below,
    "selu": lambda x, alpha, gamma: gamma * _exponential_below(x, alpha),
    "celu": lambda x, alpha: np.maximum(0, x) + np.minimum(0, alpha * np.expm1(x / alpha)),
    "hard_sigmoid": lambda x, alpha, beta: np.maximum(0, np.minimum(1, alpha * x + beta)),
    "clip": lambda x, low, high: np.minimum(np.maximum(x, low), high),
    "add": lambda x, row: x + row,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "multiply": np.multiply,
    "divide": np.divide,
    "subtract_from": lambda x, row: row - x,
    "divide_into": lambda x, row: row / x,
    "power": np.power,
    "fmod": np.fmod,
    "equal": np.equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "prelu": lambda x, slope: np.where(x > 0, x, slope * x),
    "add_values": lambda x, y: x + y,
    "subtract_values": lambda x, y: x - y,
    "multiply_values": lambda x, y: x * y,
    "divide_values": lambda x, y: x / y,
    "minimum_values": np.minimum,
    "maximum_values": np.maximum,
    "power_values": np.power,
    "fmod_values": np.fmod,
    "equal_values": np.equal,
    "less_values": np.less,
    "less_equal_values": np.less_equal,
    "where": _where,
    "where_else": _where,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "reduce_mean": lambda x: x.mean(axis=1, keepdims=True),
    "reduce_sum": lambda x: x.sum(axis=1, keepdims=True),
    "reduce_max": lambda x: x.max(axis=1, keepdims=True),
    "reduce_min": lambda x: x.min(axis=1, keepdims=True),
    "reduce_l2": lambda x: np.linalg.norm(x, axis=1, keepdims=True),
    "argmax": lambda x: x.argmax(axis=1)[:, np.newaxis],
    "argmin": lambda x: x.argmin(axis=1)[:, np.newaxis],
    "gather": _gather,
    "concat": lambda *values: np.concatenate(values, axis=1),
    "slice": lambda x, first, last: x[:, first:last],
    "repeat_column": lambda x, times: np.repeat(x, times, axis=1),
}
"""What each op computes, of its values, then its constants in float64, then its attributes."""


def interpret(graph: Graph, xs: Sequence[npt.NDArray[np.floating]]) -> tuple[Wide, ...]:
    """Return the outputs of a graph in float64.

    Args:
        graph: a graph that `verify` accepts, as it was written.
        xs: one array of (batch, columns) for each input, in order.
    """
    bound: dict[str, Wide] = {name: x.astype(np.float64) for name, x in zip(graph.inputs, xs, strict=True)}
    constants = {name: array.astype(np.float64) for name, array in graph.constants.items()}
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            value = _apply(Step(node.op, node.operands), [bound[name] for name in node.values], constants, node.attributes)
            for step in node.epilogue:
                value = _apply(step, [value], constants)
            bound[node.output] = value
    return tuple(bound[name] for name in graph.outputs)


def _apply(step: Step, values: Sequence[Wide], constants: dict[str, Wide], attributes: Sequence[int] = ()) -> Wide:
    return np.asarray(REFERENCES[step.op](*values, *(constants[name] for name in step.operands), *attributes), np.float64)
