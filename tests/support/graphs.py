"""Random graphs of every op, with branches, several inputs and several outputs, for tests that compare two ways of running them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlbench.ir import OPS, FloatArray, Graph, Node, frozen

_SCALARS: dict[str, Callable[[np.random.Generator], tuple[float, ...]]] = {
    "leaky_relu": lambda random: (random.uniform(0.01, 0.9),),
    "elu": lambda random: (random.uniform(0.1, 2),),
    "celu": lambda random: (random.uniform(0.3, 2),),
    "selu": lambda _: (1.67326, 1.0507),
    "hard_sigmoid": lambda random: (random.uniform(0.1, 0.4), 0.5),
    "clip": lambda random: (-random.uniform(0, 2), random.uniform(0, 2)),
}
_POSITIVE = {"log", "sqrt", "power", "power_values", "divide_values", "reciprocal", "divide_into"}
"""Ops that mostly get values above zero, so that not every graph is full of NaN."""


class _Builder:
    """Adds nodes to a graph at random."""

    def __init__(self, random: np.random.Generator, inputs: dict[str, int]) -> None:
        self.random = random
        self.columns = dict(inputs)
        self.constants: dict[str, FloatArray] = {}
        self.nodes: list[Node] = []

    def constant(self, numbers: object) -> str:
        """Add a constant."""
        name = f"k{len(self.constants)}"
        self.constants[name] = frozen(np.asarray(numbers))
        return name

    def value(self, columns: int | None = None) -> str:
        """Return some value, of so many columns: a late one more often than an early one."""
        names = [name for name, width in self.columns.items() if columns is None or width == columns]
        return names[max(self.random.integers(len(names)), self.random.integers(len(names)))]

    def node(self, op: str, values: tuple[str, ...], operands: tuple[str, ...] = (), attributes: tuple[int, ...] = ()) -> str:
        """Add a node."""
        name = f"v{len(self.nodes)}"
        shapes = [self.constants[operand].shape for operand in operands]
        columns = OPS[op].columns([self.columns[value] for value in values], shapes, attributes)
        self.nodes.append(Node(op, (*values, *operands), name, columns, attributes=attributes))
        self.columns[name] = columns
        return name

    def above_zero(self, value: str) -> str:
        """Return a value above zero that depends on another."""
        return self.node("add", (self.node(str(self.random.choice(["softplus", "square", "sigmoid"])), (value,)),), (self.constant(0.1),))

    def add(self, name: str) -> None:
        """Add a node of one op."""
        op, random = OPS[name], self.random
        value = self.value()
        if name in _POSITIVE and random.random() < 0.9:
            value = self.above_zero(value)
        width = self.columns[value]
        special = getattr(self, f"_add_{name}", None)
        if special is not None:
            special(value)
        elif op.values == 2:
            other = self.value(width) if random.random() < 0.7 or width == 1 else self.node("reduce_mean", (self.value(),))
            self.node(name, (other, value) if name == "divide_values" else (value, other))
        elif name in _SCALARS:
            self.node(name, (value,), tuple(self.constant(number) for number in _SCALARS[name](random)))
        elif op.constants > 1:
            rows = [random.uniform(0.5, 1.5, width), random.standard_normal(width)][: op.constants - 1]
            self.node(name, (value,), (*map(self.constant, rows), self.constant(1e-5)))
        elif op.constants:
            self.node(name, (value,), (self.constant(random.standard_normal(width if random.random() < 0.7 else ()) + 0.1),))
        else:
            self.node(name, (value,))

    def condition(self, columns: int) -> str:
        """Return a value of zeros and ones, of so many columns or of one."""
        value = self.value(columns) if self.random.random() < 0.7 else self.node("reduce_mean", (self.value(),))
        return self.node("greater", (value,), (self.constant(self.random.standard_normal()),))

    def _add_where(self, value: str) -> None:
        width = self.columns[value]
        values = (value, self.value(width))
        self.node("where", (self.condition(width), *(values if self.random.random() < 0.5 else values[::-1])))

    def _add_where_else(self, value: str) -> None:
        width = self.columns[value]
        row = self.constant(self.random.standard_normal(width if self.random.random() < 0.7 else ()))
        self.node("where_else", (self.condition(width), value), (row,))

    def _add_gather(self, value: str) -> None:
        entries, width = self.columns[value], int(self.random.choice([1, 2, 5]))
        index = self.node("argmax", (value,))
        if self.random.random() < 0.3:
            index = self.node("add", (index,), (self.constant(-entries),))
        if self.random.random() < 0.5:
            index = self.node("concat", (index, self.node("argmin", (value,))))
        table = self.constant(self.random.standard_normal((entries, 1, width)))
        self.node("gather", (index,), (table,), (self.columns[index] * width,))

    def _add_matmul(self, value: str) -> None:
        shape = self.columns[value], int(self.random.choice([1, 3, 8, 17]))
        self.node("matmul", (value,), (self.constant(self.random.standard_normal(shape) / np.sqrt(shape[0])),))

    def _add_power(self, value: str) -> None:
        self.node("power", (value,), (self.constant(self.random.choice([2, 3, 0.5, -1, 1.7])),))

    def _add_concat(self, value: str) -> None:
        self.node("concat", (value, *(self.value() for _ in range(self.random.integers(0, 3)))))

    def _add_slice(self, value: str) -> None:
        first = int(self.random.integers(0, self.columns[value]))
        self.node("slice", (value,), (), (first, int(self.random.integers(first + 1, self.columns[value] + 1))))

    def _add_repeat_column(self, value: str) -> None:
        self.node("repeat_column", (self.value(1) if 1 in self.columns.values() else self.node("reduce_mean", (value,)),), (), (5,))


def random_graph(seed: int, most_nodes: int = 12) -> tuple[Graph, tuple[FloatArray, ...]]:
    """Return a graph and a batch for each of its inputs."""
    random = np.random.default_rng(seed)
    inputs = {f"in{index}": int(random.choice([1, 3, 8, 17])) for index in range(random.choice([1, 1, 2]))}
    builder = _Builder(random, inputs)
    for _ in range(random.integers(1, most_nodes + 1)):
        builder.add(str(random.choice(["matmul", "add", "relu", *OPS, *OPS])))
    read = {name for node in builder.nodes for name in node.values}
    ends = [node.output for node in builder.nodes if node.output not in read]
    more = [node.output for node in builder.nodes if node.output in read and random.random() < 0.05]
    xs = tuple(random.standard_normal((random_rows, columns), np.float32) * np.float32(random.choice([0.1, 1, 10]))
               for random_rows in [int(random.choice([1, 3, 9]))] for columns in inputs.values())  # fmt: skip
    return Graph(inputs, builder.constants, tuple(builder.nodes), (*ends, *more)), xs
