"""Random graphs of all ops, with inputs for them; `noisy_runs` judges what a runner gives for these.

A number, its seed, decides everything. A graph is made node by node beside a float64 run on its own inputs, so that each op gets values on
which it is defined and well-conditioned: no logarithm of a negative number, no division by nearly zero, nothing that grows without end.

What jumps, such as a comparison, gets values that are FAR from where it does, because there two right runs may differ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mlbench.ir import OPS, REFERENCES, FloatArray, Graph, Node, frozen

Wide = npt.NDArray[np.float64]
WIDTHS = (1, 1, 2, 3, 5, 8, 16, 17, 33)
LARGEST, SMALLEST, FAR = 50.0, 0.1, 1e-3
_POSITIVE = ("log", "sqrt")
_AWAY_FROM_ZERO = ("reciprocal", "divide_into")
TO_WHOLE = ("floor", "ceil", "round", "trunc", "sign")
COMPARISONS = ("equal", "less", "less_equal", "greater", "greater_equal")
COMPARISONS_OF_VALUES = ("equal_values", "less_values", "less_equal_values")
PLACES = ("argmax", "argmin")
_PLAIN = [op.name for op in OPS.values() if op.elementwise and not op.constants and op.name not in TO_WHOLE]
_SCALARS = {"leaky_relu": 1, "elu": 1, "selu": 2, "celu": 1, "hard_sigmoid": 2, "clip": 2}
_OF_ROW = [op.name for op in OPS.values() if op.elementwise and op.constants and op.name not in {*_SCALARS, *COMPARISONS, "fmod"}]
_OF_VALUES = [
    op.name
    for op in OPS.values()
    if op.is_pointwise and not op.elementwise and op.name not in {*COMPARISONS_OF_VALUES, "fmod_values", "where", "where_else"}
]
_ROW_WISE = [op.name for op in OPS.values() if op.is_row_wise]
_REDUCTIONS = [name for name in OPS if name.startswith("reduce_")]


@dataclass(frozen=True, slots=True, eq=False)
class RandomGraph:
    """What one seed stands for.

    Attributes:
        graph: the graph.
        xs: a batch for each input.
    """

    graph: Graph
    xs: tuple[FloatArray, ...]


def random_graph(seed: int, rows: int = 16, most: int = 10) -> RandomGraph:
    """Return the graph of a seed, of some `most` pieces or fewer."""
    return _Maker(np.random.default_rng(seed), rows).make(most)


class _Maker:
    """Makes one graph."""

    def __init__(self, random: np.random.Generator, rows: int) -> None:
        self._random = random
        self._rows = rows
        self._values: dict[str, Wide] = {}
        self._constants: dict[str, FloatArray] = {}
        self._nodes: list[Node] = []

    def make(self, most: int) -> RandomGraph:
        """Return the graph."""
        xs = {f"in{index}": self._batch(self._width()) for index in range(int(self._random.choice([1, 1, 1, 2, 3])))}
        self._values = {name: x.astype(np.float64) for name, x in xs.items()}
        pieces: tuple[Callable[[], str | None], ...] = (
            self._linear, self._linear, self._linear, self._plain, self._plain, self._of_scalars, self._of_row, self._of_row,
            self._of_values, self._of_values, self._row_wise, self._reduction, self._concat, self._slice, self._written_out,
            self._batch_norm, self._residual, self._to_whole, self._comparison, self._comparison, self._place, self._where, self._gather,
            self._remainder,
        )  # fmt: skip
        for _ in range(int(self._random.integers(1, most + 1))):
            pieces[int(self._random.integers(len(pieces)))]()
        if not self._nodes:
            self._linear()
        bound = [node.output for node in self._nodes]
        others = [name for name in bound[:-1] if self._random.random() < 0.1]
        outputs = [bound[-1], *others]
        self._random.shuffle(outputs)
        graph = Graph({name: x.shape[1] for name, x in xs.items()}, self._constants, tuple(self._nodes), tuple(outputs))
        return RandomGraph(graph.with_nodes(graph.nodes), tuple(xs.values()))

    # what a piece needs

    def _width(self) -> int:
        return int(self._random.choice(WIDTHS))

    def _batch(self, columns: int) -> FloatArray:
        return self._random.standard_normal((self._rows, columns), dtype=np.float32)

    def _value(self) -> str:
        """Return the name of a value, more often a late one."""
        names = list(self._values)
        return names[-1 - min(len(names) - 1, int(self._random.exponential(1.5)))]

    def _constant(self, array: npt.ArrayLike) -> str:
        name = f"k{len(self._constants)}"
        self._constants[name] = frozen(array)
        return name

    def _row(self, columns: int) -> Wide:
        """Return a row, or a scalar, of numbers away from zero."""
        shape = () if self._random.random() < 0.3 else (columns,)
        return np.asarray(self._random.uniform(0.3, 1.5, shape) * self._random.choice([-1, 1], shape))

    def _add(self, op: str, *values: str, operands: tuple[str, ...] = (), attributes: tuple[int, ...] = ()) -> str | None:
        """Add a node unless a value of it would be too large or not finite; return what it binds."""
        constants = [self._constants[name].astype(np.float64) for name in operands]
        with np.errstate(all="ignore"):
            result = np.asarray(REFERENCES[op](*(self._values[name] for name in values), *constants, *attributes), np.float64)
        if not np.isfinite(result).all() or np.abs(result).max(initial=0) > LARGEST:
            return None
        name = f"h{len(self._nodes)}"
        self._nodes.append(Node(op, (*values, *operands), name, result.shape[1], attributes=attributes))
        self._values[name] = result
        return name

    def _chain(self, value: str | None, *ops: str) -> str | None:
        for op in ops:
            value = value and self._add(op, value)
        return value

    def _is_far(self, name: str) -> bool:
        return bool(np.abs(self._values[name]).min(initial=1) > SMALLEST)

    def _is_above(self, name: str) -> bool:
        """Whether each row has a largest element that leads by FAR, or is a single one."""
        ranked = np.sort(self._values[name], axis=1)
        return ranked.shape[1] == 1 or bool((ranked[:, -1] - ranked[:, -2]).min(initial=1) > FAR)

    # the pieces

    def _linear(self) -> str | None:
        value, columns = self._value(), self._width()
        inputs = self._values[value].shape[1]
        weight = self._constant(self._random.standard_normal((inputs, columns)) / np.sqrt(inputs))
        result = self._add("matmul", value, operands=(weight,))
        if result and self._random.random() < 0.8:
            result = self._add("add", result, operands=(self._constant(self._random.standard_normal(columns)),))
        if result and self._random.random() < 0.5:
            activation = str(self._random.choice(["relu", "relu", "tanh", "sigmoid", "gelu", "silu", "leaky_relu"]))
            slope = (self._constant(0.1),) if activation == "leaky_relu" else ()
            result = self._add(activation, result, operands=slope)
        return result

    def _plain(self) -> str | None:
        value, op = self._value(), str(self._random.choice(_PLAIN))
        if op in _POSITIVE and self._values[value].min(initial=1) < SMALLEST:
            value = self._chain(value, "square") or value
            shifted = self._add("add", value, operands=(self._constant(SMALLEST),))
            return shifted and self._chain(shifted if self._values[shifted].min(initial=1) >= SMALLEST / 2 else None, op)
        if op in _AWAY_FROM_ZERO and not self._is_far(value):
            return None
        return self._add(op, value)

    def _of_scalars(self) -> str | None:
        op = str(self._random.choice(list(_SCALARS)))
        numbers = sorted(self._random.uniform(0.1, 0.9, _SCALARS[op]))
        return self._add(op, self._value(), operands=tuple(self._constant(number) for number in numbers))

    def _of_row(self) -> str | None:
        value, op = self._value(), str(self._random.choice(_OF_ROW))
        if op in _AWAY_FROM_ZERO and not self._is_far(value):
            return None
        row = self._row(self._values[value].shape[1])
        if op == "power":
            positive = self._values[value].min(initial=1) > SMALLEST
            row = row if positive else np.full(row.shape, self._random.choice([2.0, 3.0]))
        return self._add(op, value, operands=(self._constant(row),))

    def _of_values(self) -> str | None:
        one, op = self._value(), str(self._random.choice(_OF_VALUES))
        columns = self._values[one].shape[1]
        fitting = [name for name, value in self._values.items() if 1 in (value.shape[1], columns) or value.shape[1] == columns]
        other = str(self._random.choice(fitting))
        if self._random.random() < 0.3:
            one, other = other, one
        if op == "divide_values" and not self._is_far(other):
            return None
        if op == "power_values" and self._values[one].min(initial=1) < SMALLEST:
            return None
        return self._add(op, one, other)

    def _row_wise(self) -> str | None:
        value, op = self._value(), str(self._random.choice(_ROW_WISE))
        columns = self._values[value].shape[1]
        if op.endswith("norm"):
            if self._values[value].var(axis=1).min(initial=1) < SMALLEST:
                return None
            rows = [self._constant(self._random.standard_normal(columns)) for _ in range(OPS[op].constants - 1)]
            return self._add(op, value, operands=(*rows, self._constant(1e-3)))
        return self._add(op, value)

    def _reduction(self) -> str | None:
        return self._add(str(self._random.choice(_REDUCTIONS)), self._value())

    def _concat(self) -> str | None:
        return self._add("concat", *(self._value() for _ in range(int(self._random.integers(1, 4)))))

    def _slice(self) -> str | None:
        value = self._value()
        first, last = sorted(self._random.choice(self._values[value].shape[1] + 1, 2, replace=False))
        return self._add("slice", value, attributes=(int(first), int(last)))

    def _to_whole(self) -> str | None:
        value, op = self._value(), str(self._random.choice(TO_WHOLE))
        numbers = self._values[value]
        near = {"round": np.floor(numbers) + 0.5, "sign": np.zeros(())}.get(op, np.rint(numbers))
        return self._add(op, value) if np.abs(numbers - near).min(initial=1) > FAR else None

    def _remainder(self) -> str | None:
        """Add a remainder where no quotient is close to a whole number."""
        value = self._value()
        columns = self._values[value].shape[1]
        fitting = [name for name, other in self._values.items() if other.shape[1] in {1, columns} and self._is_far(name)]
        other = str(self._random.choice(fitting)) if fitting and self._random.random() < 0.5 else ""
        divisor = self._values[other] if other else self._row(columns)
        quotient = self._values[value] / divisor
        if np.abs(quotient - np.rint(quotient)).min(initial=1) < FAR:
            return None
        return self._add("fmod_values", value, other) if other else self._add("fmod", value, operands=(self._constant(divisor),))

    def _threshold(self, value: str) -> str | None:
        """Return a row that is far from all numbers of its column, in the middle of a gap between two of them; None without one."""
        ranked = np.sort(self._values[value], axis=0)
        if len(ranked) < 2:
            return self._constant(ranked[0] + self._random.choice([-0.5, 0.5], ranked.shape[1]))
        gaps = np.diff(ranked, axis=0)
        if gaps.max(axis=0).min() < 2 * FAR:
            return None
        place = gaps.argmax(axis=0)[np.newaxis]
        return self._constant((np.take_along_axis(ranked, place, 0) + np.take_along_axis(gaps, place, 0) / 2)[0])

    def _comparison(self) -> str | None:
        one = self._value()
        if self._random.random() < 0.3:
            fitting = [name for name, value in self._values.items() if value.shape[1] in {1, self._values[one].shape[1]}]
            other = str(self._random.choice(fitting))
            is_far = np.abs(self._values[one] - self._values[other]).min(initial=1) > FAR
            return self._add(str(self._random.choice(COMPARISONS_OF_VALUES)), one, other) if is_far else None
        row = self._threshold(one)
        return row and self._add(str(self._random.choice(COMPARISONS)), one, operands=(row,))

    def _place(self) -> str | None:
        value = self._value()
        op, source = ("argmax", value) if self._random.random() < 0.5 else ("argmin", self._add("neg", value))
        return self._add(op, source) if source and self._is_above(value) else None

    def _where(self) -> str | None:
        condition = self._comparison()
        if not condition:
            return None
        columns = self._values[condition].shape[1]
        fitting = [name for name, value in self._values.items() if value.shape[1] in {1, columns}]
        one, other = (str(each) for each in self._random.choice(fitting, 2))
        if self._random.random() < 0.4:
            row = self._row(max(columns, self._values[one].shape[1]))
            return self._add("where_else", condition, one, operands=(self._constant(row),))
        return self._add("where", condition, one, other)

    def _gather(self) -> str | None:
        place = self._place()
        if not place:
            return None
        entries, width = self._values[self._nodes[-1].values[0]].shape[1], int(self._random.choice([1, 2, 8]))
        columns = 1
        if self._random.random() < 0.3:
            both = self._add("concat", place, place)
            place, columns = (both, 2) if both else (place, 1)
        table = self._constant(self._random.standard_normal((entries, 1, width)))
        return self._add("gather", place, operands=(table,), attributes=(columns * width,))

    def _residual(self) -> str | None:
        value = self._value()
        columns = self._values[value].shape[1]
        weight = self._constant(self._random.standard_normal((columns, columns)) / np.sqrt(columns))
        result = self._add("matmul", value, operands=(weight,))
        bias = result and self._add("add", result, operands=(self._constant(self._random.standard_normal(columns)),))
        return bias and self._add("add_values", *((value, bias) if self._random.random() < 0.5 else (bias, value)))

    def _batch_norm(self) -> str | None:
        """Add the scaling that an importer makes of a batch normalisation or of a scaler."""
        value = self._value()
        columns = self._values[value].shape[1]
        scaled = self._add("multiply", value, operands=(self._constant(self._random.uniform(0.5, 1.5, columns)),))
        return scaled and self._add("add", scaled, operands=(self._constant(self._random.standard_normal(columns)),))

    def _written_out(self) -> str | None:
        """Add a GELU, a SiLU or a LayerNorm of simple ops."""
        value, kind = self._value(), int(self._random.integers(4))
        if kind == 0:
            return self._written_gelu(value)
        if kind == 1:
            gate = self._add("sigmoid", value)
            return gate and self._add("multiply_values", *((value, gate) if self._random.random() < 0.5 else (gate, value)))
        if kind == 2:
            return self._written_gelu_tanh(value)
        return self._written_layer_norm(value)

    def _written_gelu(self, value: str) -> str | None:
        scaled = self._add("divide", value, operands=(self._constant(np.sqrt(2)),))
        gate = self._chain(scaled, "erf")
        gate = gate and self._add("add", gate, operands=(self._constant(1),))
        if self._random.random() < 0.5:
            product = gate and self._add("multiply_values", value, gate)
            return product and self._add("multiply", product, operands=(self._constant(0.5),))
        half = gate and self._add("multiply", value, operands=(self._constant(0.5),))
        return half and gate and self._add("multiply_values", half, gate)

    def _written_gelu_tanh(self, value: str) -> str | None:
        cube = self._add("power", value, operands=(self._constant(3),))
        cube = cube and self._add("multiply", cube, operands=(self._constant(0.044715),))
        inner = cube and self._add("add_values", value, cube)
        inner = inner and self._add("multiply", inner, operands=(self._constant(np.sqrt(2 / np.pi)),))
        gate = inner and self._chain(inner, "tanh")
        gate = gate and self._add("add", gate, operands=(self._constant(1),))
        half = gate and self._add("multiply", value, operands=(self._constant(0.5),))
        return half and gate and self._add("multiply_values", half, gate)

    def _written_layer_norm(self, value: str) -> str | None:
        if self._values[value].var(axis=1).min(initial=1) < SMALLEST:
            return None
        columns = self._values[value].shape[1]
        mean = self._add("reduce_mean", value)
        centered = mean and self._add("subtract_values", value, mean)
        if not centered:
            return None
        if self._random.random() < 0.5:
            squared = self._add("power", centered, operands=(self._constant(2),))
        else:
            squared = self._add("multiply_values", centered, centered)
        variance = squared and self._add("reduce_mean", squared)
        variance = variance and self._add("add", variance, operands=(self._constant(1e-5),))
        deviation = variance and self._add("sqrt", variance)
        result = deviation and self._add("divide_values", centered, deviation)
        result = result and self._add("multiply", result, operands=(self._constant(self._random.standard_normal(columns)),))
        return result and self._add("add", result, operands=(self._constant(self._random.standard_normal(columns)),))
