"""What a program is: values, nodes, a graph. Frozen data and nothing else.

Every value is a matrix of shape (rows, columns) float32. The rows are rows of the batch and differ from call to call,
so a value only knows its columns. A constant is a NumPy array the graph owns: a weight (inputs, outputs), a row
(columns,), a strip (strip rows, columns) or a scalar ().

The constants live in the graph and not beside it, because some optimisations change both at once (folding a bias), and
a pass must be able to hand back one whole program.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from mlbench.arrays import ReadOnly, aligned_floats

FloatArray = npt.NDArray[np.float32]

ROWS = "rows"
FEATURES = "features"
LAYOUTS = (ROWS, FEATURES)
"""How a value lies in memory: row of the batch after row (batch-major), or feature after feature (feature-major)."""
COLUMNS = "columns"
SHARED = (ROWS, COLUMNS)
"""What the workers share: rows of the batch, each on its way through the whole graph, or the columns of each product."""


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
        inputs: the value it works on, then the names of constants.
        output: name of the value it binds.
        columns: columns of that value.
        epilogue: element-wise steps on the result, in order; the result's storage is rewritten in place.
        in_place: the result takes the storage of `inputs[0]`, which nobody reads afterwards.
        layout: how the value lies in memory, ROWS or FEATURES.
        parts: the columns are computed in so many parts of about equal size, one product after the other.
        width: vectors of a panel of the packed weight of generated code; 0 where there is none.
        lanes: lanes of these vectors; 0 where there are none.
        inner: steps of the epilogue, from the first on, that run inside the generated code.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    columns: int
    epilogue: tuple[Step, ...] = ()
    in_place: bool = False
    layout: str = ROWS
    parts: int = 1
    width: int = 0
    lanes: int = 0
    inner: int = 0

    @property
    def is_generated(self) -> bool:
        """Whether generated code computes all of it, its epilogue too."""
        return self.width > 0 and self.inner == len(self.epilogue)

    @property
    def constants(self) -> tuple[str, ...]:
        """Names of all constants the node reads, its epilogue's last."""
        return self.inputs[1:] + tuple(name for step in self.epilogue for name in step.operands)


@dataclass(frozen=True, slots=True, eq=False)
class Graph(ReadOnly):
    """A program: nodes in execution order, from one input to one output.

    Attributes:
        input: name of the input value, shape (batch, input_columns).
        input_columns: columns of the input.
        constants: name to array; the arrays are read-only float32.
        nodes: in execution order.
        output: name of the value that is the result.
        max_batch: most rows a call may have; None while the graph is not compiled for a batch.
        tile_rows: the nodes run on this many rows at a time, tile after tile; None runs the whole batch at once.
        is_static: every value has its place in one arena that lives as long as the runner; else each call allocates anew.
        threads: threads that may be used.
        workers: threads that share the work of a call; None leaves it to the calling thread.
        shared: what they share, ROWS or COLUMNS; COLUMNS only of generated code.
        blas_threads: threads that BLAS uses while the graph runs; None leaves it as it is.
    """

    input: str
    input_columns: int
    constants: Mapping[str, FloatArray]
    nodes: tuple[Node, ...]
    output: str
    max_batch: int | None = None
    tile_rows: int | None = None
    is_static: bool = False
    threads: int = 1
    workers: int | None = None
    shared: str = ROWS
    blas_threads: int | None = None

    @property
    def is_generated(self) -> bool:
        """Whether generated code runs the whole of it, and NumPy has no part in it."""
        return all(node.is_generated for node in self.nodes)

    @property
    def rows_at_once(self) -> int | None:
        """Most rows the nodes see in one pass over them; None while no batch is set."""
        return self.max_batch if self.tile_rows is None else self.tile_rows

    def columns_of(self, name: str) -> int:
        """Columns of the value `name`."""
        if name == self.input:
            return self.input_columns
        return next(node.columns for node in self.nodes if node.output == name)

    def layout_of(self, name: str) -> str:
        """How the value `name` lies in memory; the input always row after row."""
        return ROWS if name == self.input else next(node.layout for node in self.nodes if node.output == name)

    def readers_of(self, name: str) -> tuple[int, ...]:
        """Positions of the nodes that read the value `name`."""
        return tuple(position for position, node in enumerate(self.nodes) if name in node.inputs)

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
