"""Code generation: the graph becomes machine code of our own, with the bias and the activation inside its products.

BLAS packs the weights anew in every product, and NumPy walks over the result once more for the bias and again for the activation. Weights
do not change, so they are packed once, for all runners of a model that pack them alike; and a block of the result is still in registers
when bias and activation are due. So that code is written here for these very sizes and addresses (`mlbench.compiler.x86` says how). What a
product's registers cannot do, such as a tanh, and every other op runs in sweeps: row after row, with functions as polynomials on vector
registers (`mlbench.compiler.x86.sweeps.vector_math`), where NumPy makes ten calls for a LayerNorm. Element-wise nodes that follow each
other become one sweep. Nodes that follow each other become one function, which runs a tile from its first node to its last. A call of it
costs 40 ns where two of NumPy's cost a microsecond.

The code has addresses in it, so the buffers must be static. Packed weights are copies, and are counted as such. What it cannot read, such
as an operand with NaN, stays with NumPy. Code exists for x86-64 with AVX2 or AVX-512 on Linux; elsewhere the pass does nothing and says
why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from mlbench.compiler.passes.base import Pass
from mlbench.compiler.schedule.program import FEATURES, NodeSchedule, Program
from mlbench.compiler.schedule.schedule import Schedule, products_of, weight_shape
from mlbench.compiler.shared_copies import shared_copy
from mlbench.compiler.sweeps import why_not
from mlbench.compiler.x86 import MOST_OPERANDS, MOST_SIZE, STEPS, Vectors, best_width, find, pack
from mlbench.ir import FloatArray, Node, new_name, op_named


def choose(program: Program, schedule: Schedule) -> Program:
    """Generate what was chosen, where this machine can run it."""
    vectors, _ = find()
    if vectors is None or not program.schedule.is_static:
        return program
    constants = program.graph.constants
    nodes, packed = dict(program.schedule.nodes), dict(program.schedule.packed)
    for position, op in zip(products_of(program.graph), schedule.ops, strict=True):
        node = program.graph.nodes[position]
        if op.generated and _is_possible(program, node):
            width = best_width(program.schedule.tile_rows, *weight_shape(program.graph, node), vectors)
            name = _packed(node.operands[0], width, vectors, constants, packed)
            inner = _inner(node, constants)
            swept = inner < len(node.epilogue) and not why_not(program.graph, node, node.epilogue[inner:])
            nodes[node.output] = NodeSchedule(packed=name, width=width, lanes=vectors.lanes, inner=inner, swept=swept)
    for node in program.graph.nodes:
        if not op_named(node.op).is_product and _is_sweep(program, node):
            nodes[node.output] = replace(nodes[node.output], swept=True)
    return program if nodes == program.schedule.nodes else program.scheduled(nodes=nodes, packed=packed)


def explain(before: Program, after: Program) -> str:
    """Say what the pass did to this program."""
    vectors, why = find()
    if vectors is None:
        return f"No code generated: {why}."
    if not after.schedule.is_static:
        return "No code generated: it has addresses in it, so it needs static buffers."
    mine = [node for node in after.graph.nodes if after.of(node).packed]
    swept = [node.output for node in after.graph.nodes if after.of(node).swept]
    if not mine and not swept:
        return "No code generated: it was not chosen, or an operand does not allow it."
    size = sum(array.nbytes for array in after.schedule.packed.values())
    inside = sum(after.of(node).inner for node in mine)
    panels = ", ".join(str(after.of(node).width * vectors.lanes) for node in mine)
    products = (
        f"{', '.join(node.output for node in mine)} computed by generated code for {vectors.name}, with {inside} "
        f"element-wise steps inside the products; {size:,} bytes of copies of weights, packed in panels of {panels} columns."
    )
    sweeps = f"{', '.join(swept)} swept row by row, with functions as polynomials."
    return " ".join([products] * bool(mine) + [sweeps] * bool(swept) + _left_to_numpy(after))


def _left_to_numpy(program: Program) -> list[str]:
    """Return a sentence on each node that NumPy computes, or has a part in."""
    return [
        f"NumPy computes {node.output if not program.of(node).is_generated else f'steps behind {node.output}'}, because "
        f"{why_not(program.graph, node, program.outer_steps(node)) or 'it was not chosen'}."
        for node in program.graph.nodes
        if not program.runs_generated(node)
    ]


def _is_possible(program: Program, node: Node) -> bool:
    rows_first = FEATURES not in (program.of(node).layout, program.layout_of(node.values[0]))
    return not program.of(node).is_generated and rows_first and max(weight_shape(program.graph, node)) <= MOST_SIZE


def _is_sweep(program: Program, node: Node) -> bool:
    rows_first = FEATURES not in (program.of(node).layout, *map(program.layout_of, node.values))
    return not program.of(node).is_generated and rows_first and not why_not(program.graph, node, node.epilogue)


def _packed(name: str, width: int, vectors: Vectors, constants: Mapping[str, FloatArray], packed: dict[str, FloatArray]) -> str:
    """Pack a weight, unless it is packed like that already, and return what the packed one is called."""
    weight = constants[name]
    made = shared_copy(weight, (vectors.lanes, width), partial(pack, weight, width, vectors))
    known = next((other for other, array in packed.items() if array is made), None)
    new = known or new_name({*constants, *packed}, f"{name}_packed")
    packed[new] = made
    return new


def _inner(node: Node, constants: Mapping[str, FloatArray]) -> int:
    """Return how many steps of the epilogue, from its first on, there is code for.

    The larger of a value and a NaN is NaN in NumPy, and the value in a processor, so an operand with NaN stays with NumPy; so does a slope
    beside which a number may become NaN. Code reads an operand number after number: a row, and the slope of a leaky ReLU as a scalar.
    """
    operands = 0
    for index, step in enumerate(node.epilogue):
        arrays = [constants[name] for name in step.operands]
        operands += len(arrays)
        fits = all(array.ndim == (step.op != "leaky_relu") and array.flags.c_contiguous and not np.isnan(array).any() for array in arrays)
        sloped = step.op != "leaky_relu" or all(0 < array < 1 for array in arrays)
        if step.op not in STEPS or operands > MOST_OPERANDS or not fits or not sloped:
            return index
    return len(node.epilogue)


PASS = Pass(
    "codegen",
    "write machine code for the graph, with weights packed once and bias and activation inside the products",
    explain,
    choose=choose,
)
