"""A sweep: the stage that computes one row after the other, element by element or along the row.

What a sweep computes is given by expressions (`mlbench.compiler.x86.sweeps.expressions`). A row takes one loop over its columns for each
level of them: a layer norm takes three, for the mean, for the variance and for the result. Narrow values stay in registers. A wide value
that a later loop needs is read again where it was written, and computed again where it was not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlbench.compiler.x86.encoding.assembler import R8, R9, R10, R11, R12, R13, R14, RAX, RCX, RDI, RDX, RSI, Label, Mem
from mlbench.compiler.x86.encoding.isa import VectorAssembler, Vectors
from mlbench.compiler.x86.stages import View, Writer
from mlbench.compiler.x86.sweeps.expressions import ANY_BIT, MAX, MIN, SUM, Expression, below
from mlbench.compiler.x86.sweeps.formula import SOURCE, Formula
from mlbench.compiler.x86.sweeps.registers import Allocated, allocate
from mlbench.compiler.x86.sweeps.vectorize import MOST_VECTORS, POOL, Emitter, Places, Pool, kept_register

FLOAT_BYTES = 4
POINTERS = (RSI, RDI, RDX, R8, R9, R10, R11, R12, R13, R14)
"""Registers with the addresses of what is read and written."""
MOST_PLACES, MOST_KEPT = len(POINTERS), 6
"""Views that a sweep reads and writes at most, and numbers of a row that stay in registers."""
_IDENTITIES = {SUM: 0, MAX: 0xFF800000, MIN: 0x7F800000, ANY_BIT: 0}


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """A stage that computes row after row.

    Attributes:
        columns: of the wide values.
        writes: pairs of where something goes and what. What is written in an earlier loop than the last may be written over.
    """

    columns: int
    writes: tuple[tuple[View, Expression], ...]

    def emit(self, writer: Writer) -> None:
        """Put the code."""
        _SweepWriter(self, writer).emit()

    def fits(self, vectors: Vectors) -> bool:
        """Whether there are registers for all of it."""
        return self.places <= MOST_PLACES and self.kept <= MOST_KEPT and _SweepWriter(self, Writer(vectors, 1)).fits()

    @property
    def reads(self) -> tuple[View, ...]:
        """What it reads in memory, but for rows that are the same for each row."""
        expressions = below([written for _, written in self.writes])
        return tuple(dict.fromkeys(each.view for each in expressions if each.view is not None and each.view.stride_bytes))

    @property
    def places(self) -> int:
        """Registers for addresses that it needs."""
        return len(views_of(self))

    @property
    def kept(self) -> int:
        """Registers for numbers of the row that it needs."""
        return len(_kept(self))


def views_of(sweep: Sweep) -> tuple[View, ...]:
    """Return what a sweep writes and reads, in the order of POINTERS, which have the addresses."""
    views = [view for view, _ in sweep.writes]
    views += [each.view for each in below([written for _, written in sweep.writes]) if each.view is not None]
    return tuple(dict.fromkeys(views))


def _kept(sweep: Sweep) -> Mapping[Expression, int]:
    """Give a register to each narrow expression that a loop reads or makes."""
    all_of_them = list(below([written for _, written in sweep.writes]))
    found = [each for each in all_of_them if each.kind == "reduce"]
    found += [
        argument
        for each in all_of_them
        if each.is_wide or each.kind == "reduce"
        for argument in each.arguments
        if not argument.is_wide and argument.kind != "number"
    ]
    found += [each for _, each in sweep.writes if not each.is_wide]
    return {each: index for index, each in enumerate(dict.fromkeys(found))}


class _SweepWriter:
    """Writes the code of a sweep."""

    def __init__(self, sweep: Sweep, writer: Writer) -> None:
        self._sweep = sweep
        self._writer = writer
        self._a: VectorAssembler = writer.a
        lanes = self._a.vectors.lanes
        self._lanes = lanes
        self._vector_bytes = FLOAT_BYTES * lanes
        self._tail = sweep.columns % lanes
        self._full = sweep.columns // lanes
        self._pool = Pool(lanes)
        self._emitter = Emitter(self._a, self._pool)
        views = views_of(sweep)
        self._places = {view: index for index, view in enumerate(views)}
        self._kept = _kept(sweep)
        self._free = self._a.usable - len(self._kept)
        self._moved = [0] * len(views)
        self._all = list(below([written for _, written in sweep.writes]))
        self._last = max(each.level for each in self._all)
        self._written: dict[Expression, View] = {}

    def emit(self) -> None:
        a, writer = self._a, self._writer
        again, pool, end = Label(), Label(), Label()
        writer.rows(RCX)
        for view, index in self._places.items():
            writer.address(POINTERS[index], view)
        if self._tail:
            a.set_mask(self._tail, writer.masks)
        a.lea_label(POOL, pool)
        a.align(16)
        a.put(again)
        for level in range(self._last + 1):
            self._once(level)
            self._loop(level)
        for view, index in self._places.items():
            distance = view.stride_bytes - self._moved[index]
            if distance:
                a.add_distance(POINTERS[index], distance)
        self._moved = [0] * len(self._moved)
        a.sub_number(RCX, 1)
        a.jump_if("ne", again)
        a.jump(end)
        a.align(32)
        a.put(pool)
        a.put_data(self._pool.data())
        a.put(end)

    # --- numbers of a row ---------------------------------------------------------------------------------------------------

    def _once(self, level: int) -> None:
        """Compute and write the narrow expressions of a level, and keep those that a loop reads."""
        a = self._a
        writes = [(view, each) for view, each in self._sweep.writes if not each.is_wide and each.level == level]
        wanted, roots, allocated = self._numbers(level)
        assert allocated.needed <= self._free, "more numbers of a row than registers"
        sources = {index: Mem(POINTERS[index], -self._moved[index]) for index in range(len(self._moved))}
        self._emitter.emit(allocated, Places(sources, [0], [0]))
        for each, root in zip(wanted, roots, strict=True):
            a.vmove(kept_register(a, self._kept[each]), self._emitter.register(allocated, root, 0))
        for view, each in writes:
            index = self._places[view]
            a.vstore_first(Mem(POINTERS[index], -self._moved[index]), kept_register(a, self._kept[each]))

    def _numbers(self, level: int) -> tuple[list[Expression], list[int], Allocated]:
        """Return the narrow expressions of a level that are computed, and the formula that computes them."""
        wanted = [each for each in self._kept if each.level == level and each.kind != "reduce"]
        f = Formula()
        known: dict[Expression, int] = {}
        roots = [self._narrow(f, each, known) for each in wanted]
        return wanted, roots, allocate(f, roots)

    def _narrow(self, f: Formula, each: Expression, known: dict[Expression, int]) -> int:
        if each not in known:
            known[each] = self._bind_narrow(f, each, known)
        return known[each]

    def _bind_narrow(self, f: Formula, each: Expression, known: dict[Expression, int]) -> int:
        if each.kind == "number":
            return f.number(each.number)
        if each.kind == "reduce":
            return f.kept(self._kept[each])
        if each.view is not None:
            return f.narrow(self._places[each.view])
        assert each.emit is not None
        return each.emit(f, *(self._narrow(f, argument, known) for argument in each.arguments))

    # --- loops over the columns ------------------------------------------------------------------------------------------------

    def fits(self) -> bool:
        """Whether one vector of each loop finds registers, and what is computed for each row."""
        for level in range(self._last + 1):
            if self._numbers(level)[-1].needed > self._free:
                return False
            body = self._body(level)
            if body is not None and not body.width:
                return False
        return True

    def _loop(self, level: int) -> None:
        """Put the loop of a level: what it writes, and what it reduces for the next one."""
        body = self._body(level)
        if body is None:
            return
        assert body.width, "a formula that takes more registers than there are"
        for place, (each, _) in enumerate(body.reduced):
            for vector in range(body.width):
                self._fill(body.accumulator(place, vector), _IDENTITIES[each.reduction])
        self._columns(body)
        for place, (each, _) in enumerate(body.reduced):
            self._finish(body, place, each)
        if level < self._last:
            self._go_back(self._used(body))

    def _body(self, level: int) -> _Loop | None:
        """Return what the loop of a level computes; None where nothing is to do. What it writes is read again from then on."""
        writes = [(view, each) for view, each in self._sweep.writes if each.is_wide and each.level == level]
        reductions = [each for each in self._all if each.kind == "reduce" and each.level == level + 1]
        if not writes and not reductions:
            return None
        f = Formula()
        known: dict[Expression, int] = {}
        written = [(view, self._wide(f, each, known)) for view, each in writes]
        reduced = [(each, self._wide(f, each.arguments[0], known)) for each in reductions]
        allocated = allocate(f, [value for _, value in written] + [value for _, value in reduced])
        self._written.update({each: view for view, each in writes})
        spare = 1 if reduced else 0
        most = (self._free - spare) // max(1, allocated.needed + len(reduced))
        width = min(MOST_VECTORS, most, self._full + bool(self._tail))
        return _Loop(allocated, written, reduced, width, width * allocated.needed)

    def _columns(self, body: _Loop) -> None:
        """Put the formula for all columns, in a loop where groups of vectors follow each other."""
        a, width = self._a, body.width
        groups, left = divmod(self._full, width)
        used = self._used(body)
        step = width * self._vector_bytes
        if groups > 1:
            again = Label()
            a.mov_number(RAX, groups)
            a.align(16)
            a.put(again)
        if groups:
            self._vectors(body, width, 0, masked=False)
        if groups > 1:
            for index in used:
                a.add_number(POINTERS[index], step)
                self._moved[index] += groups * step
            a.sub_number(RAX, 1)
            a.jump_if("ne", again)
        if left or self._tail:
            self._vectors(body, left + bool(self._tail), groups * step, masked=bool(self._tail))

    def _go_back(self, used: Sequence[int]) -> None:
        """Go back to the beginning of the row."""
        for index in used:
            if self._moved[index]:
                self._a.add_distance(POINTERS[index], -self._moved[index])
                self._moved[index] = 0

    def _wide(self, f: Formula, each: Expression, known: dict[Expression, int]) -> int:
        if each not in known:
            known[each] = self._bind_wide(f, each, known)
        return known[each]

    def _bind_wide(self, f: Formula, each: Expression, known: dict[Expression, int]) -> int:
        if each.kind == "number":
            return f.number(each.number)
        if not each.is_wide:
            return f.kept(self._kept[each])
        if each in self._written:
            return f.source(self._places[self._written[each]])
        if each.view is not None:
            return f.source(self._places[each.view])
        assert each.emit is not None
        return each.emit(f, *(self._wide(f, argument, known) for argument in each.arguments))

    def _used(self, body: _Loop) -> list[int]:
        """Return the places that a loop reads and writes along the row."""
        read_there = {instruction.number for _, instruction in body.allocated.instructions if instruction.name == SOURCE}
        return sorted(read_there | {self._places[view] for view, _ in body.written})

    def _vectors(self, body: _Loop, width: int, shift: int, *, masked: bool) -> None:
        """Put the formula for some vectors, from `shift` bytes behind the beginning of the row on."""
        a = self._a
        bases = [number * body.allocated.needed for number in range(width)]
        shifts = [number * self._vector_bytes for number in range(width)]
        sources = {index: Mem(POINTERS[index], shift - self._moved[index]) for index in range(len(self._moved))}
        self._emitter.emit(body.allocated, Places(sources, shifts, bases, masked))
        for view, value in body.written:
            for number, base in enumerate(bases):
                is_last = masked and number == width - 1
                place = Mem(sources[self._places[view]].base, sources[self._places[view]].shift + shifts[number])
                a.vstore(place, self._emitter.register(body.allocated, value, base), masked=is_last)
        for place_of, (each, value) in enumerate(body.reduced):
            for number, base in enumerate(bases):
                register = self._emitter.register(body.allocated, value, base)
                if masked and number == width - 1:
                    spare = body.spare
                    self._fill(spare, _IDENTITIES[each.reduction])
                    a.vkeep(spare, spare, register)
                    register = spare
                self._combine(each.reduction, body.accumulator(place_of, number), register)

    def _finish(self, body: _Loop, place: int, each: Expression) -> None:
        """Reduce the accumulators to one number in all lanes, and keep it."""
        a = self._a
        first = body.accumulator(place, 0)
        for number in range(1, body.width):
            self._combine(each.reduction, first, body.accumulator(place, number))
        lanes = self._lanes // 2
        while lanes:
            a.vswap(body.spare, first, lanes)
            self._combine(each.reduction, first, body.spare)
            lanes //= 2
        a.vmove(kept_register(a, self._kept[each]), first)

    def _combine(self, reduction: str, to: int, other: int) -> None:
        a = self._a
        if reduction == SUM:
            a.vadd(to, to, other)
        elif reduction == MAX:
            a.vmax(to, other, to)
        elif reduction == MIN:
            a.vmin(to, other, to)
        else:
            a.vor(to, to, other)

    def _fill(self, register: int, bits: int) -> None:
        if bits:
            self._a.vload(register, self._pool.place(bits))
        else:
            self._a.vzero(register)


@dataclass(frozen=True, slots=True)
class _Loop:
    """What a loop computes.

    Attributes:
        allocated: its formula.
        written: pairs of where a value goes and the value.
        reduced: pairs of a reduction and the value that it reduces.
        width: vectors at a time.
        first: first register behind those of the vectors.
    """

    allocated: Allocated
    written: Sequence[tuple[View, int]]
    reduced: Sequence[tuple[Expression, int]]
    width: int
    first: int

    def accumulator(self, place: int, number: int) -> int:
        """Return the register of a reduction for one of the vectors."""
        return self.first + place * self.width + number

    @property
    def spare(self) -> int:
        """A register that holds nothing."""
        return self.first + len(self.reduced) * self.width
