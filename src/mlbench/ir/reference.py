"""The float64 interpreter of graphs: what a graph computes, node by node, with nothing decided about how.

It is the plain judge of everything that runs a graph. It reads the nodes alone: no op's kernel line, no pass, no schedule. Each op has one
line here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.ir.graph import Graph, Step

Wide = npt.NDArray[np.float64]


def _softmax(x: Wide) -> Wide:
    shares: Wide = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


REFERENCES: dict[str, Callable[..., Any]] = {
    "matmul": lambda x, weight: x @ weight,
    "add": lambda x, row: x + row,
    "maximum": np.maximum,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "softmax": _softmax,
    "add_values": lambda x, y: x + y,
    "concat": lambda *values: np.concatenate(values, axis=1),
}
"""What each op computes, of its values and then its constants in float64."""


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
            value = _apply(Step(node.op, node.operands), [bound[name] for name in node.values], constants)
            for step in node.epilogue:
                value = _apply(step, [value], constants)
            bound[node.output] = value
    return tuple(bound[name] for name in graph.outputs)


def _apply(step: Step, values: Sequence[Wide], constants: dict[str, Wide]) -> Wide:
    return np.asarray(REFERENCES[step.op](*values, *(constants[name] for name in step.operands)), np.float64)
