"""Machine code for one block of a product: some rows by some vectors of columns of the result, from its start to its last step.

A block stays in vector registers (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008, section
5: the inner kernel). For each k it loads the weight's vectors of these columns, and multiplies them by one number of each row. It has at
least eight accumulators, because two multiply-adds of four cycles each are under way at any time; a block of fewer adds every second, third
or fourth k to accumulators of its own, which are summed at its end. The bias is added then, and not what the sum starts from: where it is
larger than the terms, each of them would be rounded to its last place.

The vectors that a block loads for one k come from as many streams, each of which is read forward (`weight_steps`). A core has more lines
under way from several streams than from one, so a weight that comes from memory arrives faster.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from mlbench.compiler.x86.encoding.assembler import R8, R9, R10, R12, R13, R14, RAX, RBX, RDX, Label, Mem
from mlbench.compiler.x86.encoding.isa import LOOP_BYTES, VectorAssembler, Vectors

FLOAT_BYTES = 4
LINE_BYTES = 64
UNROLLED = 4
"""Steps of k in one turn of the loop."""
IN_FLIGHT = 8
OPERANDS = (R10, R12, R13)
"""Registers that hold the addresses of the rows and scalars that steps read; r14 has that of the next panel's lines."""
MOST_OPERANDS = len(OPERANDS)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the result: `rows` by `width` vectors."""

    rows: int
    width: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What the code of a product depends on, but for addresses.

    Attributes:
        inputs: columns of the value.
        columns: columns of the result.
        width: vectors of a panel of the weight.
        steps: names of the element-wise steps.
        value_stride: bytes from row to row of the value; 0 where one follows the other.
        result_stride: the same of the result.
    """

    inputs: int
    columns: int
    width: int
    steps: tuple[str, ...]
    value_stride: int = 0
    result_stride: int = 0

    @property
    def value_bytes(self) -> int:
        """Bytes from row to row of the value."""
        return self.value_stride or FLOAT_BYTES * self.inputs

    @property
    def result_bytes(self) -> int:
        """Bytes from row to row of the result."""
        return self.result_stride or FLOAT_BYTES * self.columns


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of the inputs.

    Attributes:
        inputs: how many.
        adds: what the chunks before have come to is added; or an address in memory whose 32 bits say whether it is.
        ends: the steps follow; or such an address.
        lines: that are asked for in each turn of the loop.
        step: register that has the bytes to go on in these lines for each k.
        unrolled: steps of k in one turn of the loop.
    """

    inputs: int
    adds: bool | Mem
    ends: bool | Mem
    lines: int
    step: int
    unrolled: int


STEPS = {"add": 1, "maximum": 1, "relu": 0, "leaky_relu": 1}
"""The element-wise steps there is code for, and how many operands each reads: a row, of `leaky_relu` a scalar."""


def weight_steps(vectors: Vectors, shape: Shape, inputs: int, block: Block, last_lanes: int) -> tuple[int, int]:
    """Return the bytes in a packed weight from one k to the next, and from one vector of a k to the next.

    A whole panel has each of its vectors in a stream of its own, within a chunk of so many inputs. The last panel of a product, if it is
    narrower, has one stream.
    """
    vector_bytes = FLOAT_BYTES * vectors.lanes
    if block.width == shape.width and not last_lanes:
        return vector_bytes, vector_bytes * inputs
    lanes = block.width * vectors.lanes - (vectors.lanes - last_lanes if last_lanes else 0)
    return FLOAT_BYTES * lanes, vector_bytes


@functools.lru_cache(maxsize=1024)
def block_code(vectors: Vectors, shape: Shape, chunk: Chunk, block: Block, last_lanes: int) -> bytes:
    """Return the code of one block, which runs wherever it is put.

    It takes the address of the value's first row in r8, of the block's first row in r9 and of the weight in rdx, and leaves in r8 and r9
    what lies `block.rows` on. Its loop is aligned if the code is put at a multiple of LOOP_BYTES.

    Args:
        vectors: the instructions.
        shape: of the product.
        chunk: the inputs.
        block: the block.
        last_lanes: lanes of its last vector, which the mask keeps; 0 for all.
    """
    a = VectorAssembler(vectors)
    BlockWriter(a, shape, chunk, block, last_lanes).write()
    return a.finish()


@dataclass(frozen=True, slots=True)
class Shared:
    """Code that the blocks of a panel share, whatever their height.

    Attributes:
        starts: for each height, what clears the accumulators.
        ends: for each height, what does the steps and stores the rows.
        load_operands: puts what loads the operands of the steps, which `ends` takes from registers.
    """

    starts: Mapping[int, Label]
    ends: Mapping[int, Label]
    load_operands: Callable[[], None]


class BlockWriter:
    """Writes the code of a block: accumulators first, then the weight's vectors, then the value's numbers.

    Args:
        a: takes the code.
        shape: of the product.
        chunk: the inputs.
        block: the block.
        last_lanes: lanes of its last vector, which the mask keeps; 0 for all.
        shared: what it calls; None to put all of it.
    """

    def __init__(
        self, a: VectorAssembler, shape: Shape, chunk: Chunk, block: Block, last_lanes: int, shared: Shared | None = None
    ) -> None:  # fmt: skip
        vectors = a.vectors
        self._a = a
        self._shared = shared
        self._shape = shape
        self._chunk = chunk
        self._block = block
        self._is_masked = bool(last_lanes)
        self._value_bytes = shape.value_bytes
        self._result_bytes = shape.result_bytes
        self._vector_bytes = FLOAT_BYTES * vectors.lanes
        self._weight_bytes, self._apart_bytes = weight_steps(vectors, shape, chunk.inputs, block, last_lanes)
        size = block.rows * block.width
        self._splits = max(1, min(IN_FLIGHT // size, (self._a.usable - block.width - 1) // size, chunk.unrolled, chunk.inputs))
        self._held = self._splits * size

    def write(self) -> None:
        """Put the code, at a multiple of LOOP_BYTES."""
        a = self._a
        self._start()
        a.mov(RBX, RDX)
        unrolled = self._chunk.unrolled
        turns, left = divmod(self._chunk.inputs, unrolled)
        if turns > 1:
            a.mov_number(RAX, turns)
            again = Label()
            a.align(LOOP_BYTES)
            a.put(again)
        lines = self._chunk.lines
        for k in range(unrolled if turns else 0):
            self._multiply(k)
            for line in range(lines * k // unrolled, lines * (k + 1) // unrolled):
                a.prefetch(Mem(R14, line * LINE_BYTES))
        if lines:
            a.lea_scaled(R14, R14, self._chunk.step, unrolled)
        if turns:
            a.add_number(R8, unrolled * FLOAT_BYTES)
            a.add_number(RBX, unrolled * self._weight_bytes)
        if turns > 1:
            a.sub_number(RAX, 1)
            a.jump_if("ne", again)
        for k in range(left):
            self._multiply(k)
        self._finish()
        a.add_number(R8, self._block.rows * self._value_bytes - turns * unrolled * FLOAT_BYTES)
        a.add_number(R9, self._block.rows * self._result_bytes)

    def _accumulator(self, row: int, column: int, split: int = 0) -> int:
        return (split * self._block.rows + row) * self._block.width + column

    def _start(self) -> None:
        if self._shared is not None:
            self._a.call(self._shared.starts[self._block.rows])
            return
        for register in range(self._held):
            self._a.vzero(register)

    def _multiply(self, k: int) -> None:
        """Add the products of one k."""
        a, block = self._a, self._block
        weights = range(self._held, self._held + block.width)
        for column, register in enumerate(weights):
            a.vload(register, Mem(RBX, k * self._weight_bytes + column * self._apart_bytes))
        spare = range(weights.stop, min(a.usable, weights.stop + 4))
        for row in range(block.rows):
            number = Mem(R8, row * self._value_bytes + FLOAT_BYTES * k)
            split = k % self._splits
            if block.width == 1 and a.vectors.has_masks:
                a.vfma_broadcast(self._accumulator(row, 0, split), weights.start, number)
                continue
            register = spare[row % len(spare)]
            a.vbroadcast(register, number)
            for column, weight in enumerate(weights):
                a.vfma(self._accumulator(row, column, split), register, weight)

    def _finish(self) -> None:
        a = self._a
        if self._shared is not None:
            self._shared.load_operands()
            a.call(self._shared.ends[self._block.rows])
            return
        for split in range(1, self._splits):
            for row, column in self._places():
                to = self._accumulator(row, column)
                a.vadd(to, to, self._accumulator(row, column, split))
        chunk = self._chunk
        if chunk.adds:
            with self._where(chunk.adds):
                self._add_what_is_there()
        if self._shape.steps and chunk.ends:
            with self._where(chunk.ends):
                operands = iter(OPERANDS)
                for name in self._shape.steps:
                    self._step(name, next(operands) if STEPS[name] else None)
        for row, column in self._places():
            a.vstore(self._place(row, column), self._accumulator(row, column), masked=self._masks(column))

    @contextmanager
    def _where(self, word: object) -> Iterator[None]:
        """Put what is put inside so that it is jumped over if a word in memory is 0."""
        a, end = self._a, Label()
        if isinstance(word, Mem):
            a.load32(RAX, word)
            a.cmp_number(RAX, 0)
            a.jump_if("e", end)
        yield
        a.put(end)

    def _add_what_is_there(self) -> None:
        """Add what the chunks before have come to: sums of sums, whose rounding errors do not add up over all inputs."""
        a = self._a
        there = a.usable - 1
        for row, column in self._places():
            to = self._accumulator(row, column)
            a.vload(there, self._place(row, column), masked=self._masks(column))
            a.vadd(to, there, to)

    def _step(self, name: str, operand: int | None) -> None:
        """Put an element-wise step; of the larger of two, a NaN of the value stays."""
        a = self._a
        one, two = a.usable - 1, a.usable - 2
        if operand is None:
            a.vzero(one)
        elif name == "leaky_relu":
            a.vbroadcast(one, Mem(operand))
        for column in range(self._block.width):
            if operand is not None and name != "leaky_relu":
                self._load_operand(one, operand, column)
            for row in range(self._block.rows):
                value = self._accumulator(row, column)
                if name == "add":
                    a.vadd(value, value, one)
                elif name == "leaky_relu":
                    a.vmul(two, value, one)
                    a.vmax(value, two, value)
                else:
                    a.vmax(value, one, value)

    def _load_operand(self, to: int, register: int, column: int) -> None:
        self._a.vload(to, Mem(register, column * self._vector_bytes), masked=self._masks(column))

    def _masks(self, column: int) -> bool:
        return self._is_masked and column == self._block.width - 1

    def _place(self, row: int, column: int) -> Mem:
        """Return where a vector of the block lies."""
        return Mem(R9, row * self._result_bytes + column * self._vector_bytes)

    def _places(self) -> itertools.product[tuple[int, int]]:
        return itertools.product(range(self._block.rows), range(self._block.width))
