"""What the blocks of a panel have in common, whatever their height: the clearing of accumulators, and the steps and stores behind the loop.

Both go from the last row to the first, so that a lower block comes in at a later place.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlbench.compiler.x86.encoding.assembler import R9, Label, Mem
from mlbench.compiler.x86.encoding.isa import VectorAssembler
from mlbench.compiler.x86.products.microkernel import FLOAT_BYTES, OPERANDS, STEPS, Shape, Shared


class Ending:
    """The code that blocks of some heights share.

    Args:
        a: takes the code.
        shape: of the product.
        width: vectors of a row.
        last_lanes: lanes of the last of them, which the mask keeps; 0 for all.
        heights: of the blocks.
    """

    def __init__(self, a: VectorAssembler, shape: Shape, width: int, last_lanes: int, heights: Sequence[int]) -> None:
        self._a, self._shape, self._width, self._is_masked, self._heights = a, shape, width, bool(last_lanes), heights
        self.shared = Shared({each: Label() for each in heights}, {each: Label() for each in heights}, self._load_operands)
        self._registers = _registers(a, shape, width, max(heights, default=0))

    @property
    def is_possible(self) -> bool:
        """Whether several heights share it, and the operands fit into registers beside the accumulators."""
        return len(self._heights) > 1 and self._registers is not None

    def put(self) -> None:
        """Put the code."""
        a, width, starts, ends = self._a, self._width, self.shared.starts, self.shared.ends
        for row in reversed(range(max(self._heights))):
            if row + 1 in starts:
                a.put(starts[row + 1])
            for column in range(width):
                a.vzero(row * width + column)
        a.ret()
        for row in reversed(range(max(self._heights))):
            if row + 1 in ends:
                a.put(ends[row + 1])
            for column in range(width):
                self._end(row, column)
        a.ret()

    def _load_operands(self) -> None:
        a, operands = self._a, iter(OPERANDS)
        assert self._registers is not None
        for name, registers in zip(self._shape.steps, self._registers, strict=True):
            if name == "relu":
                a.vzero(registers[0])
            elif name == "leaky_relu":
                a.vbroadcast(registers[0], Mem(next(operands)))
            else:
                base = next(operands)
                for column, register in enumerate(registers):
                    a.vload(register, self._at(base, 0, column), masked=self._masks(column))

    def _end(self, row: int, column: int) -> None:
        """Put the steps of a vector, and its store; of the larger of two, a NaN of the value stays."""
        a, value = self._a, row * self._width + column
        assert self._registers is not None
        for name, registers in zip(self._shape.steps, self._registers, strict=True):
            if name == "add":
                a.vadd(value, value, registers[column])
            elif name == "leaky_relu":
                a.vmul(registers[1], value, registers[0])
                a.vmax(value, registers[1], value)
            else:
                a.vmax(value, registers[column if STEPS[name] else 0], value)
        a.vstore(self._at(R9, row * self._shape.result_bytes, column), value, masked=self._masks(column))

    def _at(self, base: int, shift: int, column: int) -> Mem:
        return Mem(base, shift + column * FLOAT_BYTES * self._a.vectors.lanes)

    def _masks(self, column: int) -> bool:
        return self._is_masked and column == self._width - 1


def _registers(a: VectorAssembler, shape: Shape, width: int, rows: int) -> list[list[int]] | None:
    """Return registers for each step: one for each vector of a row, of `relu` one, of `leaky_relu` two; None where they are not enough."""
    needs = [2 if name == "leaky_relu" else width if STEPS[name] else 1 for name in shape.steps]
    first = a.usable - sum(needs)
    if first < rows * width:
        return None
    found = []
    for need in needs:
        found.append(list(range(first, first + need)))
        first += need
    return found
