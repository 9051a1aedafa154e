"""What a program is: values, nodes, a graph. Frozen data and nothing else.

Every value is a matrix of shape (rows, columns) float32. The rows are rows of the batch, the same number for every value of a call, and
differ from call to call, so a graph names columns only. How a graph runs is not here: that is a schedule
(`mlbench.compiler.schedule.program`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from mlbench.arrays import ReadOnly, aligned_floats
from mlbench.ir.ops import op_named

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Step:
    """One element-wise operation that a node applies to its own result before anyone else sees it.

    Attributes:
        op: name of an element-wise row of the op table.
        operands: names of constants, after the result itself.
    """

    op: str
    operands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One application of an op. It binds exactly one new value.

    Attributes:
        op: name of a row of the op table.
        inputs: the values that it reads, then the names of as many constants as its op takes.
        output: name of the value that it binds.
        columns: columns of that value.
        epilogue: element-wise steps on the result, in order; the result's storage is rewritten in place. A product may have one, and an
            op that works element by element or row by row.
        attributes: as many whole numbers as its op takes.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    columns: int
    epilogue: tuple[Step, ...] = ()
    attributes: tuple[int, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values that the node reads."""
        return self.inputs[: max(0, len(self.inputs) - op_named(self.op).constants)]

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the constants that its op reads."""
        return self.inputs[len(self.values) :]

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of all constants that the node reads, those of its epilogue last."""
        return self.operands + tuple(name for step in self.epilogue for name in step.operands)


@dataclass(frozen=True, slots=True, eq=False)
class Graph(ReadOnly):
    """A program: nodes in execution order, from some inputs to some outputs.

    Attributes:
        inputs: name of each input value, shape (batch, columns), to its columns.
        constants: name to array; the arrays are read-only float32.
        nodes: in execution order.
        outputs: names of the values that are the results.
    """

    inputs: Mapping[str, int]
    constants: Mapping[str, FloatArray]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    @property
    def is_single(self) -> bool:
        """Whether it has one input and one output, so that `run(x)` gives one result."""
        return len(self.inputs) == len(self.outputs) == 1

    def columns_of(self, name: str) -> int:
        """Columns of the value `name`."""
        if name in self.inputs:
            return self.inputs[name]
        return next(node.columns for node in self.nodes if node.output == name)

    def readers_of(self, name: str) -> tuple[int, ...]:
        """Positions of the nodes that read the value `name`."""
        return tuple(position for position, node in enumerate(self.nodes) if name in node.values)

    def dies_at(self, name: str, position: int) -> bool:
        """Whether the value `name` is one that a node binds and the node at this position is the last to need."""
        return name not in self.inputs and name not in self.outputs and max(self.readers_of(name), default=-1) == position

    def with_nodes(self, nodes: tuple[Node, ...], constants: Mapping[str, FloatArray] | None = None) -> Graph:
        """Return a graph with other nodes; constants that no node reads any more are left behind."""
        pool = self.constants if constants is None else constants
        used = {name for node in nodes for name in node.constants}
        return replace(self, nodes=nodes, constants={name: array for name, array in pool.items() if name in used})


def frozen(array: npt.ArrayLike, order: str = "C") -> FloatArray:
    """Return a read-only float32 copy, in C or Fortran order, that begins at a cache line."""
    source = np.asarray(array)
    copy = aligned_floats(source.shape) if order == "C" else aligned_floats(source.shape[::-1]).T
    np.copyto(copy, source, casting="unsafe")
    copy.flags.writeable = False
    return copy


def new_name(taken: Container[str], name: str) -> str:
    """Return `name`, or where it is taken the first of name2, name3, ... that is not."""
    return name if name not in taken else next(each for n in count(2) if (each := f"{name}{n}") not in taken)
