"""What an op is: a row of the op table, and the shape rules that rows share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlbench.errors import GraphError

BYTES_PER_NUMBER = 4

Shape = tuple[int, ...]
ColumnsRule = Callable[[Sequence[int], Sequence[Shape], Sequence[int]], int]
ANY = 0
"""As many values as a node names."""


@dataclass(frozen=True, slots=True)
class Op:
    """A row of the op table.

    Attributes:
        name: what a node calls it.
        constants: how many constants it takes after the values.
        rule: shape rule: columns of each value, shapes of the constants, and attributes, to columns of the result; raises
            `GraphError` where they do not fit.
        flop_per_element: floating point operations for an element of the result, or of the value where the result has one column; a
            matrix product needs 2 * inputs of them and says so with 0 here and `is_product`.
        eager: expression that allocates its result.
        into: statements that write the result to `{out}`. They allocate nothing where all values and constants have the result's shape,
            or are scalars.
        scratch: matrices of the shape of the widest of values and result that `into` needs besides.
        elementwise: element (i, j) of the result depends on element (i, j) of its one value alone, so that it may run in
            an epilogue, on strips of rows.
        in_place: `into` is right when `{out}` is one of the values that has the result's columns.
        is_product: a matrix product.
        transposed: as `into`, with every matrix transposed: (x @ w).T = w.T @ x.T, for a feature-major result.
        values: how many values it reads before the constants; ANY for one or more.
        attributes: how many whole numbers it takes besides.
        is_view: `eager` gives a view of the value.
        is_row_wise: each row of the result depends on that row of its one value alone, and has as many columns.
        is_lookup: it reads rows of its constant, and not all of it.
    """

    name: str
    constants: int
    rule: ColumnsRule
    flop_per_element: int
    eager: str
    into: tuple[str, ...]
    scratch: int = 0
    elementwise: bool = False
    in_place: bool = False
    is_product: bool = False
    transposed: tuple[str, ...] = ()
    values: int = 1
    attributes: int = 0
    is_view: bool = False
    is_row_wise: bool = False
    is_lookup: bool = False

    @property
    def is_pointwise(self) -> bool:
        """Whether element (i, j) of the result depends on the elements (i, j) of its values alone, one value or more."""
        return self.elementwise or (self.values > 1 and self.in_place)

    def columns(self, columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int] = ()) -> int:
        """Return the columns of the result.

        Raises:
            GraphError: where values, constants and attributes do not fit.
        """
        return self.rule(columns, shapes, attributes)

    def takes(self, values: int) -> bool:
        """Whether it can read so many values."""
        return values == self.values if self.values != ANY else values >= 1

    @property
    def arity_text(self) -> str:
        """What it reads, in words."""
        values = "one or more values" if self.values == ANY else f"{self.values} value{'s' * (self.values != 1)}"
        return values + (f" and {self.constants} constant{'s' * (self.constants != 1)}" if self.constants else "")

    def work_flop(self, rows: int, columns: int, inputs: int) -> int:
        """Floating point operations of one application; `inputs` are the columns of all values it reads."""
        each = max(columns, inputs) if self.values == 1 else columns
        return rows * (2 * inputs * columns if self.is_product else self.flop_per_element * each)

    def traffic_bytes(self, rows: int, columns: int, inputs: int, shapes: Sequence[Shape]) -> int:
        """Bytes it must read and write at least once: the values, the constants and the result."""
        constants = sum(_size(shape) for shape in shapes)
        if self.is_lookup:
            constants = min(constants, rows * columns)
        return BYTES_PER_NUMBER * (rows * inputs + constants + rows * columns)


def _size(shape: Shape) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def product(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """A weight of (columns, n) gives n columns."""
    (weight,) = shapes
    if len(weight) != 2 or weight[0] != columns[0]:
        raise GraphError(f"matmul: the value has {columns[0]} columns and the weight shape {weight}; expected ({columns[0]}, n)")
    return weight[1]


def same(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """The result has the columns of the value."""
    return columns[0]


def with_row(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """One constant: a row, a strip of rows, or a scalar."""
    (width,), (operand,) = columns, shapes
    if operand != () and not _is_row(operand, width):
        raise GraphError(
            f"the value has {width} columns and the operand shape {operand}; "
            f"expected a row ({width},), a strip (rows, {width}) or a scalar ()"
        )
    return width


def with_scalars(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """All constants are scalars."""
    for operand in shapes:
        if operand != ():
            raise GraphError(f"the operand has shape {operand}; expected a scalar ()")
    return columns[0]


def with_rows_and_scalar(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """The last constant is a scalar, and those before it are rows or strips."""
    (width,), (*rows, scalar) = columns, shapes
    for operand in rows:
        if not _is_row(operand, width):
            raise GraphError(
                f"the value has {width} columns and the operand shape {operand}; expected a row ({width},) or a strip (rows, {width})"
            )
    if scalar != ():
        raise GraphError(f"the operand has shape {scalar}; expected a scalar ()")
    return width


def _is_row(operand: Shape, width: int) -> bool:
    return operand == (width,) or (len(operand) == 2 and operand[1] == width and operand[0] >= 1)


def alike(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """The values have the same number of columns, or one of them has one."""
    if len(set(columns) - {1}) > 1:
        raise GraphError(f"the values have {', '.join(map(str, columns))} columns; expected the same number, or 1")
    return max(columns)


def alike_with_row(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """The values have the same number of columns, or one of them has one; and one constant: a row, a strip or a scalar."""
    return with_row([alike(columns, (), ())], shapes, attributes)


def looked_up(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """One constant, a table of shape (entries, 1, width); the attribute is the columns of the result, `width` for each of the value.

    The table has three axes because a constant of two is a weight or a strip, and one of one axis is a row.
    """
    (table,), (found,) = shapes, attributes
    if len(table) != 3 or table[1] != 1 or min(table) < 1 or found != columns[0] * table[2]:
        raise GraphError(
            f"the value has {columns[0]} columns, the table the shape {table}, and the attribute is {found}; "
            "expected (entries, 1, width), and the columns times the width"
        )
    return found


def side_by_side(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """The result has the columns of all values."""
    return sum(columns)


def one_column(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """The result has one column."""
    return 1


def part(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """The attributes are the first column and one past the last."""
    first, last = attributes
    if not 0 <= first < last <= columns[0]:
        raise GraphError(f"the value has {columns[0]} columns and the attributes are {first, last}; expected 0 <= first < last <= columns")
    return last - first


def repeated(columns: Sequence[int], shapes: Sequence[Shape], attributes: Sequence[int]) -> int:
    """The attribute is how often the one column of the value is repeated."""
    (times,) = attributes
    if columns[0] != 1 or times < 1:
        raise GraphError(f"the value has {columns[0]} columns and the attribute is {times}; expected 1 column, repeated 1 time or more")
    return times
