"""The op table: one row says everything that is known about an op.

A kernel is a line of Python, not a function: both runners paste the lines of their nodes into one straight-line function
(`mlbench.runtime.numpy_backend.lowering`). A loop over kernel objects would cost the baseline 10 to 20 % on small layers, and an
interpreter that dawdles flatters everything it is compared with. `{x}` is the first value, `{other}` the second, `{values}` are all of
them with commas between, `{0}`, `{1}` are constants, `{out}` is where the result goes, `{held}` what it holds so far, and `{s0}`, `{s1}`
are scratch matrices of the result's shape.

Adding an op is adding a row here and, for `mlbench.ir.reference`, one line of float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlbench.errors import GraphError

BYTES_PER_NUMBER = 4

Shape = tuple[int, ...]
ColumnsRule = Callable[[Sequence[int], Sequence[Shape]], int]
ANY = 0
"""As many values as a node names."""


@dataclass(frozen=True, slots=True)
class Op:
    """A row of the op table.

    Attributes:
        name: what a node calls it.
        constants: how many constants it takes after the values.
        columns: shape rule: columns of each value and shapes of the constants to columns of the result; raises
            `GraphError` where they do not fit.
        flop_per_element: floating point operations for an element of the result; a matrix product needs
            2 * inputs of them and says so with 0 here and `is_product`.
        eager: expression that allocates its result.
        into: statements that write the result to `{out}` and allocate nothing.
        scratch: matrices of the result's shape that `into` needs besides.
        elementwise: element (i, j) of the result depends on element (i, j) of its one value alone, so that it may run in
            an epilogue, on strips of rows.
        in_place: `into` is right when `{out}` and `{x}` are the same matrix.
        is_product: a matrix product.
        transposed: as `into`, with every matrix transposed: (x @ w).T = w.T @ x.T, for a feature-major result.
        values: how many values it reads before the constants; ANY for one or more.
    """

    name: str
    constants: int
    columns: ColumnsRule
    flop_per_element: int
    eager: str
    into: tuple[str, ...]
    scratch: int = 0
    elementwise: bool = False
    in_place: bool = False
    is_product: bool = False
    transposed: tuple[str, ...] = ()
    values: int = 1

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
        return rows * columns * (2 * inputs if self.is_product else self.flop_per_element)

    def traffic_bytes(self, rows: int, columns: int, inputs: int, shapes: Sequence[Shape]) -> int:
        """Bytes it must read and write at least once: the values, the constants and the result."""
        constants = sum(_size(shape) for shape in shapes)
        return BYTES_PER_NUMBER * (rows * inputs + constants + rows * columns)


def _size(shape: Shape) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


def _product(columns: Sequence[int], shapes: Sequence[Shape]) -> int:
    (weight,) = shapes
    if len(weight) != 2 or weight[0] != columns[0]:
        raise GraphError(f"matmul: the value has {columns[0]} columns and the weight shape {weight}; expected ({columns[0]}, n)")
    return weight[1]


def _unary(columns: Sequence[int], shapes: Sequence[Shape]) -> int:
    return columns[0]


def _with_row(columns: Sequence[int], shapes: Sequence[Shape]) -> int:
    (width,), (operand,) = columns, shapes
    if operand != (width,) and (len(operand) != 2 or operand[1] != width or operand[0] < 1):
        raise GraphError(
            f"the value has {width} columns and the operand shape {operand}; expected a row ({width},) or a strip (rows, {width})"
        )
    return width


def _with_scalar(columns: Sequence[int], shapes: Sequence[Shape]) -> int:
    (operand,) = shapes
    if operand != ():
        raise GraphError(f"the operand has shape {operand}; expected a scalar ()")
    return columns[0]


def _alike(columns: Sequence[int], shapes: Sequence[Shape]) -> int:
    if len(set(columns)) > 1:
        raise GraphError(f"the values have {', '.join(map(str, columns))} columns; expected the same number")
    return columns[0]


def _side_by_side(columns: Sequence[int], shapes: Sequence[Shape]) -> int:
    return sum(columns)


def _elementwise(name: str, flop: int, eager: str, *into: str, constants: int = 0, scratch: int = 0, columns: ColumnsRule = _unary) -> Op:
    return Op(name, constants, columns, flop, eager, into, scratch, elementwise=True, in_place=True)


# `into` names ufuncs bare, because a look-up in the module costs 25 ns a call.
# `out=` is spelled as a keyword because NumPy 2.4 deprecates it as the third position of maximum.
# `value.dot(w, out)` and not `np.matmul(value, w, out=out)`: matmul mallocs 72 bytes a call and takes longer to start.
# leaky_relu as max(x, slope * x) holds for 0 < slope < 1, which the models check.
# sigmoid goes through tanh because exp(-x) overflows below -88 and warns.
_ROWS = (
    Op("matmul", 1, _product, 0, "{x} @ {0}", ("{x}.dot({0}, {out})",), is_product=True, transposed=("{0}.dot({x}, {out})",)),
    _elementwise("add", 1, "{x} + {0}", "add({x}, {0}, out={out})", constants=1, columns=_with_row),
    _elementwise("maximum", 1, "np.maximum({x}, {0})", "maximum({x}, {0}, out={out})", constants=1, columns=_with_row),
    _elementwise("relu", 1, "np.maximum({x}, 0)", "maximum({x}, 0, out={out})"),
    _elementwise("leaky_relu", 2, "np.maximum({x}, {0} * {x})",
                 "multiply({x}, {0}, out={s0})", "maximum({x}, {s0}, out={out})",
                 constants=1, scratch=1, columns=_with_scalar),
    _elementwise("sigmoid", 10, "0.5 * np.tanh(0.5 * {x}) + 0.5",
                 "multiply({x}, 0.5, out={out})", "tanh({held}, out={out})",
                 "multiply({held}, 0.5, out={out})", "add({held}, 0.5, out={out})"),
    _elementwise("tanh", 8, "np.tanh({x})", "tanh({x}, out={out})"),
    Op("softmax", 0, _unary, 12, "softmax({x})", ("softmax_into({x}, {out}, {s0}, {s1})",), scratch=2, in_place=True),
    Op("add_values", 0, _alike, 1, "{x} + {other}", ("add({x}, {other}, out={out})",), in_place=True, values=2),
    Op("concat", 0, _side_by_side, 0, "np.concatenate(({values},), axis=1)", ("concat_into(({values},), {out})",), values=ANY),
)  # fmt: skip

OPS = {op.name: op for op in _ROWS}


def op_named(name: str) -> Op:
    """Return the row called `name`.

    Raises:
        GraphError: where there is none; the message lists those there are.
    """
    if name not in OPS:
        raise GraphError(f"no op is called {name!r}; there are {', '.join(sorted(OPS))}")
    return OPS[name]
