"""The instructions of a block of a product, each with what it reads and does, and what is in the vector registers after it.

The bytes are those that the code generator writes for the block. A disassembler reads them, so nothing here knows how they came about: what
an instruction means follows from the addresses that it uses. Row, k and columns come from the distances of the packed weight, the value and
the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlbench.compiler.schedule.program import Program
from mlbench.compiler.schedule.schedule import weight_shape
from mlbench.compiler.x86 import Shape, Vectors, find_caches
from mlbench.compiler.x86.products.gemm import CHUNK_INPUTS, most_rows, split_rows
from mlbench.compiler.x86.products.microkernel import UNROLLED, Block, Chunk, block_code, weight_steps
from mlbench.ir import BYTES_PER_NUMBER, Node
from mlbench.results.listing import Instruction, Listing
from mlbench.studies.explain.disassembly import PLAIN, Decoded, decoded, loops_of

VALUE, RESULT, WEIGHT, OPERANDS = "r8", "r9", "rbx", ("r10", "r12", "r13")
"""Registers with the addresses of rows of the value and of the result, of a panel of the weight, and of what steps read."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A block, and the distances by which its instructions are understood.

    Attributes:
        node: the product.
        shape: of the product.
        rows: of the block.
        width: vectors of the block.
        last_lanes: lanes of its last vector that are kept; 0 for all.
        vectors: the instructions.
    """

    node: Node
    shape: Shape
    rows: int
    width: int
    last_lanes: int
    vectors: Vectors

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of the constants that the steps inside read, in the order of OPERANDS."""
        return tuple(name for step in self.node.epilogue[: len(self.shape.steps)] for name in step.operands)

    @property
    def lanes(self) -> int:
        """Columns of the block."""
        return self.width * self.vectors.lanes - (self.vectors.lanes - self.last_lanes if self.last_lanes else 0)

    @property
    def inputs(self) -> int:
        """Inputs of a chunk."""
        return min(self.shape.inputs, CHUNK_INPUTS)

    def weight_at(self, shift: int) -> str:
        """Return what lies some bytes behind where a turn of the loop begins in the weight."""
        step, apart = weight_steps(self.vectors, self.shape, self.inputs, Block(self.rows, self.width), self.last_lanes)
        vector = shift // apart if apart > step else shift % step // apart
        k = (shift - vector * apart) // step
        return f"k + {k}, columns {self.columns(vector * self.vectors.lanes * BYTES_PER_NUMBER)}"

    def columns(self, shift: int) -> str:
        """Return the columns of the vector that lies some bytes behind the first one of a row."""
        first = shift // BYTES_PER_NUMBER
        return f"{first} to {min(first + self.vectors.lanes, self.lanes) - 1}"


def block_listings(program: Program, vectors: Vectors, disassembler: Any) -> tuple[Listing, ...]:  # a module
    """Return the listing of a block of each product; products of the same instructions share one."""
    alike: dict[bytes, list[_Block]] = {}
    for node in program.graph.nodes:
        if program.of(node).packed:
            block = _block_of(program, node, vectors)
            alike.setdefault(_code(block), []).append(block)
    return tuple(
        replace(_listing(first, code, disassembler), alike=tuple(each.node.output for each in others))
        for code, (first, *others) in alike.items()
    )


def _block_of(program: Program, node: Node, vectors: Vectors) -> _Block:
    """Return the block that most rows of a tile run in."""
    inputs, columns = weight_shape(program.graph, node)
    schedule = program.of(node)
    width = min(schedule.width, math.ceil(columns / vectors.lanes))
    last_lanes = columns % vectors.lanes if columns < width * vectors.lanes else 0
    _, rows = split_rows(program.schedule.tile_rows, most_rows(width, inputs, vectors, find_caches()))[0]
    steps = tuple(step.op for step in node.epilogue[: schedule.inner])
    return _Block(node, Shape(inputs, columns, schedule.width, steps), rows, width, last_lanes, vectors)


def _code(block: _Block) -> bytes:
    """Return the bytes of a block: the one place that asks the code generator."""
    chunk = Chunk(block.inputs, adds=False, ends=True, lines=0, step=0, unrolled=UNROLLED)
    return block_code(block.vectors, block.shape, chunk, Block(block.rows, block.width), block.last_lanes)


