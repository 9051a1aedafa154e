"""The instructions of a block of a product, each with what it reads and does, and what is in the vector registers after it.

The bytes are those that the code generator writes for the block. A disassembler reads them, so nothing here knows how they came about: what
an instruction means follows from the addresses that it uses. Row, k and columns come from the distances of the packed weight, the value and
the result.
"""

from __future__ import annotations

import importlib
import math
import re
from dataclasses import dataclass
from typing import Any

from mlbench.compiler.schedule.program import Program
from mlbench.compiler.schedule.schedule import weight_shape
from mlbench.compiler.x86 import Shape, Vectors, find, find_caches
from mlbench.compiler.x86.products.gemm import CHUNK_INPUTS, most_rows, split_rows
from mlbench.compiler.x86.products.microkernel import UNROLLED, Block, Chunk, block_code, weight_steps
from mlbench.ir import BYTES_PER_NUMBER, Node
from mlbench.results.explanation import Instruction, Listing
from mlbench.runtime import OptimizedRunner
from mlbench.studies.code import code_of_runner, levels_text
from mlbench.units import format_bytes, format_percent

MOST_LISTINGS = 2
VALUE, RESULT, WEIGHT, OPERANDS = "r8", "r9", "rbx", ("r10", "r12", "r13")
"""Registers with the addresses of rows of the value and of the result, of a panel of the weight, and of what steps read."""
_PLAIN = {
    "add": "go on",
    "sub": "count down",
    "jne": "again, unless the count is 0",
    "mov": "set an address or a count",
    "lea": "compute an address",
    "nop": "do nothing, so that what follows is aligned",
}


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


def listings_of(program: Program) -> tuple[tuple[Listing, ...], str]:
    """Return the listing of a block of each generated product, at most MOST_LISTINGS; and why there is none, or an empty text."""
    vectors, why = find()
    mine = [node for node in program.graph.nodes if program.of(node).packed]
    if vectors is None or not mine:
        return (), why if vectors is None else "no node runs in generated code"
    try:
        disassembler = importlib.import_module("capstone")
    except ImportError:
        return (), "the disassembler is missing; install capstone, which the extra 'report' brings"
    return tuple(_listing(_block_of(program, node, vectors), disassembler) for node in mine[:MOST_LISTINGS]), ""


def executed(runner: OptimizedRunner, rows: int) -> tuple[str, ...]:
    """Return in sentences what generated code executes in a call, counted; none where NumPy or several threads take part."""
    found = code_of_runner(runner, rows)
    if found is None:
        return ()
    levels = f"In a model of the caches ({found.caches}) it moves: {levels_text(found.levels)}."
    share = format_percent(found.multiply_adds / found.instructions)
    return (
        f"A call of {rows:,} rows executes {found.instructions:,} instructions, {found.multiply_adds:,} of them multiply-adds ({share}).",
        f"Its loads read {format_bytes(found.load_bytes)} and its stores write {format_bytes(found.store_bytes)}, from whatever cache.",
        *((levels,) if found.levels else ()),
        f"At two multiply-adds in a cycle it takes {math.ceil(found.multiply_adds / 2):,} cycles at least: that is the peak of the core.",
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


def _listing(block: _Block, disassembler: Any) -> Listing:  # a module
    reader = disassembler.Cs(disassembler.CS_ARCH_X86, disassembler.CS_MODE_64)
    found = [(each.address, bytes(each.bytes), each.mnemonic, each.op_str) for each in reader.disasm(_code(block), 0)]
    meaning = _Reader(block, _results(block, found))
    instructions = tuple(meaning.read(*each) for each in found)
    loop = _loop(found)
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


_Found = tuple[int, bytes, str, str]


def _results(block: _Block, found: list[_Found]) -> dict[int, str]:
    """Return for each register that is stored as a result which rows and columns it has."""
    places = {}
    for _, _, name, operands in found:
        memory = _memory(operands)
        if name.startswith("v") and memory is not None and memory[0] == RESULT and _is_store(operands):
            row, shift = divmod(memory[1], BYTES_PER_NUMBER * block.shape.columns)
            places[_registers(operands)[-1]] = f"row {row}, columns {block.columns(shift)}"
    return places


def _loop(found: list[_Found]) -> tuple[int, int]:
    """Return the first instruction of the loop over k and the end of it; nothing where every k has its own instructions."""
    starts = [address for address, _, _, _ in found]
    for number, (address, _, name, operands) in enumerate(found):
        if name == "jne" and int(operands, 0) < address:
            return starts.index(int(operands, 0)), number + 1
    return 0, 0


def _counted(block: _Block, found: list[_Found], loop: tuple[int, int]) -> tuple[str, ...]:
    """Return what a turn of the loop does, and what that says of the arithmetic."""
    turn = found[loop[0] : loop[1]] or found
    fused = sum(name.startswith("vfmadd") for _, _, name, _ in turn)
    loads = sum(_memory(operands) is not None and name.startswith("v") and not _is_store(operands)
                for _, _, name, operands in turn)  # fmt: skip
    share = fused / max(fused, loads)
    size = sum(len(code) for _, code, _, _ in found)
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

    def read(self, address: int, code: bytes, name: str, operands: str) -> Instruction:
        """Return an instruction with its meaning."""
        registers, memory = _registers(operands), _memory(operands)
        is_store = _is_store(operands)
        to = registers[0] if name.startswith("v") and registers and not is_store else -1
        what, holds = self._meaning(name, registers, memory, is_store=is_store)
        if to >= 0:
            self._held[to] = holds
        return Instruction(address, code.hex(" "), f"{name} {operands}".strip(), what, to, holds if to >= 0 else "")

    def _meaning(self, name: str, registers: list[int], memory: tuple[str, int] | None, *, is_store: bool) -> tuple[str, str]:
        """Return what an instruction does, and what is in its register then."""
        if not name.startswith("v") or not registers:
            return _PLAIN.get(name, "prepare an address"), ""
        if is_store:
            return f"store the result of {self._results[registers[-1]]}", ""
        if memory is not None and not name.startswith("vfmadd"):
            holds = self._read_from(*memory)
            return f"load {holds}", holds
        return self._arithmetic(name, registers, memory)

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


def _is_store(operands: str) -> bool:
    """Whether the first operand is in memory."""
    return operands.partition(", ")[0].endswith("]")


def _registers(operands: str) -> list[int]:
    return [int(each) for each in re.findall(r"\b[xyz]mm(\d+)", operands)]


def _memory(operands: str) -> tuple[str, int] | None:
    """Return the register and the distance of an operand in memory."""
    found = re.search(r"\[(\w+)([^\]]*)\]", operands)
    if found is None:
        return None
    shifts = re.findall(r"([+-]) (0x[0-9a-f]+|\d+)\b", found[2])
    return found[1], sum(int(shift, 0) * (-1 if sign == "-" else 1) for sign, shift in shifts)
