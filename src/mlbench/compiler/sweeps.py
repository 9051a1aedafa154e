"""From nodes of a graph to sweeps of generated code: what is computed element by element or along the rows, and where it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from mlbench.compiler.x86 import AVX2, Argument, Stage, View
from mlbench.compiler.x86.sweeps.along_rows import REDUCTIONS, exponentials, layer_norm, log_softmax, place_along, rms_norm, softmax
from mlbench.compiler.x86.sweeps.elementwise import EMITS, TAKES_NAN, UNARY
from mlbench.compiler.x86.sweeps.expressions import MAX, MIN, Expression, apply, number, read, spread
from mlbench.compiler.x86.sweeps.lookup import MOST_ENTRIES, Lookup
from mlbench.compiler.x86.sweeps.rowwise import Sweep
from mlbench.ir import BYTES_PER_NUMBER, FloatArray, Graph, Node, Step, frozen, op_named

Place = Callable[[str], View]
"""Where the rows of a value lie."""
Computed = tuple[Stage, tuple[Node, ...]]
"""A stage, and the nodes that it computes."""
_ROW_WISE: Mapping[str, Callable[..., Expression]] = {"log_softmax": log_softmax, "layer_norm": layer_norm, "rms_norm": rms_norm}
_PLACES = {"argmax": MAX, "argmin": MIN}
_OWN = {*EMITS, *REDUCTIONS, *_ROW_WISE, *_PLACES, "softmax", "concat", "slice", "repeat_column", "gather"}
"""Ops that there is code for, but not behind another one."""


def why_not(graph: Graph, node: Node, steps: Sequence[Step]) -> str:
    """Return why no sweep computes a node and the steps behind it, or nothing where one does; of a product, the steps alone.

    The larger of a value and a NaN is NaN in NumPy, and the value in a processor, so an operand with NaN stays with NumPy.
    """
    own = [] if op_named(node.op).is_product else [Step(node.op, node.operands)]
    for index, step in enumerate([*own, *steps]):
        arrays = [graph.constants[name] for name in step.operands]
        if step.op not in UNARY and (index or not own or step.op not in _OWN):
            return f"there is no code for {step.op}"
        if step.op == "gather":
            if len(arrays[0]) > MOST_ENTRIES or not arrays[0].flags.c_contiguous:
                return f"the table of gather has gaps, or more than {MOST_ENTRIES:,} entries"
            continue
        if any(array.ndim > 1 or not array.flags.c_contiguous or (step.op not in TAKES_NAN and np.isnan(array).any()) for array in arrays):
            return f"an operand of {step.op} is a strip, has gaps, or has NaN"
        if step.op == "celu" and not all((array > 0).all() for array in arrays):
            return "the alpha of celu is not above 0"
    names = [node.output, *node.values]
    made = sweeps_of(graph, node, steps, lambda name: View(Argument(names.index(name)), BYTES_PER_NUMBER))
    if not all(each.fits(AVX2) for each in made):
        return "there are not enough registers for what it reads and computes"
    return ""


def sweeps_of(graph: Graph, node: Node, steps: Sequence[Step], place: Place) -> tuple[Sweep | Lookup, ...]:
    """Return the stages that compute a node and some steps behind it; of a product, which is there already, the steps alone.

    Args:
        graph: has the constants.
        node: what is computed.
        steps: of its epilogue, on the result.
        place: says where a value lies.
    """
    target = place(node.output)
    if op_named(node.op).is_product:
        return (Sweep(node.columns, ((target, _with_steps(graph, read(target), steps)),)),)
    if node.op == "concat":
        return tuple(_copies(graph, node, steps, place))
    if node.op == "gather":
        return _looked_up(graph, node, steps, place)
    columns = [graph.columns_of(value) for value in node.values]
    widest = max(*columns, node.columns)
    values = [read(place(value), is_wide=width == widest) for value, width in zip(node.values, columns, strict=True)]
    operands = [_operand(graph, name) for name in node.operands]
    if node.op == "softmax":
        powers = exponentials(values[0])
        return (Sweep(widest, ((target, powers), (target, _with_steps(graph, softmax(powers), steps)))),)
    if node.op == "slice":
        first, _ = node.attributes
        view = place(node.values[0])
        part = View(view.base, view.stride_bytes, view.shift_bytes + BYTES_PER_NUMBER * first)
        return (Sweep(node.columns, ((target, _with_steps(graph, read(part), steps)),)),)
    result = _result(node, values, operands, widest)
    return (Sweep(widest, ((target, _with_steps(graph, result, steps)),)),)


def fused_sweeps(
    graph: Graph, items: Sequence[tuple[Node, Sequence[Step]]], place: Place, fits: Callable[[Sweep], bool]
) -> tuple[Computed, ...]:
    """Return the stages that compute nodes that follow each other; element-wise ones become one, whose values between stay in registers.

    Each comes with the nodes that it computes.

    Args:
        graph: has the constants, and says who reads a value.
        items: the nodes, and of each the steps behind it.
        place: says where a value lies.
        fits: says whether there are registers for a stage, and whether what it writes is apart from what it reads.
    """
    made: list[Computed] = []
    group: list[tuple[Node, Sequence[Step]]] = []
    fused: Sweep | None = None
    for item in items:
        longer = _fused(graph, [*group, item], place)
        if longer is not None and fits(longer):
            group, fused = [*group, item], longer
            continue
        made += _computed(fused, group)
        alone = _fused(graph, [item], place)
        if alone is not None and fits(alone):
            group, fused = [item], alone
        else:
            made += [(stage, (item[0],)) for stage in sweeps_of(graph, *item, place)]
            group, fused = [], None
    return (*made, *_computed(fused, group))


def _computed(stage: Sweep | None, items: Sequence[tuple[Node, Sequence[Step]]]) -> list[Computed]:
    return [] if stage is None else [(stage, tuple(node for node, _ in items))]


def _fused(graph: Graph, items: Sequence[tuple[Node, Sequence[Step]]], place: Place) -> Sweep | None:
    """Return one stage for element-wise nodes, which writes what somebody else reads; None where they are of different widths."""
    widths = {graph.columns_of(name) for node, _ in items for name in (node.output, *(() if op_named(node.op).is_product else node.values))}
    widest = max(widths)
    if widths - {1, widest} or any(not _is_elementwise(node) for node, _ in items):
        return None
    bound: dict[str, Expression] = {}

    def value(name: str) -> Expression:
        if name not in bound:
            bound[name] = read(place(name), is_wide=graph.columns_of(name) == widest)
        return bound[name]

    for node, steps in items:
        is_wide = node.columns == widest
        if op_named(node.op).is_product:
            result = read(place(node.output), is_wide=is_wide)
        elif node.op == "repeat_column":
            result = spread(value(node.values[0])) if is_wide and widest > 1 else value(node.values[0])
        else:
            operands = [_operand(graph, name, is_wide=is_wide) for name in node.operands]
            result = apply(EMITS[node.op], *map(value, node.values), *operands)
        for step in steps:
            result = apply(UNARY[step.op], result, *(_operand(graph, name, is_wide=is_wide) for name in step.operands))
        bound[node.output] = result
    inside = {id(node) for node, _ in items}
    outside = [node for node in graph.nodes if id(node) not in inside]
    needed = {name for node in outside for name in node.values} | set(graph.outputs)
    written = [node.output for node, _ in items if node.output in needed] or [items[-1][0].output]
    return Sweep(widest, tuple((place(name), bound[name]) for name in written))


def _is_elementwise(node: Node) -> bool:
    return node.op in EMITS or node.op == "repeat_column" or op_named(node.op).is_product


def _result(node: Node, values: Sequence[Expression], operands: Sequence[Expression], columns: int) -> Expression:
    if node.op in EMITS:
        return apply(EMITS[node.op], *values, *operands)
    if node.op in REDUCTIONS:
        return REDUCTIONS[node.op](values[0], columns)
    if node.op in _ROW_WISE:
        return _ROW_WISE[node.op](values[0], columns, *operands)
    if node.op in _PLACES:
        return place_along(_PLACES[node.op], values[0], read(View(_numbers_from_zero(columns), 0)))
    return spread(values[0])


@cache
def _counted(bits: int) -> FloatArray:
    return frozen(np.arange(1 << bits))


def _numbers_from_zero(count: int) -> int:
    """Return the address of the whole numbers from 0 on, which stay there as long as the process."""
    return int(_counted(count.bit_length()).ctypes.data)


def _copies(graph: Graph, node: Node, steps: Sequence[Step], place: Place) -> list[Sweep]:
    target, first = place(node.output), 0
    made = []
    for value in node.values:
        columns = graph.columns_of(value)
        part = View(target.base, target.stride_bytes, target.shift_bytes + BYTES_PER_NUMBER * first)
        if place(value) != part:
            made.append(Sweep(columns, ((part, read(place(value))),)))
        first += columns
    if steps:
        made.append(Sweep(node.columns, ((target, _with_steps(graph, read(target), steps)),)))
    return made


def _looked_up(graph: Graph, node: Node, steps: Sequence[Step], place: Place) -> tuple[Sweep | Lookup, ...]:
    table, target = graph.constants[node.operands[0]], place(node.output)
    entries, _, width = table.shape
    columns = graph.columns_of(node.values[0])
    found = Lookup(columns, entries, width, int(table.ctypes.data), place(node.values[0]), target)
    return (found, Sweep(node.columns, ((target, _with_steps(graph, read(target), steps)),))) if steps else (found,)


def _with_steps(graph: Graph, value: Expression, steps: Sequence[Step]) -> Expression:
    for step in steps:
        value = apply(UNARY[step.op], value, *(_operand(graph, name) for name in step.operands))
    return value


def _operand(graph: Graph, name: str, *, is_wide: bool = True) -> Expression:
    """Return a constant: a number, or a row that is the same for each row of the batch."""
    array: FloatArray = graph.constants[name]
    return number(float(array)) if array.ndim == 0 else read(View(int(array.ctypes.data), 0), is_wide=is_wide)
