"""What an importer knows of a tensor of the file, and the graph that it writes node by node.

A tensor is either a constant, which NumPy holds, or a value of the graph. A value is (rows, ...) in the file and a matrix (rows, columns)
in the graph: its other axes lie one after another in a row, as C order has them. So Flatten, Squeeze and most of Reshape change what is
known of a value and compute nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlbench.ir import FloatArray, Graph, Node, frozen
from mlbench.models.onnx.kinds import FLOAT, Kind, RefusedError
from mlbench.units import format_bytes

__all__ = ["ROWS", "Array", "Call", "Constant", "Found", "Known", "RefusedError", "Rows", "Value", "Writer"]


class Rows:
    """The number of rows of a batch, in constants that compute shapes; nothing can be calculated with it."""

    def __repr__(self) -> str:
        """Return what an error calls it."""
        return "rows"


ROWS = Rows()
"""The one of its kind."""
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the graph, float32.

    Attributes:
        name: what the graph calls it.
        tail: its axes in the file behind the rows; () where it has rows alone, and then the graph has one column.
        kind: what its numbers stand for.
        is_stacked: whether the file has its numbers in more rows, each row of the graph in some that follow each other. Only an output can
            be so, and the graph has it as it was before.
    """

    name: str
    tail: tuple[int, ...]
    kind: Kind = FLOAT
    is_stacked: bool = False

    @property
    def columns(self) -> int:
        """Columns of the matrix that the graph has in its place."""
        return math.prod(self.tail)

    @property
    def rank(self) -> int:
        """Axes in the file."""
        return 1 + len(self.tail)

    @property
    def is_row(self) -> bool:
        """Whether its last axis is all there is of a row."""
        return len(self.tail) >= 1 and self.columns == self.tail[-1]

    @property
    def text(self) -> str:
        """Its shape, for messages."""
        return f"({', '.join(map(str, ('rows', *self.tail)))}{',' * (not self.tail)})"


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A tensor that is known before the first call.

    Attributes:
        array: of any type; of objects, whole numbers and `ROWS`, where a shape that has the rows in it was computed.
    """

    array: Array

    @property
    def has_rows(self) -> bool:
        """Whether the number of rows is one of its numbers."""
        return self.array.dtype == object and any(isinstance(each, Rows) for each in self.array.ravel().tolist())


Known = Value | Constant
Found = Known | None


@dataclass(slots=True)
class Writer:
    """A graph under way.

    Attributes:
        rows: the only batch of the file; None for any.
        most_bytes: of all constants that the import makes, together.
    """

    rows: int | None
    most_bytes: int
    inputs: dict[str, int] = field(default_factory=dict)
    constants: dict[str, FloatArray] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    spent_bytes: int = 0
    _names: dict[bytes, str] = field(default_factory=dict)

    def input(self, tail: tuple[int, ...], kind: Kind = FLOAT) -> Value:
        """Add an input."""
        value = Value(f"x{len(self.inputs)}", tail, kind)
        self._check_columns(value)
        self.inputs[value.name] = value.columns
        return value

    def constant(self, array: npt.ArrayLike) -> str:
        """Return the name of a constant, which is there once however many nodes read the same numbers.

        Raises:
            RefusedError: where it is not float32, so that the graph could not hold it as it is.
        """
        found = np.asarray(array)
        if found.dtype != np.float32:
            raise RefusedError(f"its constant is {found.dtype}; expected float32")
        key = hashlib.sha256(repr(found.shape).encode() + np.ascontiguousarray(found).tobytes()).digest()
        if key not in self._names:
            self.charge(found.nbytes)
            self._names[key] = f"w{len(self.constants)}"
            self.constants[self._names[key]] = frozen(found)
        return self._names[key]

    def emit(
        self,
        op: str,
        values: Sequence[Value],
        *arrays: npt.ArrayLike,
        tail: tuple[int, ...] | None = None,
        attributes: tuple[int, ...] = (),
        kind: Kind = FLOAT,
    ) -> Value:
        """Add a node and return its value, which has the axes of the first one unless `tail` says otherwise."""
        value = Value(f"v{len(self.nodes)}", values[0].tail if tail is None else tail, kind)
        self._check_columns(value)
        names = (*(each.name for each in values), *map(self.constant, arrays))
        self.nodes.append(Node(op, names, value.name, value.columns, attributes=attributes))
        return value

    def charge(self, size: int) -> None:
        """Count bytes of a constant, before they are made.

        Raises:
            RefusedError: where all of them would take more than is allowed.
        """
        self.spent_bytes += size
        if self.spent_bytes > self.most_bytes:
            raise RefusedError(f"its constants would take more than {format_bytes(self.most_bytes)}; a larger most_bytes allows them")

    def graph(self, outputs: Sequence[Value]) -> Graph:
        """Return what was written, without nodes that no output needs."""
        needed = {value.name for value in outputs}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.output in needed:
                kept.append(node)
                needed |= set(node.values)
        constants = {name: array for name, array in self.constants.items() if any(name in node.operands for node in kept)}
        return Graph(self.inputs, constants, tuple(reversed(kept)), tuple(value.name for value in outputs))

    def _check_columns(self, value: Value) -> None:
        if value.columns < 1:
            raise RefusedError(f"its shape is {value.text}; expected axes of 1 or more")
        if 4 * value.columns > self.most_bytes:
            raise RefusedError(f"a row of {value.text} takes more than {format_bytes(self.most_bytes)}; a larger most_bytes allows it")


@dataclass(frozen=True, slots=True)
class Call:
    """A node of the file with what is known of its inputs.

    Attributes:
        op: its op.
        version: the version of the operator set since which the op is what it is.
        inputs: what is known of each; None for one that is left out.
        attributes: name to value; the op's own defaults where the node has none.
        used: of each output, whether anyone needs it.
        writer: the graph under way.
    """

    op: str
    version: int
    inputs: tuple[Found, ...]
    attributes: Mapping[str, Any]
    used: tuple[bool, ...]
    writer: Writer

    def input(self, index: int) -> Found:
        """Return an input, None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def value(self, index: int = 0, what: str = "its input") -> Value:
        """Return an input that must be a value of the graph."""
        found = self.input(index)
        if not isinstance(found, Value):
            raise RefusedError(f"{what} is {'missing' if found is None else 'a constant'}; expected a value that depends on the inputs")
        return found

    def constant(self, index: int, what: str) -> Array:
        """Return an input that must be a constant without the rows in it."""
        found = self.input(index)
        if not isinstance(found, Constant):
            raise RefusedError(f"{what} is {'missing' if found is None else 'computed from the inputs'}; expected a constant")
        if found.has_rows:
            raise RefusedError(f"{what} has the number of rows in it; expected known numbers")
        return found.array

    def integers(self, attribute: str, index: int) -> tuple[int, ...] | None:
        """Return whole numbers that older versions have as an attribute and newer ones as an input; None where both are left out."""
        if attribute in self.attributes:
            found = self.attributes[attribute]
            return tuple(found) if isinstance(found, Sequence) else (int(found),)
        if self.input(index) is None:
            return None
        return tuple(int(each) for each in self.constant(index, f"its input {attribute!r}").ravel())
