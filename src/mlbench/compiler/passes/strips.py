"""Strips: a row operand becomes a small matrix, and what reads it runs strip of rows by strip of rows.

`np.add(h, bias_row, out=h)` looks as if it allocated nothing; NumPy mallocs an iterator and a 32 KiB broadcast buffer for it. With
both operands contiguous and of one shape it mallocs nothing and is 1.7 to 4 times faster. So the row is repeated, but only for as
many rows as fit into STRIP_BYTES: an operand made to avoid an allocation is memory too. ReLU compares with a strip of zeros
for the same reason: against the scalar 0, NumPy's loop is not vectorised.

An epilogue is cut into strips, and so is a node without a product that reads a row or has an epilogue that does, such as the scaling
of an input. Its scratch then has the height of a strip.

A GELU or a LayerNorm makes ten calls or more for each strip. In strips of 16 KiB they took a LayerNorm three times as long as the whole
tile, so such strips have 128 KiB, and a LayerNorm without such an epilogue runs on the whole tile and copies its rows to scratch.

16 KiB keeps operand and strip together within a first-level data cache of 32 KiB; a strip has LEAST_ROWS at least, because a call for
each row would cost more than the cache saves. A batch of one needs no strip: there the row has the
value's shape already.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlbench.compiler.passes.base import Decision, Decisions, Pass
from mlbench.compiler.schedule.program import FEATURES, Program
from mlbench.ir import BYTES_PER_NUMBER, FloatArray, Node, Step, frozen, new_name, op_named

STRIP_BYTES = 16 * 1024
LEAST_ROWS = 8
LONG_STRIP_BYTES = 128 * 1024
MANY_SCRATCH = 2
"""A kernel with so many scratch matrices makes ten calls or more, and takes high strips."""
_FLAT = 0
"""The height of zeros that are a row; a strip of a batch of one has the height 1."""


def apply(program: Program) -> Program:
    """Give every row operand in an epilogue the height of a strip."""
    strips = _Strips(program)
    nodes = tuple(strips.with_strips(node) for node in program.graph.nodes)
    return program if nodes == program.graph.nodes else program.with_graph(program.graph.with_nodes(nodes, strips.constants))


def explain(before: Program, after: Program) -> str:
    """Say what the pass did to this program."""
    strips = {name: array for name, array in after.graph.constants.items() if name not in before.graph.constants}
    if not strips:
        return "No strips: NumPy broadcasts no row over several rows here."
    shapes = ", ".join(" x ".join(map(str, array.shape)) for array in strips.values())
    size = sum(array.nbytes for array in strips.values())
    return f"{len(strips)} strips replace row operands and the zero of ReLU ({shapes}), {size:,} bytes of static memory."


def decide(before: Program, after: Program) -> Decisions:
    """Return for each node whether its row operands became strips, and why."""
    read = {node.output: node.constants for node in before.graph.nodes}
    found = []
    for node in after.graph.nodes:
        made = [name for name in node.constants if name not in read[node.output]]
        if made:
            rows = max((after.graph.constants[name].shape[0] for name in made if after.graph.constants[name].ndim == 2), default=1)
            found.append(Decision(node.output, is_done=True, reason=f"{', '.join(made)} of {rows} rows stays in the first cache"))
        else:
            found.append(Decision(node.output, is_done=False, reason=_refusal(before, node)))
    return tuple(found)


def _refusal(program: Program, node: Node) -> str:
    """Return why a node has no strips."""
    outer = program.outer_steps(node)
    own = () if op_named(node.op).is_product else (Step(node.op, node.operands),)
    rows = [name for step in (*own, *outer) for name in step.operands if program.graph.constants[name].ndim == 1]
    if program.of(node).is_generated and not outer:
        return "generated code runs its epilogue in registers"
    if not rows and not any(step.op == "relu" for step in (*own, *outer)):
        return "NumPy reads no row there"
    if op_named(node.op).is_row_wise:
        return f"a {node.op} runs on the whole tile, because it makes ten calls or more"
    return "a batch of one has the shape of the row already"


class _Strips:
    """The constants of a graph, and the strips made of them so far; layers that share a row share its strip."""

    def __init__(self, program: Program) -> None:
        self.constants = dict(program.graph.constants)
        self._program = program
        self._made: dict[tuple[str, int], str] = {}

    def with_strips(self, node: Node) -> Node:
        """Return the node with strips for the steps that NumPy runs."""
        outer = self._program.outer_steps(node)
        if self._program.runs_generated(node):
            return node
        if op_named(node.op).is_row_wise and not any(self._is_broadcast(step) for step in outer):
            return node
        inner = node.epilogue[: len(node.epilogue) - len(outer)]
        if op_named(node.op).is_product:
            return replace(node, epilogue=(*inner, *self._with_strips(node, outer)))
        own, *outer_strips = self._with_strips(node, (Step(node.op, node.operands), *outer))
        return replace(node, op=own.op, inputs=(*node.values, *own.operands), epilogue=tuple(outer_strips))

    def _is_broadcast(self, step: Step) -> bool:
        """Whether a step reads a row, or compares with zero, which is made a row."""
        return step.op == "relu" or any(self.constants[name].ndim == 1 for name in step.operands)

    def _with_strips(self, node: Node, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        if self._program.of(node).layout == FEATURES:  # rows of one number each: the runner broadcasts a row operand over them
            return tuple(self._with_zeros(step, node.columns) for step in steps)
        rows = min(self._program.schedule.tile_rows, max(LEAST_ROWS, _strip_bytes(node, steps) // (BYTES_PER_NUMBER * node.columns)))
        return tuple(self._strip_step(step, rows, node.columns) for step in steps)

    def _with_zeros(self, step: Step, columns: int) -> Step:
        if step.op != "relu":
            return step
        name = f"zeros_{columns}"
        if (name, _FLAT) not in self._made:
            self._made[name, _FLAT] = new_name(self.constants, name)
            self.constants[self._made[name, _FLAT]] = frozen(np.zeros(columns, np.float32))
        return Step("maximum", (self._made[name, _FLAT],))

    def _strip_step(self, step: Step, rows: int, columns: int) -> Step:
        if step.op == "relu":
            return Step("maximum", (self._strip(f"zeros_{columns}", np.zeros(columns, np.float32), rows),))
        if rows == 1:
            return step
        return Step(step.op, tuple(self._repeated(name, rows) for name in step.operands))

    def _repeated(self, name: str, rows: int) -> str:
        row = self.constants[name]
        return self._strip(name, row, rows) if row.ndim == 1 else name

    def _strip(self, name: str, row: FloatArray, rows: int) -> str:
        if (name, rows) not in self._made:
            strip = new_name(self.constants, f"{name}_strip")
            self.constants[strip] = frozen(np.broadcast_to(row, (rows, row.size)))
            self._made[name, rows] = strip
        return self._made[name, rows]


def _strip_bytes(node: Node, steps: tuple[Step, ...]) -> int:
    is_long = op_named(node.op).is_row_wise or any(op_named(step.op).scratch >= MANY_SCRATCH for step in steps)
    return LONG_STRIP_BYTES if is_long else STRIP_BYTES


PASS = Pass(
    "strips",
    "repeat row operands over a strip of rows, so that what reads them allocates nothing and vectorises",
    explain,
    apply=apply,
    rule="A row that NumPy would broadcast is repeated over as many rows as stay in the first cache, and the node runs on so many.",
    decide=decide,
)