def _listing(block: _Block, code: bytes, disassembler: Any) -> Listing:  # a module
    found = list(decoded(code, disassembler))
    meaning = _Reader(block, _results(block, found))
    instructions = tuple(meaning.read(each) for each in found)
    (loop,) = loops_of(found) or ((0, 0),)  # none where every k has its own instructions
    last = block.width * block.vectors.lanes
    return Listing(
        block.node.output,
        f"{block.node.output}: {block.rows} rows by {min(last, block.shape.columns)} columns of {block.shape.columns}, "
        f"over {block.shape.inputs} inputs",
        block.vectors.registers,
        loop,
        _counted(block, found, loop),
        instructions,
    )


def _results(block: _Block, found: Sequence[Decoded]) -> dict[int, str]:
    """Return for each register that is stored as a result which rows and columns it has."""
    places = {}
    for each in found:
        memory = each.memory
        if each.is_vector and memory is not None and memory[0] == RESULT and each.is_store:
            row, shift = divmod(memory[1], BYTES_PER_NUMBER * block.shape.columns)
            places[each.registers[-1]] = f"row {row}, columns {block.columns(shift)}"
    return places


def _counted(block: _Block, found: Sequence[Decoded], loop: tuple[int, int]) -> tuple[str, ...]:
    """Return what a turn of the loop does, and what that says of the arithmetic."""
    turn = found[loop[0] : loop[1]] or found
    fused = sum(each.name.startswith("vfmadd") for each in turn)
    loads = sum(each.is_load for each in turn)
    share = fused / max(fused, loads)
    size = sum(len(each.code) for each in found)
    return (
        f"The block has {len(found)} instructions in {size:,} bytes.",
        f"A turn of its loop has {fused} multiply-adds of {block.vectors.lanes} numbers and {loads} loads.",
        "A core that starts two of each in a cycle waits for the multiply-adds alone, so this loop can reach its peak."
        if share == 1
        else f"A core that starts two of each in a cycle waits for loads: {100 * share:.0f} % of the peak are left.",
    )


class _Reader:
    """Says what instructions mean, in order, and keeps what the vector registers hold."""

    def __init__(self, block: _Block, results: dict[int, str]) -> None:
        self._block = block
        self._results = results
        self._held: dict[int, str] = {}

    def read(self, each: Decoded) -> Instruction:
        """Return an instruction with its meaning."""
        to = each.written
        what, holds = self._meaning(each)
        if to >= 0:
            self._held[to] = holds
        return Instruction(each.address, each.code.hex(" "), each.text, what, to, holds if to >= 0 else "")

    def _meaning(self, each: Decoded) -> tuple[str, str]:
        """Return what an instruction does, and what is in its register then."""
        if not each.is_vector or not each.registers:
            return PLAIN.get(each.name, "prepare an address"), ""
        if each.is_store:
            return f"store the result of {self._results[each.registers[-1]]}", ""
        if each.memory is not None and not each.name.startswith("vfmadd"):
            holds = self._read_from(*each.memory)
            return f"load {holds}", holds
        return self._arithmetic(each.name, each.registers, each.memory)

    def _arithmetic(self, name: str, registers: list[int], memory: tuple[str, int] | None) -> tuple[str, str]:
        """Return the same for an instruction that computes."""
        place = self._results.get(registers[0], "a sum of its own")
        if name.startswith("vfmadd"):
            factors = [self._held.get(each, "") for each in registers[1:]] + ([self._read_from(*memory)] if memory else [])
            return f"{place}: add {' times '.join(factors)}", f"sum of {place}"
        if name.startswith(("vxor", "vpxor")):
            return f"start {place} with 0" if registers[0] in self._results else "a register of zeros", "0"
        if name.startswith("vadd"):
            return f"{place}: add {self._held.get(registers[-1], 'another sum')}", f"{place}, added"
        if name.startswith("vmax"):
            return f"{place}: the larger of it and {self._held.get(registers[1], '0')}", f"{place}, activated"
        return f"{place}: {name}", place

    def _read_from(self, base: str, shift: int) -> str:
        block = self._block
        if base == VALUE:
            row, rest = divmod(shift, BYTES_PER_NUMBER * block.shape.inputs)
            return f"{block.node.values[0]}[row {row}, k + {rest // BYTES_PER_NUMBER}]"
        if base == WEIGHT:
            return f"{block.node.operands[0]}[{block.weight_at(shift)}]"
        if base == RESULT:
            return "what earlier inputs have come to"
        number = OPERANDS.index(base) if base in OPERANDS else len(block.operands)
        return f"{block.operands[number] if number < len(block.operands) else base}[columns {block.columns(shift)}]"
